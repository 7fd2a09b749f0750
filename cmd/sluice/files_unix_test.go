//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The program may have as many connections as the system lets it, and says how
// many viewers these are.
func TestOpenFilesLimitIsRaised(t *testing.T) {
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	for _, c := range []struct {
		name, ulimit string
		atLeast      uint64
	}{
		{"soft limit", "ulimit -Sn 64", uint64(limit.Max) - 1}, // the runtime leaves one out
		{"hard limit", "ulimit -n 700", 699},                   // raised only for the privileged
	} {
		t.Run(c.name, func(t *testing.T) {
			program := command(t)
			cmd := exec.Command("sh", "-c", c.ulimit+` && exec "$0"`, program.Path)
			cmd.Env = program.Env
			out := newOutput()
			cmd.Stdout = out
			require.NoError(t, cmd.Start())
			defer cmd.Wait()
			defer cmd.Process.Kill()
			out.find(t, `Sluice .* is ready`)
			limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", cmd.Process.Pid))
			if err != nil {
				t.Skip("no /proc here")
			}
			soft := regexp.MustCompile(`(?m)^Max open files +(\d+) `).FindSubmatch(limits)
			require.NotNil(t, soft)
			raised, err := strconv.ParseUint(string(soft[1]), 10, 64)
			require.NoError(t, err)
			assert.GreaterOrEqual(t, raised, c.atLeast)

			line := out.find(t, `level=(\w+) msg=.*open files.* limit=(\d+) reserved=500 viewers=(\d+)`)
			assert.Equal(t, strconv.FormatUint(raised, 10), line[2])
			assert.Equal(t, strconv.FormatUint(viewersFor(raised), 10), line[3])
			assert.Equal(t, viewersFor(raised) < fewViewers, line[1] == "WARN")
		})
	}
}
