package e2e

import (
	"encoding/json"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The program tests a running one, as a deploy does, says whether it is healthy, as a container's
// health check does, and ends at once when it is interrupted.
func TestSelfTest(t *testing.T) {
	s := serve(t)
	path, err := program()
	require.NoError(t, err)
	check := func(args ...string) *process {
		cmd := exec.Command(path, append([]string{"check"}, args...)...)
		cmd.Env = append(environment(), "SLUICE_HTTP_ADDR="+s.http)
		return begin(t, cmd)
	}
	p := check("-health")
	assert.Zero(t, p.wait())
	assert.Equal(t, "http://"+s.http+"/healthz: HTTP status 200\n", p.said.String())

	p = check("-json", s.rtmp, "http://"+s.http)
	assert.Zero(t, p.wait(), p.said.String())
	var report struct {
		OK      bool
		Outputs []struct{ Protocol string }
	}
	require.NoError(t, json.Unmarshal([]byte(p.said.String()), &report))
	assert.True(t, report.OK)
	assert.Len(t, report.Outputs, 3)

	p = check(s.rtmp, "http://"+s.http)
	until(t, "it publishes", func() bool { return strings.Count(s.said.String(), `agent="FMLE/3.0 (compatible; sluice-check)"`) >= 3 })
	p.signal(syscall.SIGINT)
	assert.Equal(t, 1, p.wait())
	assert.Contains(t, p.said.String(), "interrupted after")
}
