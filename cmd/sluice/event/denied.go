package event

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Bounds on telling who was denied: it is others who decide how often that happens.
const (
	deniedRate      = 1  // a second and address
	deniedTotal     = 50 // a second in all
	deniedAddresses = 1000
	// deniedSweep is how often what was left out is told of addresses from which nobody is
	// denied any more, so many of them at a time; of others all together.
	deniedSweep     = 10 * time.Second
	deniedSummaries = 20
)

// sampler decides which denials are told. The zero value is ready.
type sampler struct {
	mu        sync.Mutex
	total     quota
	addresses map[netip.Prefix]*quota // the zero Prefix for those that find no room
}

// quota is what was told in one second.
type quota struct {
	since   time.Time
	told    int
	leftOut uint64 // and not told of yet
}

func (q *quota) take(now time.Time, rate int) bool {
	if d := now.Sub(q.since); d >= time.Second || d < 0 {
		q.since, q.told = now, 0
	}
	if q.told >= rate {
		return false
	}
	q.told++
	return true
}

// take reports whether a denial is told, and how many of its address were left out before.
func (s *sampler) take(from netip.Prefix, now time.Time) (leftOut uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.addresses == nil {
		s.addresses = make(map[netip.Prefix]*quota)
	}
	if _, known := s.addresses[from]; !known && len(s.addresses) >= deniedAddresses {
		from = netip.Prefix{}
	}
	q := s.addresses[from]
	if q == nil {
		q = new(quota)
		s.addresses[from] = q
	}
	if !q.take(now, deniedRate) || !s.total.take(now, deniedTotal) {
		q.leftOut++
		return 0, false
	}
	leftOut, q.leftOut = q.leftOut, 0
	return leftOut, true
}

// summary is how many denials of an address were left out; of several if it is empty.
type summary struct {
	address string
	leftOut uint64
}

// sweep forgets addresses that have been quiet, all of them at the end, and returns what was
// left out of these.
func (s *sampler) sweep(now time.Time, end bool) (left []summary) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var others uint64
	for _, from := range slices.SortedFunc(maps.Keys(s.addresses), netip.Prefix.Compare) {
		q := s.addresses[from]
		if !end && now.Sub(q.since) < time.Second {
			continue
		}
		delete(s.addresses, from)
		switch {
		case q.leftOut == 0:
		case !from.IsValid() || len(left) >= deniedSummaries:
			others += q.leftOut
		case from.IsSingleIP():
			left = append(left, summary{from.Addr().String(), q.leftOut})
		default:
			left = append(left, summary{from.String(), q.leftOut})
		}
	}
	if others > 0 {
		left = append(left, summary{leftOut: others})
	}
	return left
}
