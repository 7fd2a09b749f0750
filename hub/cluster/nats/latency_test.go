//go:build linux

package nats

import (
	"context"
	"os"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLatencies measures, with SLUICE_TEST_LONG=1: how long calls take, one after the other, and what three nodes
// need that do nothing.
func TestLatencies(t *testing.T) {
	if os.Getenv("SLUICE_TEST_LONG") == "" {
		t.Skip("SLUICE_TEST_LONG=1 measures")
	}
	began := time.Now()
	nodes := open(t, 3)
	t.Logf("usable after %v", time.Since(began))
	took := func(what string, f func(i int) error) {
		var all []time.Duration
		for i := range 300 {
			began := time.Now()
			require.NoError(t, f(i), what)
			all = append(all, time.Since(began))
		}
		slices.Sort(all)
		t.Logf("%-10s p50 %v, p99 %v", what, all[len(all)/2], all[len(all)*99/100])
	}
	var before, after syscall.Rusage
	const idle = 20 * time.Second
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &before))
	time.Sleep(idle)
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &after))
	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	used := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	t.Logf("idle, a node: %.2f %% of a core, heap %.1f MB, %d goroutines; all three resident %d MB", 100*used.Seconds()/idle.Seconds()/3,
		float64(memory.HeapInuse+memory.StackInuse)/3/(1<<20), runtime.NumGoroutine()/3, after.Maxrss>>10)
	for n, d := range nodes {
		ctx := context.Background()
		leader := d.Health().Leader == d.cfg.Node
		t.Logf("node %d, which decides: %v", n, leader)
		key := func(i int) string { return "s.latency-" + strconv.Itoa(n) + "-" + strconv.Itoa(i) }
		took("create", func(i int) error { _, err := d.Create(ctx, key(i), []byte("value")); return err })
		took("get", func(i int) error { _, err := d.Get(ctx, key(i)); return err })
		took("info", func(i int) error { _, err := d.bucketInfo(ctx); return err })
		took("list", func(i int) error { _, err := d.List(ctx); return err })
		name := "node.latency" + strconv.Itoa(n)
		stop, err := nodes[(n+1)%3].Answer(name, func(data []byte) []byte { return data })
		require.NoError(t, err)
		defer stop()
		until(t, "an answer", func() bool { _, err := d.Ask(ctx, name, nil); return err == nil })
		took("ask", func(i int) error { _, err := d.Ask(ctx, name, nil); return err })
	}
}
