//go:build unix

package main

import (
	"bytes"
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// What a crowd has held comes back to the system, in a process that allocates
// nothing any more.
func TestMemoryComesBack(t *testing.T) {
	resident := func() int64 { return procField("/proc/self/smaps_rollup", "Rss:") << 10 }
	if resident() == 0 {
		t.Skip("no /proc here")
	}
	runtime.GC()
	crowd := make([][]byte, 1000)
	for i := range crowd {
		crowd[i] = bytes.Repeat([]byte{1}, 64<<10)
	}
	held := resident()
	runtime.KeepAlive(crowd)
	crowd = nil
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*collectAfter+time.Second)
		defer cancel()
		collectWhenQuiet(ctx)
	})
	require.Eventually(t, func() bool { return resident() < held-32<<20 }, 20*time.Second, 50*time.Millisecond)
}
