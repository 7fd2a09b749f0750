package intake

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Passes that are cheap, or far apart, are followed by no pause; those that would
// use more than a share of a core are.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pump{pause: time.NewTimer(0), done: make(chan struct{})}
		pass := func(took time.Duration) (paused time.Duration) {
			begun := time.Now()
			time.Sleep(took)
			ended := time.Now()
			require.True(t, p.rest(begun, ended))
			return time.Since(ended)
		}
		for range 100 {
			assert.Zero(t, pass(100*time.Microsecond))
			time.Sleep(time.Millisecond)
		}
		assert.InDelta(t, 10*time.Millisecond*7/3, pass(10*time.Millisecond), float64(time.Millisecond))
		assert.Equal(t, maxPause, pass(time.Second))

		// One after the other, in small pieces.
		const took = 50 * time.Microsecond
		begun := time.Now()
		n := 0
		for ; time.Since(begun) < time.Second; n++ {
			pass(took)
		}
		assert.InDelta(t, share, (time.Duration(n) * took).Seconds(), 0.01)

		close(p.done)
		assert.False(t, p.rest(time.Now().Add(-time.Hour), time.Now()))
	})
}

// The heap gives out what is due, whatever was set before.
func TestDues(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	all := make([]*Source, 50)
	for i := range all {
		all[i] = new(Source)
	}
	var h deadlines
	for now := int64(1); now < 3000; now++ {
		for range 5 {
			s := all[rng.IntN(len(all))]
			switch rng.IntN(8) {
			case 0:
				h.remove(s)
				s.limit = 0
			case 1:
				s.limit = 0
				h.set(s)
			default:
				s.limit = now + rng.Int64N(100)
				h.set(s)
			}
		}
		for i, s := range h {
			require.Equal(t, i+1, s.place)
			require.LessOrEqual(t, h[max(0, (i-1)/2)].due, s.due)
			require.True(t, s.limit == 0 || s.due <= s.limit)
		}
		var want []*Source
		for _, s := range all {
			if s.limit != 0 && s.limit <= now {
				want = append(want, s)
			}
		}
		var got []*Source
		for s := h.pop(now); s != nil; s = h.pop(now) {
			s.limit = 0
			got = append(got, s)
		}
		require.Len(t, got, len(want))
		for _, s := range want {
			require.True(t, slices.Contains(got, s))
		}
		next := h.next()
		require.True(t, next == 0 || next > now)
	}
}
