package cluster

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// Signs of life come when the wall clock has a multiple of their distance, whatever the node began at; a timer that fires a little
// early, or a clock that is set, costs one that is no further away than half as much again.
func TestBeatIn(t *testing.T) {
	begin := time.Date(2026, 11, 30, 20, 0, 0, 0, time.UTC)
	for at, want := range map[time.Duration]time.Duration{
		0:                      250 * time.Millisecond,
		time.Millisecond:       249 * time.Millisecond,
		125 * time.Millisecond: 125 * time.Millisecond,
		126 * time.Millisecond: 374 * time.Millisecond,
		249 * time.Millisecond: 251 * time.Millisecond,
		time.Hour:              250 * time.Millisecond,
	} {
		assert.Equal(t, want, beatIn(begin.Add(at)), at)
	}
}
