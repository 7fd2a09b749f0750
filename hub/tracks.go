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
//	           metadata names          a frame
//	           its codec
//	unknown ─────────────▶ announced ───────────▶ live ◀─────────────┐
//	 │ │ ▲                     │  ▲                │ no frame, while │ a frame
//	 │ │ └── header of another │  └─ codec ────────┤ the other track │ (of video:
//	 │ │                       │                   ▼ goes on         │ a key frame)
//	 │ └───────────────────────┼────── a frame ──▶ live              │
//	 │ 1 s after the           │ 4 s after it      │                 │
//	 │ session's first frame   ▼                   │ 3 s             │
//	 └───────────────────────▶ gone ◀──────────────┤ ────────────────┤
//	                                               │ 1 s, AAC-LC     │
//	                                               └──▶ silent ──────┘
//
// Who joins waits until both tracks are live, silent or gone (session.decided). A track
// that is silent is there: its gap is filled (silence.go). When one turns out to be gone,
// or to be there after all, or goes on with another codec or picture size, viewers whose
// player was set up for something else are ended, so that it is opened anew
// (reviewLocked, breakTrackLocked); the others go on.
type trackState uint8

const (
	trackUnknown trackState = iota
	trackAnnounced
	trackLive
	trackSilent
	trackGone
)

// settled reports whether nobody waits for the track any more.
func (t trackState) settled() bool { return t >= trackLive }

// Times of a track's life.
const (
	// trackWait is how long after its first frame a publisher may take to show
	// its other track, before viewers are told that there is none.
	trackWait = time.Second
	// declaredWait is the same where the publisher's metadata names the codec of that
	// track: one of two may be seconds late.
	declaredWait = 4 * time.Second
	// silentAfter is how long a track may be without a frame, while the other one goes
	// on, before its gap is filled; goneAfter is how long where nothing can fill it.
	silentAfter = time.Second
	goneAfter   = 3 * time.Second
	// oneFrameGone is goneAfter for a track of which there was one frame only: a
	// picture every six seconds may follow.
	oneFrameGone = 10 * time.Second
	// resumeWait is how long a track may take to go on after the other one, where both
	// had stopped for long.
	resumeWait = maxPassed + 300*time.Millisecond
	// paces is how many times a track's usual distance of frames it may be without one.
	paces = 2
	// maxPace bounds a distance of frames that counts as usual.
	maxPace = 10 * time.Second
	// maxPassed bounds how much time passes for a track with one frame of the other,
	// or twice the distance at which those come, up to maxSparse: when a connection that
	// hung goes on, all of its frames come at once, and one of them alone says nothing.
	maxPassed = 500 * time.Millisecond
	maxSparse = 2 * time.Second
)

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

// track is a main track in the present publish session.
type track struct {
	state trackState
	codec flv.Codec // of its frames; 0 unless it is live or silent

	last    time.Duration // when a frame arrived last, on the hub's clock
	stamp   uint32        // its timestamp
	frames  int           // up to 2
	silence time.Duration // for how long the other track has gone on since
	gap     time.Duration // how long that was from the last frame but one to the last
	pace    time.Duration // how long it usually is: the shorter one of the last two
	burst   time.Duration // by how much a frame has been late of late: those of some encoders come in bursts

	// Of video.
	keyed flv.Codec // of the last key frame: what inter frames may follow
	isKey bool      // the last frame was a key frame
}

// limit returns how long the track may be without a frame before it is silent, where
// that would be filled, or else gone. startable says that who joins can start meanwhile.
func (t *track) limit(filled, startable bool) time.Duration {
	switch {
	case filled:
		return silentAfter + 2*t.burst
	case t.frames < 2 && startable:
		return oneFrameGone
	}
	return max(goneAfter, paces*t.pace)
}

// arrive notes a frame. passed is how much of the time since its last one is to count
// for the other track.
func (t *track) arrive(now time.Duration, stamp uint32) (passed time.Duration) {
	if t.frames > 0 {
		passed = min(now-t.last, max(maxPassed, min(2*t.pace, maxSparse)))
		if stamp != t.stamp { // else it is a part of the last one
			gap := min(t.silence, maxPace)
			if t.pace = gap; t.frames > 1 {
				t.pace = min(gap, t.gap)
			}
			t.gap = gap
			t.frames = 2
		}
		const fade = 512 // frames
		t.burst -= t.burst / fade
		if late := t.silence - time.Duration(int32(stamp-t.stamp))*time.Millisecond; late > t.burst && late < goneAfter {
			t.burst = late
		}
	}
	t.frames = max(t.frames, 1)
	t.last, t.stamp, t.silence = now, stamp, 0
	return passed
}

