package timeline

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"sluice/flv"
)

// encoder is the model of a publisher: it knows when each frame was really taken,
// which its wire timestamps tell by a clock that is set, wraps and errs. What the
// timeline makes of them is held against the real times.
type encoder struct {
	t    *testing.T
	line *Timeline

	step [2]int64 // µs between frames of a track
	lag  int64    // ms by which audio comes later than video, or earlier
	bits int      // after which its clock wraps

	now   int64    // ms, real time
	taken [2]int64 // frames taken of each track since start
	start int64    // µs, real time of frame 0
	begun [2]bool  // in this session
	clock uint64   // what it adds to the real time, for frames taken from change on
	old   uint64   // what it added before
	since int64

	wild [2]int64 // if not 0, what the next frame of a track is off by
	out  []placed
	last [2]*placed
}

// placed is a frame as it came out.
type placed struct {
	track         int
	real, at      int64
	wire          uint32
	wild, session bool
}

func (p placed) String() string {
	return fmt.Sprintf("%c %d (wire %d) at %d: %d", "AV"[p.track], p.real, p.wire, p.at, p.delta())
}

func (p placed) delta() int64 { return p.at - p.real }

func newEncoder(t *testing.T, fps, rate, lag int64, bits int, clock uint64) *encoder {
	e := &encoder{t: t, line: new(Timeline), lag: lag, bits: bits, clock: clock, old: clock}
	e.step = [2]int64{trackAudio: 1024 * 1_000_000 / rate, trackVideo: 1_000_000 / fps}
	e.line.BeginSession()
	return e
}

// next returns the track of which a frame is sent next, when that is, and when the
// frame was taken.
func (e *encoder) next() (track int, sent, real int64) {
	real = (e.start + e.taken[trackVideo]*e.step[trackVideo]) / 1000
	audio := (e.start + e.taken[trackAudio]*e.step[trackAudio]) / 1000
	if audio+max(e.lag, 0) < real-min(e.lag, 0) {
		return trackAudio, audio + max(e.lag, 0), audio
	}
	return trackVideo, real - min(e.lag, 0), real
}

// run sends what is due in the next ms milliseconds.
func (e *encoder) run(ms int64) {
	for e.now += ms; ; {
		track, sent, real := e.next()
		if sent >= e.now {
			return
		}
		e.taken[track]++
		clock := e.clock
		if real < e.since {
			clock = e.old
		}
		p := placed{track: track, real: real, wild: e.wild[track] != 0, session: !e.begun[track]}
		p.wire = uint32((uint64(real) + clock + uint64(e.wild[track])) & (1<<e.bits - 1))
		e.wild[track], e.begun[track] = 0, true
		p.at = e.line.At(mains[track], Frame{Timestamp: p.wire, Arrived: sent})
		if l := e.last[track]; l != nil && p.at < l.at {
			e.t.Fatalf("%v after %v", p, l)
		}
		e.out = append(e.out, p)
		e.last[track] = &e.out[len(e.out)-1]
	}
}

// set makes the clock of frames taken from now on another one.
func (e *encoder) set(clock uint64) {
	e.run(max(e.lag, -e.lag)) // what is on its way has the clock before
	e.old, e.clock, e.since = e.clock, clock, e.now
}

// pause lets time pass in which no frame is taken.
func (e *encoder) pause(ms int64) {
	e.start += ms * 1000
	e.now += ms
}

// reconnect begins a session, away ms after the one before, that loses what was on
// its way.
func (e *encoder) reconnect(away int64, clock uint64) {
	e.now += away
	e.start, e.taken = e.now*1000, [2]int64{}
	e.begun = [2]bool{}
	e.old, e.clock, e.since = clock, clock, e.now
	e.line.BeginSession()
}

// synced requires that both tracks are where the real time has them, and returns
// what the stream's time is ahead of that.
func (e *encoder) synced() int64 {
	e.t.Helper()
	for track := range 2 {
		require.NotNil(e.t, e.last[track])
	}
	d := e.last[trackVideo].delta()
	require.Equal(e.t, d, e.last[trackAudio].delta(), "%v against %v", e.last[trackAudio], e.last[trackVideo])
	return d
}

