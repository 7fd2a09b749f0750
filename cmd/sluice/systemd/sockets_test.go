//go:build unix

package systemd

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// start starts this test binary as a program that has these files from 3 on, and the variables, as
// systemd would: LISTEN_PID is its process.
func start(t *testing.T, files []*os.File, variables ...string) (*exec.Cmd, io.Reader) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `LISTEN_PID=$$ exec "$0"`, self)
	cmd.Env = append(os.Environ(), asChild+"=1")
	cmd.Env = append(cmd.Env, variables...)
	cmd.ExtraFiles = files
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return cmd, out
}

// tcp returns a listening socket on loopback, and its address.
func tcp(t *testing.T) (*os.File, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f, l.Addr().String()
}

func TestSocketsArePassed(t *testing.T) {
	one, at1 := tcp(t)
	two, at2 := tcp(t)
	three, at3 := tcp(t)
	cmd, out := start(t, []*os.File{one, two, three}, "LISTEN_FDS=3", "LISTEN_FDNAMES=http:rtmp:http", "NOTIFY_SOCKET=/nowhere")
	lines := bufio.NewScanner(out)
	said := func() string {
		require.True(t, lines.Scan(), "it says more")
		return lines.Text()
	}
	assert.Equal(t, "socket http "+at1, said())
	assert.Equal(t, "socket rtmp "+at2, said())
	assert.Equal(t, "socket http "+at3, said())
	assert.Equal(t, "inherited 0", strings.TrimSpace(said()), "neither sockets nor variables")
	for i, at := range []string{at1, at2, at3} {
		c, err := net.Dial("tcp", at)
		require.NoError(t, err)
		name, err := io.ReadAll(c)
		assert.NoError(t, err)
		assert.Equal(t, []string{"http\n", "rtmp\n", "http\n"}[i], string(name))
		c.Close()
	}
	assert.NoError(t, cmd.Wait())
}

// What is wrong with a socket is said of each, with what to do.
func TestBadSockets(t *testing.T) {
	good, _ := tcp(t)
	dir, err := os.MkdirTemp("", "s") // a unix socket's path is short
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	unix, err := net.ListenUnix("unix", &net.UnixAddr{Name: dir + "/x", Net: "unix"})
	require.NoError(t, err)
	defer unix.Close()
	unixFile, err := unix.File()
	require.NoError(t, err)
	defer unixFile.Close()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer udp.Close()
	udpFile, err := udp.File()
	require.NoError(t, err)
	defer udpFile.Close()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	connected, err := c.(*net.TCPConn).File()
	require.NoError(t, err)
	defer connected.Close()
	null, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer null.Close()
	for name, c := range map[string]struct {
		file  *os.File
		names string
		want  string
	}{
		"no name":      {good, "", "without a name: its name says nothing of what it is for: FileDescriptorName= in its socket unit must be one of rtmp, http"},
		"unit's name":  {good, "sluice.socket", `named "sluice.socket": its name says nothing`},
		"Accept=yes":   {good, "connection", "its socket unit needs Accept=no"},
		"unix":         {unixFile, "http", "it is no TCP socket: ListenStream= in its socket unit must be a port, or an address with a port"},
		"udp":          {udpFile, "http", "it is no TCP socket"},
		"connected":    {connected, "http", "it does not listen"},
		"file":         {null, "http", "it is no socket"},
		"no such file": {nil, "http", "http\": "}, // 3 is the runtime's, or nobody's
	} {
		t.Run(name, func(t *testing.T) {
			var files []*os.File
			if c.file != nil {
				files = append(files, c.file)
			}
			cmd, out := start(t, files, "LISTEN_FDS=1", "LISTEN_FDNAMES="+c.names)
			said, err := io.ReadAll(out)
			assert.NoError(t, err)
			assert.Error(t, cmd.Wait())
			assert.Contains(t, string(said), "socket 1 of 1 that systemd passed, ")
			assert.Contains(t, string(said), c.want)
		})
	}
	t.Run("all are named", func(t *testing.T) {
		cmd, out := start(t, []*os.File{good, null, good}, "LISTEN_FDS=3", "LISTEN_FDNAMES=http:http:sluice")
		said, err := io.ReadAll(out)
		assert.NoError(t, err)
		assert.Error(t, cmd.Wait())
		assert.Contains(t, string(said), "socket 2 of 3 that systemd passed, named \"http\": it is no socket\nsocket 3 of 3")
	})
}

// Without variables, and with those of another process, there are no sockets.
func TestNoSockets(t *testing.T) {
	for _, environ := range [][]string{
		nil,
		{"LISTEN_FDS=1"},
		{"LISTEN_FDS=1", "LISTEN_PID=1"},
		{"LISTEN_PID=" + strconv.Itoa(os.Getpid())},
		{"LISTEN_FDS=0", "LISTEN_PID=" + strconv.Itoa(os.Getpid())},
	} {
		sockets, err := Sockets(environ, "rtmp")
		assert.NoError(t, err, "%v", environ)
		assert.Empty(t, sockets, "%v", environ)
	}
	mine := "LISTEN_PID=" + strconv.Itoa(os.Getpid())
	for want, environ := range map[string][]string{
		`LISTEN_PID="x": must be a number from 0 to 2147483647`: {"LISTEN_FDS=1", "LISTEN_PID=x"},
		`LISTEN_FDS="-1": must be a number from 0 to 128`:       {"LISTEN_FDS=-1", mine},
		`LISTEN_FDS="129": must be a number from 0 to 128`:      {"LISTEN_FDS=129", mine},
		`LISTEN_FDNAMES has 2 names for LISTEN_FDS=1 sockets`:   {"LISTEN_FDS=1", mine, "LISTEN_FDNAMES=a:b"},
	} {
		_, err := Sockets(environ, "rtmp")
		assert.EqualError(t, err, want)
	}
}

// Nothing that stands in the variables makes it panic or take what is not there.
func FuzzPassedNames(f *testing.F) {
	for _, seed := range []struct{ fds, names string }{{"1", "rtmp"}, {"2", "a:b"}, {"0", ""}, {"128", ":"}, {"99999999999999999999", ""}} {
		f.Add(seed.fds, seed.names)
	}
	f.Fuzz(func(t *testing.T, fds, names string) {
		got, err := passedNames([]string{"LISTEN_PID=" + strconv.Itoa(os.Getpid()), "LISTEN_FDS=" + fds, "LISTEN_FDNAMES=" + names})
		if err != nil {
			assert.Empty(t, got)
			return
		}
		assert.LessOrEqual(t, len(got), maxSockets)
		for _, name := range got {
			assert.LessOrEqual(t, len(shown(name)), 20+10*maxShownName, "what is printed is bounded, escaped as it is")
		}
	})
}
