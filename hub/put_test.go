package hub_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// copier has a hub show what another one has, as an edge does: with the same times, and as encoded anew
// where that was. It is not for readers that lose something.
type copier struct {
	t     *testing.T
	from  *hub.Reader
	to    *source
	batch hub.ReadBatch
	any   bool
	all   []hub.Packet          // that it has copied, headers included
	at    map[uint64]hub.Packet // by the place that Put has said
}

func newCopier(t *testing.T, from, to *hub.Hub) *copier {
	c := &copier{t: t, at: make(map[uint64]hub.Packet)}
	c.from = readerOf(t, from, hub.ReadOptions{From: new(uint64), Lag: hub.LagBudget, Budget: hub.NewBudget(8 << 20)})
	p, err := pull(t, to, client{})
	require.NoError(t, err)
	c.to = p
	return c
}

func (c *copier) run() {
	c.t.Helper()
	for {
		c.from.Read(&c.batch, 1000)
		require.Zero(c.t, c.batch.Lost)
		if len(c.batch.Packets) == 0 {
			return
		}
		for _, p := range c.batch.Packets {
			if p.First && c.any {
				c.to.Restart()
			}
			c.any = true
			seq, appended, err := c.to.Put(p.Tag, p.Time)
			require.NoError(c.t, err)
			require.Equal(c.t, !p.Header, appended, "%+v", p)
			p.Data = bytes.Clone(p.Data)
			c.all = append(c.all, p)
			if appended {
				_, twice := c.at[seq]
				require.False(c.t, twice, "place %d twice", seq)
				c.at[seq] = p
			}
		}
	}
}

// anything is a publisher of whatever there is: pictures that are shown later than they are decoded, two tracks of
// sound, script data, mutes, clocks that are set and wrap, other codecs and other publishers.
type anything struct {
	t            *testing.T
	hub          *hub.Hub
	rng          *rand.Rand
	pub          *source
	audio, video bool
	clock        uint32 // what it adds to the time
	now          int    // ms
	mute         int    // until when it sends no sound
	picture      int    // when the next one is due
	frames       int
	sent         int
}

func (e *anything) publish() {
	if e.pub != nil {
		e.pub.Close()
	}
	e.pub = publish(e.t, e.hub, client{})
	e.begin()
}

// begin sends what comes before frames.
func (e *anything) begin() {
	if e.frames = 0; e.rng.IntN(3) == 0 {
		e.clock = math.MaxUint32 - uint32(e.now+e.rng.IntN(3000)) // it wraps soon
	} else if e.rng.IntN(2) == 0 {
		e.clock = e.rng.Uint32()
	}
	e.header()
}

func (e *anything) header() {
	e.send("meta:a", 0)
	if e.video {
		e.send(fmt.Sprintf("vc:%d", e.rng.IntN(100)), 0)
	}
	if e.audio {
		require.NoError(e.t, e.pub.Write(flv.Tag{Type: flv.TypeAudio, Data: []byte("\xaf\x00" + stereo)}))
	}
}

func (e *anything) send(word string, composition int) {
	t := tag(word)
	t.Timestamp = e.clock + uint32(e.now)
	if composition > 0 {
		t.Data[3], t.Data[4] = byte(composition>>8), byte(composition)
	}
	require.NoError(e.t, e.pub.Write(t))
}

// tick sends what is due within 20 ms.
func (e *anything) tick() {
	if e.now += 20; e.rng.IntN(50) == 0 {
		e.now += e.rng.IntN(300) // it was held up
	}
	time.Sleep(20 * time.Millisecond)
	e.sent++
	if e.video && e.now >= e.picture {
		e.picture = e.now + 40
		kind := "P"
		if e.frames%25 == 0 {
			kind = "K"
		}
		e.frames++
		e.send(fmt.Sprintf("%s:%d", kind, e.sent), 40*e.rng.IntN(4))
	}
	if e.audio && e.now >= e.mute {
		e.send(fmt.Sprintf("A:%d", e.sent), 0)
		body, err := flv.AppendAudio(nil, flv.Packet{
			Codec: flv.CodecOpus, Kind: flv.KindFrame, Enhanced: true, Multitrack: true, Track: 1, Payload: fmt.Append(nil, e.sent),
		})
		require.NoError(e.t, err)
		require.NoError(e.t, e.pub.Write(flv.Tag{Type: flv.TypeAudio, Timestamp: e.clock + uint32(e.now), Data: body}))
	}
	switch e.rng.IntN(150) {
	case 0:
		e.send(fmt.Sprintf("text:%d", e.sent), 0)
	case 1:
		e.clock = e.rng.Uint32()
	case 2:
		e.header()
	case 3:
		e.mute = e.now + e.rng.IntN(4000)
	case 4:
		e.pub.Restart()
		e.begin()
	case 5:
		e.publish()
	case 6:
		if e.video && e.audio {
			time.Sleep(time.Second)
		}
	}
}

