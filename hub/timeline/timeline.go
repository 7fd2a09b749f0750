// Package timeline makes one clock of the timestamps of one publish session after
// another, as viewers may see it: it goes on across reconnects, wraps and jumps, and
// never runs backwards within a track. It does no I/O and reads no clock: when a frame
// arrived, it is told.
package timeline

import (
	"math"
	"time"

	"sluice/flv"
)

// Bounds of what is repaired, in stream time.
const (
	// maxStep is how far back a frame may be behind the last of its own track; it
	// is then moved up to it.
	maxStep = 250 * time.Millisecond
	// maxLeap is how far ahead of its place a frame may be before that counts as the
	// encoder's clock being set, not as time passing, unless the frame took as long to
	// arrive.
	maxLeap = 5 * time.Second
	// maxTrust is how far ahead of its place a single frame is believed to be; of
	// a leap beyond that a second frame must tell.
	maxTrust = time.Second
	// maxStray is how much sooner or later than its timestamp says a frame may arrive
	// after a pause; for a pause of less than 8 s it is a quarter of the pause.
	maxStray = 2 * time.Second
	// MaxSkew is how far apart audio and video may begin on one clock: those of a
	// badly interleaved encoder are seconds apart.
	MaxSkew = 4 * time.Second
	// maxApart is how far a track may fall behind the other one, in bursts, by a pause
	// or by clocks that drift, before it is brought up to it.
	maxApart = 10 * time.Second
	// maxStraggle is how long a track may go on by the clock that both had before
	// the other one's was set: until what was on its way is through.
	maxStraggle = 5 * time.Second
	// maxWild is how many frames in a row may have a wild timestamp while the clock
	// before them still counts as the true one.
	maxWild = 8
	// defaultFrame is taken for the distance of a track's frames until it is known,
	// and maxFrame bounds it: the slowest video has a frame each second.
	defaultFrame = 20 * time.Millisecond
	maxFrame     = time.Second
	// MaxReorder bounds how far ahead of its decoding time a frame is believed to
	// be shown; encoders delay B-frames by some tenths of a second.
	MaxReorder = time.Second
)

// Timeline turns the 32-bit timestamps of one publish session after another into
// one clock for the stream: int64 milliseconds that go on across reconnects,
// wraps and jumps, and never run backwards within a track. The zero value is ready;
// its methods must not be called at the same time.
//
//	wire (mod 2^31) ──+ offset──▶ nearest to where the track is ──clamp──▶ out
//
// An offset is what has to be added to the encoder's clock to get the stream's. Tracks
// with the same offset are in sync as the encoder had them. Each frame belongs to the
// clock that best continues its own track:
//
//	its own clock ────▶ as far as from 250 ms back (clamped) to 5 s ahead, where a
//	                    leap of over 1 s needs a second frame that goes on from it,
//	                    or the other track to have gone on by as much; any distance,
//	                    where about as much time passed until the frame arrived: a pause
//	the one before ───▶ if that fits as if it had never changed: the frame in between
//	                    was a wild one
//	the other track's ▶ that was set, and this track follows
//	none of them ─────▶ a jump: the frame follows the last one by a frame's distance
//
// So when an encoder's clock is set, the first frame after that sets the offset, the
// other track's frames from before it keep the old one, and those from after it find
// the new one. A single wild timestamp changes nothing.
type Timeline struct {
	begun   bool  // any frame at all
	session int64 // number of the present publish session, from 1
	mains   [2]track
	// further are all tracks but those numbered 0; nil while there are none. Numbers
	// being bytes, there are at most 510.
	further map[ID]*track
	first   *track // that of the session's first frame, nil before it

	front int64  // latest time given out to a main track
	shown int64  // latest time at which a frame given out is shown
	jumps uint64 // how often the clock of a main track was set after a session's start
}

// ID names a track of a stream: the type of its tags, audio or video, and its
// number (Enhanced RTMP v2, multitrack). Those numbered 0 are the main tracks, which
// say where the stream is; further ones follow them.
type ID struct {
	Type   flv.Type
	Number uint8
}

// Main tracks.
const (
	trackAudio = iota
	trackVideo
)

