package relay

import (
	"sync"
	"time"
)

// add adds a connection to the sums.
func (f *Figures) add(kind Kind, c *ConnectionInfo) {
	f.Bytes[kind] += c.Bytes
	f.Dropped[kind] += c.Dropped
	f.Tries[kind] += c.Tries
	f.Breaks[kind] += c.Breaks
	f.Joined[kind] += c.Joined
	f.Cuts[kind] += c.Cuts
}

// status is how a pull stands, for who asks.
type status struct {
	told func(*ConnectionInfo) // after a change of state, without a lock; may be nil

	mu   sync.Mutex
	info ConnectionInfo
}

// change changes what is known, and tells of another state.
func (s *status) change(change func(*ConnectionInfo)) {
	s.mu.Lock()
	was := s.info.State
	change(&s.info)
	if s.info.State != was {
		s.info.Since = time.Now()
	}
	if s.info.State == BackingOff || s.info.State == Refused {
		s.info.Error = s.info.Detail
	}
	now := s.info
	s.mu.Unlock()
	if now.State != was && s.told != nil {
		s.told(&now)
	}
}

// set sets a state and why.
func (s *status) set(state State, detail string) {
	s.change(func(c *ConnectionInfo) { c.State, c.Detail, c.Next = state, detail, time.Time{} })
}

// took counts bytes that came.
func (s *status) took(bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.info.Bytes += uint64(bytes)
}

// snapshot returns how it stands.
func (s *status) snapshot() ConnectionInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.info
}
