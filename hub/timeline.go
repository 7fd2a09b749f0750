package hub

import (
	"time"

	"sluice/flv"
)

// Bounds of the timeline's repair, in stream time.
const (
	// maxLeap is how far ahead of everything sent so far a frame may be before
	// the jump counts as the encoder's clock being set, not as time passing.
	maxLeap = 5 * time.Second
	// maxStep is how far back a frame may be behind the last of its own track; it
	// is then moved up to it.
	maxStep = 250 * time.Millisecond
	// maxSkew is how far back a frame may be behind the other track: audio and
	// video of a badly interleaved encoder are seconds apart, which is no jump.
	maxSkew = 3 * time.Second
	// anchorGap is the distance between the last frame before a re-anchoring and
	// the first one after it, about a frame.
	anchorGap = 20 * time.Millisecond
	// maxReorder bounds how far ahead of its decoding time a frame is believed to
	// be shown; encoders delay B-frames by some tenths of a second.
	maxReorder = time.Second
)

// timeline turns the 32-bit timestamps of one publish session after another into
// one clock for the stream: int64 milliseconds that go on across reconnects,
// wraps and jumps, and never run backwards within a track.
//
//	wire (u32) ──unwrap──▶ session clock (int64) ──+ offset──▶ stream clock ──clamp──▶ out
//
// One offset serves audio and video, so they stay in sync. It is set when the
// first frame of a session arrives, so that this frame follows the last one sent,
// and the last one shown, by anchorGap, and set anew when a frame fits neither
// track's clock under the present offset nor under the one before it: an encoder
// whose clock was set sends a few frames of the other track from before the jump.
type timeline struct {
	begun bool // any frame at all
	last  [2]track
	// further are the last times of all tracks but those numbered 0; nil while there
	// are none. Numbers being bytes, there are at most 510.
	further map[trackID]int64
	front   int64 // latest time given out
	shown   int64 // latest time at which a frame given out is shown

	anchored bool // this session has its offset
	offset   int64
	previous int64 // offset before the last re-anchoring of this session
	hasPrev  bool

	raw     int64 // last unwrapped wire timestamp of the session
	rawLast uint32
	jumps   uint64 // how often a session was re-anchored after its start
}

type track struct {
	seen bool
	time int64
}

// trackID names a track of a stream: the type of its tags, audio or video, and its
// number (Enhanced RTMP v2, multitrack). Only those numbered 0 say where the stream
// is; further ones follow them.
type trackID struct {
	typ    flv.Type
	number uint8
}

// main returns the index in timeline.last of the track numbered 0 of the type.
func (id trackID) main() int {
	if id.typ == flv.TypeVideo {
		return trackVideo
	}
	return trackAudio
}

const (
	trackAudio = iota
	trackVideo
)

// beginSession says that the next frame comes from a new publish session.
func (t *timeline) beginSession() {
	t.anchored, t.hasPrev = false, false
}

// at returns the stream time, in milliseconds, of a frame of the given track that
// carries the wire timestamp ts and is shown composition ms after that. A key frame
// of video needs nothing that was shown before it.
func (t *timeline) at(id trackID, ts uint32, composition int32, key bool) int64 {
	if id.number != 0 && t.anchored {
		return t.follow(id, t.unwrap(ts))
	}
	out := t.place(id.main(), ts, composition)
	t.shown = max(t.shown, out+reorder(composition))
	return out
}

// follow places a frame of a further track: by the offset that the main tracks have,
// or had before they jumped, and never so far from them that it could not go on with
// them.
func (t *timeline) follow(id trackID, raw int64) int64 {
	low, high := t.front-maxSkew.Milliseconds(), t.front+maxLeap.Milliseconds()
	out := raw + t.offset
	if t.hasPrev && (out < low || out > high) {
		out = raw + t.previous
	}
	out = max(min(out, high), low)
	if last, ok := t.further[id]; ok {
		out = max(out, last)
	}
	if t.further == nil {
		t.further = make(map[trackID]int64)
	}
	t.further[id] = out
	return out
}

// place is at without the note of when the frame is shown.
func (t *timeline) place(track int, ts uint32, composition int32) int64 {
	raw := t.unwrap(ts)
	switch {
	case !t.anchored:
		t.anchor(raw, composition)
	case t.fits(track, raw+t.offset):
	case t.hasPrev && t.fits(track, raw+t.previous):
		return t.emit(track, raw+t.previous)
	default:
		t.previous, t.hasPrev = t.offset, true
		t.jumps++
		t.anchor(raw, composition)
	}
	return t.emit(track, raw+t.offset)
}

// anchor sets the offset for a frame: decoded after all that was sent, and shown
// after all that is shown, but as soon as that allows, since browsers do not play
// over a gap.
func (t *timeline) anchor(raw int64, composition int32) {
	t.anchored = true
	if !t.begun {
		t.begun = true
		t.offset = -raw
		return
	}
	after := max(t.front, t.shown-max(0, reorder(composition)))
	t.offset = after + anchorGap.Milliseconds() - raw
}

// newHeader says that the next picture comes with another codec header. Players
// then give up pictures that they have not shown yet: the next one need not wait
// for these, and where browsers are concerned must not.
func (t *timeline) newHeader() { t.shown = 0 }

// reorder bounds a composition time to what encoders do, in ms.
func reorder(composition int32) int64 {
	return min(int64(composition), maxReorder.Milliseconds())
}

// fits reports whether out continues the stream: it follows its own track, or,
// where that has nothing recent, the other one.
func (t *timeline) fits(track int, out int64) bool {
	if !t.last[trackAudio].seen && !t.last[trackVideo].seen {
		return true
	}
	own, other := t.last[track], t.last[1-track]
	if t.recent(own) {
		d := out - own.time
		if d < -maxStep.Milliseconds() {
			return false
		}
		if d <= maxLeap.Milliseconds() {
			return true
		}
	}
	if t.recent(other) {
		d := out - other.time
		return d >= -maxSkew.Milliseconds() && d <= maxLeap.Milliseconds()
	}
	return false
}

// recent reports whether the track's last frame still says where the stream is.
func (t *timeline) recent(tr track) bool {
	return tr.seen && t.front-tr.time <= maxLeap.Milliseconds()
}

func (t *timeline) emit(track int, out int64) int64 {
	last := &t.last[track]
	if last.seen && out < last.time {
		out = last.time
	}
	last.seen, last.time = true, out
	t.front = max(t.front, out)
	return out
}

// unwrap carries the 32-bit clock on beyond its wrap. Encoders wrap at 2^32 ms,
// but OBS and ffmpeg keep 31 bits and fall back to 0 at 2^31 ms: a fall of almost
// exactly that much is a wrap too (PROTOCOL: 24 d 20 h 31 m), and a rise of as much
// is a frame of the other track from before it.
func (t *timeline) unwrap(ts uint32) int64 {
	if !t.anchored {
		t.raw, t.rawLast = int64(ts), ts
		return t.raw
	}
	d := int64(int32(ts - t.rawLast))
	const nearly = 1<<31 - 60_000
	switch {
	case d < -nearly:
		d += 1 << 31
	case d > nearly:
		d -= 1 << 31
	}
	t.raw += d
	t.rawLast = ts
	return t.raw
}
