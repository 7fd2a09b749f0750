package hub_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// clockFault is an encoder with a clock of its own, and what befalls it. Every frame
// carries when it was really taken, so that what viewers get can be held against it.
// For every viewer, whenever it joins, and whatever the clock did:
//
//   - timestamps begin at 0, and are monotonic in each track, headers included;
//   - every frame from its start on is there, once, in order;
//   - audio stands against video as it was taken, to the millisecond;
//   - no gap is larger than that of the input, but for a frame's distance where a
//     session begins.
type clockFault struct {
	name string

	// Of the encoder, all in ms.
	lag   int64 // by which audio is sent later than video; negative for earlier
	bits  int   // after which its clock wraps; 0 is 32
	start int64 // what the clock shows first
	pace  int64 // how fast it runs, in percent; 0 is 100
	only  flv.Type
	stamp func(e *faultyEncoder, f *faultyFrame, ts int64) int64 // what becomes of a timestamp
	comp  func(n int) int32                                      // composition time of the nth frame of a GOP

	every  int64                                  // how often something befalls it; 0 for once
	befall func(e *faultyEncoder, f *faultyFrame) // what, before a frame is sent
	header bool                                   // codec headers come before every key frame, and late at first
	long   int64                                  // how long it is watched; 0 is 40 s

	// What is allowed.
	off  int   // how many frames of a viewer may be out of sync, all in all
	blur int64 // by how much the clock is wrong all the time
	seam int64 // by how much more than the input's a gap may be
}

// faultyFrame is a frame.
type faultyFrame struct {
	typ   flv.Type
	n     int   // in its GOP
	taken int64 // ms since the encoder began
}

// faultyEncoder is clockFault under way.
type faultyEncoder struct {
	clockFault
	t     *testing.T
	h     *hub.Hub
	p     *source
	rng   *rand.Rand
	begun time.Time
	next  int64 // when something befalls it again

	sets []struct{ from, ahead int64 } // what the clock was set to, for frames taken from then on
	wild int64                         // what the next timestamp is off by
	away [][2]int64                    // when no frame was taken, or what was taken was lost
	sent map[flv.Type][]int64          // when the frames sent were taken
}

const (
	faultFrame = 40 // ms
	faultSound = 20
	faultGOP   = 50 // frames
)

func (e *faultyEncoder) now() int64 { return time.Since(e.begun).Milliseconds() }

// set makes the clock of frames taken from now on show that much more than the time.
func (e *faultyEncoder) set(f *faultyFrame, ahead int64) {
	e.sets = append(e.sets, struct{ from, ahead int64 }{f.taken, ahead})
}

// pause takes no frame for a while.
func (e *faultyEncoder) pause(f *faultyFrame, ms int64) {
	e.away = append(e.away, [2]int64{f.taken, f.taken + ms})
}

// reconnect begins another session after a time away; what was under way is lost.
func (e *faultyEncoder) reconnect(f *faultyFrame, ms, ahead int64) {
	e.p.Close()
	time.Sleep(time.Duration(ms) * time.Millisecond)
	e.away = append(e.away, [2]int64{f.taken - abs(e.lag), e.now()})
	e.set(f, ahead)
	e.connect()
}

func (e *faultyEncoder) connect() {
	e.p = publish(e.t, e.h, client{})
	switch e.only {
	case 0:
		e.p.send("meta:av vc:s ac:c")
	case flv.TypeVideo:
		e.p.send("meta:v vc:s")
	default:
		e.p.send("meta:a ac:c")
	}
}

func abs(n int64) int64 { return max(n, -n) }

// show returns what the clock shows at a time.
func (e *faultyEncoder) show(taken int64) int64 {
	if e.pace != 0 {
		return taken * e.pace / 100
	}
	return taken
}

