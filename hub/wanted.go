package hub

import "time"

// Whoever brings streams that others ask for (Config.Observe: EventWanted) is told by Unwatched when
// nobody wants one any more, and tells by GiveUp that it has none.

// Unwatched returns for how long nobody has watched the stream or waited for it: 0 while
// somebody does. A stream that is not there has always been unwatched.
func (h *Hub) Unwatched(key Key) time.Duration {
	const always = time.Duration(1<<63 - 1)
	s := h.stream(key)
	if s == nil {
		return always
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case len(s.viewers) > 0:
		return 0
	case s.lastViewer.IsZero(): // nobody ever has
		return max(1, time.Since(s.session.since))
	}
	return max(1, time.Since(s.lastViewer)) // some nanosecond: 0 says that there are viewers
}

// GiveUp refuses all those who wait for a stream that nobody publishes, because of why; those who
// come later wait again. A stream whose publisher has its grace time is left alone.
func (h *Hub) GiveUp(key Key, why *Refusal) {
	s := h.stream(key)
	if s == nil {
		return
	}
	s.mu.RLock()
	var waiting []*Viewer
	if s.state == stateWaiting {
		waiting = append(waiting, s.viewers...)
	}
	s.mu.RUnlock()
	for _, v := range waiting {
		v.giveUp(s, why)
	}
}

// giveUp dismisses the viewer if it still waits in the stream for a publisher.
func (v *Viewer) giveUp(s *Stream, why *Refusal) {
	s.mu.RLock()
	waits := v.stream.Load() == s && s.state == stateWaiting
	s.mu.RUnlock()
	if waits {
		v.Dismiss(why)
	}
}
