package fanout

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

const ms = time.Millisecond

// clock drives a pace without a worker.
type clock struct {
	pace
	now time.Time
}

func newClock(coalesce time.Duration) *clock {
	return &clock{pace{coalesce: coalesce}, time.Unix(1_000_000, 0)}
}

// pass makes a pass as soon as it may begin, but not for idle, and returns how long
// that was after it might have begun.
func (c *clock) pass(idle, took time.Duration) (paused time.Duration) {
	c.now = c.now.Add(idle)
	if c.next.After(c.now) {
		paused = c.next.Sub(c.now)
		c.now = c.next
	}
	begun := c.now
	c.now = c.now.Add(took)
	c.passed(begun, c.now)
	return paused
}

// Passes below the share are never paused for, however they come.
func TestNoPauseBelowShare(t *testing.T) {
	c := newClock(Auto)
	for i := range 1000 {
		took := []time.Duration{100 * time.Microsecond, ms, 3 * ms}[i%3]
		assert.Zero(t, c.pass(6*ms, took))
	}
}

// A pass that was held up costs those after it nothing while there is slack, and
// little when there is none.
func TestOneSlowPass(t *testing.T) {
	c := newClock(Auto)
	for range 100 {
		assert.Zero(t, c.pass(14*ms, ms/2))
	}
	assert.Zero(t, c.pass(14*ms, 15*ms))
	for range 100 {
		assert.Zero(t, c.pass(14*ms, ms/2))
	}

	c = newClock(Auto)
	for range 100 {
		c.pass(0, 10*ms)
	}
	assert.InDelta(t, 30*ms, c.pass(0, 10*ms), float64(ms))
	c.pass(0, 40*ms)
	for range 30 {
		assert.InDelta(t, 30*ms, c.pass(0, 10*ms), float64(24*ms))
	}
	assert.InDelta(t, 30*ms, c.pass(0, 10*ms), float64(ms))
}

// In the long run passes take their share of the time, unless that would make the
// time between them too long.
func TestShare(t *testing.T) {
	for took, period := range map[time.Duration]time.Duration{
		ms:       4 * ms,
		10 * ms:  40 * ms,
		40 * ms:  160 * ms,
		60 * ms:  maxPeriod,
		150 * ms: maxPeriod,
		180 * ms: 180 * ms * 5 / 4,
		400 * ms: 400 * ms * 5 / 4, // nothing helps: but others get a turn
	} {
		c := newClock(Auto)
		for range 100 {
			c.pass(0, took)
		}
		begun := c.now
		for range 100 {
			c.pass(0, took)
		}
		assert.InEpsilon(t, period, c.now.Sub(begun)/100, 0.01, "%v", took)
	}
}

// What a time of overload has drawn is forgotten soon.
func TestAfterOverload(t *testing.T) {
	c := newClock(Auto)
	for range 100 {
		c.pass(0, 300*ms)
	}
	paused := time.Duration(0)
	for range 100 {
		paused += c.pass(10*ms, ms/2)
	}
	assert.Less(t, paused, time.Second)
	assert.Zero(t, c.pass(10*ms, ms/2))
}

// The beat is steady though packets do not come on it.
func TestSteadyBeat(t *testing.T) {
	c := newClock(100 * ms)
	c.pass(0, ms)
	passes := 0
	for end := c.now.Add(100 * time.Second); c.now.Before(end); {
		packet := c.now.Truncate(7 * ms).Add(7 * ms)
		if packet.Before(c.next) {
			c.now = packet
			continue
		}
		c.pass(packet.Sub(c.now), ms)
		passes++
	}
	assert.InDelta(t, 1000, passes, 2)

	c.pass(time.Hour, ms)
	assert.Equal(t, 99*ms, c.pass(0, ms), "a new beat")
}
