package hub

// HandOver lets no client in any more, as RefuseNew does, and has the publishers of clients go, since others
// of several servers that are one go on: those who can are asked to (PublishOptions.Move), the others end
// with ReasonShuttingDown. It does not wait for them. Streams have their grace times meanwhile, viewers stay, and those who wait go on
// waiting: what goes over to another server may be copied here. A publisher that was asked, and has proved
// nothing, lets its stream go to any that has proved nothing either (Yield): that is most likely itself.
//
// What no client publishes stays. It returns how many were asked, and how many ended.
func (h *Hub) HandOver() (asked, ended int) {
	h.mu.Lock()
	if h.entry.Load() == entryOpen {
		h.entry.Store(entryCopies)
	}
	h.mu.Unlock()
	h.asker.close()
	for _, s := range h.all() {
		s.mu.RLock()
		all := s.publishersLocked()
		s.mu.RUnlock()
		for i := len(all) - 1; i >= 0; i-- { // who stands by first, so that it does not follow
			switch p := all[i]; {
			case p.opts.Move == nil:
			case p.move():
				asked++
			default:
				p.dismiss(errShuttingDown)
				ended++
			}
		}
	}
	return asked, ended
}

// move asks the publisher's client to go, and reports whether it can.
func (p *Publisher) move() bool {
	p.moves.Store(true) // before it can be back
	if p.opts.Move() {
		return true
	}
	p.moves.Store(false)
	return false
}

// isReturning reports whether one that wants the stream may be its publisher, which was asked to move.
func (s *Stream) isReturning(to *Claimant) bool {
	p := s.pub
	return p != nil && p.moves.Load() && p.session.identity() == "" && len(to.Proof) == 0 && !to.Backup && !to.Yields
}

// IsLeft reports whether a client publishes a stream here, or viewers are held here since its publisher has left and wait for the
// picture, or the sound, of the copy of what goes on elsewhere: it has not gone over to another server.
func (h *Hub) IsLeft(key Key) bool {
	s := h.stream(key)
	if s == nil {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, p := range s.publishersLocked() {
		if p.opts.Move != nil {
			return true
		}
	}
	if len(s.viewers) == 0 {
		return false
	}
	return s.state == stateGrace || s.pub.isForeign() && !s.log.hasGOP
}
