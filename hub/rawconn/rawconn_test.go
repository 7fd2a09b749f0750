//go:build unix

package rawconn_test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"sluice/hub/rawconn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair returns two ends of a connection on which a write arrives at once, with room for
// little.
func pair(t *testing.T) (near, far *net.UnixConn) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	require.NoError(t, err)
	defer l.Close()
	near, err = net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
	require.NoError(t, err)
	t.Cleanup(func() { near.Close() })
	require.NoError(t, near.SetWriteBuffer(4<<10))
	far, err = l.AcceptUnix()
	require.NoError(t, err)
	t.Cleanup(func() { far.Close() })
	return near, far
}

// A write takes what there is room for, nothing where there is none, and tells
// when the connection is gone, without a signal.
func TestTrySend(t *testing.T) {
	near, far := pair(t)
	raw, err := near.SyscallConn()
	require.NoError(t, err)
	n, err := rawconn.TrySend(raw, nil)
	require.NoError(t, err)
	assert.Zero(t, n)
	sent := 0
	for {
		n, err := rawconn.TrySend(raw, make([]byte, 3000))
		require.NoError(t, err)
		sent += n
		if n == 0 {
			break
		}
	}
	assert.NotZero(t, sent)
	_, err = far.Read(make([]byte, sent))
	require.NoError(t, err)
	far.Close()
	_, err = rawconn.TrySend(raw, []byte("x"))
	assert.ErrorIs(t, err, syscall.EPIPE)
	near.Close()
	_, err = rawconn.TrySend(raw, []byte("x"))
	assert.ErrorIs(t, err, net.ErrClosed)
}

// A read takes what is there, nothing where nothing is, and tells of the end.
func TestTryRead(t *testing.T) {
	near, far := pair(t)
	raw, err := near.SyscallConn()
	require.NoError(t, err)
	buf := make([]byte, 4)
	n, err := rawconn.TryRead(raw, nil)
	require.NoError(t, err)
	assert.Zero(t, n)
	n, err = rawconn.TryRead(raw, buf)
	require.NoError(t, err)
	assert.Zero(t, n)
	_, err = far.Write([]byte("hello"))
	require.NoError(t, err)
	n, err = rawconn.TryRead(raw, buf)
	require.NoError(t, err)
	assert.Equal(t, "hell", string(buf[:n]))
	far.Close()
	n, err = rawconn.TryRead(raw, buf)
	require.NoError(t, err)
	assert.Equal(t, "o", string(buf[:n]))
	_, err = rawconn.TryRead(raw, buf)
	assert.ErrorIs(t, err, io.EOF)
	near.Close()
	_, err = rawconn.TryRead(raw, buf)
	assert.ErrorIs(t, err, net.ErrClosed)
}

// One that has to wait goes on as soon as there is room, or gives up at the deadline.
func TestSendWhenReady(t *testing.T) {
	near, far := pair(t)
	raw, err := near.SyscallConn()
	require.NoError(t, err)
	for {
		n, err := rawconn.TrySend(raw, make([]byte, 1000))
		require.NoError(t, err)
		if n == 0 {
			break
		}
	}
	require.NoError(t, near.SetWriteDeadline(time.Now().Add(time.Millisecond)))
	_, err = rawconn.SendWhenReady(raw, make([]byte, 1000))
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, near.SetWriteDeadline(time.Time{}))
	go io.Copy(io.Discard, far)
	n, err := rawconn.SendWhenReady(raw, make([]byte, 1000))
	require.NoError(t, err)
	assert.NotZero(t, n)
}