// gaps requires that none is larger than the input's; the first frame after one may
// be early.
func (e *encoder) gaps() {
	e.t.Helper()
	var last [2]*placed
	var gap [2]int64
	for i := range e.out {
		p := &e.out[i]
		if l := last[p.track]; l != nil {
			is, was := p.at-l.at, p.real-l.real
			if p.wild {
				was += maxTrust.Milliseconds() // which it may well be
			}
			if is > max(was, gap[p.track])+maxTrust.Milliseconds() {
				e.t.Fatalf("a gap of %d ms between %v and %v", is, l, p)
			}
			gap[p.track] = p.real - l.real
		}
		last[p.track] = p
	}
}

// steady runs for ms and requires that nothing but wild frames is off.
func (e *encoder) steady(ms int64) {
	e.t.Helper()
	d, from := e.synced(), len(e.out)
	e.run(ms)
	for _, p := range e.out[from:] {
		if !p.wild && p.delta() != d {
			e.t.Fatalf("%v is off", p)
		}
	}
}

// Encoders in which sound comes as late, or as early, as the worst do.
func eachLag(t *testing.T, f func(t *testing.T, lag int64)) {
	for _, lag := range []int64{0, 100, 1000, 3000, -100, -1000, -3000} {
		t.Run(fmt.Sprint(lag), func(t *testing.T) { f(t, lag) })
	}
}

// times is how often something happens to an encoder.
func times(lag int64) int {
	if lag == 0 {
		return 1000
	}
	return 100
}

// The start, and whatever boundary the clock passes, leave no trace.
func TestModelBoundaries(t *testing.T) {
	for _, test := range []struct {
		bits  int
		clock uint64
	}{{32, 0}, {32, 1<<24 - 5000}, {32, 1<<31 - 5000}, {32, 1<<32 - 5000}, {31, 1<<31 - 5000}} {
		eachLag(t, func(t *testing.T, lag int64) {
			e := newEncoder(t, 25, 44100, lag, test.bits, test.clock)
			e.run(abs(lag) + 100)
			e.steady(20_000)
			require.Zero(t, e.line.Jumps())
		})
	}
}

// A thousand wild timestamps leave no trace, whatever they are.
func TestModelWildTimestamps(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, most := range []uint32{500, 2000, 10_000, 1 << 31, 1<<32 - 1} {
		eachLag(t, func(t *testing.T, lag int64) {
			e := newEncoder(t, 25, 44100, lag, 32, 7)
			e.run(abs(lag) + 100)
			before := e.synced()
			for n := range times(lag) {
				e.wild[n%2] = int64(rng.Uint32N(most))
				if n%3 == 0 {
					e.wild[n%2] *= -1
				}
				e.run(1400)
				require.Equal(t, before, e.synced(), "%d", n)
			}
		})
	}
}

// A clock that is set a thousand times costs about nothing, and sync never.
func TestModelSetClock(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, most := range []uint64{10_000, 1 << 32} {
		eachLag(t, func(t *testing.T, lag int64) {
			e := newEncoder(t, 25, 44100, lag, 32, 1<<31)
			e.run(abs(lag) + 100)
			for n := range times(lag) {
				before := e.synced()
				by := int64(rng.Uint64N(most)) - int64(most/2)
				if abs(by+maxStep.Milliseconds()) < 3 {
					continue // a step back for one track, a jump for the other
				}
				e.set(e.clock + uint64(by))
				e.run(abs(lag) + 500)
				off := e.synced() - before
				if by < -maxStep.Milliseconds() || by > maxLeap.Milliseconds() {
					require.InDelta(t, 0, off, 250, "%d: %d", n, by)
				}
				e.steady(1000)
			}
		})
	}
}