// packetsOf are all packets of a stream that a reader gets, without metadata, which servers make anew.
func packetsOf(t *testing.T, r *hub.Reader) (all []hub.Packet) {
	var b hub.ReadBatch
	for {
		r.Read(&b, 1000)
		require.Zero(t, b.Lost)
		if len(b.Packets) == 0 {
			return all
		}
		for _, p := range b.Packets {
			p.Data = bytes.Clone(p.Data)
			all = append(all, p)
		}
	}
}

// frames are packets without what stands beside the log, and without what differs from hub to hub.
func frames(all []hub.Packet) (frames []hub.Packet) {
	for _, p := range all {
		if p.Header {
			continue
		}
		p.Seq, p.First, p.Key = 0, false, false
		frames = append(frames, p)
	}
	return frames
}

// firsts are the frames with which something begins, or whose headers do.
func firsts(all []hub.Packet) (firsts []hub.Packet) {
	for i, first := 0, false; i < len(all); i++ {
		if first = first || all[i].First; first && !all[i].Header {
			p := all[i]
			p.Seq, p.First, p.Key, first = 0, false, false, false
			firsts = append(firsts, p)
		}
	}
	return firsts
}

// headersAt are the codec headers in force at each frame, of its type: when they come before it depends on
// when it is read.
func headersAt(all []hub.Packet) (at []string) {
	force := make(map[flv.Type]string)
	for _, p := range all {
		if p.Reset {
			clear(force)
		}
		switch {
		case !p.Header:
			at = append(at, force[p.Type])
		case p.Type != flv.TypeScript:
			force[p.Type] = string(p.Data)
		}
	}
	return at
}

// A hub that copies another one has the same tags with the same times, and so has one that copies that,
// whatever the encoder does.
func TestCopies(t *testing.T) {
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			hubs := []*hub.Hub{newHub(t, hub.Config{}), newHub(t, hub.Config{}), newHub(t, hub.Config{})}
			rng := rand.New(rand.NewPCG(seed, 1))
			e := &anything{t: t, hub: hubs[0], rng: rng, audio: seed%4 != 1, video: seed%4 != 2}
			e.publish()
			ab := newCopier(t, hubs[0], hubs[1])
			bc := newCopier(t, hubs[1], hubs[2])
			c := readerOf(t, hubs[2], hub.ReadOptions{From: new(uint64), Lag: hub.LagBudget, Budget: hub.NewBudget(8 << 20)})
			var last []hub.Packet
			for i := range 1000 {
				e.tick()
				if rng.IntN(5) == 0 {
					ab.run()
				}
				if rng.IntN(5) == 0 {
					bc.run()
					last = append(last, packetsOf(t, c)...)
				}
				if i%50 == 0 {
					for _, h := range hubs {
						require.NoError(t, h.Check())
					}
				}
			}
			ab.run()
			bc.run()
			last = append(last, packetsOf(t, c)...)
			require.NotEmpty(t, ab.all)
			require.Equal(t, frames(ab.all), frames(bc.all), "seed %d", seed)
			require.Equal(t, frames(ab.all), frames(last), "seed %d", seed)
			require.Equal(t, firsts(ab.all), firsts(bc.all), "seed %d", seed)
			require.Equal(t, firsts(ab.all), firsts(last), "seed %d", seed)
			require.Equal(t, headersAt(ab.all), headersAt(last), "seed %d", seed)
			for _, p := range bc.all { // what Put says of where it has put something
				if was, ok := ab.at[p.Seq]; ok && !p.Header {
					require.Equal(t, was.Data, p.Data)
					require.Equal(t, was.Time, p.Time)
				} else if !p.Header {
					require.Fail(t, "nothing was put there", "%+v", p)
				}
			}
			for _, h := range hubs[1:] {
				require.Zero(t, h.Measure(nil)[0].Counts.Jumps)
			}
		})
	}
}