var mainVideo = ID{flv.TypeVideo, 0}

// main returns the index of the main track of the type.
func (id ID) main() int {
	if id.Type == flv.TypeVideo {
		return trackVideo
	}
	return trackAudio
}

// Frame is what the timeline has to know of a frame.
type Frame struct {
	// Timestamp is the one that the publisher sent, in ms; arithmetic is modulo 2^32.
	Timestamp uint32
	// Composition is how much later the frame is shown, in ms.
	Composition int32
	// Key says that nothing which was shown before the frame is needed for it.
	Key bool
	// Arrived is when the frame arrived, in ms of any clock that runs at the pace of
	// time.
	Arrived int64
	// Filled is the stream time, in ms, up to which something else fills the gap before
	// the frame. A frame whose place can only be guessed follows that. 0 for nothing.
	Filled int64
	// Stood says that the clock of the track has stood for a while, unlike that of the
	// other: the frame's place can only be guessed.
	Stood bool
}

// BeginSession says that the next frame comes from a new publish session.
func (t *Timeline) BeginSession() {
	t.session++
	t.first = nil
}

// Reach says that the next session must not begin before a time, in ms: what came before it is elsewhere,
// and went on to there.
func (t *Timeline) Reach(time int64) {
	if time > 0 {
		t.begun, t.front = true, max(t.front, time)
	}
}

// Put takes a frame whose time is known, since another timeline has placed it, and returns that time: no
// earlier than the last one of its track. Sessions that follow go on from there.
func (t *Timeline) Put(id ID, f Frame, at int64) int64 {
	tr := t.track(id)
	if t.first == nil {
		t.first = tr
	}
	t.begun = true
	tr.set(uint32(at)-f.Timestamp, at, false)
	tr.leapt = false
	return t.place(id, tr, &f, at)
}

// NewHeader says that the next picture comes with another codec header. Players
// then give up pictures that they have not shown yet: the next one need not wait
// for these, and where browsers are concerned must not.
func (t *Timeline) NewHeader() { t.shown = 0 }

// At returns the stream time, in ms, of a frame of the given track.
func (t *Timeline) At(id ID, f Frame) int64 {
	tr := t.track(id)
	known, fresh := tr.session != 0, tr.session != t.session
	low := int64(math.MinInt64) // what a frame that begins something must not be before
	if known {
		low = tr.last
		if id == mainVideo && (f.Key || fresh) {
			low = max(low, t.shown-max(0, reorder(f.Composition)))
		}
	}
	var out int64
	switch {
	case t.first == nil:
		out = t.open(tr, f.Timestamp, low)
	case fresh:
		out = t.enter(id, tr, &f, low)
	default:
		out = t.goOn(id, tr, &f, low)
	}
	return t.place(id, tr, &f, out)
}

// place gives a frame its place, and notes where the stream is by that.
func (t *Timeline) place(id ID, tr *track, f *Frame, out int64) int64 {
	tr.advance(t.session, out, f.Arrived)
	if ref := t.reference(id); ref != nil {
		tr.refLast = ref.last
	}
	if id.Number == 0 || !t.hasMain() {
		t.front = max(t.front, tr.last)
	}
	if id == mainVideo {
		t.shown = max(t.shown, tr.last+reorder(f.Composition))
	}
	return tr.last
}

// Front returns the latest time given out to a main track, in ms; 0 at first.
func (t *Timeline) Front() int64 { return t.front }

// Jumps returns how often the clock of a main track was set after a session's start.
func (t *Timeline) Jumps() uint64 { return t.jumps }

// reorder bounds a composition time to what encoders do, in ms.
func reorder(composition int32) int64 {
	return min(int64(composition), MaxReorder.Milliseconds())
}

// open places the first frame of a session: behind everything that was sent.
func (t *Timeline) open(tr *track, ts uint32, low int64) int64 {
	t.first = tr
	out := int64(0)
	if t.begun {
		out = max(t.front, tr.after(low))
	}
	t.begun = true
	tr.set(uint32(out)-ts, out, true)
	tr.hasPrev, tr.leapt = false, false
	return out
}

