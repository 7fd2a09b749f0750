package hub

import (
	"time"

	"sluice/flv"
)

// A viewer may be given what its stream has recorded before it is served from the log.
// Whoever does that asks Rewind where, sends tags in the viewer's Shape, and has the viewer
// go on in the log with ContinueAt, at the packet that follows the last one it sent.

// Position is a place between two packets of a stream's log.
type Position struct {
	stream  *Stream
	seq     uint64   // of the packet behind it
	headers *headers // in force before it
}

// Position returns where the reader is: before the packet that Read gives next. It is for
// the goroutine that calls Read.
func (r *Reader) Position() Position { return Position{r.stream, r.next, r.headers} }

// Missed returns how many packets lie between the position and a later packet of the stream.
func (p Position) Missed(next Packet) uint64 { return next.Seq - min(p.seq, next.Seq) }

// Knows reports whether a position is one of the stream that is read: one that has ended and
// is published again is another stream, with another clock.
func (r *Reader) Knows(p Position) bool { return r.stream == p.stream }

// Rewind says where in its stream's past a viewer begins.
type Rewind struct {
	Key      Key
	Time     int64         // ms, on the stream's clock: where the viewer wants to begin
	Duration time.Duration // as in WatchOptions
	// Metadata is the onMetaData with which the viewer begins.
	Metadata flv.Tag
}

// Rewind reports whether a viewer that has started, and was given nothing yet, wants to
// begin further back than the log reaches, and may.
func (v *Viewer) Rewind() (r Rewind, wanted bool) {
	if !v.session.mayRewind() {
		return Rewind{}, false
	}
	s := v.stream.Load()
	s.mu.RLock()
	defer s.mu.RUnlock()
	l := &s.log
	if v.plan == nil || v.plan.back == 0 || v.next < l.tail || v.next >= l.head {
		return Rewind{}, false
	}
	r.Key, r.Time = s.key, l.newest().time-v.plan.back.Milliseconds()
	if l.at(v.next).time <= r.Time {
		return Rewind{}, false
	}
	r.Duration = time.Duration(v.plan.duration) * time.Millisecond
	h, _ := l.headersAt(v.next)
	r.Metadata = flv.Tag{Type: flv.TypeScript, Data: h.meta.appendBody(nil, v.trackInfo(h))}
	return r, true
}

// Shape returns a tag of the viewer's stream as the viewer is to get it; ok is false if it
// gets none of the kind. The tag's body may be changed in *scratch, as by flv.Shape.Apply.
func (v *Viewer) Shape(t flv.Tag, scratch *[]byte) (_ flv.Tag, ok bool) {
	switch {
	case !v.wants(t.Type):
		return t, false
	case t.Type == flv.TypeScript || v.shape == (flv.Shape{}):
		return t, true
	}
	t.Data, ok = v.shaped(t, scratch)
	return t, ok
}

// Paused reports whether the viewer is paused.
func (v *Viewer) Paused() bool { return v.flags.Load()&flagPaused != 0 }

// IsOff reports whether the viewer wants no frames of a type at the moment. It is to get their
// headers all the same, since it may want them again.
func (v *Viewer) IsOff(typ flv.Type) bool {
	flags := v.flags.Load()
	return typ == flv.TypeAudio && flags&flagAudioOff != 0 || typ == flv.TypeVideo && flags&flagVideoOff != 0
}

// CannotFollow reports whether its stream has changed since the viewer started in a way that
// it cannot follow (WatchOptions.FixedCodecs): it ends where that happened.
func (v *Viewer) CannotFollow() bool {
	s := v.stream.Load()
	s.mu.RLock()
	defer s.mu.RUnlock()
	return v.stop != ReasonNone
}

// Given is what a viewer was given from elsewhere: metadata in any case.
type Given struct {
	Begun   bool  // a frame
	Begin   int64 // if so: the stream's time of its timestamp 0
	Until   int64 // the stream's time up to which it was given all that it wants
	NeedKey bool  // video was left out, and goes on with a key frame
}

// ContinueAt has the viewer go on at a position of its stream's log, after it was given
// everything before it that it wants from elsewhere. It
// reports false where the log does not reach back so far any more: then the viewer is
// given more from elsewhere first. Nobody drives the viewer meanwhile.
func (v *Viewer) ContinueAt(p Position, g Given) bool {
	s := v.stream.Load()
	done := false
	s.update(func() {
		if s != p.stream || p.headers == nil || p.seq < s.log.shed || p.seq > s.log.head {
			return
		}
		v.next, v.base, v.begun, v.headers = p.seq, g.Begin, g.Begun, p.headers
		v.needKey, v.evicted, v.wasPaused = g.NeedKey, false, false
		s.leadLocked(&v.cursor)
		if v.plan != nil {
			v.plan.sound = 0 // it has had sound up to here, and goes on with it
		}
		s.holdLocked(v.next)
		done = true
	})
	return done
}

// ContinueLive has a viewer that was given something from elsewhere go on in the log at the
// newest key frame, or the next one where it has had that: whatever is missing before it.
func (v *Viewer) ContinueLive(g Given) {
	s := v.stream.Load()
	s.update(func() {
		v.base, v.begun, v.needKey = g.Begin, g.Begun, true
		if v.headers == nil {
			v.headers = noHeaders // it has had its metadata
		}
		switch l := &s.log; {
		case g.Begun && l.hasGOP && l.at(l.gop).time <= g.Until:
			v.next = max(v.next, l.head)
		case l.hasGOP:
			v.next = max(v.next, l.gop)
		default:
			v.next = max(v.next, l.shed)
		}
		s.leadLocked(&v.cursor)
		s.holdLocked(v.next)
	})
}

// Complete has a viewer end that was given all that it asked for from elsewhere. Nobody drives the
// viewer meanwhile.
func (v *Viewer) Complete() {
	v.stream.Load().update(func() { v.complete = true })
}
