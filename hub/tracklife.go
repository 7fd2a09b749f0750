package hub

import (
	"time"

	"sluice/flv"
)

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
	// oneFrameGone is goneAfter for a picture that has been the only one so far: another
	// one every six seconds may follow.
	oneFrameGone = 10 * time.Second
	// resumeWait is how long a track may take to go on after the other one, where both
	// had stopped for long: more than a first frame proves, and as much as bursts take.
	resumeWait = maxPassed + 300*time.Millisecond
	// maxPassed bounds how much silence of a track one frame of the other proves: frames
	// that were held up arrive all at once. Where that other track is itself sparse, it
	// is the usual distance of its frames, up to maxSparse: a single one of them makes no
	// track gone.
	maxPassed = 500 * time.Millisecond
	maxSparse = 2 * time.Second

	// A track that was without a frame for goneAfter or more, and went on, as often as
	// fits within pauseMemory, makes such pauses: a screen that is shared, a voice, an
	// encoder that leaves out what its line can't take. From then on it may be without a
	// frame for twice the longest pause, up to maxPause: its viewers are not to be ended
	// again and again.
	fits        = 2
	pauseMemory = 2 * time.Minute
	maxPause    = 30 * time.Second
)

// trackLife is a main track in the present publish session.
type trackLife struct {
	state trackState
	codec flv.Codec // of its frames; 0 unless it is live or silent

	last    time.Duration // when a frame arrived last, on the hub's clock; if none has, the session's first
	stamp   uint32        // its timestamp
	frames  int           // up to 2
	silence time.Duration // for how long the other track has gone on since
	pace    usual         // how much that usually is from frame to frame
	burst   time.Duration // for how long frames were held up that then came in a burst

	pauses   int           // of goneAfter or more
	longest  time.Duration // of them
	pausedAt time.Duration // when the last one ended, on the hub's clock

	// Of video.
	keyed flv.Codec // of the last key frame: what inter frames may follow
	begun bool      // there was one in this session: further tracks may begin
	isKey bool      // the last frame was a key frame
}

// usual is a time that something usually takes, by the last two times.
type usual struct {
	last, before time.Duration
	known        int // how many there were, up to 2
}

// note takes what it took this time.
func (u *usual) note(d time.Duration) {
	u.last, u.before, u.known = d, u.last, min(u.known+1, 2)
}

// value returns it: the shorter one of the two, or the only one.
func (u *usual) value() time.Duration {
	if u.known < 2 {
		return u.last
	}
	return min(u.last, u.before)
}

// limit returns how long the track may be without a frame before it is silent, where that
// would be filled, or else gone. startable says that viewers who join can start
// meanwhile.
func (t *trackLife) limit(video, filled, startable bool) time.Duration {
	if filled {
		return max(silentAfter, 2*t.burst)
	}
	limit := goneAfter
	if t.pauses >= fits {
		limit = max(limit, min(2*t.longest, maxPause))
	}
	switch {
	case video && t.frames > 1:
		limit = max(limit, min(2*t.pace.value(), maxPause))
	case video && startable:
		limit = max(limit, oneFrameGone)
	}
	return limit
}

// arrive notes a frame. It returns how much of the time since the track's last frame
// counts as silence of the other track.
func (t *trackLife) arrive(now time.Duration, stamp uint32) (passed time.Duration) {
	if t.frames > 0 {
		gap := now - t.last
		passed = maxPassed
		if t.pace.known > 1 {
			passed = max(passed, min(t.pace.value(), maxSparse))
		}
		passed = min(passed, gap)
		if t.silence >= goneAfter {
			if now-t.pausedAt > pauseMemory {
				t.pauses, t.longest = 0, 0
			}
			t.pauses, t.longest, t.pausedAt = t.pauses+1, max(t.longest, gap), now
		}
		if stamp != t.stamp { // else it is a part of the last one
			if t.frames = 2; t.silence >= gap/2 { // else the other track stopped meanwhile
				t.pace.note(t.silence)
			}
		}
	}
	t.frames = max(t.frames, 1)
	t.last, t.stamp, t.silence = now, stamp, 0
	return passed
}