// Whatever happens to an encoder, its tracks are in sync again soon, no frame is later
// than it has to be, and no gap is larger than that of the input. Each byte is
// something that happens, and the time after that.
func FuzzEncoder(f *testing.F) {
	f.Add([]byte{0, 3, 0x08, 0x11, 0x1a, 0x23, 0x2c, 0x35, 0x3e})
	f.Add([]byte{1, 200, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37})
	f.Add([]byte{2, 90, 0x28, 0x29, 0x2a, 0x18, 0x19, 0x10, 0x11, 0x20, 0x21})
	f.Add([]byte{3, 128, 0x38, 0x39, 0x3a, 0x18, 0x39, 0x08, 0x09, 0x3c})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 2 || len(b) > 100 {
			return
		}
		lag := (int64(b[1]) - 128) * 3000 / 128
		rng := rand.New(rand.NewPCG(uint64(b[0]), uint64(len(b))))
		e := newEncoder(t, 10+int64(b[0]>>2), []int64{22050, 44100, 48000}[b[0]%3], lag, 31+int(b[0]%2), uint64(rng.Uint32()))
		e.run(abs(lag) + 500)
		set := func(clock uint64) {
			by := near(0, uint32(clock-e.clock), 0)
			if abs(by+maxStep.Milliseconds()) > 5 { // else a step back for one track, a jump for the other
				e.set(clock)
			}
		}
		for _, c := range b[2:] {
			before := e.synced()
			settled := abs(lag) + 1500
			switch arg := int64(c & 7); c >> 3 & 7 {
			case 0: // anywhere
				set(uint64(rng.Uint32()))
			case 1: // some seconds back, or 0
				set(e.clock - uint64(arg*1000+300))
			case 2: // some minutes ahead
				set(e.clock + uint64(arg*60_000+10_000))
			case 3: // to 0
				if d := near(0, uint32(-uint64(e.now)-e.clock), 0); d > 0 && d < 2*maxLeap.Milliseconds() {
					continue // which looks like time passing
				}
				set(-uint64(e.now))
			case 4:
				e.wild[arg%2] = int64(rng.Uint32N(1 << (8 + 3*arg)))
			case 5:
				e.wild[arg%2] = -int64(rng.Uint32N(1 << (8 + 3*arg)))
			case 6:
				e.pause([]int64{200, 900, 1500, 3000, 4500, 10_000, 60_000, 600_000}[arg])
			case 7:
				e.reconnect(arg*500, uint64(rng.Uint32()))
			}
			e.run(settled)
			after := e.synced()
			if off := after - before; off > maxStep.Milliseconds() && c>>3&7 != 7 {
				t.Fatalf("%x: %d ms later than before", c, off)
			}
			e.steady(200)
		}
		e.gaps()
	})
}

// Further tracks go by the clock of the main ones, and never say where the stream is:
// one whose own clock is wild disturbs nobody.
func TestFurtherTracks(t *testing.T) {
	line, alone := newTimeline(), newTimeline()
	rng := rand.New(rand.NewPCG(5, 6))
	second, rogue := ID{flv.TypeAudio, 1}, ID{flv.TypeVideo, 255}
	set := uint32(1<<31 - 5000)
	last := int64(0)
	for ms := uint32(0); ms < 60_000; ms += 20 {
		if ms%10_000 == 0 {
			set = rng.Uint32()
		}
		if ms%25_000 == 0 {
			line.BeginSession()
			alone.BeginSession()
		}
		if ms%40 == 0 {
			require.Equal(t, at(alone, mains[trackVideo], set+ms, 0, false), at(line, mains[trackVideo], set+ms, 0, false))
		}
		sound := at(line, mains[trackAudio], set+ms, 0, false)
		require.Equal(t, at(alone, mains[trackAudio], set+ms, 0, false), sound)
		require.Equal(t, sound, at(line, second, set+ms, 0, false))
		wild := at(line, rogue, rng.Uint32(), 0, false)
		require.GreaterOrEqual(t, wild, last)
		last = wild
	}
	require.Equal(t, alone.Front(), line.Front())
	require.Equal(t, alone.Jumps(), line.Jumps())
	require.Len(t, line.further, 2)
	require.Nil(t, alone.further)
}
