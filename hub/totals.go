package hub

import (
	"cmp"
	"maps"
	"slices"
)

// SessionTotals are the sessions of one protocol and role since the hub was made. They
// outlast sessions and streams.
type SessionTotals struct {
	Protocol string
	Role     Role

	Begun   uint64
	Ended   map[Reason]uint64 // of those that begun
	Refused map[Reason]uint64 // others
	Bytes   uint64            // taken from publishers, sent to viewers; running sessions included
	Dropped uint64            // packets that viewers were not sent because they were too slow
}

// Running returns how many sessions have begun and not ended.
func (t *SessionTotals) Running() uint64 {
	n := t.Begun
	for _, ended := range t.Ended {
		n -= ended
	}
	return n
}

type totalsKey struct {
	protocol string
	role     Role
}

// countLocked adds an event to the sums.
func (l *ledger) countLocked(e *Event) {
	if e.Session == nil {
		return
	}
	switch e.Kind {
	case EventPublished, EventJoined:
		l.ofLocked(e.Session).Begun++
	case EventUnpublished, EventLeft:
		t := l.ofLocked(e.Session)
		t.Ended[e.Reason]++
		t.Bytes += e.Bytes
		t.Dropped += e.Dropped
		e.Session.summed = true
	case EventRefused:
		l.ofLocked(e.Session).Refused[e.Reason]++
	}
}

// ofLocked returns the sums to which a session belongs.
func (l *ledger) ofLocked(s *Session) *SessionTotals {
	key := totalsKey{s.Protocol(), s.role}
	t := l.totals[key]
	if t == nil {
		t = &SessionTotals{
			Protocol: key.protocol, Role: key.role,
			Ended: make(map[Reason]uint64), Refused: make(map[Reason]uint64),
		}
		if l.totals == nil {
			l.totals = make(map[totalsKey]*SessionTotals)
		}
		l.totals[key] = t
	}
	return t
}

// Totals returns the sums of all sessions, by protocol and role: each counts once, and no
// sum ever decreases. The caller owns them.
func (h *Hub) Totals() []SessionTotals {
	h.mu.Lock()
	streams := slices.AppendSeq(slices.Collect(maps.Values(h.streams)), maps.Keys(h.draining))
	running := make([]runningSession, 0, h.viewers+len(streams))
	h.mu.Unlock()
	for _, s := range streams {
		running = s.appendRunning(running)
	}
	h.ledger.mu.Lock()
	defer h.ledger.mu.Unlock()
	sums := make(map[totalsKey]*SessionTotals, len(h.ledger.totals))
	for key, t := range h.ledger.totals {
		sum := *t
		sum.Ended, sum.Refused = maps.Clone(t.Ended), maps.Clone(t.Refused)
		sums[key] = &sum
	}
	for _, r := range running {
		sum := sums[totalsKey{r.who.Protocol(), r.who.role}]
		if sum == nil || r.who.summed { // it has not begun, or has ended meanwhile
			continue
		}
		sum.Bytes += r.bytes
		sum.Dropped += r.dropped
	}
	all := make([]SessionTotals, 0, len(sums))
	for _, sum := range sums {
		all = append(all, *sum)
	}
	slices.SortFunc(all, func(a, b SessionTotals) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Role, b.Role))
	})
	return all
}

// runningSession is what a session has taken or sent by now.
type runningSession struct {
	who            *Session
	bytes, dropped uint64
}

// appendRunning appends the sessions of the stream that have not ended.
func (s *Stream) appendRunning(all []runningSession) []runningSession {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, p := range s.publishersLocked() {
		all = append(all, runningSession{p.session, p.bytes, 0})
	}
	for _, v := range s.viewers {
		all = append(all, runningSession{v.session, v.bytes.Load(), v.dropped.Load()})
	}
	return all
}
