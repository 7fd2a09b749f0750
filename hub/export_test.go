package hub

import "fmt"

// Check returns what is wrong with the hub's streams, for tests in the middle of
// whatever they do.
func (h *Hub) Check() error {
	h.mu.Lock()
	streams := make([]*Stream, 0, len(h.streams))
	for _, s := range h.streams {
		streams = append(streams, s)
	}
	h.mu.Unlock()
	for _, s := range streams {
		s.mu.Lock()
		err := s.check()
		s.mu.Unlock()
		if err != nil {
			return fmt.Errorf("%s: %w", s.key, err)
		}
	}
	return nil
}

func (s *Stream) check() error {
	fixed := 0
	for i, v := range s.viewers {
		if v.isFixed() {
			fixed++
		}
		if int(v.place) != i || v.stream.Load() != s {
			return fmt.Errorf("viewer %d stands at %d", i, v.place)
		}
		if v.started && v.next > s.log.head {
			return fmt.Errorf("viewer %d is at %d of %d", i, v.next, s.log.head)
		}
		if err := s.checkHeld(v); err != nil {
			return fmt.Errorf("viewer %d: %w", i, err)
		}
	}
	if err := s.checkPublishers(); err != nil {
		return err
	}
	if fixed != s.fixed {
		return fmt.Errorf("%d viewers are fixed, and %d counted", fixed, s.fixed)
	}
	return s.log.check()
}

// checkPublishers returns what is wrong with who is shown and who stands by.
func (s *Stream) checkPublishers() error {
	switch {
	case (s.state == stateLive) != (s.pub != nil):
		return fmt.Errorf("%s, with the publisher %v", s.state, s.pub)
	case s.standby == nil:
	case s.pub == nil, s.standby == s.pub, s.standby.aside == nil, s.standby.isWaiting() != s.pub.opts.Copies:
		return fmt.Errorf("stands by for the wrong one, or none")
	case s.standby.isWaiting():
	case s.standby.backup == s.pub.backup, !s.pub.same(s.standby):
		return fmt.Errorf("stands by for the wrong one, or none")
	case s.standby.aside.follows:
		return fmt.Errorf("stands by and is to be shown")
	}
	return nil
}

// checkHeld returns an error if the log is not kept for a viewer from where it will
// read on.
func (s *Stream) checkHeld(v *Viewer) error {
	l := &s.log
	stop := v.stopLocked(l)
	if !v.started || v.next >= stop || stop <= l.tail || v.wasPaused && v.flags.Load()&flagPaused != 0 {
		return nil
	}
	held := v.next
	if v.next < l.tail || l.newest().arrived-l.at(v.next).arrived > s.hub.cfg.MaxLag.Milliseconds() {
		if !v.canJump(l, stop) {
			return nil // what it needs may be gone
		}
		held = l.gop
	}
	if s.held.floor > held {
		return fmt.Errorf("needs %d, of which the log may lose what is before %d", held, s.held.floor)
	}
	return nil
}

// check returns what is wrong with the log's own books.
func (l *log) check() error {
	if l.head == l.tail {
		return nil
	}
	if l.shed < l.tail || l.shed > l.head {
		return fmt.Errorf("shed up to %d, in a log from %d to %d", l.shed, l.tail, l.head)
	}
	lent := int64(0)
	for seq := l.tail; seq < l.shed; seq++ {
		lent += l.at(seq).cost()
	}
	if lent != l.lent {
		return fmt.Errorf("holds %d bytes for readers, and counts %d", lent, l.lent)
	}
	sum, payload, small := int64(0), int64(len(l.payload.pages)*pageSize), 0
	for seq := l.tail; seq < l.head; seq++ {
		p := l.at(seq)
		if p.arrived < l.at(l.tail).arrived {
			return fmt.Errorf("packet %d arrived before the one ahead of it", seq)
		}
		if h, until := l.headersAt(seq); h == nil || until <= seq || until > l.head {
			return fmt.Errorf("packet %d has headers %p up to %d", seq, h, until)
		}
		sum += entryCost
		switch n := int(p.size); {
		case n > largePacket:
			payload += int64(slotSize(p.class, n))
		case n > 0:
			small++
		}
	}
	for i, r := range l.runs[l.past:] {
		if i > 0 && (r.first <= l.runs[l.past+i-1].first || r.first <= l.tail) || r.first >= l.head {
			return fmt.Errorf("run %d of %d begins at %d, in a log from %d to %d", i, len(l.runs), r.first, l.tail, l.head)
		}
		if r.cost != int64(r.headers.size()) {
			return fmt.Errorf("run %d costs %d", i, r.cost)
		}
		sum += r.cost
	}
	switch {
	case payload != l.payload.bytes:
		return fmt.Errorf("holds %d bytes of payload, and counts %d", payload, l.payload.bytes)
	case len(l.payload.pages) > small:
		return fmt.Errorf("%d pages for %d packets", len(l.payload.pages), small)
	case sum != l.bytes:
		return fmt.Errorf("holds %d bytes, and counts %d", sum, l.bytes)
	case uint64(len(l.blocks)) != (l.head-1)/blockSize-l.tail/blockSize+1:
		return fmt.Errorf("%d blocks for the packets from %d to %d", len(l.blocks), l.tail, l.head)
	case 2*l.past > len(l.runs):
		return fmt.Errorf("%d of %d runs are past", l.past, len(l.runs))
	case l.hasGOP && (l.gop < l.shed || l.gop >= l.head || !l.at(l.gop).is(markStart)):
		return fmt.Errorf("newest GOP at %d, in a log from %d to %d", l.gop, l.tail, l.head)
	}
	return nil
}

// Logged returns how many bytes all logs hold, and how many logs that are.
func (h *Hub) Logged() (bytes, streams int64) {
	return h.logged.bytes.Load(), h.logged.streams.Load()
}

// Held returns how many packets the log of a stream holds.
func (h *Hub) Held(key Key) int {
	h.mu.Lock()
	s := h.streams[key]
	h.mu.Unlock()
	s.mu.RLock()
	defer s.mu.RUnlock()
	return int(s.log.head - s.log.tail)
}

// Cut reports whether the reader's budget had no room, so that the log is not kept for it.
func (r *Reader) Cut() bool {
	r.stream.mu.RLock()
	defer r.stream.mu.RUnlock()
	return r.cut
}

// Draining returns how many streams have ended and still have viewers.
func (h *Hub) Draining() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.draining)
}
