package relay

import (
	"math/rand/v2"
	"time"
)

// Times between tries.
const (
	firstDelay = 250 * time.Millisecond
	maxDelay   = 30 * time.Second
	// refusedDelay is for the other side to change its mind when it said no; see afterRefusal.
	refusedDelay = 30 * time.Second
)

// backoff says how long to wait after failures in a row: at random up to a time that doubles from
// firstDelay to a bound, so that those who failed together do not come again together. The zero
// backoff has seen none.
type backoff struct{ failures int }

// next counts a failure and returns the time to wait, which is less than most.
func (b *backoff) next(most time.Duration) time.Duration {
	limit := min(firstDelay<<min(b.failures, 16), most)
	b.failures++
	return rand.N(limit)
}

// reset forgets the failures.
func (b *backoff) reset() { b.failures = 0 }

// afterRefusal returns the time to wait where the other side said no: refusedDelay, and up to a tenth more.
func afterRefusal() time.Duration { return refusedDelay + rand.N(refusedDelay/10) }

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
