package hub

// effects are what has to follow a change of a stream once its lock is released: what
// would wait for others, or take the hub's lock, which comes before the stream's.
type effects struct {
	wake   bool // packets were appended, or those who wait should look again
	forget bool // the hub may have to let go of the stream

	// What a packet never has, so that the way of a packet only looks whether it is nil.
	events []Event  // whose lines are to be written
	ended  []func() // each tells a publisher that the hub ended it
}

// update makes a change of the stream under its lock, and then whatever follows from the
// change: it wakes, tells and lets the hub forget. Every change that has such effects is
// made in here. The hub's lock must not be held.
func (s *Stream) update(change func()) {
	s.mu.Lock()
	s.updateLocked(change)
}

// updateLocked is update for a caller that has locked the stream, which it unlocks.
func (s *Stream) updateLocked(change func()) {
	change()
	s.reviewWantedLocked()
	e := &s.effects
	wake, wakers, forget := e.wake, s.wakers, e.forget
	e.wake, e.forget = false, false
	var events []Event
	var ended []func()
	if e.events != nil || e.ended != nil {
		events, ended = e.events, e.ended
		e.events, e.ended = nil, nil
	}
	s.mu.Unlock()
	if wake {
		for _, w := range wakers {
			w.Wake()
		}
	}
	for i := range events {
		s.hub.log(&events[i])
	}
	for _, tell := range ended {
		tell()
	}
	if forget {
		s.hub.forget(s)
	}
}
