package hub

import "time"

// Begin tells that a granted session begins that is no viewer of a stream, since it plays a
// recording. The error is a *Refusal, and has been told. A session that has begun must be
// ended; Hub.Shutdown waits for that.
func (s *Session) Begin() error {
	if err := s.check(); err != nil {
		return s.refused(err)
	}
	h := s.hub
	h.mu.Lock()
	closing := h.closing
	if !closing {
		h.viewers++
	}
	h.mu.Unlock()
	if closing {
		return s.refused(errShuttingDown)
	}
	if !s.stage.CompareAndSwap(stageNew, stageBegun) {
		h.leave()
		return errViewerClosed
	}
	s.begun = time.Since(h.began)
	h.tell(Event{Kind: EventJoined, Key: s.Key(), Session: s})
	return nil
}

// End ends a session that Begin began, because of why: bytes were sent to it, in its
// protocol's form, and dropped packets were left out since it was too slow. Only the first
// call has an effect; it follows Begin.
func (s *Session) End(why *Refusal, bytes, dropped uint64) {
	if !s.stage.CompareAndSwap(stageBegun, stageOver) {
		return
	}
	s.hub.tell(Event{
		Kind: EventLeft, Key: s.Key(), Session: s, Reason: why.Reason, Detail: why.Detail,
		Duration: time.Since(s.hub.began) - s.begun, Bytes: bytes, Dropped: dropped,
	})
	s.hub.leave()
}

// leave notes that a viewer, or somebody who plays a recording, is gone.
func (h *Hub) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.viewers--
	if h.closing && h.viewers == 0 {
		close(h.idle)
	}
}

// Closing returns a channel that is closed when the hub begins to shut down. Whoever plays
// a recording ends then.
func (h *Hub) Closing() <-chan struct{} { return h.ending }

// HasPolicy reports whether Config.Authorize is set.
func (h *Hub) HasPolicy() bool { return h.cfg.Authorize != nil }

// mayRewind reports whether the session may go back into the recording of its stream.
func (s *Session) mayRewind() bool {
	g := s.grant.Load()
	return !s.hub.HasPolicy() || g != nil && g.Rewind
}
