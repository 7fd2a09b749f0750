package main

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"runtime/debug"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// keepMemorySettings puts the runtime's settings back when the test ends, and
// begins with the runtime's own.
func keepMemorySettings(t *testing.T) {
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(math.MaxInt64)
	t.Cleanup(func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	})
}

// What the operator has set stays.
func TestMemorySettings(t *testing.T) {
	none := fstest.MapFS{"proc/meminfo": text("MemTotal:        2097152 kB\nMemFree: 1 kB\n")}
	container := fstest.MapFS{
		"proc/self/cgroup":         text("0::/\n"),
		"proc/self/mountinfo":      text("30 24 0:27 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n"),
		"sys/fs/cgroup/memory.max": text("1073741824\n"),
	}
	for _, c := range []struct {
		name    string
		environ []string
		root    fstest.MapFS
		percent int
		limit   int64 // bytes
		want    string
	}{
		{"nothing set", nil, none, 25, math.MaxInt64, "GOGC=25 GOMEMLIMIT=off\n"},
		{"container", nil, container, 25, 1073741824 / 100 * 80, "GOGC=25 GOMEMLIMIT=819MiB container=1024MiB\n"},
		// the runtime itself has obeyed the environment, which here it has not seen
		{"GOGC", []string{"GOGC=200"}, container, 100, 1073741824 / 100 * 80, "GOGC=200 GOMEMLIMIT=819MiB"},
		{"GOGC off", []string{"GOGC=off"}, none, 100, math.MaxInt64, "GOGC=off GOMEMLIMIT=off\n"},
		{"GOMEMLIMIT", []string{"GOMEMLIMIT=2GiB"}, container, 25, math.MaxInt64, "GOGC=25 GOMEMLIMIT=off container=1024MiB\n"},
		{"both", []string{"GOGC=50", "GOMEMLIMIT=2GiB"}, container, 100, math.MaxInt64, "GOGC=50"},
		{"empty is unset", []string{"GOGC=", "GOMEMLIMIT="}, container, 25, 1073741824 / 100 * 80, "GOGC=25 GOMEMLIMIT=819MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			keepMemorySettings(t)
			var out bytes.Buffer
			there := setUpMemory(c.environ, c.root, newLogger(&out, "text", slog.LevelInfo))
			switch {
			case c.limit != math.MaxInt64:
				assert.Equal(t, c.limit, there)
			case len(c.root) == len(none):
				assert.EqualValues(t, 2<<30, there, "what the machine has")
			default:
				assert.Zero(t, there, "nothing is known")
			}
			assert.Equal(t, c.percent, debug.SetGCPercent(100))
			assert.Equal(t, c.limit, debug.SetMemoryLimit(-1))
			assert.Contains(t, out.String(), `msg="garbage collector" `+c.want)
			assert.Equal(t, 1, bytes.Count(out.Bytes(), []byte("\n")), "one line")
		})
	}
}

// The program says what the runtime has taken from the environment.
func TestMemorySettingsOfTheProgram(t *testing.T) {
	cmd := command(t, "GOGC=77", "GOMEMLIMIT=512MiB")
	out := newOutput()
	cmd.Stdout = out
	require.NoError(t, cmd.Start())
	defer cmd.Wait()
	defer cmd.Process.Kill()
	out.find(t, `msg="garbage collector" GOGC=77 GOMEMLIMIT=512MiB`)
}

// In a quiet process garbage is collected all the same; in a busy one nothing is
// added.
func TestCollectsWhenQuiet(t *testing.T) {
	before := collections()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			collectWhenQuiet(ctx)
		}()
		time.Sleep(3*collectAfter + time.Second)
		cancel()
		<-ended
	})
	// other tests' collections may take the place of ours
	assert.GreaterOrEqual(t, collections(), before+1)
}
