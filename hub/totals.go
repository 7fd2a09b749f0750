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

// Totals returns the sums of all sessions, by protocol and role. The caller owns them.
func (h *Hub) Totals() []SessionTotals {
	running := make(map[totalsKey]SessionTotals)
	for _, s := range h.all() {
		s.addRunning(running)
	}
	h.ledger.mu.Lock()
	defer h.ledger.mu.Unlock()
	all := make([]SessionTotals, 0, len(h.ledger.totals))
	for key, t := range h.ledger.totals {
		sum := *t
		sum.Ended, sum.Refused = maps.Clone(t.Ended), maps.Clone(t.Refused)
		sum.Bytes += running[key].Bytes
		sum.Dropped += running[key].Dropped
		all = append(all, sum)
	}
	slices.SortFunc(all, func(a, b SessionTotals) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Role, b.Role))
	})
	return all
}

// addRunning adds what the running sessions of the stream have taken and sent by now. One
// that ends before the sums are made is counted twice for that moment.
func (s *Stream) addRunning(running map[totalsKey]SessionTotals) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	add := func(who *Session, bytes, dropped uint64) {
		key := totalsKey{who.Protocol(), who.role}
		t := running[key]
		t.Bytes += bytes
		t.Dropped += dropped
		running[key] = t
	}
	if s.pub != nil {
		add(s.pub.session, s.pub.bytes, 0)
	}
	for _, v := range s.viewers {
		add(v.session, v.bytes.Load(), v.dropped.Load())
	}
}
