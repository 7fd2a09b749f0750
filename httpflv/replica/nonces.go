package replica

import (
	"sync"
	"time"
)

// maxNonces bounds the nonces that are remembered: those of 2,000 requests a second.
const maxNonces = 1 << 16

// nonces remembers which requests there have been, as long as their time would let them pass. Only who knows the
// secret can have one remembered.
type nonces struct {
	mu    sync.Mutex
	known map[nonce]struct{}
	order []remembered // oldest first, from first on
	first int
}

type remembered struct {
	nonce nonce
	until time.Time
}

// verdict is what became of a nonce.
type verdict uint8

const (
	verdictNew verdict = iota
	verdictSeen
	verdictFull
)

// take remembers the nonce of a request that was asked at a time.
func (s *nonces) take(n nonce, asked, now time.Time) verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.first < len(s.order) && s.order[s.first].until.Before(now) {
		delete(s.known, s.order[s.first].nonce)
		s.first++
	}
	if s.first > len(s.order)/2 {
		s.order = append(s.order[:0], s.order[s.first:]...)
		s.first = 0
	}
	if _, seen := s.known[n]; seen {
		return verdictSeen
	}
	if len(s.known) == maxNonces {
		return verdictFull
	}
	if s.known == nil {
		s.known = map[nonce]struct{}{}
	}
	s.known[n] = struct{}{}
	s.order = append(s.order, remembered{n, asked.Add(maxSkew)})
	return verdictNew
}
