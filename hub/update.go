package hub

// effects are what has to follow a change of a stream once its lock is released: what
// would wait for others, or take the hub's lock, which comes before the stream's.
type effects struct {
	wake   bool    // packets were appended, or those who wait should look again
	events []Event // whose lines are to be written
	ended  func()  // tells a publisher that the hub ended it; nil if none was
	forget bool    // the hub may have to let go of the stream
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
	e, wakers := s.effects, s.wakers
	s.effects = effects{}
	s.mu.Unlock()
	if e.wake {
		for _, w := range wakers {
			w.Wake()
		}
	}
	for i := range e.events {
		s.hub.log(&e.events[i])
	}
	if e.ended != nil {
		e.ended()
	}
	if e.forget {
		s.hub.forget(s)
	}
}
