package relay

import (
	"math/rand/v2"
	"time"
)

// Bounds of the time between tries.
const (
	firstDelay = 250 * time.Millisecond
	maxDelay   = 30 * time.Second
)

// backoff says how long to wait before the next try: not at all before the first, and then at
// random up to a time that doubles from firstDelay to most, so that those who failed together do
// not come again together. The zero backoff has failed never.
type backoff struct{ failed int }

// next counts a failure and returns the time to wait, which is less than most.
func (b *backoff) next(most time.Duration) time.Duration {
	limit := min(firstDelay<<min(b.failed, 16), most)
	b.failed++
	if b.failed == 1 {
		return 0
	}
	return rand.N(limit)
}

// reset forgets the failures.
func (b *backoff) reset() { b.failed = 0 }

// pace bounds how often a pull connects, whatever its servers do: one that breaks off behind each
// frame has sent new frames, and would be asked again at once for ever. The zero pace has its whole
// burst.
type pace struct {
	used float64 // of the burst
	at   time.Time
}

// Bounds of pace: many breaks in a row are no reason to wait, and then it is two in a second.
const (
	paceBurst = 32
	paceEach  = 500 * time.Millisecond
)

// next counts a try and returns the time to wait for it.
func (p *pace) next(now time.Time) time.Duration {
	p.used = max(0, p.used-float64(now.Sub(p.at))/float64(paceEach)) + 1
	p.at = now
	return time.Duration(max(0, p.used-paceBurst) * float64(paceEach))
}
