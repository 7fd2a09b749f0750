package hub_test

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// Two publishers, each with its own goroutine, while operators switch and kick, and viewers come.
func TestBackupRaces(t *testing.T) {
	w := newWitness(t)
	h := hub.New(hub.Config{Observe: w.observe})
	var done atomic.Bool
	var encoders, others sync.WaitGroup
	for place := range 2 {
		encoders.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(place), 1))
			for range 40 {
				c := client{Identity: "x", Backup: place == 1}
				p, err := h.Publish(c.session(h, hub.RolePublish, key), hub.PublishOptions{})
				if !assert.NoError(t, err) {
					return
				}
				for i := range rng.IntN(100) {
					tags := []string{"vc:s", "ac:c", "P:p", "A:a"}
					if i%10 == 0 {
						tags = []string{"meta:av", "vc:s", "ac:c", "K:k", "A:a"}
					}
					for _, word := range tags {
						err = p.Write(tag(word + "@" + itoa(40*i)))
					}
				}
				if err == nil && rng.IntN(4) == 0 {
					p.Restart()
				}
				p.Close()
			}
		})
	}
	until := func(f func(rng *rand.Rand)) {
		others.Go(func() {
			rng := rand.New(rand.NewPCG(9, 9))
			for !done.Load() {
				f(rng)
			}
		})
	}
	until(func(rng *rand.Rand) {
		if rng.IntN(3) > 0 {
			_ = h.Switch(key)
			return
		}
		one := rng.Uint64()
		h.Dismiss(func(s *hub.Session) bool { return s.ID()%97 == one%97 }, &hub.Refusal{Reason: hub.ReasonKicked})
	})
	until(func(*rand.Rand) {
		h.Sessions()
		h.Streams()
		h.Measure(nil)
		h.Totals()
		assert.NoError(t, h.Check())
	})
	until(func(*rand.Rand) {
		v, err := h.Watch(viewer(h, key), hub.WatchOptions{FixedCodecs: true})
		if err != nil {
			assert.Equal(t, hub.ReasonKicked, reasonOf(t, err)) // as it came
			return
		}
		s := &sink{Viewer: v, t: t, limit: 64 << 10}
		if started, err := v.TryStart(); err == nil && started {
			for range 10 {
				s.read()
			}
		}
		v.Close()
	})
	encoders.Wait()
	done.Store(true)
	others.Wait()
	require.NoError(t, h.Shutdown(t.Context()))
	w.mu.Lock()
	defer w.mu.Unlock()
	assert.Empty(t, w.begun, "sessions without an end")
}
