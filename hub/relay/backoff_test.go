package relay

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// Pauses are at random up to 250 ms at first and twice as much each time, up to a bound.
func TestBackoff(t *testing.T) {
	t.Parallel()
	for n, limit := range []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second} {
		waits := map[time.Duration]bool{}
		for range 100 {
			b := backoff{failures: n}
			d := b.next(maxDelay)
			assert.Less(t, d, limit)
			assert.Equal(t, n+1, b.failures)
			waits[d] = true
		}
		assert.Greater(t, len(waits), 90)
	}
	b := backoff{failures: 1 << 20}
	for range 100 {
		assert.Less(t, b.next(maxDelay), maxDelay)
	}
}
