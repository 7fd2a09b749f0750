package hub_test

import (
	"bytes"
	"context"
	"errors"
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

// readerOf makes a reader of the test's stream.
func readerOf(t *testing.T, h *hub.Hub, opts hub.ReadOptions) *hub.Reader {
	t.Helper()
	r, err := h.Read(key, opts)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	return r
}

// readAll reads until nothing is due, in words; what was lost stands between them.
func readAll(r *hub.Reader) (story string, end hub.Reason) {
	var words []string
	var b hub.ReadBatch
	for {
		end = r.Read(&b, 1)
		if b.Lost > 0 {
			words = append(words, fmt.Sprintf("LOST:%d", b.Lost))
		}
		for _, p := range b.Packets {
			words = append(words, word(p.Tag))
		}
		if end != hub.ReasonNone || len(b.Packets) == 0 {
			return strings.Join(words, " "), end
		}
	}
}

// A reader begins at the first packet of the session, though viewers begin later, and sees
// everything as it was sent, in order, with the numbers and times of the stream.
func TestReaderFromSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("meta:av vc:s ac:c K:1@0 A:1@0 P:2@40 text:hi K:3@80 P:4@120 A:4@120")
		r := readerOf(t, h, hub.ReadOptions{FromSession: true})
		all := "meta:av@0 vc:s@0 ac:c@0 K:1@0 A:1@0 P:2@40 text:hi@40 K:3@80 P:4@120 A:4@120"
		got, end := readAll(r)
		assert.Equal(t, all, got)
		assert.Equal(t, hub.ReasonNone, end)
		live := readerOf(t, h, hub.ReadOptions{})
		got, _ = readAll(live)
		assert.Equal(t, "meta:av@80 vc:s@80 ac:c@80 K:3@80 P:4@120 A:4@120", got)

		p.send("P:5@160")
		var b hub.ReadBatch
		r.Read(&b, 1000)
		require.Len(t, b.Packets, 1)
		assert.Equal(t, uint64(7), b.Packets[0].Seq)
		assert.Equal(t, int64(160), b.Packets[0].Time)
		assert.False(t, b.Packets[0].Key || b.Packets[0].Header)

		p.Close()
		time.Sleep(time.Minute)
		got, end = readAll(r)
		assert.Empty(t, got)
		assert.Equal(t, hub.ReasonUnpublished, end)
	})
}

// A reader that begins further back than a reader may lag is not late for that: it reads
// all of it. When it has caught up it may lag no more than others.
func TestReaderBeginsFurtherBackThanMaxLag(t *testing.T) {
	for _, lag := range []hub.LagPolicy{hub.LagJump, hub.LagEnd} {
		synctest.Test(t, func(t *testing.T) {
			h := newHub(t, hub.Config{MaxLag: 500 * time.Millisecond, LogDuration: time.Minute})
			p := publish(t, h, client{})
			p.live = true
			p.send("vc:s K:0@0")
			ts := 40
			for range 5 {
				ts = p.sendEvery("P", ts, 40, 24)
				ts = p.sendEvery("K", ts, 40, 1)
			}
			r := readerOf(t, h, hub.ReadOptions{FromSession: true, Lag: lag})
			got, end := readAll(r)
			assert.Equal(t, hub.ReasonNone, end)
			assert.Regexp(t, `^meta:v@0 vc:s@0 K:0@0 P:40@40 `, got)
			assert.Len(t, strings.Fields(got), 2+ts/40)
			ts = p.sendEvery("P", ts, 40, 20)
			p.send(fmt.Sprintf("K:late@%d P:late@%d", ts, ts+40))
			got, end = readAll(r)
			if lag == hub.LagEnd {
				assert.Equal(t, hub.ReasonStalled, end)
			} else {
				assert.Regexp(t, `^LOST:20 K:late@`, got)
			}
		})
	}
}

