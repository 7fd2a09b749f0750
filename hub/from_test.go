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

// readFrom makes a reader that begins at a packet.
func readFrom(t *testing.T, h *hub.Hub, seq uint64) *hub.Reader {
	t.Helper()
	return readerOf(t, h, hub.ReadOptions{From: &seq})
}

// A reader begins with whichever packet of the log it names, after the headers that are in force there,
// or with what follows next; else with the newest key frame. It does not matter whether the publisher is there,
// nor for how long it has been.
func TestReaderFrom(t *testing.T) {
	for _, state := range []string{"live", "grace", "undecided", "tail"} {
		t.Run(state, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := hub.Config{LogDuration: time.Minute}
				if state == "tail" {
					cfg.LogDuration = 0
				}
				h := newHub(t, cfg)
				p := publish(t, h, client{})
				p.send("meta:av vc:s ac:c K:1@0 A:1@0 P:2@40 text:hi A:2@23")
				time.Sleep(3 * time.Second) // what a session begins with is kept for some time
				p.send("vc:t K:3@80 P:4@120 A:4@120 ac:d A:5@143")
				force := []string{0: "vc:s ac:c", 5: "vc:t ac:c", 8: "vc:t ac:d", 9: "vc:t ac:d"}
				switch state {
				case "grace":
					p.Close()
				case "undecided":
					p.Close()
					p = publish(t, h, client{})
					p.send("meta:av K:8@0") // it is not known whether sound follows
				}
				head, _, ok := h.Head(key)
				require.True(t, ok)
				all := packetsOf(t, readerOf(t, h, hub.ReadOptions{From: new(uint64)}))
				tail := all[0].Seq
				if state == "tail" {
					require.Equal(t, uint64(5), tail)
				} else {
					require.Zero(t, tail)
				}
				for seq := tail; seq <= head.Seq; seq++ {
					r := readFrom(t, h, seq)
					got := packetsOf(t, r)
					if seq == head.Seq {
						require.Empty(t, got)
						continue
					}
					in := ""
					for i := seq + 1; in == ""; i-- {
						in = force[i-1]
					}
					var before, after []flv.Tag
					for _, p := range got {
						require.GreaterOrEqual(t, p.Seq, seq)
						if p.Header && p.Seq == seq {
							before = append(before, flv.Tag{Type: p.Type, Data: p.Data})
						} else if !p.Header {
							after = append(after, p.Tag)
						}
					}
					require.Equal(t, "meta:av@0 "+strings.ReplaceAll(in, " ", "@0 ")+"@0", words(before), "from %d", seq)
					var want []flv.Tag
					for _, p := range all {
						if !p.Header && p.Seq >= seq {
							want = append(want, p.Tag)
						}
					}
					require.Equal(t, words(want), words(after), "from %d", seq)
				}
				for _, seq := range []uint64{head.Seq + 1, tail - 1} {
					if state == "grace" || state == "undecided" {
						continue // there is no newest key frame
					}
					got := packetsOf(t, readFrom(t, h, seq))
					require.Equal(t, uint64(5), got[0].Seq, "the newest key frame")
				}
				next := readFrom(t, h, head.Seq)
				other := readFrom(t, h, head.Seq+1)
				if state == "grace" {
					p = publish(t, h, client{})
				}
				if state == "grace" || state == "undecided" {
					p.send("vc:u ac:u")
				}
				p.send("K:9@1000 A:9@1000")
				got, _ := readAll(next)
				assert.Regexp(t, `^meta:av@\d+ vc:\w@\d+ ac:\w@\d+ K:9@\d+ A:9@\d+$`, got)
				got, _ = readAll(other)
				assert.Contains(t, got, "K:9")
			})
		})
	}
}

// In a stream that has ended, a reader that has named a packet gets all from there on.
func TestReaderFromEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{LogDuration: time.Minute})
		p := publish(t, h, client{})
		p.send("meta:v vc:s K:1@0 P:2@40 P:3@80")
		r, head := readFrom(t, h, 1), readFrom(t, h, 3)
		p.Close()
		time.Sleep(time.Minute)
		got, end := readAll(r)
		assert.Equal(t, "meta:v@40 vc:s@40 P:2@40 P:3@80", got)
		assert.Equal(t, hub.ReasonUnpublished, end)
		got, end = readAll(head)
		assert.Empty(t, got)
		assert.Equal(t, hub.ReasonUnpublished, end)
		_, err := h.Read(key, hub.ReadOptions{From: new(uint64)})
		assert.Equal(t, hub.ReasonNotFound, reasonOf(t, err))
		life := r.Life()
		again := publish(t, h, client{})
		assert.NotEqual(t, life, again.Life())
	})
}

// beginnings reads until nothing is due, in words without their times; each First has a bar before it.
func beginnings(r *hub.Reader) string {
	var all []string
	var b hub.ReadBatch
	for {
		end := r.Read(&b, 1)
		for _, p := range b.Packets {
			w, _, _ := strings.Cut(word(p.Tag), "@")
			if p.First {
				w = "|" + w
			}
			all = append(all, w)
		}
		if end != hub.ReasonNone || len(b.Packets) == 0 {
			return strings.Join(all, " ")
		}
	}
}

