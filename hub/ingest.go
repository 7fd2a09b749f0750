package hub

import (
	"time"

	"sluice/flv"
	"sluice/flv/amf"
)

// skip is why a publisher's tag did not enter the log.
type skip uint8

const (
	skipUnreadable skip = iota // a body that can't be understood
	skipEmpty                  // a body without a byte, which is silence, or a header without content
	skipBeforeKey              // video before the first key frame of a session or codec
	skipCommand                // a seek command or an end of sequence: nothing to show
	skipUnsafe                 // script data that players could choke on
	skipExcess                 // a header too large, or one too many
	skips
)

func (r skip) String() string {
	return [...]string{"unreadable", "empty", "before key frame", "command", "unsafe script", "excess header"}[r]
}

// takeLocked takes one tag of the present publisher into the stream, with what was
// read of it if it is script data. It copies t.Data.
func (s *Stream) takeLocked(t flv.Tag, data script, now time.Time) []Waker {
	s.session.lastWrite = now
	s.facts.in += uint64(t.Size())
	s.facts.rate.add(now, len(t.Data))

	if t.Type == flv.TypeScript {
		return s.takeScriptLocked(t, data)
	}
	if len(t.Data) == 0 {
		return s.skipLocked(skipEmpty)
	}
	packet, err := t.Packet()
	if err != nil {
		return s.skipLocked(skipUnreadable)
	}
	switch {
	case packet.Kind == flv.KindEnd && packet.Enhanced && s.session.decided:
		s.appendLocked(entry(t, packet, min(s.timeline.front, s.timeline.last(trackID{t.Type, packet.Track})), markAside), t.Data)
		return s.wakers
	case packet.Kind == flv.KindCommand, packet.Kind == flv.KindEnd:
		return s.skipLocked(skipCommand)
	case packet.Kind == flv.KindUnknown, packet.Codec == 0:
		return s.skipLocked(skipUnreadable)
	case packet.Kind == flv.KindConfig && len(packet.Payload) == 0:
		return s.skipLocked(skipEmpty) // ffmpeg sends one for AAC whose real header is to come
	}
	switch packet.Kind {
	case flv.KindFrame:
		return s.takeFrameLocked(t, packet)
	default:
		return s.takeConfigLocked(t, packet)
	}
}

func (s *Stream) skipLocked(why skip) []Waker {
	s.facts.skipped[why]++
	return nil
}

// script is what script data says.
type script struct {
	safe     bool     // it may be sent to players
	metadata bool     // it is onMetaData
	meta     metadata // then
}

// readScript reads the body of a script tag. That is the one thing to do with a tag
// that may take long, so it is done before the stream is locked.
func readScript(body []byte) script {
	if len(body) > scriptLimits.Bytes {
		return script{}
	}
	values, err := amf.DecodeAll(body, scriptLimits)
	if err != nil || len(values) == 0 {
		return script{}
	}
	name, ok := values[0].(string)
	if !ok || len(name) > maxScriptName {
		return script{}
	}
	if name != "onMetaData" {
		return script{safe: true}
	}
	m, ok := parseMetadata(values[1:])
	return script{safe: ok, metadata: true, meta: m}
}

// scriptLimits bound script data: what encoders send has some hundred bytes.
var scriptLimits = amf.Limits{Depth: 16, Elements: 1024, Bytes: 64 << 10}

// takeScriptLocked keeps onMetaData beside the log, and lets other script data
// flow by where it is safe.
func (s *Stream) takeScriptLocked(t flv.Tag, data script) []Waker {
	switch {
	case !data.safe:
		return s.skipLocked(skipUnsafe)
	case data.metadata:
		s.session.declared = data.meta
		s.headers = s.headers.withMetadata(data.meta)
		return nil
	}
	s.appendLocked(packet{kind: flv.TypeScript, time: s.timeline.front, marks: s.startIfOnlyAudioLocked()}, t.Data)
	return s.wakers
}

// maxScriptName bounds the name of a data message, in bytes; ffmpeg ends a
// session at one of 64.
const maxScriptName = 63

// takeConfigLocked keeps the codec headers of a body, one for each of its tracks,
// beside the log. Viewers meet them with the next frame.
func (s *Stream) takeConfigLocked(t flv.Tag, p flv.Packet) []Waker {
	s.configs++
	if !p.Multitrack {
		return s.keepConfigsLocked(t, p)
	}
	var packets []flv.Packet
	t.EachTrack(func(p flv.Packet) {
		if p.Kind != flv.KindConfig || len(p.Payload) > 0 {
			packets = append(packets, p)
		}
	})
	return s.keepConfigsLocked(t, packets...)
}

// keepConfigsLocked keeps what stands in one body.
func (s *Stream) keepConfigsLocked(t flv.Tag, packets ...flv.Packet) []Waker {
	configs := make([]config, 0, 4)
	for _, p := range packets {
		c := config{slot{t.Type, p.Kind, p.Track}, p.Codec, t.Data, s.configs}
		if !s.headers.hasRoom(c, len(configs)) {
			return s.skipLocked(skipExcess)
		}
		configs = append(configs, c)
	}
	if len(configs) == 0 {
		return s.skipLocked(skipEmpty)
	}
	for i, p := range packets {
		if p.Kind == flv.KindConfig {
			s.readTrackLocked(t.Type, p)
		}
		if p.Kind == flv.KindConfig && p.Track == 0 {
			s.checkCodecLocked(t.Type, p.Codec)
		}
		if old := s.codecLocked(t.Type); old != 0 && p.Track == 0 && old != p.Codec {
			s.headers = s.headers.without(t.Type)
		}
		if t.Type == flv.TypeVideo && p.Track == 0 && !s.headers.has(configs[i]) {
			s.timeline.newHeader()
		}
	}
	s.headers = s.headers.withConfigs(s.session.firstConfig, configs...)
	return nil
}

