package cluster

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// Signs of life come when the wall clock has a multiple of their distance, whatever the node began at and however late the last
// one was. One that would follow at once on another is left out.
func TestBeatIn(t *testing.T) {
	begin := time.Date(2026, 11, 30, 20, 0, 0, 0, time.UTC)
	for at, want := range map[time.Duration]time.Duration{
		0:                      250 * time.Millisecond,
		time.Millisecond:       249 * time.Millisecond,
		125 * time.Millisecond: 125 * time.Millisecond,
		225 * time.Millisecond: 25 * time.Millisecond,
		226 * time.Millisecond: 274 * time.Millisecond,
		249 * time.Millisecond: 251 * time.Millisecond,
		time.Hour:              250 * time.Millisecond,
	} {
		assert.Equal(t, want, beatIn(begin.Add(at)), at)
	}
}
