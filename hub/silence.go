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
// The silence is for viewers of the main track in any form but as it was sent. Viewers of
// everything as it was sent get what the publisher sent, and nothing else. The
// publisher's own frames go on after the silence. Frames that were merely late, and whose
// place is filled already, go only to viewers of everything as it was sent. If that lasts
// longer than maxLate, the encoder's sound clock stood while it was muted, and it is set
// to where it has to be.
const (
	// fillBehind is how far silence stays behind the picture (farther if the sound itself
	// was): room for what the publisher sends when it goes on.
	fillBehind = 100 * time.Millisecond
	// maxFill bounds what is put in at once; the rest stays a gap.
	maxFill = 10 * time.Second
	// maxAhead is by how much the silence that is put in may exceed the time that has
	// passed since the last frame of sound, whatever the timestamps of pictures say.
	maxAhead = time.Second
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

// filling is the gap in the sound that is being filled. Times of the stream are in ms.
type filling struct {
	begun  bool          // there was a frame in this session
	sound  int64         // time of the last frame of sound; if there was none, of the session's first frame
	heard  time.Duration // when that arrived, on the hub's clock
	behind int64         // how far the sound was behind the picture then
	video  int64         // time of the last picture

	from   int64 // time behind which silence is put in
	frames int64 // so many frames of it
	last   int64 // time of the last one, of this gap or an earlier one
	any    bool  // last is set

	late      bool          // sound comes whose place is filled already
	lateSince time.Duration // when that began, on the hub's clock
	stood     bool          // its clock stood meanwhile
}

// beginFillLocked begins to fill the gap in the sound.
func (s *Stream) beginFillLocked() {
	f := &s.session.filling
	if f.from, f.frames = f.sound, 0; f.any {
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
// place something else stands already. Sound whose place is fixed (Publisher.Put) and that stays late
// cannot be set elsewhere: then silence makes way for it.
func (s *Stream) fillLocked(id timeline.ID, at int64, fixed bool) (late bool) {
	f := &s.session.filling
	if !f.begun && id.Number == 0 {
		f.begun, f.sound, f.heard = true, at, s.session.arrived
	}
	switch id {
	case mainVideo:
		f.video = at
		silent := s.session.tracks[audioTrack].state == trackSilent
		if silent && !s.headers.filled {
			s.beginFillLocked()
		}
		if silent || f.late && !(fixed && f.stood) {
			s.fillUpLocked(f.until())
		}
	case mainAudio:
		if late = f.any && at <= f.last; late {
			s.noteLateLocked()
			break
		}
		if s.headers.filled {
			half := int64(s.session.silence.Samples) * 500 / int64(s.session.silence.Rate)
			s.fillUpLocked(at - half)
			s.endFillLocked()
		}
		s.noteInTimeLocked()
		if f.sound, f.heard, f.behind = at, s.session.arrived, 0; s.session.tracks[videoTrack].state == trackLive {
			f.behind = min(f.video-at, timeline.MaxSkew.Milliseconds())
		}
	}
	return late
}

// until returns up to where silence is put in: as far behind the picture as the sound was.
func (f *filling) until() int64 { return f.video - max(f.behind, fillBehind.Milliseconds()) }

// follows returns, in ms, where sound has to be whose place can only be guessed.
func (f *filling) follows() int64 {
	if f.stood {
		return max(f.last, f.until())
	}
	return f.last
}

// noteLateLocked notes that sound comes whose place is filled with silence already.
func (s *Stream) noteLateLocked() {
	f, now := &s.session.filling, s.session.arrived
	if !f.late {
		f.late, f.lateSince = true, now
	}
	f.stood = now-f.lateSince > maxLate
}

// noteInTimeLocked notes that sound comes at its place. Sound that was late before had
// been held up: the next time its gap is filled later.
func (s *Stream) noteInTimeLocked() {
	f := &s.session.filling
	if f.late && !f.stood {
		t := &s.session.tracks[audioTrack]
		t.burst = max(t.burst, min(f.lateSince-f.heard, goneAfter))
	}
	f.late, f.stood = false, false
}

// fillUpLocked puts silence in up to a time.
func (s *Stream) fillUpLocked(until int64) {
	f, quiet := &s.session.filling, s.session.silence
	if quiet == nil {
		return
	}
	until = min(until, f.sound+(s.session.arrived-f.heard+maxAhead).Milliseconds())
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