// What was not encoded in one go with what came before says so once, at its first header or packet; nothing else does.
func TestFirst(t *testing.T) {
	again := "meta:av vc:s ac:c K:3@0 A:3@0"
	for name, test := range map[string]struct {
		then func(t *testing.T, h *hub.Hub, p *source)
		want string
	}{
		"other headers": {func(_ *testing.T, _ *hub.Hub, p *source) { p.send("vc:t ac:d K:3@80 A:3@80") }, "vc:t ac:d K:3 A:3"},
		"other codecs":  {func(_ *testing.T, _ *hub.Hub, p *source) { p.send("hc:t HK:3@80") }, "meta:av hc:t HK:3"},
		"it comes back": {func(t *testing.T, h *hub.Hub, p *source) {
			p.Close()
			time.Sleep(time.Second)
			publish(t, h, client{}).send(again)
		}, "|K:3 A:3"},
		"it comes back, with other headers": {func(t *testing.T, h *hub.Hub, p *source) {
			p.Close()
			publish(t, h, client{}).send("meta:av vc:t ac:c K:3@0 P:4@40 A:3@0")
		}, "|vc:t K:3 P:4 A:3"},
		"somebody takes it over": {func(t *testing.T, h *hub.Hub, p *source) {
			time.Sleep(time.Hour)
			publish(t, h, client{}).send(again, "A:4@20")
		}, "|K:3 A:3 A:4"},
		"somebody comes and sends nothing": {func(t *testing.T, h *hub.Hub, p *source) {
			for range 3 {
				p.Close()
				p = publish(t, h, client{})
			}
			p.send("meta:av vc:s ac:c A:2@0 P:2@0 text:hi K:3@40")
		}, "|A:2 text:hi K:3"},
		"it restarts": {func(_ *testing.T, _ *hub.Hub, p *source) {
			p.Restart()
			p.send(again, "P:4@40")
			p.Restart()
			p.Restart()
			p.send("vc:s ac:c text:5 K:5@0")
		}, "|K:3 A:3 P:4 |text:5 K:5"},
		"it is let go, and copied": {func(t *testing.T, h *hub.Hub, _ *source) {
			time.Sleep(time.Hour)
			_, _, err := h.Yield(key, hub.Claimant{})
			require.NoError(t, err)
			p, err := pull(t, h, client{})
			require.NoError(t, err)
			p.send(again)
			publish(t, h, client{}).send(again)
		}, "|K:3 A:3 |K:3 A:3"},
		"sound is gone, and back": {func(_ *testing.T, _ *hub.Hub, p *source) {
			p.live, p.clock = true, 40
			for ts := 80; ts < 6000; ts += 40 {
				p.send(fmt.Sprintf("P:%d@%d", ts, ts))
			}
			p.send("A:3@6000")
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{LogDuration: time.Hour})
				p := publish(t, h, client{})
				p.send("meta:av vc:s ac:c A:1@0 K:1@0 A:2@23 P:2@40")
				all, live := readFrom(t, h, 0), readerOf(t, h, hub.ReadOptions{})
				session := readerOf(t, h, hub.ReadOptions{FromSession: true})
				second, next := readFrom(t, h, 1), readFrom(t, h, 4)
				var batch hub.ReadBatch
				next.Read(&batch, 1)
				assert.Equal(t, "|meta:av vc:s ac:c A:1 K:1 A:2 P:2", beginnings(all))
				assert.Equal(t, "|meta:av vc:s ac:c A:1 K:1 A:2 P:2", beginnings(session))
				assert.Equal(t, "meta:av vc:s ac:c K:1 A:2 P:2", beginnings(live))
				assert.Equal(t, "meta:av vc:s ac:c K:1 A:2 P:2", beginnings(second))
				head, _, _ := h.Head(key)
				test.then(t, h, p)
				got := beginnings(all)
				if test.want != "" {
					assert.Equal(t, test.want, got)
				} else {
					assert.NotContains(t, got, "|")
				}
				assert.Equal(t, got, beginnings(live))
				assert.Equal(t, got, beginnings(second))
				anew := beginnings(readFrom(t, h, head.Seq))
				assert.Equal(t, strings.HasPrefix(got, "|"), strings.HasPrefix(anew, "|"), anew)
				assert.Equal(t, strings.Count(got, "|"), strings.Count(anew, "|"), anew)
				assert.Equal(t, strings.Count(got, "|"), strings.Count(beginnings(next), "|"))
				assert.Equal(t, strings.Count(got, "|")+1, strings.Count(beginnings(readFrom(t, h, 0)), "|"))
			})
		})
	}
}

