package hub_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// film is a publisher that sends a picture every 40 ms, on a fake clock, and a
// key frame every so many. The payload of a picture is its number.
type film struct {
	*source
	gop, sent int
}

func newFilm(t *testing.T, h *hub.Hub, gop int) *film {
	p := publish(t, h, client{})
	p.live = true
	p.send("meta:v vc:s")
	return &film{source: p, gop: gop}
}

func (f *film) run(d time.Duration) {
	f.t.Helper()
	for range d / (40 * time.Millisecond) {
		kind := "P"
		if f.sent%f.gop == 0 {
			kind = "K"
		}
		f.sendEvery(kind, f.sent*40, 40, 1)
		f.sent++
	}
}

// inGOP returns how many pictures of the newest GOP were sent.
func (f *film) inGOP() int { return (f.sent-1)%f.gop + 1 }

// slack is how many packets a log may hold because the cursors were not looked at
// since.
const slack = 250/40 + 1

// held returns how many packets the log of the test's stream holds.
func held(h *hub.Hub) int { return h.Held(key) }

// The log is as short with viewers who are up to date as without any.
func TestViewersUpToDateHoldNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		f := newFilm(t, h, 50)
		f.run(400 * time.Millisecond)
		newSink(t, h, hub.WatchOptions{}) // it never starts
		assert.Equal(t, f.sent, held(h))
		quick := watch(t, h, hub.WatchOptions{})
		merged := watch(t, h, hub.WatchOptions{})
		for step := range 200 {
			f.run(40 * time.Millisecond)
			quick.read()
			if step%3 == 0 {
				merged.read()
			}
			most := f.inGOP()
			if most <= slack {
				most += slack
			}
			require.LessOrEqual(t, held(h), most, "at picture %d", f.sent)
			require.NoError(t, h.Check())
		}
		assert.Zero(t, quick.Dropped()+merged.Dropped())
	})
}

// Without video too, the log is no longer than who joins needs it, once the beginning of
// the session is past, which is kept for readers.
func TestListenersUpToDateHoldNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.live = true
		p.send("meta:a ac:c A:0@0")
		v := watch(t, h, hub.WatchOptions{})
		for at := 20; at < 10_000; at += 20 {
			p.sendEvery("A", at, 20, 1)
			v.read()
			if at > 2000+250 {
				require.LessOrEqual(t, held(h), (400+250)/20+2)
			}
		}
		assert.Zero(t, v.Dropped())
	})
}

// A viewer that is slow, but not beyond MaxLag, loses nothing, and the log is kept
// for it and no longer than that.
func TestSlowViewerHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		f := newFilm(t, h, 25)
		f.run(40 * time.Millisecond)
		slow, quick := watch(t, h, hub.WatchOptions{}), watch(t, h, hub.WatchOptions{})
		got := len(slow.take())
		for range 10 {
			for range 4900 / 40 {
				f.run(40 * time.Millisecond)
				quick.take()
			}
			assert.GreaterOrEqual(t, held(h), 4900/40)
			got += len(slow.take())
			f.run(2 * time.Second)
			got += len(slow.take())
			quick.take()
			assert.LessOrEqual(t, held(h), f.inGOP()+50)
		}
		assert.Equal(t, 2+f.sent, got, "headers, and every picture")
		assert.Zero(t, slow.Dropped())
	})
}

// A viewer that takes nothing holds what is younger than MaxLag, and nothing any
// more once it is later than that: it will jump.
func TestStalledViewerHoldsNothingForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{MaxLag: 3 * time.Second})
		f := newFilm(t, h, 50)
		f.run(40 * time.Millisecond)
		stalled, quick := watch(t, h, hub.WatchOptions{}), watch(t, h, hub.WatchOptions{})
		stalled.take()
		for f.sent < 500 {
			f.run(40 * time.Millisecond)
			quick.take()
			require.LessOrEqual(t, held(h), f.inGOP()+3000/40+slack)
			if f.sent > (3000+2000)/40+slack && f.inGOP() > slack {
				require.Equal(t, f.inGOP(), held(h))
			}
		}
		f.run(40 * time.Millisecond)
		assert.Equal(t, "K:20000@20000", stalled.read())
		assert.Zero(t, quick.Dropped())
	})
}

