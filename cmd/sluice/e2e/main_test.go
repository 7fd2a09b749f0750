// Package e2e tests the program as its users meet it: the real binary, started
// with environment variables on free ports of the loopback interface, published
// to by ffmpeg, and watched by ffmpeg, rtmpdump, curl and Chromium. It holds
// nothing but tests.
//
// A program that is missing on this machine leaves its tests out, with a line
// that says how to get it; where CI=true is set that is a failure.
//
// Real programs share the machine with whatever else runs on it, so no test fails
// for being slow: each waits for what it expects, for patience at the most, and
// what is measured is measured against the stream's own clock.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen sooner or later.
const patience = 90 * time.Second

// program is the binary under test, built when the first test asks for it. It has
// the race detector in it if the tests have.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sluice-e2e-")
	if err != nil {
		return "", err
	}
	builtIn = dir
	path := filepath.Join(dir, "sluice")
	args := []string{"build", "-o", path}
	if raceDetector {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "sluice/cmd/sluice")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// builtIn is the folder to remove in the end.
var builtIn string

// TestMain fails the package when goroutines outlive its tests.
func TestMain(m *testing.M) {
	code := m.Run()
	if builtIn != "" {
		os.RemoveAll(builtIn)
	}
	if code == 0 {
		if left := leaked(5 * time.Second); left != "" {
			fmt.Fprintf(os.Stderr, "goroutines left behind:\n\n%s\n", left)
			code = 1
		}
	}
	os.Exit(code)
}

// leaked waits for all goroutines but the test's own to end, and returns the
// stacks of those that do not.
func leaked(grace time.Duration) string {
	for deadline := time.Now().Add(grace); ; time.Sleep(20 * time.Millisecond) {
		buf := make([]byte, 1<<20)
		buf = buf[:runtime.Stack(buf, true)]
		var left []string
		for stack := range strings.SplitSeq(string(buf), "\n\n") {
			if !strings.Contains(stack, "e2e.TestMain") && !strings.Contains(stack, "os/signal.loop") &&
				!strings.Contains(stack, "testing.(*M).startAlarm") {
				left = append(left, stack)
			}
		}
		if len(left) == 0 {
			return ""
		}
		if time.Now().After(deadline) {
			return strings.Join(left, "\n\n")
		}
	}
}

// until waits until ok says yes.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