// A reader counts nowhere, and keeps no stream waiting.
func TestReaderIsNoAudience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWitness(t)
		h := newHub(t, hub.Config{MaxViewers: 1, Observe: w.observe})
		_, err := h.Read(key, hub.ReadOptions{})
		assert.Equal(t, hub.ReasonNotFound, reasonOf(t, err))
		v := newSink(t, h, hub.WatchOptions{})
		_, err = h.Read(key, hub.ReadOptions{})
		assert.Equal(t, hub.ReasonNotFound, reasonOf(t, err), "somebody waits, nobody publishes")
		p := publish(t, h, client{})
		p.send("vc:s K:1@0")
		w.tell()
		r := readerOf(t, h, hub.ReadOptions{FromSession: true})
		assert.Equal(t, 1, info(t, h).Viewers)
		v.Close()
		other := newSink(t, h, hub.WatchOptions{})
		other.Close()
		assert.Len(t, h.Totals(), 2)
		p.Close()
		time.Sleep(time.Minute)
		assert.Empty(t, h.Streams())
		assert.NotContains(t, w.tell(), "joined")
		r.Close()
		r.Close()
		var b hub.ReadBatch
		assert.Equal(t, hub.ReasonClientLeft, r.Read(&b, 1))
	})
}

// A change of codec, a reconnect and a further track are seen, and end no reader.
func TestReaderSeesChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		r := readerOf(t, h, hub.ReadOptions{FromSession: true})
		p.send("vc:s ac:c K:1@0 A:1@0")
		got, _ := readAll(r)
		assert.Equal(t, "meta:av@0 vc:s@0 ac:c@0 K:1@0 A:1@0", got)
		p.send("hc:h HK:2@40 A:2@40 vs ve")
		time.Sleep(2 * time.Second)
		p.send("A:3@60")
		got, _ = readAll(r)
		assert.Contains(t, got, "hc:h@40")
		assert.Contains(t, got, "HK:2@40 A:2@40")
		assert.Contains(t, got, "A:3@60")
		p.Close()
		time.Sleep(time.Second)
		p = publish(t, h, client{})
		p.send("vc:n ac:c K:4@0 A:4@0")
		got, end := readAll(r)
		assert.Equal(t, hub.ReasonNone, end)
		assert.Regexp(t, `vc:n@\d+ .*K:4@\d+ A:4@\d+$`, got)
	})
}

// A session without the further tracks of the one before: a reader is told that those are in
// force no more, and is given all headers that are.
func TestReaderSeesTracksGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		further := flv.Tag{Type: flv.TypeAudio, Data: []byte("\x95\x00mp4a\x01\x12\x10")}
		p.send("meta:av vc:s ac:c")
		require.NoError(t, p.Write(further))
		p.send("K:1@0 A:1@0 P:2@40")
		r := readerOf(t, h, hub.ReadOptions{FromSession: true})
		var b hub.ReadBatch
		r.Read(&b, 1<<20)
		for _, packet := range b.Packets {
			assert.False(t, packet.Reset)
		}
		p.Close()
		p = publish(t, h, client{})
		p.send("meta:av vc:s ac:c K:1@0 A:1@0 P:2@40")
		r.Read(&b, 1<<20)
		var words []string
		for i, packet := range b.Packets {
			assert.Equal(t, i == 0, packet.Reset, i)
			if packet.Header {
				name, _, _ := strings.Cut(word(packet.Tag), "@")
				words = append(words, name)
			}
		}
		assert.Equal(t, []string{"meta:av", "vc:s", "ac:c"}, words)
	})
}

