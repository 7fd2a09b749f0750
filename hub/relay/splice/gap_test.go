package splice

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"sluice/flv"
)

// A gap that is longer than what the server has: one cut, and from its key frame on all that the
// connection brings, as it brings it.
func TestGapBeyondCache(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	for i, cam := range cameras {
		if cam.silence || cam.still > 0 || cam.bits != 0 {
			continue
		}
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			for range 3 * long() {
				g := newRig(t, rng, cam, 40_000+3*cam.gop*1000/max(cam.fps, 1))
				end := 1 + rng.IntN(len(g.shots)/3)
				g.connect(0, connecting{first: -1}, end)
				at := g.shots[end-1].at + rng.IntN(1000)
				for g.cacheAt(g.now(at), 0) <= end {
					if cam.fps == 0 {
						break
					}
					at += 500
				}
				c := connecting{base: rng.Uint32(), swap: rng.IntN(3) * 60, flush: rng.IntN(2) == 0}
				if cam.fps == 0 {
					c.first = end + 1
					at = g.shots[end+2].at
				}
				g.run.Begin()
				last := min(g.now(at)+50+rng.IntN(500), len(g.shots))
				first := g.connect(at, c, last)
				require.Equal(t, Cut, g.run.Outcome())
				require.Len(t, g.cuts, 1)
				require.EqualValues(t, 1, g.run.Counts().Cuts)
				require.True(t, g.run.New())
				before := &rig{t: t, out: g.out[:g.cuts[0]], shots: g.shots, sent: end, cam: cam}
				before.whole(0)
				after := g.out[g.cuts[0]:]
				for j, h := range cam.headers() {
					require.Equal(t, h.Data, after[j].Data)
				}
				rest := &rig{t: t, out: after, sent: last - first, cam: cam}
				for _, s := range g.shots[first:last] {
					s.Timestamp -= c.base
					rest.shots = append(rest.shots, s)
				}
				rest.whole(0)
			}
		})
	}
}

// Where all bytes come again, GOP after GOP, nothing but the clock tells where a connection belongs.
// It is joined without a cut, however long the gap was, and all has its time.
func TestStillPictureAndSilence(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	for i, cam := range []camera{
		{fps: 25, gop: 50, sound: 21333, silence: true, still: 1},
		{fps: 25, gop: 50, sound: 21333, silence: true, still: 2},
		{fps: 30, gop: 30, slices: 2, sound: 23220, silence: true, still: 1},
		{fps: 25, gop: 50, still: 1},
		{fps: 25, gop: 50, still: 2},
		{fps: 5, gop: 50, still: 1, sound: 20000, silence: true},
		{sound: 20000, silence: true},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			length := 40_000 * long()
			g := newRig(t, rng, cam, length)
			at, breaks, lost := 0, 0, 0
			for c := (connecting{first: -1}); at < length-10_000; breaks++ {
				was := g.sent
				ends := min(max(g.now(at), g.sent)+1+rng.IntN(400), len(g.shots))
				if breaks == 0 && cam.fps > 0 {
					ends = g.now(2100 * cam.gop / cam.fps) // it takes two key frames to know when bytes come again
				}
				first := g.connect(at, c, ends)
				if len(g.cuts) > 0 && cam.still > 1 { // after a gap it knows one of the two key frames only
					g.out, g.sent = g.out[:g.cuts[0]], was
					break
				}
				lost += max(0, first-was)
				if off := diff(g.run.offset, c.base); g.run.Outcome() == Joined && off != 0 {
					t.Fatalf("off by %d at %d: %d to %d, %d of them in its burst, %d were sent, %+v", off, at, first, ends, g.now(at)-first, was, c)
				}
				require.Empty(t, g.cuts, "%v at %d: %d to %d, %+v", g.run.Outcome(), at, first, ends, c)
				at = max(at, g.shots[ends-1].at) + 1 + rng.IntN(1000)
				if rng.IntN(3) == 0 {
					at += rng.IntN(8000)
				}
				c = connecting{gops: rng.IntN(3), base: rng.Uint32(), swap: rng.IntN(3) * 60, flush: rng.IntN(3) == 0, late: rng.IntN(2) * 40}
				if cam.fps == 0 {
					c.swap, c.late = 0, 0 // that much less is known of the time
				}
				g.run.Begin()
			}
			t.Logf("%d breaks, %d of %d packets lost, %+v", breaks, lost, g.sent, g.run.Counts())
			g.part(lost, 0)
		})
	}
}

// part requires that what came out are parts of the unbroken stream, in order and each packet at its
// time, ±slack, but for at most lost packets.
func (g *rig) part(lost int, slack int32) {
	g.t.Helper()
	for _, typ := range []flv.Type{flv.TypeVideo, flv.TypeAudio} {
		i, missing := 0, 0
		var want []shot
		for _, s := range g.shots[:g.sent] {
			if s.Type == typ {
				want = append(want, s)
			}
		}
		var matched []flv.Tag
		for _, is := range frames(g.out, typ) {
			next := want[min(i, len(want)-1)]
			for ; ; i++ {
				if i == len(want) {
					g.t.Fatalf("a %v at %d is none of the stream, or comes again; before it %v, next is %d %v", typ, is.Timestamp, stamps(matched), next.Timestamp, string(next.Data) == string(is.Data))
				}
				off := diff(is.Timestamp, want[i].Timestamp)
				if string(is.Data) == string(want[i].Data) && off <= slack && off >= -slack {
					break
				}
				missing++
			}
			i++
			matched = append(matched, is)
		}
		if missing += len(want) - i; missing > lost {
			g.t.Fatalf("%d %v packets are missing, not %d in all", missing, typ, lost)
		}
	}
}

// stamps returns the last few timestamps.
func stamps(tags []flv.Tag) (at []uint32) {
	for _, t := range tags[max(0, len(tags)-5):] {
		at = append(at, t.Timestamp)
	}
	return at
}