// Nor does one that can't jump, because its stream ends before the next key frame.
func TestStalledViewerAtItsEndHoldsNothingForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{MaxLag: 3 * time.Second})
		p := publish(t, h, client{})
		p.live = true
		p.send("meta:v vc:s K:0@0")
		stalled := watch(t, h, hub.WatchOptions{FixedCodecs: true})
		p.send("P:1@40 P:2@80 hc:s")
		for at := 120; at < 10_000; at += 40 {
			p.sendEvery("HK", at, 40, 1)
			require.LessOrEqual(t, held(h), 3000/40+1)
			require.NoError(t, h.Check())
		}
		assert.LessOrEqual(t, held(h), slack, "what it needed is gone")
		assert.Empty(t, stalled.read())
		assert.Equal(t, hub.ReasonCodecChanged, stalled.end)
	})
}

// A paused viewer holds nothing. When it goes on, it is like any other.
func TestPausedViewerHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		f := newFilm(t, h, 25)
		f.run(40 * time.Millisecond)
		v := watch(t, h, hub.WatchOptions{})
		v.take()
		v.Pause(true)
		for f.sent < 25+slack {
			f.run(40 * time.Millisecond)
			assert.Empty(t, v.take())
		}
		assert.LessOrEqual(t, held(h), slack)
		f.run(400 * time.Millisecond)
		assert.Equal(t, f.inGOP(), held(h))

		v.Pause(false)
		f.run(3 * time.Second)
		tags := v.take()
		assert.Equal(t, "K:4000@4000", word(tags[len(tags)-f.inGOP()]))
		v.Pause(true)
		v.Pause(false)
		f.run(3 * time.Second)
		assert.Len(t, v.take(), 75)
		assert.Zero(t, v.Dropped())
	})
}

// Whoever reads within MaxLag sees every picture from its first one on, whatever
// the GOP, and however viewers come, read, pause and go.
func TestNothingIsLostWithinMaxLag(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			h := newHub(t, hub.Config{MaxLag: 2 * time.Second})
			f := newFilm(t, h, 1+rng.IntN(45)) // whoever joins is within MaxLag too
			f.run(40 * time.Millisecond)
			viewers := make([]*reader, 8)
			for f.sent < 1500 {
				f.run(40 * time.Millisecond)
				for i, r := range viewers {
					switch {
					case r == nil:
						if rng.IntN(20) == 0 {
							viewers[i] = &reader{sink: watch(t, h, hub.WatchOptions{}), film: f, mayJump: true}
						}
					case f.sent-r.looked >= r.patience:
						r.look(rng)
					case rng.IntN(300) == 0:
						r.Close()
						viewers[i] = nil
					}
				}
				require.NoError(t, h.Check())
			}
		})
	}
}

// reader is a viewer that looks now and then.
type reader struct {
	*sink
	film     *film
	next     int  // picture that must come next
	mayJump  bool // ... or a key frame
	looked   int  // when, in pictures
	patience int  // how long until it looks again
}

func (r *reader) look(rng *rand.Rand) {
	r.limit = 1 + rng.IntN(5000)
	for more := true; more && r.end == hub.ReasonNone; {
		more = r.pass()
	}
	for _, tag := range r.tags {
		if tag.Type != flv.TypeVideo || tag.Data[1] == 0 {
			continue
		}
		n := 0
		for _, c := range tag.Data[5:] {
			n = 10*n + int(c-'0')
		}
		n /= 40
		if n != r.next && !(r.mayJump && n%r.film.gop == 0) {
			r.t.Errorf("picture %d for %d, of GOPs of %d", n, r.next, r.film.gop)
		}
		r.next, r.mayJump = n+1, false
	}
	r.tags = nil
	assert.Zero(r.t, r.Dropped())
	r.looked, r.patience = r.film.sent, rng.IntN(2000/40)
	if rng.IntN(20) == 0 {
		r.Pause(true)
		r.pass()
		r.Pause(false)
		r.mayJump = true
	}
}