// What becomes of a reader that is slow is its own choice.
func TestSlowReader(t *testing.T) {
	for _, test := range []struct {
		name string
		opts hub.ReadOptions
		lost bool
		end  hub.Reason
	}{
		{"jumps", hub.ReadOptions{Lag: hub.LagJump}, true, hub.ReasonNone},
		{"ends", hub.ReadOptions{Lag: hub.LagEnd}, false, hub.ReasonStalled},
		{"has a budget", hub.ReadOptions{Lag: hub.LagBudget, Budget: hub.NewBudget(1 << 20)}, false, hub.ReasonNone},
		{"has a small budget", hub.ReadOptions{Lag: hub.LagBudget, Budget: hub.NewBudget(10 << 10)}, true, hub.ReasonNone},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{})
				p := publish(t, h, client{})
				p.live = true
				p.send("vc:s K:0@0")
				r := readerOf(t, h, test.opts)
				time.Sleep(2 * time.Second) // so that it starts
				p.send("P:40@40")
				readAll(r)
				ts := 80
				for range 60 {
					ts = p.sendEvery("K", ts, 40, 1)
					ts = p.sendEvery("P", ts, 40, 24)
					require.NoError(t, h.Check())
				}
				require.Len(t, h.Streams(), 1)
				logged, _ := h.Logged()
				assert.Less(t, logged, int64(20<<10), "what is kept for a reader does not count among the logs")
				if test.opts.Lag == hub.LagBudget {
					assert.LessOrEqual(t, test.opts.Budget.Used(), int64(1<<20))
					assert.Equal(t, !test.lost, test.opts.Budget.Used() > 10<<10)
				}
				got, end := readAll(r)
				assert.Equal(t, test.end, end)
				if test.end != hub.ReasonNone {
					return
				}
				frames := strings.Fields(got)
				first := 80
				if test.lost {
					require.Regexp(t, `^LOST:\d+ K:\d+@\d+ P`, got)
					assert.NotZero(t, r.Dropped())
					_, err := fmt.Sscanf(frames[1], "K:%d@", &first)
					require.NoError(t, err)
					frames = frames[1:]
				} else {
					assert.Zero(t, r.Dropped())
				}
				assert.Len(t, frames, (ts-first)/40, "nothing is missing from there on")
				if test.opts.Budget != nil {
					assert.Zero(t, test.opts.Budget.Used())
				}
				got, _ = readAll(r)
				assert.Empty(t, got)
				p.send(fmt.Sprintf("P:last@%d", ts))
				got, _ = readAll(r)
				assert.Equal(t, fmt.Sprintf("P:last@%d", ts), got)
			})
		})
	}
}

// A budget is shared: who takes most of it has to give way.
func TestSharedBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		budget := hub.NewBudget(100 << 10)
		big := strings.Repeat("x", 1000)
		var readers []*hub.Reader
		var publishers []*hub.Publisher
		for i := range 2 {
			k := hub.Key{App: "live", Name: itoa(i)}
			p, err := h.Publish(publisher(h, k), hub.PublishOptions{})
			require.NoError(t, err)
			defer p.Close()
			require.NoError(t, p.Write(tag("vc:s")))
			require.NoError(t, p.Write(tag("K:"+big)))
			r, err := h.Read(k, hub.ReadOptions{Lag: hub.LagBudget, Budget: budget, FromSession: true})
			require.NoError(t, err)
			defer r.Close()
			readers, publishers = append(readers, r), append(publishers, p)
		}
		time.Sleep(3 * time.Second)
		for i := range 2000 { // ten packets of one for each of the other
			n := 0
			if i%11 == 10 {
				n = 1
			}
			require.NoError(t, publishers[n].Write(tag(fmt.Sprintf("K:%s@%d", big, 40*i))))
			time.Sleep(10 * time.Millisecond)
			if i == 300 {
				assert.LessOrEqual(t, budget.Used(), int64(100<<10))
			}
			if i%400 == 0 && n == 0 {
				_, _ = readAll(readers[1])
			}
		}
		_, _ = readAll(readers[0])
		_, _ = readAll(readers[1])
		assert.NotZero(t, readers[0].Dropped())
		assert.Zero(t, readers[1].Dropped())
		assert.Zero(t, budget.Used())
		for _, r := range readers {
			r.Close()
		}
		assert.Zero(t, budget.Used())
	})
}

