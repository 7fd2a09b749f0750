package bench

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain makes the test binary be sluice bench when it is called as that, so that
// the comparison with the null server can start it; and fails the package if
// goroutines are left when its tests have ended.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "bench" {
		os.Exit(Run(context.Background(), os.Args[2:], os.Stdout, os.Stderr))
	}
	code := m.Run()
	if left := leftGoroutines(5 * time.Second); code == 0 && len(left) > 0 {
		fmt.Fprintf(os.Stderr, "leaked goroutines:\n\n%s\n", strings.Join(left, "\n\n"))
		code = 1
	}
	os.Exit(code)
}

// leftGoroutines returns the stacks of goroutines, other than the caller's and the
// test framework's, that are still there after the grace.
func leftGoroutines(grace time.Duration) []string {
	for deadline := time.Now().Add(grace); ; time.Sleep(10 * time.Millisecond) {
		buf := make([]byte, 4<<20)
		var left []string
		for i, s := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if i > 0 && !strings.Contains(s, "testing.(*M).startAlarm") && !strings.Contains(s, "os/signal.") {
				left = append(left, s)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}
