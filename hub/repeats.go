package hub

import (
	"net/netip"
	"sync"
	"time"
)

// Bounds on what is known of viewers that were refused since nobody publishes their stream.
const (
	// repeatsWindow is for how long one line tells of them.
	repeatsWindow = time.Hour
	// maxRepeats is how many of them are known; beyond that each refusal has its line.
	maxRepeats = 1024
	// repeatsSweep is how often those are looked for that do not come any more.
	repeatsSweep = time.Minute
)

// repeats are the viewers of one address that are refused again and again since nobody publishes
// their stream: players and forgotten pages that wait by asking anew every few seconds. One line
// tells that they do, the next one an hour later how often they have come meanwhile. The zero
// value is ready.
type repeats struct {
	mu    sync.Mutex
	known map[repeatsKey]*repeat
	swept time.Duration // on the hub's clock, as until
}

type repeatsKey struct {
	address netip.Addr
	stream  Key
}

type repeat struct {
	until time.Duration // when the next line may follow
	again uint64        // refusals since the last one
}

// note takes note of a refusal. It reports how many like it had no line of their own since the
// last that had, and whether this one has.
func (r *repeats) note(key repeatsKey, now time.Duration) (again uint64, told bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.known[key]
	switch {
	case one == nil && len(r.known) >= maxRepeats:
		return 0, true
	case one == nil:
		if r.known == nil {
			r.known = make(map[repeatsKey]*repeat)
		}
		r.known[key] = &repeat{until: now + repeatsWindow}
		return 0, true
	case now < one.until:
		one.again++
		return 0, false
	}
	again, one.again, one.until = one.again, 0, now+repeatsWindow
	return again, true
}

// sweep takes out those whose time is over, and returns how often they came since their line, if
// they did. It looks once a minute at the most.
func (r *repeats) sweep(now time.Duration) map[repeatsKey]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now-r.swept < repeatsSweep {
		return nil
	}
	r.swept = now
	var over map[repeatsKey]uint64
	for key, one := range r.known {
		if now < one.until {
			continue
		}
		delete(r.known, key)
		if one.again > 0 {
			if over == nil {
				over = make(map[repeatsKey]uint64)
			}
			over[key] = one.again
		}
	}
	return over
}

// noteRepeat is note for an event; any but the refusal of a viewer whose stream is not there has
// its line.
func (h *Hub) noteRepeat(e *Event) (again uint64, told bool) {
	s := e.Session
	if e.Reason != ReasonNotFound || s.role != RoleWatch || s.Plays() || e.Key == (Key{}) || !s.address.IsValid() {
		return 0, true
	}
	now := time.Since(h.began)
	again, told = h.repeats.note(repeatsKey{s.address.Addr(), e.Key}, now)
	for key, again := range h.repeats.sweep(now) {
		h.cfg.Logger.Info("viewers refused again", "remote", key.address.String(), "stream", key.stream.String(),
			"reason", ReasonNotFound.String(), "again", again)
	}
	return again, told
}
