package event

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/record"
)

// tracks is an event of a stream, of which there may be any number.
func tracks(key hub.Key) hub.Event {
	return hub.Event{Kind: hub.EventTracks, Time: time.Now(), Key: key}
}

// checkComplete checks that each number up to the last one was taken once, or that a gap tells
// that it was not, and that each stream's events came in their order.
func checkComplete(t *testing.T, taken []Event, last uint64) (lost uint64) {
	t.Helper()
	seen := make(map[uint64]bool)
	var gaps []Event
	ordered := make(map[string]uint64)
	for _, e := range taken {
		if seen[e.Seq] || e.Seq <= ordered[e.Stream] {
			t.Fatalf("%d twice, or out of the order of %q", e.Seq, e.Stream)
		}
		seen[e.Seq] = true
		ordered[e.Stream] = e.Seq
		lost += e.Lost
		if e.Lost > 0 {
			gaps = append(gaps, e)
		}
	}
	missing := uint64(0)
	for seq := uint64(1); seq <= last; seq++ {
		if seen[seq] {
			continue
		}
		missing++
		if !slices.ContainsFunc(gaps, func(e Event) bool { return e.LostFrom <= seq && seq <= e.LostTo }) {
			t.Fatalf("no gap tells of %d", seq)
		}
	}
	assert.Equal(t, missing, lost, "what gaps tell is what is missing")
	return lost
}

// An endpoint that fails half of the time is told everything, in the order of each stream.
func TestOrderUnderFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(endpoint)
		var mu sync.Mutex
		busy := make(map[string]int) // requests of a stream at this moment
		all := 0
		p.set(func(_ *http.Request, e Event) (*http.Response, error) {
			mu.Lock()
			busy[e.Stream]++
			all++
			assert.Equal(t, 1, busy[e.Stream], "one at a time for a stream")
			assert.LessOrEqual(t, all, webhookWorkers)
			mu.Unlock()
			time.Sleep(rand.N(100 * time.Millisecond))
			mu.Lock()
			defer mu.Unlock()
			busy[e.Stream]--
			all--
			switch rand.IntN(4) {
			case 0:
				return nil, errDown
			case 1:
				return respond(503), nil
			}
			return respond(200), nil
		})
		n, _ := begin(t, p, nil)
		const streams, each = 40, 25
		for range each {
			for i := range streams {
				n.Observe(tracks(hub.Key{App: "live", Name: fmt.Sprint(i)}))
			}
			n.Draining() // one of no stream
			time.Sleep(rand.N(time.Second))
		}
		end(n, time.Hour)
		taken := p.took()
		assert.Len(t, taken, (streams+1)*each)
		assert.Zero(t, checkComplete(t, taken, (streams+1)*each))
		sums := n.Totals().Webhook
		assert.EqualValues(t, (streams+1)*each, sums.Sent)
		assert.Equal(t, sums.Failed, sums.Retried)
		assert.Zero(t, sums.Dropped)
		assert.Zero(t, sums.Waiting)
	})
}

// All attempts of an event have the same id and body; the wait between them grows up to 30 s, for
// five minutes.
func TestAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(endpoint)
		var at []time.Time
		p.set(func(_ *http.Request, e Event) (*http.Response, error) {
			if e.Type == TypeGap {
				return respond(200), nil
			}
			at = append(at, time.Now())
			return nil, errDown
		})
		n, lines := begin(t, p, nil)
		began := time.Now()
		n.Observe(tracks(hub.Key{App: "live", Name: "a"}))
		time.Sleep(time.Hour)
		end(n, time.Second)
		for i := 1; i < len(at); i++ {
			pause, most := at[i].Sub(at[i-1]), min(maxPause, firstPause<<(i-1))
			assert.True(t, pause >= most/2 && pause < most, "pause %d is %s", i, pause)
			assert.Equal(t, p.bodies[0], p.bodies[i])
			assert.Equal(t, p.heads[0].Get("webhook-id"), p.heads[i].Get("webhook-id"))
		}
		last := at[len(at)-1].Sub(began)
		assert.True(t, last >= patience && last < patience+maxPause, "%s", last)
		taken := p.took()
		require.Len(t, taken, 1, "the gap")
		assert.Equal(t, []uint64{1, 1, 1}, []uint64{taken[0].Lost, taken[0].LostFrom, taken[0].LostTo})
		assert.Contains(t, lines.String(), "event dropped, it was not taken")
	})
}

// An endpoint that is down for an hour: memory is bounded, the order is kept, what is missing is
// told, finished recordings are told late.
func TestEndpointDownForAnHour(t *testing.T) {
	for name, answer := range map[string]func(*http.Request, Event) (*http.Response, error){
		"refused": down,
		"503":     code(503),
		"hangs": func(req *http.Request, _ Event) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := new(endpoint)
				p.set(answer)
				n, lines := begin(t, p, nil)
				n.Recorded(record.Event{Kind: record.EventFinished, Recording: archive.Recording{
					Key: hub.Key{App: "live", Name: "0"}, ID: "first",
				}})
				var early, late runtime.MemStats
				const streams, each = 40, 600 // more than the queue holds, twice
				for i := range each {
					for k := range streams {
						n.Observe(tracks(hub.Key{App: "live", Name: fmt.Sprint(k)}))
					}
					time.Sleep(time.Hour / each)
					require.LessOrEqual(t, n.Totals().Webhook.Waiting, maxWaiting+2)
					p.mu.Lock()
					p.tried, p.bodies, p.heads = nil, nil, nil
					p.mu.Unlock()
					switch i {
					case each / 2:
						runtime.GC()
						runtime.ReadMemStats(&early)
					case each - 1:
						runtime.GC()
						runtime.ReadMemStats(&late)
					}
				}
				t.Logf("heap after half an hour %d KiB, after an hour %d KiB", early.HeapAlloc>>10, late.HeapAlloc>>10)
				assert.Less(t, late.HeapAlloc, early.HeapAlloc+8<<20)
				p.set(nil)
				time.Sleep(time.Minute)
				synctest.Wait()
				sums := n.Totals().Webhook
				assert.Zero(t, sums.Waiting)
				taken := p.took()
				lost := checkComplete(t, taken, n.hooks.seq)
				assert.Greater(t, lost, uint64(streams*each-2*maxWaiting))
				recordings := 0
				for _, e := range taken {
					if e.Type == TypeRecordFinished {
						recordings++
						assert.Equal(t, "first", e.Recording.ID)
					}
				}
				assert.Equal(t, 1, recordings)
				n.Observe(tracks(hub.Key{App: "live", Name: "0"}))
				synctest.Wait()
				assert.Equal(t, n.hooks.seq, p.took()[len(p.took())-1].Seq, "the next one comes at once")
				end(n, time.Second)
				assert.Contains(t, lines.String(), "events are taken again")
			})
		})
	}
}