// noteFrameLocked notes a frame in the life of its track, and returns what the log is
// to know of it, or why it is not taken.
func (s *Stream) noteFrameLocked(c *content) (is marks, why skip) {
	i, p := mainTrack(c.tag.Type), c.main
	t := &s.session.tracks[i]
	main := p.Track == 0
	if i == videoTrack {
		if main && p.Key {
			// The slices of one picture may each have a message of their own.
			if !t.isKey || c.tag.Timestamp != t.stamp || !s.log.hasGOP {
				is = markStart
			}
			t.keyed = p.Codec
		} else if t.keyed == 0 || main && t.keyed != p.Codec {
			return 0, skipBeforeKey
		}
		if p.Frame == flv.FrameKey {
			is |= markRandom
		}
	}
	if len(c.packets) > 1 {
		is |= markMany
	}
	if s.noteFormatsLocked(c) && p.Key {
		is |= markStart
	}
	if main {
		s.arriveLocked(i, p.Codec, c.tag.Timestamp)
		t.isKey = p.Key
		s.decideIfSettledLocked()
	}
	if i == audioTrack && s.onlyAudioLocked() {
		is |= markStart
	}
	return is, notSkipped
}

// arriveLocked notes that a frame of a main track arrived: it is live, and time passes
// for the other one.
func (s *Stream) arriveLocked(i int, codec flv.Codec, stamp uint32) {
	s.changeCodecLocked(i, codec)
	t, other := &s.session.tracks[i], &s.session.tracks[1-i]
	if s.session.begun.IsZero() {
		s.session.begun = s.session.lastWrite
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
	appears := !t.state.settled() || t.state == trackGone
	t.state = trackLive
	if other.state != trackLive {
		return
	}
	canFill, gap := s.canFillLocked(1-i), t.last-other.last
	limit := other.limit(canFill, s.log.hasGOP)
	other.silence = min(other.silence+passed, gap)
	if appears && gap >= limit { // both had stopped: this one goes on, and that one perhaps
		other.silence = max(other.silence, limit-resumeWait)
	}
	if !s.session.decided || other.silence < limit {
		return
	}
	if canFill {
		other.state = trackSilent
		s.beginFillLocked()
		return
	}
	s.loseLocked(1 - i)
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

// decideIfSettledLocked decides on the tracks when nobody has to wait for another one,
// and sees to it that it will be decided in time.
func (s *Stream) decideIfSettledLocked() {
	switch t := &s.session.tracks; {
	case s.session.decided:
	case t[audioTrack].state.settled() && t[videoTrack].state.settled():
		s.decideLocked()
	case s.session.timer == nil:
		s.awaitTracksLocked(s.session.lastWrite)
	}
}

// awaitTracksLocked lets the wait for a track that has not shown end in time.
func (s *Stream) awaitTracksLocked(now time.Time) {
	var timer *time.Timer
	timer = time.AfterFunc(s.waitUntilLocked().Sub(now), func() { s.decideLate(&timer) })
	s.session.timer = timer
}

// waitUntilLocked returns until when to wait for a track that has not shown, by what
// metadata says of it until now.
func (s *Stream) waitUntilLocked() time.Time {
	wait := trackWait
	for i := range s.session.tracks {
		t := &s.session.tracks[i]
		if t.state == trackUnknown && s.session.names[i] {
			t.state = trackAnnounced
		}
		if t.state == trackAnnounced {
			wait = declaredWait
		}
	}
	return s.session.begun.Add(wait)
}

// decideLate decides on the tracks when their time is up. The timer, to be read
// with the lock held, is the one that fired.
func (s *Stream) decideLate(timer **time.Timer) {
	s.mu.Lock()
	var wakers []Waker
	if s.session.timer == *timer { // not stopped as it fired
		if now := time.Now(); now.Before(s.waitUntilLocked()) {
			s.awaitTracksLocked(now) // metadata has come since
		} else {
			s.decideLocked()
			wakers = s.announceLocked()
		}
	}
	s.mu.Unlock()
	wake(wakers)
}

// decideLocked ends the look at which tracks a publish session has: those that have
// not shown are gone. Where they are not what viewers were told, those that can't
// follow are ended.
func (s *Stream) decideLocked() {
	s.reopenLocked()
	s.session.decided = true
	now := trackSet{known: true}
	for i := range s.session.tracks {
		t := &s.session.tracks[i]
		if !t.state.settled() {
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
	s.settleLocked()
	s.reviewLocked()
	s.news = true
}

// changeCodecLocked notices that a main track has, or is about to have, another codec
// than it had, or than viewers were told: what was decided is open again, and whoever
// joins starts behind the change.
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
		s.session.silence, s.headers = nil, s.headers.withFilled(false)
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