// put puts a word at a time.
func (s *source) put(word string, at int64) (seq uint64, appended bool) {
	s.t.Helper()
	seq, appended, err := s.Put(tag(word), at)
	require.NoError(s.t, err)
	return seq, appended
}

// Each word is where it is put, whatever its own timestamp is; it does not go back in its track. Headers and what
// is left out have no place in the log.
func TestPut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p, err := copied(t, h, client{})
		require.NoError(t, err)
		r := readerOf(t, h, hub.ReadOptions{From: new(uint64)})
		const hour = int64(time.Hour / time.Millisecond)
		const far = 1<<33 + 7 // the timestamps wrapped
		seq := uint64(0)
		for _, step := range []struct {
			word     string
			at       int64
			appended bool
			want     int64
		}{
			{"meta:av", 5, false, 0},
			{"vc:s", 5, false, 0},
			{"ac:s", 5, false, 0},
			{"P:no key frame yet", hour, false, 0},
			{"silence", hour, false, 0},
			{"A:0@77", hour + 5, true, hour + 5},
			{"K:1@5", hour, true, hour},
			{"text:hi@7", hour + 1, true, hour + 1}, // behind what is ahead
			{"P:2@4000000000", hour + 40, true, hour + 40},
			{"P:3@0", hour + 20, true, hour + 40}, // moved up
			{"P:4@0", hour + 80, true, hour + 80},
			{"vs:", hour + 80, false, 0},
			{"A:5@0", hour + 30_000, true, hour + 30_000}, // leaps are believed
			{"K:6@80", hour + 31_000, true, hour + 31_000},
			{"P:7@81", far, true, far},
			{"A:8@82", far - 5, true, far - 5},
		} {
			before := info(t, h)
			at, appended := p.put(step.word, step.at)
			require.Equal(t, step.appended, appended, step.word)
			if !appended {
				continue
			}
			assert.Equal(t, seq, at, step.word)
			seq++
			packets := packetsOf(t, r)
			require.NotEmpty(t, packets)
			last := packets[len(packets)-1]
			assert.Equal(t, at, last.Seq)
			assert.Equal(t, step.want, last.Time, step.word)
			assert.Equal(t, uint32(step.want), last.Timestamp)
			assert.Zero(t, before.Jumps)
		}
		head, own, ok := h.Head(key)
		assert.Equal(t, hub.Head{Life: p.Life(), Seq: seq, Time: far}, head)
		assert.True(t, ok)
		assert.False(t, own)
		assert.Equal(t, r.Life(), p.Life())

		p.Close()
		_, appended, err := p.Put(tag("P:9"), far+40)
		assert.False(t, appended)
		assert.Error(t, err)
		_, _, ok = h.Head(key)
		assert.False(t, ok)
	})
}

// A publisher of this hub that takes a copied stream over goes on with its clock, both of its tracks in
// sync as the encoder has them.
func TestOwnPublisherFollowsCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p, err := pull(t, h, client{})
		require.NoError(t, err)
		for _, w := range []string{"meta:av", "vc:s", "ac:c"} {
			p.put(w, 0)
		}
		const began = 1 << 40
		p.put("K:1@9", began)
		p.put("A:1@8", began+3)
		v := watch(t, h, hub.WatchOptions{FixedCodecs: true})
		assert.Equal(t, "meta:av@0 vc:s@0 ac:c@0 K:1@0 A:1@3", v.read())
		p.put("P:2@3", began+40)
		p.put("A:2@3", began+26)
		own := publish(t, h, client{})
		assert.Equal(t, []hub.Reason{hub.ReasonReplaced}, p.ended)
		_, _, err = p.Put(tag("P:3"), began+80)
		assert.Equal(t, hub.ReasonReplaced, reasonOf(t, err))
		own.send("meta:av vc:s ac:c K:3@700 A:3@702 P:4@740 A:4@725")
		assert.Equal(t, "P:2@40 A:2@26 K:3@80 A:3@82 P:4@120 A:4@105", v.read())
		assert.Equal(t, hub.ReasonNone, v.end)
	})
}

