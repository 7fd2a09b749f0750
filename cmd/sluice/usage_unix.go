//go:build darwin || linux

package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// processUsage returns the CPU time that the process has used, and its memory in bytes: what is resident,
// or, where the system does not tell that at once, what Go's runtime holds. Negative for what is not known.
func processUsage() (cpu time.Duration, memory int64) {
	cpu, memory = -1, runtimeMemory()
	var r unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &r) == nil {
		cpu = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	if runtime.GOOS == "linux" {
		statm, err := os.ReadFile("/proc/self/statm") // proc_pid_statm(5): size, resident, … in pages
		if f := strings.Fields(string(statm)); err == nil && len(f) > 1 {
			if pages, err := strconv.ParseInt(f[1], 10, 64); err == nil {
				memory = pages * int64(os.Getpagesize())
			}
		}
	}
	return cpu, memory
}