// Of two publishers, each that is shown begins something, once.
func TestFirstOfTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		main, backup, v := pair(t, h)
		r := readFrom(t, h, 0)
		assert.Equal(t, "|meta:av vc:s ac:c K:m1 A:m1", beginnings(r))
		require.NoError(t, h.Switch(key))
		main.send("P:m2@5040")
		backup.send("P:b3@80")
		assert.Equal(t, "P:m2", beginnings(r))
		backup.send("K:b4@120 A:b4@120 K:b5@160")
		assert.Equal(t, "|K:b4 A:b4 K:b5", beginnings(r))
		backup.Close()
		assert.Empty(t, beginnings(r))
		main.send("P:m3@5080 K:m4@5120 A:m4@5120")
		assert.Equal(t, "|K:m4 A:m4", beginnings(r))
		v.read()
		assert.Equal(t, hub.ReasonNone, v.end)
	})
}

// A reader that is too slow for the beginning of something is told with what it gets of it.
func TestFirstIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{MaxLag: time.Second})
		p := publish(t, h, client{})
		p.live = true
		p.send("meta:v vc:s K:1@0 P:2@40")
		r := readFrom(t, h, 0)
		r.Read(new(hub.ReadBatch), 1)
		p.Restart()
		p.clock = 0
		p.send("vc:s K:3@0 P:4@1000 K:5@2000 P:6@2040 K:7@4000")
		late := readFrom(t, h, 1)
		assert.Equal(t, "|meta:v K:7", beginnings(r))
		assert.NotContains(t, beginnings(late), "|")
	})
}

// A reader that is closed and opened anew at random, where it had come to, misses nothing and gets nothing
// twice but what it is told is lost, and knows where something begins, while publishers come and go.
func TestReaderFromModel(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 2))
			h := newHub(t, hub.Config{MaxLag: 2 * time.Second})
			var p *source
			starts := make(map[uint64]bool)
			ts := 0
			begin := func() {
				if p == nil || rng.IntN(2) == 0 {
					if p != nil {
						p.Close()
						time.Sleep(time.Duration(rng.IntN(2000)) * time.Millisecond)
					}
					p = publish(t, h, client{})
				} else {
					p.Restart()
				}
				p.send("meta:av", fmt.Sprintf("vc:%d ac:%d", rng.IntN(2), rng.IntN(2)))
				head, _, _ := h.Head(key)
				starts[head.Seq] = true
				ts = 0
			}
			begin()
			truth := readerOf(t, h, hub.ReadOptions{From: new(uint64), Lag: hub.LagBudget, Budget: hub.NewBudget(8 << 20)})
			all := make(map[uint64]string)
			note := func() {
				for _, p := range packetsOf(t, truth) {
					if p.Header {
						continue
					}
					all[p.Seq] = word(p.Tag)
				}
			}
			r := readFrom(t, h, 0)
			next, began, fresh := uint64(0), uint64(0), true
			lost, got, opened := uint64(0), 0, 0
			var b hub.ReadBatch
			read := func() {
				for {
					end := r.Read(&b, 1+rng.IntN(200))
					require.Equal(t, hub.ReasonNone, end)
					if len(b.Packets) == 0 {
						return
					}
					lost += b.Lost
					for i, p := range b.Packets {
						if fresh && b.Lost == 0 && p.Seq > next { // what it named was gone
							require.Contains(t, all[p.Seq], "K:")
							lost += p.Seq - next
							next, began = p.Seq, p.Seq
						}
						fresh = false
						first := false
						for seq := began; seq <= p.Seq; seq++ {
							first = first || starts[seq]
						}
						began = p.Seq + 1
						require.Equal(t, first, p.First, "seed %d: packet %d", seed, p.Seq)
						if i == 0 {
							next += b.Lost
						}
						require.Equal(t, next, p.Seq)
						if next = p.Seq; p.Header {
							continue
						}
						next++
						got++
						require.Equal(t, all[p.Seq], word(p.Tag))
						delete(all, p.Seq) // once
					}
				}
			}
			for i := range 2000 {
				time.Sleep(20 * time.Millisecond)
				kind := "P"
				switch {
				case ts%2 == 1:
					kind = "A"
				case ts%30 == 0:
					kind = "K"
				}
				p.send(fmt.Sprintf("%s:%d@%d", kind, i, ts*20))
				ts++
				note()
				switch rng.IntN(40) {
				case 0, 1, 2, 3, 4, 5, 6, 7:
					read()
				case 8, 9, 10:
					r.Close()
					opened++
					r = readFrom(t, h, next)
					began, fresh = next, true
					if rng.IntN(2) == 0 {
						read()
					}
				case 11:
					if rng.IntN(6) == 0 {
						begin()
					}
				case 12:
					for range rng.IntN(6) { // it is slow
						time.Sleep(500 * time.Millisecond)
						p.send(fmt.Sprintf("K:%d@%d", i, ts*20))
						ts++
						note()
					}
				}
			}
			read()
			assert.Greater(t, got, 1000)
			assert.Greater(t, opened, 50)
			assert.Equal(t, int(next), got+int(lost))
		})
	}
}