// enter places the first frame of a track in a session that another track has begun: by
// its clock, if the two are not too far apart for that, or if the frame came as much
// later than the last frame of the other track as its timestamp says. Where it would
// overlap what the track had before, the session's clock moves on.
func (t *Timeline) enter(id ID, tr *track, f *Frame, low int64) int64 {
	ts := f.Timestamp
	ref := t.reference(id)
	if ref == nil {
		ref = t.first
	}
	out, paused := ref.pause(ref.last, f)
	switch {
	case abs(out-ref.last) > MaxSkew.Milliseconds() && !paused:
		t.jump(id)
		out = max(ref.last, tr.after(low))
		tr.set(uint32(out)-ts, out, true)
	case out < low && id.Number == 0:
		by := tr.after(low) - out
		t.shift(ref.clock, by)
		out += by
		fallthrough
	default:
		tr.set(ref.clock, out, false)
	}
	tr.hasPrev, tr.leapt = false, false
	return out
}

// goOn places a frame of a track that the session has already.
func (t *Timeline) goOn(id ID, tr *track, f *Frame, low int64) int64 {
	ts := f.Timestamp
	if out, ok := tr.pause(tr.next, f); ok && !f.Stood {
		tr.leapt = false
		return out
	}
	ref := t.reference(id)
	apart := ref != nil && ref.last-tr.last > maxApart.Milliseconds()
	if !apart && !f.Stood {
		if out, clock, ok := tr.follow(ref, ts); ok {
			out, clock = tr.straggle(ref, ts, out, clock)
			return tr.settle(ref, out, clock)
		}
	}
	if ref != nil && !f.Stood {
		out := near(ref.last, ts, ref.clock)
		switch {
		case abs(out-ref.last) > MaxSkew.Milliseconds():
		case out >= tr.last && apart: // after a long pause of its own
			tr.leapt = false
			tr.set(ref.clock, out, false)
			return out
		case out >= tr.last:
			return tr.settle(ref, out, ref.clock)
		case ref.clock != tr.clock && id.Number == 0: // it begins elsewhere on a clock that was set
			by := tr.after(low) - out
			t.shift(ref.clock, by)
			tr.set(ref.clock, out+by, false)
			return out + by
		}
	}
	t.jump(id)
	tr.leapt = false
	out := max(tr.next, tr.after(low), f.Filled)
	if apart {
		out = max(out, ref.last)
	}
	tr.set(uint32(out)-ts, out, true)
	if f.Stood {
		tr.since = math.MinInt64 // nobody else's clock was set
	}
	return out
}

// jump counts a clock that was set.
func (t *Timeline) jump(id ID) {
	if id.Number == 0 {
		t.jumps++
	}
}

// Last returns the stream time, in ms, given out last to a track; math.MaxInt64 for one
// that has had no frame.
func (t *Timeline) Last(id ID) int64 {
	tr := &t.mains[id.main()]
	if id.Number != 0 {
		tr = t.further[id]
	}
	if tr == nil || tr.session == 0 {
		return math.MaxInt64
	}
	return tr.last
}

// track returns a track's place.
func (t *Timeline) track(id ID) *track {
	if id.Number == 0 {
		return &t.mains[id.main()]
	}
	tr := t.further[id]
	if tr == nil {
		if t.further == nil {
			t.further = make(map[ID]*track)
		}
		tr = new(track)
		t.further[id] = tr
	}
	return tr
}

// reference returns the main track by which another track goes in this session: the
// other one, or, for a further track, first of all that of its own type.
func (t *Timeline) reference(id ID) *track {
	own := id.main()
	for _, i := range [...]int{own, 1 - own} {
		if (i != own || id.Number != 0) && t.mains[i].session == t.session {
			return &t.mains[i]
		}
	}
	return nil
}

// hasMain reports whether the session has a main track.
func (t *Timeline) hasMain() bool {
	return t.mains[trackAudio].session == t.session || t.mains[trackVideo].session == t.session
}

// shift moves a clock of this session on.
func (t *Timeline) shift(clock uint32, by int64) {
	for i := range t.mains {
		t.mains[i].shift(t.session, clock, by)
	}
	for _, tr := range t.further {
		tr.shift(t.session, clock, by)
	}
}
