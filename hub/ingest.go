package hub

import (
	"slices"
	"time"

	"sluice/flv"
	"sluice/hub/timeline"
)

// The way of a tag, from a publisher into the log: each stage once, in this order.
//
//	Publisher.Write
//	   │ understand (content.go): which tracks, codec, key frame or header, what format
//	   ▼ the stream is locked
//	takeLocked
//	   ├─ script data ─▶ beside the log, or into it
//	   ├─ headers ─▶ takeHeadersLocked: beside the log
//	   └─ frame ─▶ takeFrameLocked
//	        noteFrameLocked (tracks.go): the life of its track, and what viewers are told;
//	                                     before its time, since not every frame is taken
//	        timeline.At: its time, which meter.go measures
//	        fillLocked (silence.go): the gap in the sound before it
//	        appendLocked: into the log, with the headers in force
//	   ▼ the stream is unlocked
//	update.go: pumps are woken, and those who wait for something to start with
//
// On this way nobody looks into the body again. Where a viewer's shape asks for another
// form, that is done when it is served.

// skip is why a tag, or a part of one, did not enter the log, or (skipLate) entered it
// only for viewers of everything as it was sent.
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
		"", "unreadable", "empty", "before key frame", "command", "unsafe script", "excess header",
		"excess metadata", "late sound",
	}[r]
}

// takeLocked takes one tag of the present publisher into the stream. What has to be kept
// of the tag is copied.
func (s *Stream) takeLocked(c *content, now time.Time) {
	s.arriveAtLocked(now)
	s.facts.in += uint64(c.tag.Size())
	s.pub.bytes += uint64(c.tag.Size())
	s.facts.rate.add(now, len(c.tag.Data))

	why, before := c.skip, s.log.head
	if why == notSkipped {
		why = s.sortLocked(c)
	}
	if why != notSkipped {
		s.facts.skipped[why]++
	}
	if s.news {
		s.announceLocked()
	}
	s.effects.wake = s.effects.wake || s.log.head != before
}

// arriveAtLocked notes when the tag arrived that is taken next: not before the one ahead of it, though two publishers may have
// waited for each other.
func (s *Stream) arriveAtLocked(now time.Time) {
	s.session.lastWrite, s.session.arrived = now, max(s.session.arrived, now.Sub(s.hub.began))
	s.session.arrivedMS = s.session.arrived.Milliseconds()
}

// sortLocked takes a tag by what it holds.
func (s *Stream) sortLocked(c *content) skip {
	switch {
	case c.tag.Type == flv.TypeScript:
		s.takeScriptLocked(c)
		return notSkipped
	case c.main.Kind == flv.KindFrame:
		return s.takeFrameLocked(c)
	case c.main.Kind == flv.KindEnd:
		return s.takeEndLocked(c)
	}
	return s.takeHeadersLocked(c)
}

// takeScriptLocked keeps onMetaData beside the log, and lets other script data flow by
// where it is safe.
func (s *Stream) takeScriptLocked(c *content) {
	if c.script.metadata {
		s.session.declared = c.script.meta
		s.headers = s.headers.withMetadata(c.script.meta)
		s.facts.skipped[skipMetadata] += c.script.excess
		return
	}
	p := packet{kind: flv.TypeScript, time: c.place.or(s.timeline.Front())}
	if s.onlyAudioLocked() {
		p.marks = markStart // so that it does not break the run of them
	}
	s.appendLocked(p, c.tag.Data)
}

// takeHeadersLocked keeps the codec headers of a body, one for each of its tracks, beside
// the log, and what else belongs before frames. Viewers meet them with the next frame.
func (s *Stream) takeHeadersLocked(c *content) skip {
	s.configs++
	configs, fit := s.headers.configsOf(c, s.configs)
	if !fit {
		return skipExcess
	}
	i := mainTrack(c.tag.Type)
	s.noteHeaderLocked(i, c)
	if c.tag.Type == flv.TypeVideo && slices.ContainsFunc(configs, func(c config) bool { return c.track == 0 && !s.headers.has(c) }) {
		s.timeline.NewHeader()
	}
	if i == audioTrack && c.hasMainHeader() && !s.setSilenceLocked(c.silence) {
		s.endSilenceLocked()
	}
	lacked := s.codecLocked(c.tag.Type) == 0
	s.headers = s.headers.withConfigs(s.session.firstConfig, configs...)
	if lacked && s.codecLocked(c.tag.Type) != 0 {
		s.showTrackLocked(i)
	}
	return notSkipped
}

// takeEndLocked lets the end of a track's sequence flow by, for those who get
// everything as it was sent.
func (s *Stream) takeEndLocked(c *content) skip {
	if !s.session.decided {
		return skipCommand
	}
	id := timeline.ID{Type: c.tag.Type, Number: c.main.Track}
	at := c.place.or(min(s.timeline.Front(), s.timeline.Last(id)))
	s.appendLocked(entry(id, c.main, at, markAside), c.tag.Data)
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
	frame := timeline.Frame{
		Timestamp: c.tag.Timestamp, Composition: c.main.CompositionTime, Key: c.main.Key, Arrived: s.session.arrivedMS,
	}
	if id == mainAudio {
		frame.Filled, frame.Stood = s.session.filling.follows(), s.session.filling.stood
	}
	var at int64
	if c.place.known {
		at = s.timeline.Put(id, frame, c.place.at)
	} else {
		at = s.timeline.At(id, frame)
	}
	switch {
	case id.Number != 0:
	case id.Type == flv.TypeVideo:
		s.session.meter.picture(c, at, &s.session)
	default:
		s.session.meter.audio.take(at, s.session.arrivedMS)
	}
	if s.fillLocked(id, at, c.place.known) {
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
	p.arrived = s.session.arrivedMS
	s.log.append(p, s.headers, data)
	s.trimLocked()
}
