//go:build unix

package systemd

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// listen opens the socket at which systemd would hear. name is its path, or an abstract name.
func listen(t *testing.T, name string) func() string {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return func() string {
		t.Helper()
		message := make([]byte, 4096)
		require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
		n, err := c.Read(message)
		require.NoError(t, err)
		return string(message[:n])
	}
}

// socketPath returns a path that is short enough for a socket.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "notify")
}

func TestNotify(t *testing.T) {
	names := map[string]string{"path": socketPath(t)}
	if runtime.GOOS == "linux" {
		names["abstract"] = "@sluice-test-" + strconv.Itoa(os.Getpid())
	}
	for kind, name := range names {
		t.Run(kind, func(t *testing.T) {
			hear := listen(t, name)
			n, err := NewNotifier([]string{"NOTIFY_SOCKET=" + name})
			require.NoError(t, err)
			n.Ready("serves\nat two ports")
			assert.Equal(t, "READY=1\nSTATUS=serves at two ports", hear())
			n.Status(strings.Repeat("é", maxStatus))
			assert.Equal(t, "STATUS="+strings.Repeat("é", maxStatus/2), hear())
			n.Reloading()
			said := hear()
			if runtime.GOOS == "linux" {
				assert.Regexp(t, regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=[1-9]\d+$`), said)
			}
			n.Stopping("drains", 12*time.Second)
			assert.Equal(t, "STOPPING=1\nSTATUS=drains\nEXTEND_TIMEOUT_USEC=12000000", hear())
			n.Watch(t.Context(), func() error { panic("it is not asked for") })
		})
	}
}

// Nobody is told where nobody asks.
func TestNoNotifier(t *testing.T) {
	n, err := NewNotifier([]string{"WATCHDOG_USEC=1000"})
	require.NoError(t, err)
	require.Nil(t, n.With(slog.Default()))
	n.Ready("")
	n.Status("")
	n.Reloading()
	n.Stopping("", 0)
	n.Watch(t.Context(), func() error { panic("it is not asked for") })
}

func TestBadNotifyVariables(t *testing.T) {
	for want, environ := range map[string][]string{
		`NOTIFY_SOCKET="vsock:2:1234": must be a path, or an abstract name that begins with @`: {"NOTIFY_SOCKET=vsock:2:1234"},
		`WATCHDOG_USEC="soon": must be a number from 0 to 31536000000000`:                      {"NOTIFY_SOCKET=/x", "WATCHDOG_USEC=soon"},
		`WATCHDOG_PID="me": must be a number from 0 to 2147483647`:                             {"NOTIFY_SOCKET=/x", "WATCHDOG_PID=me"},
	} {
		_, err := NewNotifier(environ)
		assert.EqualError(t, err, want)
	}
	n, err := NewNotifier([]string{"NOTIFY_SOCKET=/x", "WATCHDOG_USEC=1", "WATCHDOG_PID=1"})
	require.NoError(t, err)
	assert.Zero(t, n.watchdog, "it is another process that is to answer")
}

// Where systemd cannot be told, the service goes on and the log says so.
func TestNotifyNobodyHears(t *testing.T) {
	var logged bytes.Buffer
	n, err := NewNotifier([]string{"NOTIFY_SOCKET=" + socketPath(t)})
	require.NoError(t, err)
	n = n.With(slog.New(slog.NewTextHandler(&logged, nil)))
	n.Ready("")
	assert.Contains(t, logged.String(), `level=WARN msg="cannot tell systemd" what="READY=1"`)
}

// WATCHDOG=1 is told twice in each interval, but only while the service answers.
func TestWatchdog(t *testing.T) {
	path := socketPath(t)
	hear := listen(t, path)
	n, err := NewNotifier([]string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=20000", "WATCHDOG_PID=" + strconv.Itoa(os.Getpid())})
	require.NoError(t, err)
	assert.Equal(t, 20*time.Millisecond, n.watchdog)
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { n.Watch(ctx, func() error { return nil }) })
	for range 3 {
		assert.Equal(t, "WATCHDOG=1", hear())
	}
	cancel()
	watching.Wait()
	n.Status("end")
	for hear() != "STATUS=end" { // what was told meanwhile
	}

	n = n.With(slog.New(slog.DiscardHandler))
	ctx, cancel = context.WithCancel(t.Context())
	asked := 0
	n.Watch(ctx, func() error {
		if asked++; asked == 3 {
			cancel()
		}
		return errors.New("stuck")
	})
	assert.Equal(t, 3, asked)
	n.Status("end")
	assert.Equal(t, "STATUS=end", hear(), "nothing was told")
}