// A reader for which the budget had no room is charged for nothing that the log does not
// keep for it, and the log is kept for it again once it has caught up.
func TestReaderWithoutRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.live = true
		p.send("vc:s K:0@0")
		time.Sleep(3 * time.Second) // what a session begins with is kept for a while
		budget := hub.NewBudget(1 << 10)
		r := readerOf(t, h, hub.ReadOptions{Lag: hub.LagBudget, Budget: budget, FromSession: true})
		ts := 40
		cut := func() {
			for range 100 {
				if ts = p.sendEvery("K", ts, 40, 1); r.Cut() {
					break
				}
			}
			require.True(t, r.Cut())
			require.Zero(t, budget.Used())
		}
		cut()
		var b hub.ReadBatch
		r.Read(&b, 1)
		require.True(t, r.Cut(), "it is still behind")
		assert.Zero(t, budget.Used())
		ts = p.sendEvery("K", ts, 40, 1) // what it has not read is gone
		assert.Zero(t, budget.Used())

		readAll(r)
		cut()
		readAll(r) // in time
		require.False(t, r.Cut())
		dropped := r.Dropped()
		ts = p.sendEvery("K", ts, 40, 5)
		assert.NotZero(t, budget.Used())
		readAll(r)
		assert.Equal(t, dropped, r.Dropped())
	})
}

// What is kept for a reader only is no place for a viewer to begin: it may be gone at any
// moment.
func TestViewerBeginsWhereLogIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.live = true
		p.send("vc:s K:0@0")
		r := readerOf(t, h, hub.ReadOptions{Lag: hub.LagBudget, Budget: hub.NewBudget(1 << 20), FromSession: true})
		ts := 0
		for range 10 {
			ts = p.sendEvery("K", ts+40, 40, 1)
			ts = p.sendEvery("P", ts, 40, 24) - 40
		}
		v := watch(t, h, hub.WatchOptions{Back: 5 * time.Second})
		v.limit = 1
		require.True(t, v.pass())
		readAll(r)
		p.send(fmt.Sprintf("P:last@%d", ts+40))
		v.read()
		assert.Zero(t, v.Dropped())
		assert.Zero(t, r.Dropped())
	})
}

// A reader is told that there is something to read, as often as it reads, and no wake-up is
// lost, however slow it is.
func TestReaderWaits(t *testing.T) {
	h := newHub(t, hub.Config{PublisherGrace: -1})
	p := publish(t, h, client{})
	p.send("vc:s ac:c K:0@0 A:0@0")
	r := readerOf(t, h, hub.ReadOptions{FromSession: true, Lag: hub.LagBudget, Budget: hub.NewBudget(64 << 20)})
	const packets = 20_000
	go func() {
		for i := range packets {
			p.Write(tag(fmt.Sprintf("P:%d@%d", i, i)))
		}
		p.Close()
	}()
	rng := rand.New(rand.NewPCG(1, 1))
	next := 0
	var b hub.ReadBatch
	for {
		require.NoError(t, r.Wait(t.Context()))
		end := r.Read(&b, 1+rng.IntN(1000))
		require.Zero(t, b.Lost)
		for _, packet := range b.Packets {
			if packet.Type == flv.TypeVideo && !packet.Header && !packet.Key {
				require.Equal(t, itoa(next), string(packet.Data[5:]))
				next++
			}
		}
		if end != hub.ReasonNone {
			assert.Equal(t, hub.ReasonUnpublished, end)
			break
		}
	}
	assert.Equal(t, packets, next)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// The word of the end may come after the end was read.
	assert.Eventually(t, func() bool { return errors.Is(r.Wait(ctx), context.Canceled) }, 10*time.Second, time.Millisecond)
}

// A batch's packets are copies: they stay what they are when the log has gone on.
func TestReaderCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("vc:s K:first@0")
		r := readerOf(t, h, hub.ReadOptions{FromSession: true})
		time.Sleep(2 * time.Second)
		p.send("P:x@40")
		var b hub.ReadBatch
		r.Read(&b, 1<<20)
		was := bytes.Clone(b.Packets[2].Data)
		for i := range 500 {
			p.send(fmt.Sprintf("K:other%d@%d", i, 80+40*i))
			time.Sleep(40 * time.Millisecond)
		}
		assert.Equal(t, was, b.Packets[2].Data)
	})
}
