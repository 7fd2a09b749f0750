package hub

import "time"

// Whoever brings streams that others ask for (Config.Observe: EventWanted) is told by Unwatched when
// nobody wants one any more, and tells by GiveUp that it has none.

// Unwatched returns for how long nobody has watched the stream or waited for it: 0 while
// somebody does, or stands by for its publisher at another server. A stream that is not there has always been unwatched.
func (h *Hub) Unwatched(key Key) time.Duration {
	const always = time.Duration(1<<63 - 1)
	s := h.stream(key)
	if s == nil {
		return always
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.viewers) > 0 || s.waitingLocked() != nil {
		return 0
	}
	return max(1, time.Since(s.lastViewer)) // some nanosecond: 0 says that there are viewers
}

// GiveUp refuses all those who wait for a stream that nobody publishes, because of why. With them
// the stream ends: who comes later waits at another one, which is wanted anew (EventWanted). A
// stream whose publisher has its grace time is left alone.
func (h *Hub) GiveUp(key Key, why *Refusal) {
	s := h.stream(key)
	if s == nil {
		return
	}
	s.update(func() {
		if s.state != stateWaiting { // which a publisher changes under the same lock
			return
		}
		for _, v := range s.viewers {
			v.session.dismissed.CompareAndSwap(nil, why)
			s.dismissViewerLocked(v)
		}
		s.endLocked(why.Reason)
	})
}