// send publishes a frame.
func (e *faultyEncoder) send(f *faultyFrame) {
	ts := e.show(f.taken) + e.start
	for _, s := range e.sets {
		if f.taken >= s.from {
			ts = e.show(f.taken) + s.ahead
		}
	}
	ts += e.wild
	e.wild = 0
	if e.stamp != nil {
		ts = e.stamp(e, f, ts)
	}
	if e.bits == 31 {
		ts &= 1<<31 - 1
	}
	t := flv.Tag{Type: f.typ, Timestamp: uint32(ts), Data: []byte{0xaf, 1}}
	if f.typ == flv.TypeVideo {
		composition := int32(0)
		if e.comp != nil {
			composition = e.comp(f.n % faultGOP)
		}
		t.Data = []byte{0x27, 1, byte(composition >> 16), byte(composition >> 8), byte(composition)}
		if f.n%faultGOP == 0 {
			t.Data[0] = 0x17
			if e.header {
				e.p.send("vc:s ac:c")
			}
		}
	}
	t.Data = binary.BigEndian.AppendUint64(t.Data, uint64(f.taken))
	require.NoError(e.t, e.p.Write(t))
	e.sent[f.typ] = append(e.sent[f.typ], f.taken)
}

// run publishes until the time, at the pace of the clock on the wall, and lets look
// look now and then.
func (e *faultyEncoder) run(until int64, look func()) {
	e.begun, e.next = time.Now(), 6_000
	e.connect()
	video, audio := &faultyFrame{typ: flv.TypeVideo}, &faultyFrame{typ: flv.TypeAudio}
	for {
		f, due := video, video.taken-min(e.lag, 0)
		if d := audio.taken + max(e.lag, 0); d < due {
			f, due = audio, d
		}
		if due > until {
			return
		}
		if wait := due - e.now(); wait > 0 {
			time.Sleep(time.Duration(wait) * time.Millisecond)
			look()
		}
		skip := e.only != 0 && f.typ != e.only
		if e.befall != nil && e.next > 0 && due >= e.next && !skip {
			if e.next += e.every; e.every == 0 {
				e.next = 0
			}
			e.befall(e, f)
		}
		away := slices.ContainsFunc(e.away, func(a [2]int64) bool { return f.taken >= a[0] && f.taken < a[1] })
		switch {
		case skip:
		case !away:
			e.send(f)
			f.n++
		default:
			f.n = 0 // what follows begins with a key frame
		}
		f.taken += map[flv.Type]int64{flv.TypeVideo: faultFrame, flv.TypeAudio: faultSound}[f.typ]
	}
}

// shown is a frame as a viewer got it.
type shown struct {
	typ       flv.Type
	at, taken int64
}

func (s shown) String() string {
	return fmt.Sprintf("%v taken at %d, shown at %d", s.typ, s.taken, s.at)
}

// judge holds what a viewer got against what was published.
func (e *faultyEncoder) judge(name string, tags []flv.Tag) {
	t := e.t
	t.Helper()
	require.NotEmpty(t, tags, name)
	last := map[flv.Type]uint32{}
	frames := map[flv.Type][]shown{}
	for i, tag := range tags {
		if tag.Type == flv.TypeScript {
			assert.Zero(t, i, "%s: script data in the flow", name)
			continue
		}
		if tag.Timestamp < last[tag.Type] {
			t.Fatalf("%s: %v from %d back to %d", name, tag.Type, last[tag.Type], tag.Timestamp)
		}
		last[tag.Type] = tag.Timestamp
		if p, err := tag.Packet(); err == nil && p.Kind == flv.KindFrame {
			taken := int64(binary.BigEndian.Uint64(p.Payload))
			frames[tag.Type] = append(frames[tag.Type], shown{tag.Type, int64(tag.Timestamp), taken})
		}
	}
	for typ, got := range frames {
		e.judgeTrack(name, got, e.sent[typ])
	}
	if e.only == 0 {
		require.NotEmpty(t, frames[flv.TypeAudio], name)
		e.judgeSync(name, frames[flv.TypeAudio], frames[flv.TypeVideo])
	}
	first := min(tags[1].Timestamp, tags[2].Timestamp, tags[3].Timestamp)
	assert.Zero(t, first, "%s: the start", name)
}

