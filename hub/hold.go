package hub

import (
	"math"
	"time"
)

// scanInterval is how often, at the most, a stream looks at the cursors of all its
// viewers: with ten thousand of them that takes a tenth of a millisecond, in which
// none of them is served.
const scanInterval = 250 * time.Millisecond

// hold is what the log is kept for, beyond what viewers who join may need: the
// packets that the slowest viewer has still to read. The floor is found out by a
// look at all cursors, and is a lower bound until the next look: cursors only
// move on, and a viewer that starts or resumes behind the floor lowers it.
type hold struct {
	floor uint64 // no viewer needs a packet before it
	next  int64  // ms, the hub's clock: not to be found out anew before
}

// trimLocked trims the log when a packet was appended.
func (s *Stream) trimLocked() {
	lead := audioLead
	switch {
	case !s.session.decided:
		lead = 2 * declaredWait // viewers who wait may start with all of it
	case s.tracks.codecs[videoTrack] != 0:
		lead = 0 // viewers who join start with the newest GOP
	}
	lead = max(lead, s.hub.cfg.LogDuration)
	s.log.trim(lead, s.hub.logBound(), s.heldLocked, s.keptLocked)
	s.countLocked()
	if s.readers != nil {
		s.reviewReadersLocked()
	}
}

// minLogBound is what a log may hold in any case, in bytes.
const minLogBound = 64 << 10

// logBound returns how many bytes a log may hold now. Where all logs together hold
// more than they may, those that hold more than their share have to give way.
func (h *Hub) logBound() int64 {
	most := h.cfg.GOPMaxBytes
	if h.cfg.MaxBytes > 0 && h.logged.bytes.Load() > h.cfg.MaxBytes {
		most = min(most, max(minLogBound, h.cfg.MaxBytes/max(1, h.logged.streams.Load())))
	}
	return most
}

// countLocked counts what the log holds among all of them.
// What it holds for readers is theirs to account for.
func (s *Stream) countLocked() {
	held := s.log.memory()
	if s.readers != nil {
		held -= s.log.lent
	}
	s.recountLocked(held)
}

func (s *Stream) recountLocked(held int64) {
	switch {
	case s.counted == 0 && held > 0:
		s.hub.logged.streams.Add(1)
	case s.counted > 0 && held == 0:
		s.hub.logged.streams.Add(-1)
	}
	s.hub.logged.bytes.Add(held - s.counted)
	s.counted = held
}

// heldLocked reports whether a viewer may still have to read packet seq, and is
// not so late that it will not.
func (s *Stream) heldLocked(seq uint64) bool {
	now := s.log.newest().arrived
	most := s.hub.cfg.MaxLag + s.hub.cfg.LogDuration // of a viewer that started as far back as can be
	if seq < s.held.floor || now-s.log.at(seq).arrived > most.Milliseconds() {
		return false
	}
	if now >= s.held.next {
		s.held.floor, s.held.next = s.lowestLocked(), now+scanInterval.Milliseconds()
	}
	return seq >= s.held.floor
}

// lowestLocked returns the lowest packet at which a viewer goes on: its cursor,
// unless it is late and will jump (Viewer.catchUp). Viewers who are paused do not
// count: what those who resume find gone, they would not have read.
func (s *Stream) lowestLocked() uint64 {
	l := &s.log
	late := l.arrivedSince(l.newest().arrived - s.hub.cfg.MaxLag.Milliseconds())
	lowest := uint64(math.MaxUint64)
	for _, v := range s.viewers {
		if !v.started {
			if whole, ok := s.wholeLocked(&v.cursor); ok {
				lowest = min(lowest, whole)
			}
			continue
		}
		stop := v.stopLocked(l)
		switch {
		case v.next >= min(lowest, stop), stop <= l.tail:
		case v.wasPaused && v.flags.Load()&flagPaused != 0:
		case v.next < late && v.plan == nil && v.canJump(l, stop):
			lowest = min(lowest, l.gop)
		default:
			lowest = v.next
		}
	}
	for _, r := range s.readers {
		switch {
		case r.opts.Lag == LagBudget, r.next >= lowest:
		case r.next < late && l.hasGOP && l.gop > r.next:
			lowest = min(lowest, l.gop)
		default:
			lowest = r.next
		}
	}
	return lowest
}

// holdLocked keeps the log from packet seq on for a viewer that goes on there.
func (s *Stream) holdLocked(seq uint64) { s.held.floor = min(s.held.floor, seq) }
