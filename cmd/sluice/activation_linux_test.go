package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// unit is the program as systemd starts it: with sockets, and with somebody to tell.
type unit struct {
	t     *testing.T
	cmd   *exec.Cmd
	addrs []string // of the sockets
	said  bytes.Buffer
	hears *net.UnixConn
}

// activator makes a command that starts the program with sockets of these names, which it has from
// 3 on.
type activator func(t *testing.T, names string, environ []string) *exec.Cmd

// bySystemd starts it by systemd's own program, which waits for the first connection.
func bySystemd(t *testing.T, names string, environ []string) *exec.Cmd {
	t.Helper()
	args := []string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`, needServer(t, "systemd-socket-activate", "systemd"), "--fdname=" + names}
	for _, variable := range environ {
		args = append(args, "--setenv="+variable)
	}
	self, err := os.Executable()
	require.NoError(t, err)
	return exec.Command("sh", append(args, self)...)
}

// byTest starts it as systemd does, at once.
func byTest(t *testing.T, names string, environ []string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0"`, self)
	cmd.Env = append(environ, "LISTEN_FDNAMES="+names)
	return cmd
}

// startUnit starts the program with a socket for each name.
func startUnit(t *testing.T, by activator, names []string, environ ...string) *unit {
	t.Helper()
	u := &unit{t: t}
	dir, err := os.MkdirTemp("", "s") // a socket's path is short
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	at := &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"}
	u.hears, err = net.ListenUnixgram("unixgram", at)
	require.NoError(t, err)
	t.Cleanup(func() { u.hears.Close() })
	u.cmd = by(t, strings.Join(names, ":"), append(environ, asMain+"=1", "NOTIFY_SOCKET="+at.Name, "WATCHDOG_USEC=200000"))
	u.cmd.Env = append(u.cmd.Env, "LISTEN_FDS="+string(rune('0'+len(names))))
	u.cmd.Stdout, u.cmd.Stderr = &u.said, &u.said
	for range names {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		f, err := l.(*net.TCPListener).File()
		require.NoError(t, err)
		u.addrs = append(u.addrs, l.Addr().String())
		l.Close()
		defer f.Close()
		u.cmd.ExtraFiles = append(u.cmd.ExtraFiles, f)
	}
	require.NoError(t, u.cmd.Start())
	t.Cleanup(func() { u.cmd.Process.Kill() })
	return u
}

// until hears what systemd is told until that begins with something, and returns it.
func (u *unit) until(begin string) string {
	u.t.Helper()
	require.NoError(u.t, u.hears.SetReadDeadline(time.Now().Add(time.Minute)))
	message := make([]byte, 4096)
	for {
		n, err := u.hears.Read(message)
		require.NoError(u.t, err, "%s is not told", begin)
		if text := string(message[:n]); strings.HasPrefix(text, begin) {
			return text
		}
	}
}

// The sockets that systemd passes take the place of the addresses that are configured; and systemd
// is told what it asks for, from the start to the end.
func TestActivation(t *testing.T) {
	for name, by := range map[string]activator{"by systemd": bySystemd, "by the test": byTest} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := startUnit(t, by, []string{"http", "rtmp", "http", "admin"},
				"SLUICE_RTMP_ADDR=192.0.2.1:1", "SLUICE_HTTP_ADDR=192.0.2.1:2", "SLUICE_ADMIN_TOKEN="+adminToken, "SLUICE_DRAIN_DELAY=200ms")
			rtmp, err := net.Dial("tcp", u.addrs[1])
			require.NoError(t, err)
			defer rtmp.Close()
			assert.Equal(t, "READY=1\nSTATUS=serves rtmp "+u.addrs[1]+", http "+u.addrs[0]+", http "+u.addrs[2]+", admin "+u.addrs[3],
				u.until("READY"))
			for _, addr := range []string{u.addrs[0], u.addrs[2]} {
				status, _ := fetch(t, "GET", addr, "/readyz", "")
				assert.Equal(t, http.StatusOK, status)
			}
			_, err = rtmp.Write(append([]byte{3}, make([]byte, 1536)...)) // C0 and C1
			require.NoError(t, err)
			version := make([]byte, 1)
			_, err = io.ReadFull(rtmp, version)
			assert.NoError(t, err)
			assert.Equal(t, []byte{3}, version)
			u.until("WATCHDOG=1")

			require.NoError(t, u.cmd.Process.Signal(syscall.SIGHUP))
			assert.Regexp(t, regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=\d+$`), u.until("RELOADING"))
			u.until("READY=1\nSTATUS=serves rtmp")
			require.NoError(t, u.cmd.Process.Signal(syscall.SIGTERM))
			assert.Equal(t, "STOPPING=1\nSTATUS=serves on, but is not ready any more\nEXTEND_TIMEOUT_USEC=18200000", u.until("STOPPING"))
			assert.Equal(t, "STATUS=asks those to go who can go on elsewhere", u.until("STATUS"))
			assert.Equal(t, "STATUS=ends publishers and viewers", u.until("STATUS"))
			assert.NoError(t, u.cmd.Wait(), "%s", &u.said)
			assert.Contains(t, u.said.String(), "  Publish   rtmp://"+u.addrs[1]+"/live/NAME\n")
			assert.NotRegexp(t, `level=(WARN|ERROR)`, u.said.String())
		})
	}
}

// What is wrong with sockets, or missing for them, is said at start.
func TestActivationFails(t *testing.T) {
	for name, c := range map[string]struct {
		names []string
		want  string
	}{
		"a name that is none": {[]string{"rtmp", "web"}, "sluice: cannot start as systemd says:\n  socket 2 of 2 that systemd passed, named \"web\": its name says nothing of what it is for: FileDescriptorName= in its socket unit must be one of rtmp, rtmps, http, https, admin, metrics\n"},
		"operators' token":    {[]string{"admin"}, "  SLUICE_ADMIN_ADDR needs SLUICE_ADMIN_TOKEN\n"},
		"certificates":        {[]string{"rtmps"}, "  SLUICE_RTMPS_ADDR needs SLUICE_TLS_CERT"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := startUnit(t, byTest, c.names, "SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0")
			var exit *exec.ExitError
			require.ErrorAs(t, u.cmd.Wait(), &exit)
			assert.Equal(t, exitUsage, exit.ExitCode())
			assert.Contains(t, u.said.String(), c.want)
		})
	}
}

// The addresses of sockets are checked as those of a variable are: two for all interfaces, one
// of IPv4 and one of IPv6, are one.
func TestAddressesOfSockets(t *testing.T) {
	for want, addrs := range map[string][]string{
		"":                                 nil,
		"127.0.0.1:1935":                   {"127.0.0.1:1935"},
		"0.0.0.0:1935":                     {"0.0.0.0:1935", "[::]:1935"},
		"[::]:1935;0.0.0.0:1936;[::1]:443": {"[::1]:1935", "[::]:1935", "0.0.0.0:1936", "[::1]:443"},
		"127.0.0.1:80;[::1]:80":            {"127.0.0.1:80", "[::1]:80"},
	} {
		var l listeners
		for _, addr := range addrs {
			l = append(l, listener{at{addr: addr}, kindHTTP, addr})
		}
		assert.Equal(t, want, l.asAddresses().String())
	}
}