// judgeTrack requires that nothing is missing, and no gap that was not there.
func (e *faultyEncoder) judgeTrack(name string, got []shown, sent []int64) {
	begin := slices.Index(sent, got[0].taken)
	if len(got) != len(sent)-begin {
		e.t.Fatalf("%s: %d of %d frames, first %v", name, len(got), len(sent)-begin, got[0])
	}
	for i := 1; i < len(got); i++ {
		a, b := got[i-1], got[i]
		if b.taken != sent[begin+i] {
			e.t.Fatalf("%s: %v behind %v", name, b, a)
		}
		was := e.show(b.taken) - e.show(a.taken)
		if begin+i > 1 { // the first frame after a gap may be early
			was = max(was, e.show(a.taken)-e.show(sent[begin+i-2]))
		}
		if b.at-a.at > was+e.seam+2*e.blur+1 {
			e.t.Fatalf("%s: a gap of %d ms between %v and %v", name, b.at-a.at, a, b)
		}
	}
}

// judgeSync requires that each audio frame stands against the video frame before it as
// it was taken.
func (e *faultyEncoder) judgeSync(name string, audio, video []shown) {
	off, worst := 0, shown{}
	for _, a := range audio {
		i, _ := slices.BinarySearchFunc(video, a.taken+1, func(v shown, taken int64) int { return int(v.taken - taken) })
		if i == 0 {
			continue
		}
		v := video[i-1]
		if slices.ContainsFunc(e.away, func(away [2]int64) bool { return away[0] <= a.taken && away[1] > v.taken }) {
			continue // not of one session
		}
		if d := (a.at - v.at) - (e.show(a.taken) - e.show(v.taken)); abs(d) > e.blur+1 {
			if off++; off == e.off+1 {
				worst = a
			}
		}
	}
	assert.LessOrEqual(e.t, off, e.off, "%s: frames out of sync, among them %v", name, worst)
}

// wrapsAt makes a clock that is at a boundary in the middle of the test.
func wrapsAt(boundary int64) int64 { return boundary - 10_000 }

