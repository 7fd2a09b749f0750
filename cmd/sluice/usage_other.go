//go:build !(darwin || linux)

package main

import (
	"time"
)

// processUsage returns the memory that Go's runtime holds, in bytes. The CPU time that the process has used is
// not known here, and so negative.
func processUsage() (cpu time.Duration, memory int64) { return -1, runtimeMemory() }
