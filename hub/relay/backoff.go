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