// codecLocked returns the codec of the main track's header of the given type, 0
// without one.
func (s *Stream) codecLocked(typ flv.Type) flv.Codec {
	for _, c := range s.headers.configs {
		if c.slot == (slot{typ, flv.KindConfig, 0}) {
			return c.codec
		}
	}
	return 0
}

// checkCodecLocked notices that a track has, or is about to have, another codec
// than viewers were told.
func (s *Stream) checkCodecLocked(typ flv.Type, codec flv.Codec) {
	if !s.tracks.known {
		return
	}
	had := s.tracks.audio
	if typ == flv.TypeVideo {
		had = s.tracks.video
	}
	if had != 0 && had != codec {
		s.changeLocked()
	}
}

// takeFrameLocked appends an audio or video frame, and decides on the tracks when
// the frame shows enough.
func (s *Stream) takeFrameLocked(t flv.Tag, p flv.Packet) []Waker {
	main := p.Track == 0
	var is marks
	if t.Type == flv.TypeVideo {
		switch {
		case main && p.Key:
			s.session.keyed = p.Codec
			s.readKeyFrameLocked(p)
			is = markStart
		case s.session.keyed == 0, main && s.session.keyed != p.Codec:
			return s.skipLocked(skipBeforeKey)
		}
		if p.Frame == flv.FrameKey {
			is |= markRandom
		}
	}
	if p.Multitrack && s.seeTracksLocked(t) > 1 {
		is |= markMany
	}
	if main {
		s.checkCodecLocked(t.Type, p.Codec)
		s.seeLocked(t.Type, p)
	}
	if t.Type == flv.TypeAudio {
		is |= s.startIfOnlyAudioLocked()
	}
	couldStart := s.log.hasGOP
	at := s.timeline.at(trackID{t.Type, p.Track}, t.Timestamp, p.CompositionTime, p.Key)
	s.appendLocked(entry(t, p, at, is), t.Data)

	switch {
	case s.session.decided:
	case s.session.audio != 0 && s.session.video != 0, s.declaredLocked():
		return s.decideLocked()
	case s.session.timer == nil:
		var timer *time.Timer
		wait := trackWait
		if audio, video, _ := s.session.declared.declares(); audio && video {
			wait = declaredWait
		}
		timer = time.AfterFunc(wait, func() { s.decideLate(&timer) })
		s.session.timer = timer
	}
	if s.log.hasGOP && !couldStart {
		return s.announceLocked()
	}
	return s.wakers
}

// entry returns what the log keeps of a tag, beside its data.
func entry(t flv.Tag, p flv.Packet, time int64, is marks) packet {
	e := packet{kind: t.Type, time: time, marks: is, track: p.Track}
	if p.Plain() {
		e.marks |= markPlain
	}
	return e
}

// startIfOnlyAudioLocked returns the mark of a start point for every packet of a
// stream that is known to have no video.
func (s *Stream) startIfOnlyAudioLocked() marks {
	if s.onlyAudioLocked() {
		return markStart
	}
	return 0
}

// onlyAudioLocked reports whether the stream is known to have no video, so that
// every packet is a start point.
func (s *Stream) onlyAudioLocked() bool { return s.session.decided && s.tracks.video == 0 }

// seeLocked notes that a track has frames. One that appears when the tracks are
// decided already is a change like that of a codec.
func (s *Stream) seeLocked(typ flv.Type, p flv.Packet) {
	seen := &s.session.audio
	if typ == flv.TypeVideo {
		seen = &s.session.video
	}
	if *seen == p.Codec {
		return
	}
	if *seen == 0 && s.session.decided {
		s.reopenLocked()
	}
	*seen = p.Codec
	if typ == flv.TypeAudio {
		s.headers = s.headers.withTracks(p.Codec, s.headers.video)
	} else {
		s.headers = s.headers.withTracks(s.headers.audio, p.Codec)
	}
	if s.codecLocked(typ) != p.Codec {
		// A codec without a header, or whose header is missing: the frame says it.
		s.headers = s.headers.without(typ)
		s.readTrackLocked(typ, p)
	}
}

// declaredLocked reports whether every track that the publisher's metadata names
// has been seen, so that there is nothing more to wait for.
func (s *Stream) declaredLocked() bool {
	audio, video, says := s.session.declared.declares()
	return says && audio == (s.session.audio != 0) && video == (s.session.video != 0)
}

// decideLate decides on the tracks when their time is up. The timer, to be read
// with the lock held, is the one that fired.
func (s *Stream) decideLate(timer **time.Timer) {
	s.mu.Lock()
	var wakers []Waker
	if s.session.timer == *timer { // not stopped as it fired
		wakers = s.decideLocked()
	}
	s.mu.Unlock()
	wake(wakers)
}

// appendLocked appends to the log, with the headers now in force, and trims it.
func (s *Stream) appendLocked(p packet, data []byte) {
	p.arrived = s.session.lastWrite.Sub(s.hub.began).Milliseconds()
	s.log.append(p, s.headers, data)
	s.trimLocked()
}
