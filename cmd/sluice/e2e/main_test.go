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
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
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

// TestMain fails the package if goroutines are left when its tests have ended. Its tests wait for real time,
// most of the time, so there are more of them at a time than processors; a flag on the command line counts.
func TestMain(m *testing.M) {
	flag.Set("test.parallel", "5")
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if builtIn != "" {
			os.RemoveAll(builtIn)
		}
		os.Exit(code)
	}))
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
