//go:build unix

package fanout

import (
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// paced publishes a packet each millisecond of a fake clock for some seconds, to
// one viewer whose writes take cost, and returns when each write began.
func paced(t *testing.T, seconds int, coalesce, cost time.Duration) (writes []time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Workers: 1, Coalesce: coalesce}, hub.Config{})
		s := w.publish("a")
		s.step = 1
		s.send("K", 20)
		c, p := newPair(t)
		require.NoError(t, syscall.SetsockoptInt(c.fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, 200_000))
		w.attach(w.pool.NewOutlet(c), s.key)
		synctest.Wait()
		joined := len(c.written())
		c.delay = cost
		begun := time.Now()
		for range 1000 * seconds {
			time.Sleep(time.Millisecond)
			s.send("P", 20)
			p.read(64 << 10)
		}
		time.Sleep(2 * time.Second) // what was merged last
		p.drain()
		assert.Equal(t, append([]string{"head a"}, frames("K"+strings.Repeat("P", 1000*seconds), 0)...), words(p.got))
		for _, at := range c.written()[joined:] {
			writes = append(writes, at.Sub(begun))
		}
	})
	return writes
}

// gaps returns the shortest and the longest time between writes.
func gaps(writes []time.Duration) (shortest, longest time.Duration) {
	shortest = time.Hour
	for i := 1; i < len(writes); i++ {
		d := writes[i] - writes[i-1]
		shortest, longest = min(shortest, d), max(longest, d)
	}
	return shortest, longest
}

func TestEveryPacketAtOnce(t *testing.T) {
	writes := paced(t, 1, 0, 0)
	assert.Len(t, writes, 1000)
	for i, at := range writes {
		assert.Equal(t, time.Duration(i+1)*time.Millisecond, at)
	}
}

func TestFixedCoalescing(t *testing.T) {
	const every = 50 * time.Millisecond
	for _, cost := range []time.Duration{0, 20 * time.Millisecond} {
		writes := paced(t, 1, every, cost)
		assert.InDelta(t, int(time.Second/every), len(writes), 2)
		shortest, longest := gaps(writes)
		assert.GreaterOrEqual(t, shortest, every, "cost %v", cost)
		assert.LessOrEqual(t, longest, every+time.Millisecond, "the cost is part of it")
	}
}

// A pass that takes longer than the fixed time is followed by the next at once.
func TestFixedCoalescingIsNoPause(t *testing.T) {
	shortest, longest := gaps(paced(t, 1, 10*time.Millisecond, 30*time.Millisecond))
	assert.Equal(t, 30*time.Millisecond, shortest)
	assert.LessOrEqual(t, longest, 31*time.Millisecond)
}

// Auto sends at once while passes are cheap, keeps to its share of the machine
// when they are not, and never lets more than its period pass between two.
func TestAutoCoalescing(t *testing.T) {
	for _, tt := range []struct{ cost, period time.Duration }{
		{0, time.Millisecond},
		{200 * time.Microsecond, time.Millisecond},
		{3 * time.Millisecond, 12 * time.Millisecond},
		{30 * time.Millisecond, 120 * time.Millisecond},
		{60 * time.Millisecond, maxPeriod},
	} {
		writes := paced(t, 4, Auto, tt.cost)
		shortest, longest := gaps(writes[len(writes)/2:]) // it has found its pace
		assert.InEpsilon(t, tt.period, shortest, 0.15, "cost %v", tt.cost)
		assert.InEpsilon(t, tt.period, longest, 0.15, "cost %v", tt.cost)
	}
}

// A packet after a silence goes out at once, whatever the pace before.
func TestNoPauseAfterSilence(t *testing.T) {
	for _, coalesce := range []time.Duration{0, 100 * time.Millisecond, Auto} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, Config{Workers: 1, Coalesce: coalesce}, hub.Config{})
			s := w.publish("a")
			s.send("K", 20)
			c, p := newPair(t)
			w.attach(w.pool.NewOutlet(c), s.key)
			c.delay = 50 * time.Millisecond
			for range 3 {
				s.send("P", 20)
				time.Sleep(time.Second)
				p.read(1 << 10)
				begun := time.Now()
				s.send("P", 20)
				for p.read(1<<10) == 0 {
					time.Sleep(time.Millisecond)
				}
				assert.LessOrEqual(t, time.Since(begun), 52*time.Millisecond)
				time.Sleep(time.Second)
			}
		})
	}
}

// Shutting down does not wait for a pause to end.
func TestPoolClosesDuringPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Workers: 1, Coalesce: time.Hour}, hub.Config{})
		s := w.publish("a")
		s.send("K", 20)
		c, _ := newPair(t)
		v := w.attach(w.pool.NewOutlet(c), s.key)
		s.send("P", 20)
		synctest.Wait()
		s.send("P", 20)
		synctest.Wait()
		begun := time.Now()
		w.pool.Close()
		assert.Zero(t, time.Since(begun))
		assert.Equal(t, hub.ReasonShuttingDown, <-v.done)
	})
}
