//go:build unix

package packaging

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// drainBound is how long Sluice takes to end when it is told to, beside SLUICE_DRAIN_DELAY.
const drainBound = 10 * time.Second

// longestDelay returns the longest SLUICE_DRAIN_DELAY, as the help has it.
func longestDelay(t *testing.T) time.Duration {
	t.Helper()
	out, err := exec.Command(sluice(t), "help").Output()
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(out), "SLUICE_DRAIN_DELAY (default")
	require.True(t, found)
	longest := regexp.MustCompile(`From\s+0s\s+to\s+(\w+)\.`).FindStringSubmatch(rest)
	require.NotNil(t, longest)
	d, err := time.ParseDuration(longest[1])
	require.NoError(t, err)
	return d
}

// unit returns the settings of a unit, "Section.Name" to its values.
func unit(t *testing.T, path string) map[string][]string {
	t.Helper()
	settings, section := map[string][]string{}, ""
	for lines := bufio.NewScanner(strings.NewReader(read(t, path))); lines.Scan(); {
		line := lines.Text()
		switch name, value, found := strings.Cut(line, "="); {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
		default:
			require.True(t, found, "%s: %s", path, line)
			settings[section+"."+name] = append(settings[section+"."+name], value)
		}
	}
	return settings
}

// systemd understands the units, and finds the service well closed in.
func TestSystemdUnits(t *testing.T) {
	analyze := need(t, "systemd-analyze", "systemd")
	dir := t.TempDir()
	require.NoError(t, copyTree("systemd", dir))
	service := filepath.Join(dir, "sluice.service")
	program := filepath.Join(dir, "sluice")
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755))
	const installed = "ExecStart=/usr/local/bin/sluice\n"
	text := read(t, service)
	require.Contains(t, text, installed)
	require.NoError(t, os.WriteFile(service, []byte(strings.Replace(text, installed, "ExecStart="+program+"\n", 1)), 0o644))
	sockets, err := filepath.Glob(filepath.Join(dir, "*.socket"))
	require.NoError(t, err)
	require.Len(t, sockets, 6)
	out, err := exec.Command(analyze, append([]string{"verify", "--man=no", service}, sockets...)...).CombinedOutput()
	assert.NoError(t, err)
	assert.Empty(t, string(out), "what systemd has to say")

	// What is left are the network and a file system that can be read.
	out, err = exec.Command(analyze, "security", "--no-pager", "--offline=yes", "--threshold=20", service).CombinedOutput()
	assert.NoError(t, err, "exposed by more than 2.0:\n%s", out)
}

// The service gets enough files and enough time to end, and does not start over after a mistake in its
// configuration.
func TestSystemdService(t *testing.T) {
	s := unit(t, "systemd/sluice.service")
	for name, want := range map[string]string{
		"Service.Type": "notify", "Service.Restart": "always", "Service.RestartPreventExitStatus": "2",
		"Service.ExecReload": "/bin/kill -HUP $MAINPID", "Service.KillMode": "mixed", "Service.EnvironmentFile": "-/etc/sluice/env",
		"Service.NoNewPrivileges": "yes", "Service.ProtectSystem": "strict", "Service.CapabilityBoundingSet": "CAP_NET_BIND_SERVICE",
	} {
		assert.Equal(t, []string{want}, s[name], name)
	}
	files, err := strconv.Atoi(s["Service.LimitNOFILE"][0])
	require.NoError(t, err)
	assert.GreaterOrEqual(t, files, 100000)
	stop, err := strconv.Atoi(s["Service.TimeoutStopSec"][0])
	require.NoError(t, err)
	assert.Greater(t, time.Duration(stop)*time.Second, drainBound+longestDelay(t))
	assert.Contains(t, s["Service.Environment"], "SLUICE_STATE_DIR=/var/lib/"+s["Service.StateDirectory"][0])
	user := strings.Fields(strings.SplitN(read(t, "systemd/sluice.sysusers"), "\n", 3)[1])
	assert.Equal(t, s["Service.User"][0], user[1], "the user that systemd-sysusers makes")
}

// Each listener has a socket unit, of the name by which Sluice knows it.
func TestSystemdSockets(t *testing.T) {
	ports := map[string]string{}
	for _, name := range []string{"rtmp", "rtmps", "http", "https", "admin", "metrics"} {
		s := unit(t, "systemd/sluice-"+name+".socket")
		assert.Equal(t, []string{name}, s["Socket.FileDescriptorName"], name)
		assert.Equal(t, []string{"sluice.service"}, s["Socket.Service"], name)
		require.Len(t, s["Socket.ListenStream"], 1, name)
		address := s["Socket.ListenStream"][0]
		assert.Empty(t, ports[address], "%s and %s have one address", name, ports[address])
		ports[address] = name
		if name == "admin" || name == "metrics" {
			assert.True(t, strings.HasPrefix(address, "127.0.0.1:"), name)
		}
	}
}

// The tokens of the drop-in are those that are loaded, under the names of secrets.
func TestSystemdCredentials(t *testing.T) {
	s := unit(t, "systemd/sluice.service.d/operators.conf")
	loaded := map[string]bool{}
	for _, c := range s["Service.LoadCredential"] {
		id, path, _ := strings.Cut(c, ":")
		assert.Equal(t, "/etc/sluice/secrets/"+id, path)
		loaded[id] = true
	}
	used := 0
	for _, e := range s["Service.Environment"] {
		name, value, _ := strings.Cut(e, "=")
		if id, ok := strings.CutPrefix(value, "%d/"); ok {
			used++
			assert.True(t, strings.HasSuffix(name, "_FILE"), name)
			assert.True(t, loaded[id], e)
		}
	}
	assert.Len(t, loaded, used)
}
