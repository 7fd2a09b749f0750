package hook

import (
	"sync"
	"time"
)

// Bounds of a breaker.
const (
	breakerFailures = 5               // in a row, and it opens
	breakerPause    = 5 * time.Second // for so long
)

// breaker keeps requests from a server that fails. The zero value is ready.
//
//	closed ─5 failures in a row─▶ open ─5 s─▶ half-open: one request ─answered─▶ closed
//	                               ▲                          │
//	                               └──────────failed──────────┘
//
// A request that its client has given up decides nothing; the next one then tries the server.
type breaker struct {
	mu       sync.Mutex
	failures int       // in a row
	until    time.Time // open before it, half-open after it; zero while closed
	probing  bool      // half-open, and a request is under way
}

// outcome is how a request went.
type outcome uint8

const (
	undecided outcome = iota
	answered
	failed
)

// check returns an error if a request would fail now.
func (b *breaker) check(now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.checkLocked(now)
}

func (b *breaker) checkLocked(now time.Time) error {
	if !b.until.IsZero() && (b.probing || now.Before(b.until)) {
		return ErrLeftAlone
	}
	return nil
}

// enter begins a request, which leave ends.
func (b *breaker) enter(now time.Time) (probe bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.checkLocked(now); err != nil {
		return false, err
	}
	b.probing = !b.until.IsZero()
	return b.probing, nil
}

// leave ends a request.
func (b *breaker) leave(now time.Time, probe bool, how outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if probe {
		b.probing = false
	}
	switch {
	case how == answered:
		b.failures, b.until = 0, time.Time{}
	case how == failed && (probe || b.until.IsZero()): // others began before it opened
		if b.failures++; b.failures >= breakerFailures {
			b.until = now.Add(breakerPause)
		}
	}
}