// Gaps in the sound are filled in the copy as well, for its own viewers; what is put behind silence has the place
// that Put returns. Readers of the copy get none of it.
func TestCopyIsFilled(t *testing.T) {
	for _, stands := range []bool{false, true} {
		t.Run(fmt.Sprintf("its clock stands %v", stands), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := newHub(t, hub.Config{}), newHub(t, hub.Config{})
				p := newSpeaker(t, a, stereo)
				p.stands = stands
				c := newCopier(t, a, b)
				p.run(time.Second)
				c.run()
				there, here := watch(t, a, inBrowser), watch(t, b, inBrowser)
				var shown, copy []flv.Tag
				run := func(d time.Duration) {
					for ; d > 0; d -= 20 * time.Millisecond {
						p.run(20 * time.Millisecond)
						c.run()
						shown, copy = append(shown, there.take()...), append(copy, here.take()...)
					}
				}
				p.muted = true
				run(4 * time.Second)
				p.muted = false
				run(6 * time.Second)
				own, filled := sounds(shown)
				copied, alike := sounds(copy)
				assert.NotEmpty(t, filled)
				assert.InDeltaSlice(t, filled, alike, 1, "where headers come again, it is rounded anew")
				assert.Equal(t, own, copied)
				r := readerOf(t, b, hub.ReadOptions{})
				for _, p := range packetsOf(t, r) {
					if !p.Header {
						assert.Equal(t, c.at[p.Seq].Data, p.Data)
					}
				}
			})
		})
	}
}

// Where the first hub left a gap as it was and its sound came later from then on, the copy, which filled
// it, plays that sound again as soon as it is in front of the silence.
func TestSilenceMakesWayInCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newHub(t, hub.Config{NoFillSilence: true}), newHub(t, hub.Config{})
		p := newSpeaker(t, a, stereo)
		p.stands = true
		c := newCopier(t, a, b)
		run := func(d time.Duration) {
			for ; d > 0; d -= 20 * time.Millisecond {
				p.run(20 * time.Millisecond)
				c.run()
			}
		}
		run(time.Second)
		v := watch(t, b, inBrowser)
		p.muted = true
		run(2 * time.Second)
		p.muted = false
		v.take()
		run(5 * time.Second)
		v.take()
		run(time.Second)
		own, filled := sounds(v.take())
		assert.Len(t, own, 50)
		assert.Empty(t, filled)
	})
}

// A track that goes silent, or is gone, is so in the copy, and viewers of one are told what those of the other are.
func TestTracksOfCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newHub(t, hub.Config{NoFillSilence: true}), newHub(t, hub.Config{NoFillSilence: true})
		p := newSpeaker(t, a, stereo)
		c := newCopier(t, a, b)
		run := func(d time.Duration) {
			for ; d > 0; d -= 20 * time.Millisecond {
				p.run(20 * time.Millisecond)
				c.run()
			}
		}
		run(time.Second)
		there, here := watch(t, a, inBrowser), watch(t, b, inBrowser)
		for _, muted := range []bool{true, false} {
			p.muted = muted
			run(5 * time.Second)
			assert.Equal(t, there.read(), here.read())
			assert.Equal(t, hub.ReasonCodecChanged, here.end)
			assert.Equal(t, there.end, here.end)
			assert.Equal(t, info(t, a).Audio, info(t, b).Audio)
			there, here = watch(t, a, inBrowser), watch(t, b, inBrowser)
			assert.Equal(t, there.read(), here.read())
			live := hub.WatchOptions{Start: hub.StartLive, FixedCodecs: true, Shape: browser} // in a squeeze
			assert.Equal(t, watch(t, a, live).read(), watch(t, b, live).read())
		}
		one, other := a.Measure(nil)[0], b.Measure(nil)[0]
		one.Session, other.Session, one.Since, other.Since = nil, nil, time.Time{}, time.Time{}
		one.Counts.Bytes, other.Counts.Bytes = 0, 0 // of headers, which come when they change
		one.Silence, other.Silence = 0, 0           // the last copy was later
		assert.Equal(t, one, other)
	})
}