func TestClockFault(t *testing.T) {
	const hour = 3_600_000
	random := func(e *faultyEncoder, f *faultyFrame) { e.set(f, int64(e.rng.Uint32())) }
	tortures := []clockFault{
		{name: "nothing"},
		{name: "2^24", start: wrapsAt(1 << 24)},
		{name: "2^31", start: wrapsAt(1 << 31)},
		{name: "2^32", start: wrapsAt(1 << 32)},
		{name: "31 bits", start: wrapsAt(1 << 31), bits: 31},
		{name: "2 percent fast", pace: 102, long: hour / 12},
		{name: "2 percent slow", pace: 98, long: hour / 12},
		{name: "backward", befall: func(e *faultyEncoder, f *faultyFrame) { e.set(f, -3000) }, start: 60_000},
		{name: "far backward", befall: func(e *faultyEncoder, f *faultyFrame) { e.set(f, 5000) }, start: hour},
		{name: "forward", befall: func(e *faultyEncoder, f *faultyFrame) { e.set(f, hour) }},
		{name: "a leap of seconds", befall: func(e *faultyEncoder, f *faultyFrame) { e.set(f, 3000) }, off: 200, seam: 3000},
		{name: "to 0", befall: func(e *faultyEncoder, f *faultyFrame) { e.set(f, -f.taken) }, start: hour},
		{name: "anywhere, again and again", every: 3000, befall: random},
		{name: "anywhere near 2^31", every: 3000, bits: 31, befall: func(e *faultyEncoder, f *faultyFrame) {
			e.set(f, 1<<31-f.taken-int64(e.rng.IntN(2000)))
		}},
		{name: "a wild timestamp", every: 500, off: 400, befall: func(e *faultyEncoder, _ *faultyFrame) {
			e.wild = int64(e.rng.Uint32())
		}},
		{name: "a timestamp of 0", every: 500, off: 400, start: hour, befall: func(e *faultyEncoder, f *faultyFrame) {
			e.wild = -hour - f.taken
		}},
		{name: "the same timestamps", blur: 100, stamp: func(_ *faultyEncoder, _ *faultyFrame, ts int64) int64 {
			return ts / 100 * 100
		}},
		{name: "jitter", blur: 60, start: 100, stamp: func(e *faultyEncoder, _ *faultyFrame, ts int64) int64 {
			return ts + int64(e.rng.IntN(60)) - 30
		}},
		{name: "B-frames", comp: func(n int) int32 { return []int32{80, 160, 80, 0, 40}[n%5] }},
		{name: "negative composition times", comp: func(n int) int32 { return []int32{0, 80, -40, -40}[n%4] }},
		{name: "headers at every key frame", header: true},
		{name: "a pause of 3 s", befall: func(e *faultyEncoder, f *faultyFrame) { e.pause(f, 3000) }, off: 4},
		{name: "a pause of 10 s", befall: func(e *faultyEncoder, f *faultyFrame) { e.pause(f, 10_000) }, off: 4},
		{name: "a pause of 10 min", befall: func(e *faultyEncoder, f *faultyFrame) { e.pause(f, 600_000) }, long: 660_000, off: 4},
		{name: "reconnects", every: 4000, seam: faultFrame, befall: func(e *faultyEncoder, f *faultyFrame) {
			e.reconnect(f, 1000, int64(e.rng.Uint32()))
		}},
	}
	// The worst of them in encoders that interleave badly, and with reconnects amid them.
	for _, lag := range []int64{1000, 3000, -1000, -3000} {
		for _, i := range []string{"nothing", "31 bits", "2^32", "to 0", "anywhere, again and again", "a wild timestamp", "reconnects", "a pause of 10 s"} {
			x := tortures[slices.IndexFunc(tortures, func(x clockFault) bool { return x.name == i })]
			x.name, x.lag = fmt.Sprintf("%s, sound %d ms late", i, lag), lag
			x.every *= 4 // so that both tracks come between
			tortures = append(tortures, x)
		}
	}
	for _, i := range []string{"to 0", "31 bits", "jitter", "a wild timestamp", "B-frames"} {
		x := tortures[slices.IndexFunc(tortures, func(x clockFault) bool { return x.name == i })]
		before := x.befall
		x.name, x.every, x.seam = i+", and reconnects", 1700, x.seam+100
		n := 0
		x.befall = func(e *faultyEncoder, f *faultyFrame) {
			if n++; n%2 == 0 {
				e.reconnect(f, 700, int64(e.rng.Uint32()))
			} else if before != nil {
				before(e, f)
			}
		}
		tortures = append(tortures, x)
	}
	for _, typ := range []flv.Type{flv.TypeVideo, flv.TypeAudio} {
		for _, i := range []string{"31 bits", "to 0", "a wild timestamp", "a pause of 10 s", "reconnects"} {
			x := tortures[slices.IndexFunc(tortures, func(x clockFault) bool { return x.name == i })]
			x.name, x.only = fmt.Sprintf("%s, only %v", i, typ), typ
			tortures = append(tortures, x)
		}
	}
	for _, x := range tortures {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &faultyEncoder{clockFault: x, t: t, h: newHub(t, hub.Config{}), rng: rand.New(rand.NewPCG(7, 7)),
					sent: map[flv.Type][]int64{}}
				long := x.long
				if long == 0 {
					long = 40_000
				}
				var viewers []*sink
				got := make([][]flv.Tag, 8)
				e.run(long, func() {
					// Some from the start, some around what befalls, one at the end.
					at := []int64{0, 5_000, 6_020, 6_500, 10_500, 14_000, 20_000, long - 5_000}
					if n := len(viewers); n < len(at) && e.now() >= at[n] && e.h.Live(key) && len(e.sent) > 0 {
						v := newSink(t, e.h, hub.WatchOptions{FixedCodecs: n%2 == 0 && abs(x.lag) < 1000})
						if v.Wait(endedContext()) != nil {
							v.Close()
							return
						}
						viewers = append(viewers, v)
					}
					for i, v := range viewers {
						got[i] = append(got[i], v.take()...)
					}
				})
				require.Len(t, viewers, 8)
				for i, v := range viewers {
					assert.Equal(t, hub.ReasonNone, v.end)
					assert.Zero(t, v.Dropped())
					e.judge(fmt.Sprintf("viewer %d", i), append(got[i], v.take()...))
					v.Close()
				}
				e.p.Close()
			})
		})
	}
}
