package hub_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// Tags that come when nobody has said for long that the process runs wait, and come out in their order, once, with
// the next one after that.
func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{Pulse: time.Second})
		p := publish(t, h, client{})
		p.send(av)
		v := watch(t, h, hub.WatchOptions{FixedCodecs: true})
		assert.Equal(t, "meta:av@0 vc:s@0 ac:c@0 K:1@0 A:1@0", v.read())
		time.Sleep(time.Second)
		p.send("P:2@40") // just in time
		assert.Equal(t, "P:2@40", v.read())
		for range 3 {
			time.Sleep(time.Nanosecond)
			body := tag("P:3@80")
			require.NoError(t, p.Write(body))
			clear(body.Data) // it is the caller's again
			p.send("A:3@80 vc:t K:4@120 A:4@120")
			assert.Empty(t, v.read())
			h.Beat(time.Now())
			assert.Empty(t, v.read(), "with the next one")
			p.send("P:5@160")
			assert.Equal(t, "P:3@80 A:3@80 vc:t@120 K:4@120 A:4@120 P:5@160", v.read())
			assert.Equal(t, hub.ReasonNone, v.end)
			p.send("P:6@200")
			assert.Equal(t, "P:6@200", v.read())

			p.Restart() // for the next round, on the same clock
			p.send("meta:av vc:s ac:c K:0@0 A:0@0")
			v.read()
			v = watch(t, h, hub.WatchOptions{FixedCodecs: true})
			v.read()
			time.Sleep(time.Second)
		}
	})
}

// What waits of a publisher that is displaced, or that somebody here replaces, reaches nobody.
func TestPulseAndDisplace(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, h *hub.Hub, p *source){
		"displaced": func(_ *testing.T, h *hub.Hub, _ *source) {
			h.Displace(key, &hub.Refusal{Reason: hub.ReasonReplaced}, nil)
		},
		"let go": func(t *testing.T, h *hub.Hub, _ *source) {
			_, _, err := h.Yield(key, claimant(client{Identity: "x"}))
			require.NoError(t, err)
		},
		"replaced": func(t *testing.T, h *hub.Hub, _ *source) { publish(t, h, client{Identity: "x"}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{Pulse: time.Second})
				p := publish(t, h, client{Identity: "x"})
				p.send(av)
				r := readFrom(t, h, 0)
				v := watch(t, h, hub.WatchOptions{})
				packetsOf(t, r)
				v.read()
				time.Sleep(5 * time.Second)
				p.send("P:2@40 K:3@80")
				before, _, _ := h.Head(key)
				end(t, h, p)
				assert.Equal(t, hub.ReasonReplaced, reasonOf(t, p.Write(tag("P:4@120"))), "while nothing is said")
				h.Beat(time.Now())
				assert.Equal(t, hub.ReasonReplaced, reasonOf(t, p.Write(tag("P:5@160"))))
				assert.Equal(t, hub.ReasonReplaced, reasonOf(t, p.Write(tag("P:6@200"))))
				p.Close()
				after, _, _ := h.Head(key)
				assert.Equal(t, before, after)
				assert.Empty(t, packetsOf(t, r))
				assert.Empty(t, v.read())
			})
		})
	}
}

// A copy never waits: it is what others have by now.
func TestPulseAndCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{Pulse: time.Second})
		p, err := copied(t, h, client{})
		require.NoError(t, err)
		time.Sleep(time.Hour)
		p.send(av)
		_, appended := p.put("P:2", 40)
		assert.True(t, appended)
		assert.Equal(t, "meta:av@0 vc:s@0 ac:c@0 K:1@0 A:1@0 P:2@40", watch(t, h, hub.WatchOptions{}).read())
	})
}

// Of a publisher that sends more than can wait, however small its tags are, nothing is kept.
func TestPulseIsBounded(t *testing.T) {
	for _, size := range []int{1 << 20, 1000, 0} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{Pulse: time.Second})
				p := publish(t, h, client{})
				time.Sleep(time.Minute)
				data, n := make([]byte, size), 0
				var err error
				for ; err == nil; n++ {
					err = p.Write(flv.Tag{Type: flv.TypeVideo, Data: data})
				}
				assert.Equal(t, hub.ReasonConnection, reasonOf(t, err))
				assert.ErrorContains(t, err, "stood still")
				assert.Equal(t, 8<<20/(size+40), n-1)
				h.Beat(time.Now())
				assert.ErrorIs(t, p.Write(tag("K:1")), err)
				assert.Equal(t, "grace", info(t, h).State)
				assert.Zero(t, info(t, h).BytesIn)
			})
		})
	}
}

// A restart has its place among what waits.
func TestPulseAndRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{Pulse: time.Second})
		p := publish(t, h, client{})
		p.send("meta:v vc:s K:1@0")
		time.Sleep(1100 * time.Millisecond)
		p.send("P:2@40")
		p.Restart()
		p.send("meta:v vc:s K:3@0")
		p.Restart()
		h.Beat(time.Now())
		p.send("vc:s K:4@7 P:5@47")
		r := readFrom(t, h, 0)
		assert.Equal(t, "|meta:v vc:s K:1 P:2 |K:3 |K:4 P:5", beginnings(r))
	})
}

// Whenever the process stands still, what is sent comes out once and in order, and never while it stands.
func TestPulseModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(4, 4))
		h := newHub(t, hub.Config{Pulse: time.Second})
		p := publish(t, h, client{})
		p.send("meta:v vc:s K:0@0")
		r := readerOf(t, h, hub.ReadOptions{From: new(uint64), Lag: hub.LagBudget, Budget: hub.NewBudget(8 << 20)})
		readAll(r)
		last := time.Now()
		var want []string
		for i := 1; i < 3000; i++ {
			switch rng.IntN(10) {
			case 0:
				time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
			case 1, 2:
				h.Beat(time.Now())
				last = time.Now()
			default:
				time.Sleep(20 * time.Millisecond)
			}
			word := fmt.Sprintf("K:%d", i)
			p.send(fmt.Sprintf("%s@%d", word, i))
			want = append(want, word)
			if got := beginnings(r); time.Since(last) > time.Second {
				require.Empty(t, got)
			} else {
				require.Equal(t, strings.Join(want, " "), got)
				want = nil
			}
		}
	})
}
