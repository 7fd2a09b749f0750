package memory

import (
	"fmt"
	"os"
	"testing"
	"time"

	"sluice/hub/cluster"
	"sluice/hub/cluster/directorytest"
)

// with opens clusters whose calls and messages take up to d.
func with(d time.Duration) func(*testing.T, int) []cluster.Directory {
	return func(_ *testing.T, nodes int) (all []cluster.Directory) {
		e := New(Config{})
		e.Delay(Delays{Records: Delay{Max: d}, Messages: Delay{Max: d}})
		for i := range nodes {
			all = append(all, e.Join(fmt.Sprintf("n%d:6222", i+1)))
		}
		return all
	}
}

func TestDirectory(t *testing.T) { directorytest.Run(t, with(0)) }

// The tests themselves bear an engine that takes its time.
func TestDirectoryWithDelays(t *testing.T) {
	if !isLong() {
		t.Skip("left out: it takes many seconds; run with SLUICE_TEST_LONG=1")
	}
	directorytest.Run(t, with(2*time.Millisecond))
}

// isLong says whether tests run in their long form.
func isLong() bool { return os.Getenv("SLUICE_TEST_LONG") != "" }
