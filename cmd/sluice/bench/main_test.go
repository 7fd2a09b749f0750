package bench

import (
	"context"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain makes the test binary be sluice bench when it is called as that, and a server when it
// is started as one, so that comparisons can start them; and fails the package if
// goroutines are left when its tests have ended.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "bench" {
		os.Exit(Run(context.Background(), os.Args[2:], os.Stdout, os.Stderr))
	}
	if len(os.Args) == 1 && os.Getenv("SLUICE_RTMP_ADDR") != "" {
		os.Exit(serveOwn())
	}
	goleak.VerifyTestMain(m)
}
