package hub

import (
	"context"
	"errors"
	"time"
)

// Of the two publishers of a stream (backup.go), one may be at another of several servers that are one. Who has the
// stream is shown, and its server has it; at the server of the other one the stream is another's:
//
//	this server's viewers    see a copy of it (PublishOptions.Copies), which is Stream.pub
//	the one that stands by   is Stream.standby, behind the copy; while there is none, it is Stream.pub, and to be
//	                         shown. It is away.waits
//
// Whether it may follow it asks the other server (Config.StepUp), where it would if both were here: at a key frame, when what
// is copied is silent, or an operator asked (its Write waits meanwhile, and with it its client); and when the one that is shown
// has ended (Hub.StepUp). The other server lets the stream go (Yield), and has its own publisher stand by, which is what this
// one was before; here it is to be shown then, as if both were here. A server that is gone does not answer: then the stream
// is taken over without it, by whoever was told to keep that in view.

const (
	// stepUpWithin bounds a question whether one may be shown that stands by: it may take until it is known that the other
	// server is gone.
	stepUpWithin = 3 * time.Second
	// stepUpEvery is how far apart such questions are.
	stepUpEvery = standbyAlone
)

// away is what is particular about a publisher that stands by for one at another server. Guarded by stream.mu.
type away struct {
	waits bool      // it does
	next  time.Time // it does not ask before
	asks  *asking   // the question that it asks; nil without one
}

// asking is a question whether one may be shown.
type asking struct{ cancel context.CancelFunc }

// end has one that waits do so no more, which has ended, or whose stream is this server's own by now.
func (a *away) end() {
	if a.waits = false; a.asks != nil {
		a.asks.cancel()
		a.asks = nil
	}
}

// isWaiting reports whether p, which may be nil, stands by for one at another server.
func (p *Publisher) isWaiting() bool { return p != nil && p.aside != nil && p.aside.away.waits }

// waitingLocked returns the publisher that stands by here for one at another server, nil without. There is one at the most.
func (s *Stream) waitingLocked() *Publisher {
	for _, p := range s.publishersLocked() {
		if p.isWaiting() {
			return p
		}
	}
	return nil
}

// isForeign reports whether the stream of p, which may be nil, is another server's.
func (p *Publisher) isForeign() bool { return p != nil && p.opts.Copies || p.isWaiting() }

// StandsBy reports whether a publisher stands by here for one at another server, sends, and may follow it: it may not once no
// client is let in any more (HandOver).
func (h *Hub) StandsBy(key Key) bool {
	s := h.stream(key)
	if s == nil {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.followerLocked(time.Now()) != nil
}

// followerLocked returns the publisher of which StandsBy tells, nil for none.
func (s *Stream) followerLocked(now time.Time) *Publisher {
	p := s.waitingLocked()
	switch {
	case p == nil || s.hub.RefusesNew():
	case p.aside.away.asks != nil, now.Sub(p.aside.lastWrite) < takeoverSilence: // what it sends may wait while it asks
		return p
	}
	return nil
}

// isKeptFromLocked reports whether the stream of another server is kept for the publisher that stands by for it here: one that
// would be shown here, and is not the other one of the two, does not have it before that one, which may have asked, and have been
// let in just now.
func (s *Stream) isKeptFromLocked(who rival, now time.Time) bool {
	if who.copies || who.waits {
		return false
	}
	p := s.followerLocked(now)
	return p != nil && !who.same(p)
}

// mayAskLocked reports whether one that waits may ask now.
func (s *Stream) mayAskLocked(a *aside, now time.Time) bool {
	return s.hub.cfg.StepUp != nil && s.hub.entry.Load() == entryOpen && !now.Before(a.away.next) && a.away.asks == nil
}

// StepUp has the publisher that stands by here for one at another server ask whether it may follow, since that one has ended. It
// waits for the answer.
func (h *Hub) StepUp(key Key) {
	s := h.stream(key)
	if s == nil {
		return
	}
	var asks *Publisher
	s.update(func() {
		if p := s.waitingLocked(); p != nil && s.mayAskLocked(p.aside, time.Now()) {
			asks = p
		}
	})
	if asks != nil {
		asks.stepUp(false)
	}
}

// stepUp asks whether p may follow, and waits for the answer. sends says that what it has just sent waits for that, too.
func (p *Publisher) stepUp(sends bool) {
	s := p.stream
	ctx, cancel := context.WithTimeout(context.Background(), stepUpWithin)
	defer cancel()
	var own *asking
	asked := false
	s.update(func() {
		if p.isWaiting() && p.aside.away.asks == nil {
			own, asked = &asking{cancel}, p.aside.asked
			p.aside.away.asks = own
		}
	})
	if own == nil {
		return
	}
	claim, err := s.hub.cfg.StepUp(ctx, p.session, asked)
	s.update(func() {
		if p.aside == nil || p.aside.away.asks != own { // it has ended, or stood by for one that had come here
			return
		}
		a, now := &p.aside.away, time.Now()
		a.asks, a.next = nil, now.Add(stepUpEvery)
		if sends { // it is not silent before that is taken
			p.aside.lastWrite = now
		}
		switch refusal, refused := errors.AsType[*Refusal](err); {
		case refused:
			s.dismissLocked(p, refusal)
			s.partLocked(p)
		case err == nil && !claim.StandsBy:
			p.session.setClaim(claim)
			a.waits = false
			if s.pub != p { // but a copy
				s.dismissLocked(s.pub, refuse(ReasonReplaced, "%s is published at this server by now", s.key))
				s.promoteLocked()
			}
		}
	})
}

// stepBackLocked has a publisher of the stream stand by for the other one of the two, which goes on at another server.
func (s *Stream) stepBackLocked(p *Publisher, now time.Time) {
	if p.aside == nil {
		p.aside = s.asideLocked()
	}
	p.aside.asked = false
	p.aside.away.waits, p.aside.away.next = true, now.Add(stepUpEvery) // until then it is copied
	s.followLocked(p, now)
}
