package hub

import (
	"time"

	"sluice/flv"
	"sluice/hub/timeline"
)

// The way of a tag, from a publisher into the log. Each stage is entered once for a
// tag, and none looks into its bytes again.
//
//	Publisher.Write
//	   │ understand (content.go): which tracks, codec, key frame or header, what format
//	   ▼ the stream is locked
//	takeLocked
//	   ├─ script data ─▶ beside the log, or into it
//	   ├─ header ─▶ noteHeadersLocked (headers.go), beside the log
//	   └─ frame ─▶ noteFrameLocked (tracks.go): the life of its track, what viewers are told
//	           ─▶ timeline.At: its time
//	           ─▶ fillLocked (silence.go): the gap in the sound before it
//	           ─▶ appendLocked: into the log, with the headers in force
//	   ▼ the stream is unlocked
//	wake: pumps, and those who wait for something to start with

// skip is why a publisher's tag, or a part of one, did not enter the log.
type skip uint8

const (
	notSkipped     skip = iota
	skipUnreadable      // a body that can't be understood
	skipEmpty           // a body without a byte, which is silence, or a header without content
	skipBeforeKey       // video before the first key frame of a session or codec
	skipCommand         // a seek command or an end of sequence: nothing to show
	skipUnsafe          // script data that players could choke on
	skipExcess          // a header too large, or one too many
	skipMetadata        // a property of metadata that is too large, or one too many
	skipLate            // sound whose place was filled with silence; viewers of all as it was sent get it
	skips
)

func (r skip) String() string {
	return [...]string{
		"none", "unreadable", "empty", "before key frame", "command", "unsafe script", "excess header",
		"excess metadata", "late sound",
	}[r]
}

// takeLocked takes one tag of the present publisher into the stream, and returns whom
// the caller has to wake once it has let go of the lock. What has to be kept of the tag
// is copied.
func (s *Stream) takeLocked(c *content, now time.Time) []Waker {
	s.session.lastWrite, s.session.arrived = now, now.Sub(s.hub.began)
	s.facts.in += uint64(c.tag.Size())
	s.facts.rate.add(now, len(c.tag.Data))

	why, before := c.skip, s.log.head
	if why == notSkipped {
		switch {
		case c.tag.Type == flv.TypeScript:
			s.takeScriptLocked(c)
		case c.main.Kind == flv.KindFrame:
			why = s.takeFrameLocked(c)
		case c.main.Kind == flv.KindEnd:
			why = s.takeEndLocked(c)
		default:
			why = s.noteHeadersLocked(c)
		}
	}
	s.facts.skipped[why]++
	if s.news {
		return s.announceLocked()
	}
	if s.log.head == before {
		return nil
	}
	return s.wakers
}

// takeScriptLocked keeps onMetaData beside the log, and lets other script data flow by
// where it is safe.
func (s *Stream) takeScriptLocked(c *content) {
	if c.script.metadata {
		s.session.declared = c.script.meta
		s.session.names = c.script.names
		s.headers = s.headers.withMetadata(c.script.meta)
		s.facts.skipped[skipMetadata] += c.script.excess
		return
	}
	p := packet{kind: flv.TypeScript, time: s.timeline.Front()}
	if s.onlyAudioLocked() {
		p.marks = markStart // so that it does not break the run of them
	}
	s.appendLocked(p, c.tag.Data)
}

// takeEndLocked lets the end of a track's sequence flow by, for those who get
// everything as it was sent.
func (s *Stream) takeEndLocked(c *content) skip {
	if !s.session.decided {
		return skipCommand
	}
	id := timeline.ID{Type: c.tag.Type, Number: c.main.Track}
	s.appendLocked(entry(id, c.main, min(s.timeline.Front(), s.timeline.Last(id)), markAside), c.tag.Data)
	return notSkipped
}

// takeFrameLocked takes an audio or video frame.
func (s *Stream) takeFrameLocked(c *content) skip {
	couldStart := s.log.hasGOP
	is, why := s.noteFrameLocked(c)
	if why != notSkipped {
		return why
	}
	id := timeline.ID{Type: c.tag.Type, Number: c.main.Track}
	at := s.timeline.At(id, timeline.Frame{
		Timestamp: c.tag.Timestamp, Composition: c.main.CompositionTime, Key: c.main.Key, Arrived: s.session.arrived.Milliseconds(),
	})
	if s.fillLocked(id, at) {
		is |= markAside
		why = skipLate
	}
	s.appendLocked(entry(id, c.main, at, is), c.tag.Data)
	if s.log.hasGOP && !couldStart {
		s.news = true
	}
	return why
}

// entry returns what the log keeps of a packet, beside its data.
func entry(id timeline.ID, p *flv.Packet, time int64, is marks) packet {
	e := packet{kind: id.Type, time: time, marks: is, track: id.Number}
	if p.Plain() {
		e.marks |= markPlain
	}
	return e
}

// appendLocked appends to the log, with the headers now in force, and trims it.
func (s *Stream) appendLocked(p packet, data []byte) {
	p.arrived = s.session.arrived.Milliseconds()
	s.log.append(p, s.headers, data)
	s.trimLocked()
}
