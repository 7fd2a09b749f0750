package hub

import (
	"cmp"
	"time"

	"sluice/flv"
	"sluice/hub/timeline"
)

// trackState is how far one of the two main tracks has come in a publish session. What
// viewers are told of a stream's tracks follows from it, and from nothing else.
//
//	from                on                                                        to
//	unknown             metadata names its codec                                  announced
//	unknown             1 s after the session's first frame (or a change of codec) gone
//	announced           4 s after that                                            gone
//	any                 a frame (of video: a key frame)                           live
//	live, silent        a frame or header of another codec                        unknown
//	live                no frame for 1 s while the other track goes on, AAC-LC     silent
//	live                no frame for 3 s while the other track goes on, others    gone
//	silent              a header that names no AAC-LC any more                    live
//	live                its first header, long after its last frame               gone
//
// The 3 s are more where a track's frames are usually further apart (trackLife.limit).
//
// A viewer who joins waits until both tracks are live, silent or gone (session.decided).
// A track that is silent is there: its gap is filled (silence.go). When one turns out to
// be gone, or to be there after all, or goes on with another codec or picture size,
// viewers whose player was set up for something else are ended, so that it is opened anew
// (offers.go); the others go on.
type trackState uint8

const (
	trackUnknown trackState = iota
	trackAnnounced
	trackLive
	trackSilent
	trackGone
)

// known reports whether nobody waits for the track any more.
func (t trackState) known() bool { return t >= trackLive }

// Main tracks, those numbered 0.
const (
	audioTrack = iota
	videoTrack
	mainTracks
)

var (
	mainAudio = timeline.ID{Type: flv.TypeAudio}
	mainVideo = timeline.ID{Type: flv.TypeVideo}
)

// mainTrack returns the index of the main track of a type.
func mainTrack(typ flv.Type) int {
	if typ == flv.TypeVideo {
		return videoTrack
	}
	return audioTrack
}

// typeOf returns the type of a main track.
func typeOf(track int) flv.Type {
	if track == videoTrack {
		return flv.TypeVideo
	}
	return flv.TypeAudio
}

// noteFrameLocked notes a frame in the life of its track, and returns what the log is
// to know of it, or why it is not taken.
func (s *Stream) noteFrameLocked(c *content) (is marks, why skip) {
	i, p := mainTrack(c.tag.Type), c.main
	t := &s.session.tracks[i]
	main := p.Track == 0
	var changed []int
	if c.formats != nil {
		changed = s.noteFormatsLocked(c) // even of what is not taken
	}
	if i == videoTrack {
		if main && p.Key {
			// The slices of one picture may each have a message of their own.
			if !t.isKey || c.tag.Timestamp != t.stamp || !s.log.hasGOP || changed != nil {
				is = markStart
			}
			t.keyed, t.begun = p.Codec, true
		} else if !t.begun || main && t.keyed != p.Codec {
			s.session.beforeKey = true
			return 0, skipBeforeKey
		}
		if p.Frame == flv.FrameKey {
			is |= markRandom
		}
	}
	if len(c.packets) > 1 {
		is |= markMany
	}
	if changed != nil {
		s.changeFormatsLocked(c.tag.Type, changed)
	}
	if main {
		s.arriveLocked(i, p.Codec, c.tag.Timestamp)
		t.isKey = p.Key
		s.decideIfKnownLocked()
	}
	if i == audioTrack && s.onlyAudioLocked() {
		is |= markStart
	}
	return is, notSkipped
}

// noteHeaderLocked notes codec headers in the life of a main track and its further ones.
func (s *Stream) noteHeaderLocked(i int, c *content) {
	for _, p := range c.packets {
		if p.Track != 0 {
			continue
		}
		if p.Kind == flv.KindConfig {
			s.changeCodecLocked(i, p.Codec)
		}
		if old := s.codecLocked(c.tag.Type); old != 0 && old != p.Codec {
			s.headers = s.headers.without(c.tag.Type)
		}
	}
	s.changeFormatsLocked(c.tag.Type, s.noteFormatsLocked(c))
}

// showTrackLocked notes that a main track has got its first codec header. Viewers that
// could not use the track without it now can, from here on: frames from before may be of
// another format.
func (s *Stream) showTrackLocked(i int) {
	if !s.session.decided || s.tracks.codecs[i] == 0 {
		return
	}
	if s.session.arrived-s.session.tracks[i].last >= goneAfter {
		s.loseLocked(i) // its frames are long past
		return
	}
	s.startHereLocked(typeOf(i))
	s.reviewLocked()
}

// arriveLocked notes that a frame of a main track arrived: it is live, and time passes
// for the other one.
func (s *Stream) arriveLocked(i int, codec flv.Codec, stamp uint32) {
	s.changeCodecLocked(i, codec)
	t, other := &s.session.tracks[i], &s.session.tracks[1-i]
	if s.session.begun.IsZero() {
		s.session.begun = s.session.lastWrite
		t.last, other.last = s.session.arrived, s.session.arrived
	}
	passed := t.arrive(s.session.arrived, stamp)
	if t.codec != codec {
		if t.codec == 0 && s.session.decided {
			s.reopenLocked() // it is there after all
		}
		t.codec = codec
		s.headers = s.headers.withTrack(i, codec)
		if s.codecLocked(typeOf(i)) != codec {
			s.headers = s.headers.without(typeOf(i)) // of another codec
		}
	}
	was := t.state
	t.state = trackLive
	if was == trackSilent {
		s.reviewLocked() // viewers of everything as sent may have been told that there is no sound
	}
	if other.state == trackLive {
		s.passLocked(1-i, passed, !was.known() || was == trackGone)
	}
}

