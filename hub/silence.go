package hub

import (
	"time"

	"sluice/flv"
	"sluice/hub/timeline"
)

// A publisher that mutes may send no sound at all. A player in a browser then stands
// still: it waits for the sound that belongs to the picture. So where the sound is
// AAC-LC, whose silence is a few bytes that are always the same, the gap is filled with
// that, and nobody notices anything.
//
//	picture  │ │ │ │ │ │ │ │ │ │ │ │ │ │ │ │ │ │ │ │ │ │ │
//	sound    ||||||||||                           |||||||||
//	                  ◀ limit ▶
//	filled            :::::::::::::::::::::::::::
//
// What is put in is for viewers of the main track, in any form but as it was sent:
// those get what the publisher sent, and nothing else. The publisher's own frames go on
// after the silence. Frames that were merely late, and whose place is filled already, go
// only to viewers of everything as it was sent. If that lasts longer than maxLate, the
// encoder's sound clock stood while it was muted, and it is set to where it has to be.
const (
	// fillBehind is how far silence stays behind the picture (farther if the sound itself
	// was): room for what the publisher sends when it goes on.
	fillBehind = 100 * time.Millisecond
	// maxFill bounds what is put in at once; the rest stays a gap.
	maxFill = 10 * time.Second
	// maxLate is for how long sound may come that stands in the middle of what was put
	// in: beyond that it was not late, but its clock stood while it was muted.
	maxLate = time.Second
)

// silence is what can stand for a publisher's sound.
type silence struct {
	flv.Silence
	packet flv.Packet // a frame with the head that the publisher's sound has
	body   []byte     // in the form in which the publisher sends its own
}

// readSilence returns what can stand for the sound that a codec header announces, nil if
// nothing can.
func readSilence(typ flv.Type, header *flv.Packet) *silence {
	if typ != flv.TypeAudio || header.Codec != flv.CodecAAC || header.Kind != flv.KindConfig || header.Track != 0 {
		return nil
	}
	quiet, ok := flv.SilentAAC(header.Payload)
	if !ok {
		return nil
	}
	packet := flv.Packet{
		Codec: header.Codec, Kind: flv.KindFrame, Enhanced: header.Enhanced, Sound: header.Sound, Payload: quiet.Frame,
	}
	body, err := flv.AppendAudio(nil, packet)
	if err != nil {
		return nil
	}
	return &silence{quiet, packet, body}
}

// filling is the gap in the sound that is being filled.
type filling struct {
	from   int64 // time of the last frame before it, ms
	frames int64 // put in since
	behind int64 // how far the sound was behind the picture at that frame, ms
	video  int64 // time of the last picture, ms
	last   int64 // time of the last frame put in, of this gap or an earlier one, ms
	any    bool  // last is set

	lateSince time.Duration // when the first of the frames arrived that are late, on the hub's clock; 0 for none
	stood     bool          // they are because the sound's clock stood
}

// beginFillLocked begins to fill the gap in the sound.
func (s *Stream) beginFillLocked() {
	f := &s.session.filling
	if f.frames = 0; f.any {
		f.from = max(f.from, f.last)
	}
	s.headers = s.headers.withFilled(true)
}

// endFillLocked ends that.
func (s *Stream) endFillLocked() { s.headers = s.headers.withFilled(false) }

// setSilenceLocked notes what can stand for the sound that a new codec header announces,
// and reports whether anything can.
func (s *Stream) setSilenceLocked(quiet *silence) bool {
	s.session.silence = quiet
	switch {
	case !s.headers.filled:
	case quiet == nil:
		s.endFillLocked()
	default:
		s.beginFillLocked() // anew: frames may have another duration
	}
	return quiet != nil
}

// fillLocked fills the gap in the sound up to a frame that is about to be appended at a
// time, if there is one to be filled. It reports whether the frame is sound in whose
// place something else stands already.
func (s *Stream) fillLocked(id timeline.ID, at int64) (late bool) {
	f := &s.session.filling
	switch id {
	case mainVideo:
		f.video = at
		if s.session.tracks[audioTrack].state == trackSilent {
			if !s.headers.filled {
				s.beginFillLocked()
			}
			s.fillUpLocked(at - max(f.behind, fillBehind.Milliseconds()))
		}
	case mainAudio:
		if s.headers.filled {
			half := int64(s.session.silence.Samples) * 500 / int64(s.session.silence.Rate)
			s.fillUpLocked(at - half)
			s.endFillLocked()
		}
		f.stood, late = false, f.any && at <= f.last
		s.noteLateLocked(late)
		if f.from, f.behind = at, 0; s.session.tracks[videoTrack].state == trackLive {
			f.behind = min(f.video-at, timeline.MaxSkew.Milliseconds())
		}
	}
	return late
}

// noteLateLocked notes whether sound has come that stands in the middle of what was put
// in.
func (s *Stream) noteLateLocked(late bool) {
	f, now := &s.session.filling, s.session.arrived
	switch {
	case !late:
		f.lateSince = 0
	case f.lateSince == 0:
		f.lateSince = now
	case now-f.lateSince > maxLate:
		f.lateSince, f.stood = 0, true
	}
}

// fillUpLocked puts silence in up to a time.
func (s *Stream) fillUpLocked(until int64) {
	f, quiet := &s.session.filling, s.session.silence
	at := func(frame int64) int64 { return f.from + frame*int64(quiet.Samples)*1000/int64(quiet.Rate) }
	if gap := until - at(f.frames); gap > maxFill.Milliseconds() {
		f.frames += (gap - maxFill.Milliseconds()) * int64(quiet.Rate) / int64(quiet.Samples) / 1000
	}
	for {
		next := at(f.frames + 1)
		if next > until {
			break
		}
		f.frames++
		e := entry(mainAudio, &quiet.packet, next, markFill)
		s.appendLocked(e, quiet.body)
		f.last, f.any = next, true
		s.facts.filled++
	}
}