// Streams whose events are not taken hold up nobody else's.
func TestFailingStreamsHoldUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(endpoint)
		p.set(func(_ *http.Request, e Event) (*http.Response, error) {
			if e.Stream != "live/good" {
				return respond(500), nil
			}
			return respond(204), nil
		})
		n, _ := begin(t, p, nil)
		for i := range 100 {
			n.Observe(tracks(hub.Key{App: "live", Name: fmt.Sprint(i)}))
		}
		synctest.Wait()
		n.Observe(tracks(hub.Key{App: "live", Name: "good"}))
		synctest.Wait()
		assert.Equal(t, []string{"tracks live/good"}, types(p.took()))
		end(n, time.Second)
		assert.Equal(t, 100, n.Totals().Webhook.Waiting)
	})
}

// What the hub has lost is told as a gap, with numbers of its own.
func TestEventsThatTheHubLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(endpoint)
		n, _ := begin(t, p, nil)
		n.Observe(tracks(hub.Key{App: "live", Name: "a"}))
		n.Observe(hub.Event{Kind: hub.EventLost, Lost: 7})
		n.Observe(tracks(hub.Key{App: "live", Name: "a"}))
		end(n, time.Second)
		taken := p.took()
		require.Len(t, taken, 3)
		assert.EqualValues(t, 7, checkComplete(t, taken, 10))
		events, _, _ := n.Ring().Since(0, 0)
		require.Len(t, events, 3)
		assert.Contains(t, string(events[1]), `"type":"gap"`)
		assert.Contains(t, string(events[1]), `"lost":7`)
	})
}

// Close gives what waits its time, and no more.
func TestClose(t *testing.T) {
	t.Run("what waits is told", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := new(endpoint)
			p.set(down)
			n, _ := begin(t, p, nil)
			for range 10 {
				n.Observe(tracks(hub.Key{App: "live", Name: "a"}))
			}
			time.AfterFunc(3*time.Second, func() { p.set(nil) })
			began := time.Now()
			end(n, time.Minute)
			assert.Less(t, time.Since(began), 10*time.Second)
			assert.Len(t, p.took(), 10)
			n.Observe(tracks(hub.Key{App: "live", Name: "a"}))
			n.Close(t.Context())
			assert.EqualValues(t, 1, n.Totals().Webhook.Dropped)
		})
	})
	t.Run("while the endpoint hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := new(endpoint)
			p.set(func(req *http.Request, _ Event) (*http.Response, error) {
				<-req.Context().Done()
				return nil, req.Context().Err()
			})
			n, lines := begin(t, p, nil)
			for i := range 20 {
				n.Observe(tracks(hub.Key{App: "live", Name: fmt.Sprint(i)}))
			}
			began := time.Now()
			end(n, 2*time.Second)
			assert.Equal(t, 2*time.Second, time.Since(began))
			assert.Contains(t, lines.String(), "events are not told, the server ends")
			assert.Contains(t, lines.String(), "count=20")
		})
	})
	t.Run("without anything", func(t *testing.T) {
		n, _ := begin(t, nil, nil)
		n.Started()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		n.Close(ctx)
		n.Close(ctx)
	})
}

// Everybody calls at once, while the endpoint comes and goes, and it is closed in the middle.
func TestEverythingAtOnce(t *testing.T) {
	p := new(endpoint)
	p.set(func(*http.Request, Event) (*http.Response, error) {
		if rand.IntN(10) == 0 {
			return nil, errDown
		}
		return respond(200), nil
	})
	n, _ := begin(t, p, func(c *Config) { c.StateDir = t.TempDir() })
	var all sync.WaitGroup
	s := session(t, hub.RoleWatch, "live/a")
	for i := range 4 {
		all.Go(func() {
			for k := range 200 {
				r := archive.Recording{Key: hub.Key{App: "live", Name: fmt.Sprint(i)}, ID: fmt.Sprint(k)}
				n.Recorded(record.Event{Kind: record.EventBegun, Recording: r})
				n.Recorded(record.Event{Kind: record.EventFinished, Recording: r})
				n.Totals()
				n.Ring().Since(uint64(k), 3)
			}
		})
	}
	all.Go(func() {
		for range 500 {
			n.Observe(hub.Event{Kind: hub.EventRefused, Key: s.Key(), Session: s, Reason: hub.ReasonDenied})
			n.Observe(tracks(hub.Key{App: "live", Name: "0"}))
			n.Observe(hub.Event{Kind: hub.EventLost, Lost: 1})
		}
	})
	all.Go(func() {
		n.Started()
		n.Draining()
		end(n, 50*time.Millisecond)
	})
	all.Wait()
}
