package hub

import (
	"context"
	"time"
)

// playing is a session that plays a recording.
type playing struct {
	cancel context.CancelCauseFunc
}

// dismiss has the session end because of why.
func (p playing) dismiss(why *Refusal) { p.cancel(why) }

// Begin tells that a granted session begins that is no viewer of a stream, since it plays a
// recording. The context ends when the session has to: at shutdown, with its grant, or since
// an operator ends it; its cause is the *Refusal then. The error is a *Refusal, and has been
// told. A session that has begun must be ended; Hub.Shutdown waits for that.
func (s *Session) Begin() (context.Context, error) {
	if err := s.check(); err != nil {
		return nil, s.refused(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	h, made := s.hub, s.begun
	if err := h.play(s, playing{cancel}); err != nil {
		cancel(err)
		return nil, s.refused(err)
	}
	if !s.stage.CompareAndSwap(stageNew, stageBegun) {
		h.stopPlaying(s)
		cancel(errViewerClosed)
		return nil, errViewerClosed
	}
	h.tell(Event{Kind: EventJoined, Key: s.Key(), Session: s, Waited: s.begun - made})
	if why := s.recheck(); why != nil {
		s.End(why, 0, 0)
		return nil, why
	}
	s.expire(func(why *Refusal) { cancel(why) })
	return ctx, nil
}

// play takes a session that plays a recording in, where there is room for it.
func (h *Hub) play(s *Session, p playing) *Refusal {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.RefusesNew() {
		return errShuttingDown
	}
	if err := h.enterLocked(s); err != nil {
		return err.(*Refusal)
	}
	s.begun = time.Since(h.began)
	h.playing[s] = p
	return nil
}

// stopPlaying lets a session go that played a recording.
func (h *Hub) stopPlaying(s *Session) {
	h.mu.Lock()
	p := h.playing[s]
	delete(h.playing, s)
	h.mu.Unlock()
	if p.cancel != nil {
		p.cancel(nil)
	}
	h.leave(s)
}

// End ends a session that Begin began, because of why: bytes were sent to it, in its
// protocol's form, and dropped packets were left out since it was too slow. Only the first
// call has an effect; it follows Begin.
func (s *Session) End(why *Refusal, bytes, dropped uint64) {
	if !s.stage.CompareAndSwap(stageBegun, stageOver) {
		return
	}
	s.stopExpiry()
	s.hub.tell(Event{
		Kind: EventLeft, Key: s.Key(), Session: s, Reason: why.Reason, Detail: why.Detail,
		Duration: time.Since(s.hub.began) - s.begun, Bytes: bytes, Dropped: dropped,
	})
	s.hub.stopPlaying(s)
}

// enterLocked counts a viewer, or somebody who plays a recording, if there is room for it.
func (h *Hub) enterLocked(s *Session) error {
	if most := h.cfg.MaxPerIdentity; most > 0 {
		if id := s.counted(); id != "" {
			if h.alike[id] >= most {
				return refuse(ReasonTooMany, "at most %d may watch with this permission at a time", most)
			}
			h.alike[id]++
		}
	}
	h.viewers++
	return nil
}

// counted returns the identity by which a viewer is counted, empty for none.
func (s *Session) counted() string {
	if g := s.grant.Load(); g != nil {
		return g.Identity
	}
	return ""
}

// leave notes that a viewer, or somebody who plays a recording, is gone.
func (h *Hub) leave(s *Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.viewers--
	if h.cfg.MaxPerIdentity > 0 {
		if id := s.counted(); id != "" {
			if h.alike[id]--; h.alike[id] == 0 {
				delete(h.alike, id)
			}
		}
	}
	if h.closing && h.viewers == 0 {
		close(h.idle)
	}
}

// Closing returns a channel that is closed when the hub begins to shut down.
func (h *Hub) Closing() <-chan struct{} { return h.ending }

// HasPolicy reports whether Config.Authorize is set.
func (h *Hub) HasPolicy() bool { return h.cfg.Authorize != nil }

// mayRewind reports whether the session may go back into the recording of its stream.
func (s *Session) mayRewind() bool {
	g := s.grant.Load()
	return !s.hub.HasPolicy() || g != nil && g.Rewind
}
