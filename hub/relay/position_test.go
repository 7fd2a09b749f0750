package relay

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// The last frame is as old as its timestamp says, measured by those that came at once.
func TestPosition(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var p position
	assert.Zero(t, p.age(now))
	timestamp := uint32(1<<32 - 3000) // and it goes over the end
	live := func(frames int) {
		for range frames {
			timestamp += 40
			now = now.Add(40 * time.Millisecond)
			p.take(timestamp, now)
		}
	}
	burst := func(frames int) {
		for range frames {
			timestamp += 40
			p.take(timestamp, now)
		}
	}
	about := func(want time.Duration) {
		t.Helper()
		assert.InDelta(t, want.Seconds(), p.age(now).Seconds(), 0.1)
	}
	burst(50) // the newest GOP, as every viewer gets it
	live(50)
	about(0)
	now = now.Add(10 * time.Second) // a break
	about(10 * time.Second)
	burst(100) // and another one, when 4 s of it have come
	about(6 * time.Second)
	now = now.Add(time.Second)
	about(7 * time.Second)
	burst(175)
	live(25)
	about(0)
	for range 100 { // a day, and a clock that is slow
		now = now.Add(864*time.Second + 50*time.Millisecond)
		timestamp += 864 * 1000
		p.take(timestamp, now)
	}
	about(0)
}
