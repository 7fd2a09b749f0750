package timeline

// track is one track's place on the timeline. Times are in ms.
type track struct {
	session int64 // of its last frame; 0 before its first
	last    int64 // time given out last
	next    int64 // where its clock would have the next frame
	step    int64 // distance of its frames; 0 while unknown
	behind  int64 // by how much the last frame was moved up
	slow    bool  // the last frame came later than expected: once is no pace
	arrived int64 // when the last frame did

	clock    uint32 // its offset, modulo 2^31
	since    int64  // when it took that on
	frames   int    // that it had by it, up to maxWild
	previous uint32 // the clock before, while that may still be the true one
	hasPrev  bool

	refLast int64 // where the reference was at the last frame

	// Of the last frame, if it was a leap ahead: where to, and where it was expected.
	leapt        bool
	leap, before int64
}

// near returns the time nearest to ref of those that the wire timestamp ts may mean
// by a clock. Encoders wrap at 2^32 ms, but OBS and ffmpeg keep 31 bits (PROTOCOL:
// 24 d 20 h 31 m): modulo 2^31 both go on without a seam.
func near(ref int64, ts, clock uint32) int64 {
	return ref + int64(int32((ts+clock-uint32(ref))<<1)>>1)
}

func abs(d int64) int64 { return max(d, -d) }

// frame returns the distance of the track's frames.
func (tr *track) frame() int64 {
	if tr.step == 0 {
		return defaultFrame.Milliseconds()
	}
	return tr.step
}

// after returns the place of a frame that follows what is at low, if the track has
// anything yet.
func (tr *track) after(low int64) int64 {
	if tr.session == 0 {
		return low
	}
	return low + tr.frame()
}

// set gives the track a clock, from the frame on that has its place at the given time.
// The clock before it is kept if this one is new and that one was not.
func (tr *track) set(clock uint32, at int64, isNew bool) {
	if clock == tr.clock && tr.session != 0 {
		return
	}
	if !isNew {
		tr.hasPrev = false
	} else if !tr.hasPrev {
		tr.previous, tr.hasPrev = tr.clock, true
	}
	tr.clock, tr.since, tr.frames = clock, at, 0
}

// shift moves the track's clock on, if it is that one.
func (tr *track) shift(session int64, clock uint32, by int64) {
	if tr.session == session && tr.clock == clock {
		tr.clock += uint32(by)
		tr.next += by
		tr.leap += by
	}
}

// advance notes that a frame of the session was placed at a time, or, where that is
// before the last one, at the last one.
func (tr *track) advance(session, at, arrived int64) {
	tr.arrived = arrived
	slow := at-tr.next > tr.frame()
	tr.behind = 0
	if tr.session != 0 && at < tr.last {
		tr.behind = tr.last - at
		at = tr.last
	}
	d := at - tr.last
	if tr.session == session && d > 0 && d <= maxFrame.Milliseconds() && (!slow || tr.slow) {
		tr.step = d
	}
	tr.slow = slow
	if tr.frames < maxWild {
		tr.frames++
	} else {
		tr.hasPrev = false
	}
	tr.session, tr.last = session, at
	tr.next = at - tr.behind + tr.frame()
}

// follow returns the place of a frame by the clock that best continues the track: the
// track's own, its previous one, or the reference's. It reports false if none of them
// does.
func (tr *track) follow(ref *track, ts uint32) (at int64, clock uint32, ok bool) {
	step := maxStep.Milliseconds()
	low, high := tr.low(), tr.next+maxLeap.Milliseconds()
	back := low
	if tr.leapt { // which goes on, or was that of a wild timestamp
		high = max(high, tr.leap+maxLeap.Milliseconds())
		back = min(back, tr.before-step)
	}
	at, clock = near(tr.next, ts, tr.clock), tr.clock
	ok = at >= max(back, tr.last-maxTrust.Milliseconds()-step) && at <= high
	if ok && abs(at-tr.next) <= step && !tr.hasPrev {
		return at, clock, true
	}
	try := func(other uint32, high int64) {
		t := near(tr.next, ts, other)
		if t >= low && t <= high && (!ok || abs(t-tr.next) < abs(at-tr.next)) {
			at, clock, ok = t, other, true
		}
	}
	if tr.hasPrev {
		try(tr.previous, tr.next+step)
	}
	if ref != nil {
		try(ref.clock, high)
	}
	return at, clock, ok
}

// pause returns the place, nearest to ref, of a frame by the track's clock, and whether
// it is well ahead of the track's last frame because nothing was sent meanwhile: about
// as much time has passed until it arrived. A picture every eight seconds is one such
// pause after the other.
func (tr *track) pause(ref int64, f *Frame) (at int64, paused bool) {
	at = near(ref, f.Timestamp, tr.clock)
	step, waited := at-tr.last, f.Arrived-tr.arrived
	return at, step > maxTrust.Milliseconds() && abs(step-waited) <= min(step/4, maxStray.Milliseconds())
}

// low returns the least time of a frame that goes on from the last one.
func (tr *track) low() int64 { return min(tr.last, tr.next-maxStep.Milliseconds()) }

// straggle moves a track that has gone on by its old clock for long to the clock that the
// reference has had since, if that places the frame not too far away.
func (tr *track) straggle(ref *track, ts uint32, at int64, clock uint32) (int64, uint32) {
	if ref == nil || ref.clock == clock || ref.since <= tr.since || at-ref.since <= maxStraggle.Milliseconds() {
		return at, clock
	}
	tr.since = ref.since // once and for all
	other := near(tr.next, ts, ref.clock)
	if other < tr.low() || other > tr.next+maxLeap.Milliseconds() {
		return at, clock
	}
	return other, ref.clock
}

// settle places a frame by a clock. A leap is believed when it goes on from another
// one, or when the reference has gone on by as much since the last frame.
func (tr *track) settle(ref *track, at int64, clock uint32) int64 {
	expected := tr.next
	ahead := at - expected
	believed := ahead <= maxTrust.Milliseconds() ||
		tr.leapt && goesOn(at, tr.leap) ||
		ref != nil && ref.clock == clock && ref.gone(tr.refLast) >= ahead-maxTrust.Milliseconds()
	tr.leapt = ahead > maxStep.Milliseconds()/2
	tr.leap, tr.before = at, expected
	if !believed {
		return expected
	}
	tr.set(clock, at, false)
	return at
}

// goesOn reports whether a frame at one time follows a frame at another as frames of one
// track do.
func goesOn(at, from int64) bool {
	return at-from >= -maxStep.Milliseconds() && at-from <= maxLeap.Milliseconds()
}

// gone returns how far the track has gone on since a time, with a leap that is not
// believed yet.
func (tr *track) gone(since int64) int64 {
	to := tr.last
	if tr.leapt {
		to = max(to, tr.leap)
	}
	return to - since
}
