package intake

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails the package if goroutines are left when its tests have ended.
func TestMain(m *testing.M) {
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
		stacks := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
		var left []string
		for _, s := range stacks[1:] { // the first is the caller's
			if !strings.Contains(s, "testing.(*M).startAlarm") && !strings.Contains(s, "os/signal.") {
				left = append(left, s)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}