// passLocked lets time pass for a main track with a frame of the other one, which may
// have appeared with it: too much makes it silent or gone.
func (s *Stream) passLocked(i int, passed time.Duration, appears bool) {
	t, gap := &s.session.tracks[i], s.session.arrived-s.session.tracks[i].last
	canFill := s.canFillLocked(i)
	limit := t.limit(i == videoTrack, canFill, s.log.hasGOP)
	t.silence = min(t.silence+passed, gap)
	if appears && gap >= limit { // both had stopped: the other one goes on, and this one perhaps
		t.silence = max(t.silence, limit-resumeWait)
	}
	switch {
	case !s.session.decided || t.silence < limit:
	case canFill:
		t.state = trackSilent
	default:
		s.loseLocked(i)
	}
}

// endSilenceLocked notes that nothing can stand for the sound any more.
func (s *Stream) endSilenceLocked() {
	if t := &s.session.tracks[audioTrack]; t.state == trackSilent {
		t.state = trackLive // and soon gone
	}
}

// loseLocked notes that a track is gone.
func (s *Stream) loseLocked(i int) {
	t := &s.session.tracks[i]
	t.state, t.codec, t.keyed = trackGone, 0, 0
	s.headers = s.headers.withTrack(i, 0)
	if s.session.decided {
		s.decideLocked()
	}
}

// canFillLocked reports whether a gap in a track can be filled.
func (s *Stream) canFillLocked(i int) bool {
	return i == audioTrack && !s.hub.cfg.NoFillSilence && s.session.silence != nil &&
		s.session.tracks[i].codec == flv.CodecAAC
}

// decideIfKnownLocked decides on the tracks when nobody has to wait for another one,
// and sees to it that it will be decided in time.
func (s *Stream) decideIfKnownLocked() {
	switch t := &s.session.tracks; {
	case s.session.decided:
	case t[audioTrack].state.known() && t[videoTrack].state.known():
		s.decideLocked()
	case s.session.timer == nil:
		s.startDecisionTimerLocked(s.session.lastWrite)
	}
}

// startDecisionTimerLocked lets the wait for a track that has not shown end in time.
func (s *Stream) startDecisionTimerLocked(now time.Time) {
	var timer *time.Timer
	timer = time.AfterFunc(s.waitUntilLocked().Sub(now), func() { s.decideLate(&timer) })
	s.session.timer = timer
}

// waitUntilLocked returns the time until which to wait for a track that has not shown
// yet, by what metadata has said of it so far.
func (s *Stream) waitUntilLocked() time.Time {
	for i, announced := range s.announcedLocked() {
		if announced {
			s.session.tracks[i].state = trackAnnounced
		}
	}
	return s.decisionLocked()
}

// decisionLocked returns waitUntilLocked, and changes nothing.
func (s *Stream) decisionLocked() time.Time {
	wait := trackWait
	if s.announcedLocked() != [mainTracks]bool{} {
		wait = declaredWait
	}
	return s.session.begun.Add(wait)
}

// announcedLocked returns which main tracks have not shown, though metadata names their
// codecs.
func (s *Stream) announcedLocked() (announced [mainTracks]bool) {
	named := s.session.declared.namesCodecs()
	for i := range s.session.tracks {
		state := s.session.tracks[i].state
		announced[i] = state == trackAnnounced || state == trackUnknown && named[i] != 0
	}
	return announced
}

// decideLate decides on the tracks when their time is up. The timer, to be read
// with the lock held, is the one that fired.
func (s *Stream) decideLate(timer **time.Timer) {
	s.update(func() {
		switch now := time.Now(); {
		case s.session.timer != *timer: // stopped as it fired
		case now.Before(s.waitUntilLocked()):
			s.startDecisionTimerLocked(now) // metadata has come since
		default:
			s.decideLocked()
			s.announceLocked()
		}
	})
}

// decideLocked decides which tracks a publish session has: those that have not shown are
// gone. Where that is not what viewers were told, viewers that can't follow are ended.
func (s *Stream) decideLocked() {
	again := s.session.decided
	s.reopenLocked()
	s.session.decided = true
	if !again {
		s.session.whole = true
	}
	now := trackSet{known: true}
	for i := range s.session.tracks {
		t := &s.session.tracks[i]
		if !t.state.known() {
			if t.state == trackAnnounced {
				s.session.whole = false
			}
			t.state = trackGone
		}
		now.codecs[i] = t.codec
	}
	if s.tracks.known && s.tracks != now {
		s.oldest = s.session.first
	}
	s.tracks = now
	// Metadata of an earlier session says nothing of this one.
	s.headers = s.headers.withMetadata(s.session.declared).
		withTrack(audioTrack, now.codecs[audioTrack]).withTrack(videoTrack, now.codecs[videoTrack]).
		sinceNumber(s.session.firstConfig)
	s.rewriteUndecidedLocked(again)
	s.reviewLocked()
	s.news = true
}

// changeCodecLocked notices that a main track has, or is about to have, another codec
// than it had, or than viewers were told: what was decided is open again, and viewers who
// join start behind the change.
func (s *Stream) changeCodecLocked(i int, codec flv.Codec) {
	t := &s.session.tracks[i]
	had := cmp.Or(t.codec, s.tracks.codecs[i])
	if had == 0 || had == codec {
		return
	}
	s.startAnewLocked(typeOf(i), anyTrack)
	s.tracks.known, s.tracks.codecs[i] = false, 0
	t.state, t.codec = trackUnknown, 0
	if i == audioTrack {
		s.setSilenceLocked(nil)
	}
	s.session.begun = s.session.lastWrite
	s.reopenLocked()
}

// reopenLocked makes the tracks of the session undecided again.
func (s *Stream) reopenLocked() {
	s.session.decided = false
	if t := s.session.timer; t != nil {
		t.Stop()
		s.session.timer = nil
	}
}
