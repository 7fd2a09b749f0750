package hub

import (
	"context"
	"maps"
	"slices"
)

// How a hub ends. What comes before Shutdown may be left out; HandOver is in handover.go.
//
//	open ──HandOver──▶ copies only ──RefuseNew──▶ nobody new ──Shutdown──▶ closing: everybody ends
//	  └──────────────────────────────RefuseNew───────▲                       ▲
//	  └──────────────────────────────Shutdown────────────────────────────────┘

// Who may come: Hub.entry.
const (
	entryOpen   = iota // everybody
	entryCopies        // copies of what is published at another server (PublishOptions.Copies)
	entryClosed        // nobody
)

// errShuttingDown refuses and ends everybody when the hub shuts down.
var errShuttingDown = refuse(ReasonShuttingDown, "the server is shutting down")

// RefuseNew refuses everybody who comes from now on with ReasonShuttingDown, and whoever
// is asking for permission. What runs goes on, until its publisher or viewer leaves, or
// until Shutdown. A publisher that leaves cannot come back: its stream ends at once, as those
// end that have no publisher now, or only one that stands by for another server's (stepup.go). Readers of streams that
// run may still come.
func (h *Hub) RefuseNew() {
	h.mu.Lock()
	h.entry.Store(entryClosed)
	h.mu.Unlock()
	h.asker.close()
	for _, s := range h.all() {
		s.update(func() {
			if s.state == stateWaiting || s.state == stateGrace || s.pub.isWaiting() {
				s.dismissAllLocked(errShuttingDown)
				s.endLocked(ReasonShuttingDown)
			}
		})
	}
}

// RefusesNew reports whether no client is let in any more: since HandOver, RefuseNew or Shutdown.
func (h *Hub) RefusesNew() bool { return h.entry.Load() != entryOpen }

// refusesClient reports whether a session comes too late.
func (h *Hub) refusesClient(s *Session) bool {
	switch h.entry.Load() {
	case entryOpen:
		return false
	case entryCopies:
		return !s.copies
	}
	return true
}

// Shutdown refuses everybody who comes from now on, ends every publisher and every
// viewer with ReasonShuttingDown, and waits until the last viewer is closed, the policy
// has returned from every question, and all of it has been told (Config.Observe), or ctx
// ends, whose error it then returns if viewers are left.
func (h *Hub) Shutdown(ctx context.Context) error {
	h.mu.Lock()
	h.entry.Store(entryClosed)
	if !h.closing {
		h.closing = true
		close(h.ending)
		for _, p := range h.playing {
			p.dismiss(errShuttingDown)
		}
		if h.viewers == 0 {
			close(h.idle)
		}
	}
	h.mu.Unlock()

	h.asker.close()
	for _, s := range h.all() {
		s.update(func() {
			s.dismissAllLocked(errShuttingDown)
			if s.state != stateEnded {
				s.endLocked(ReasonShuttingDown)
			}
		})
	}
	select {
	case <-h.idle:
	case <-ctx.Done():
	}
	h.asker.wait(ctx) // a policy that hangs has held up nobody
	h.ledger.wait(ctx)
	select {
	case <-h.idle: // as well, and that is what counts
		return nil
	default:
		return ctx.Err()
	}
}

// all returns the streams that there are.
func (h *Hub) all() []*Stream {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Values(h.streams))
}
