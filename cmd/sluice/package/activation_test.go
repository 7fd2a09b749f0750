//go:build linux

package packaging

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// With the sockets of the units the program is started as systemd starts it: it serves on them, says
// that it does, that it is alive, and that it ends.
func TestSystemdActivation(t *testing.T) {
	b := &behind{t: t}
	b.certificate()
	units, err := filepath.Glob("systemd/*.socket")
	require.NoError(t, err)
	var files []*os.File
	var names []string
	addresses := map[string]string{}
	for _, path := range units {
		name := unit(t, path)["Socket.FileDescriptorName"][0]
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		f, err := l.(*net.TCPListener).File()
		require.NoError(t, err)
		l.Close()
		defer f.Close()
		files, names, addresses[name] = append(files, f), append(names, name), l.Addr().String()
	}
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	require.NoError(t, err)
	defer told.Close()

	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ WATCHDOG_PID=$$ exec "$0"`, sluice(t))
	cmd.ExtraFiles = files
	cmd.Env = []string{
		fmt.Sprintf("LISTEN_FDS=%d", len(files)), "LISTEN_FDNAMES=" + strings.Join(names, ":"),
		"NOTIFY_SOCKET=" + told.LocalAddr().String(), "WATCHDOG_USEC=200000",
		"SLUICE_ADMIN_TOKEN=" + adminToken, "SLUICE_TLS_CERT=" + b.cert, "SLUICE_TLS_KEY=" + b.key,
		"SLUICE_STATE_DIR=" + t.TempDir(),
	}
	_, ended := run(t, cmd)
	b.addresses = front{http: addresses["http"], https: addresses["https"]}
	wait := func(what string) {
		t.Helper()
		buf := make([]byte, 4096)
		for {
			require.NoError(t, told.SetReadDeadline(time.Now().Add(patience)))
			n, err := told.Read(buf)
			require.NoError(t, err, what)
			if strings.Contains(string(buf[:n]), what) {
				return
			}
		}
	}
	wait("READY=1")
	wait("WATCHDOG=1")
	for _, scheme := range []string{"http", "https"} {
		assert.Equal(t, http.StatusOK, b.get(b.client(true), scheme+"://"+siteName+"/healthz").StatusCode, scheme)
	}
	b.admin = addresses["admin"]
	p := b.publish(addresses["rtmp"])
	require.Len(t, b.sessions(), 1)
	require.NoError(t, p.Close())
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + addresses["metrics"] + "/metrics")
	require.NoError(t, err)
	res.Body.Close()
	assert.Equal(t, http.StatusOK, res.StatusCode)
	require.NoError(t, cmd.Process.Signal(terminate))
	wait("STOPPING=1")
	assert.NoError(t, <-ended)
}
