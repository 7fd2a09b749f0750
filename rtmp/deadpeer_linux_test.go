package rtmp

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// acceptedBy has srv take a connection inside others, and returns the server's end of
// it.
func acceptedBy(t *testing.T, srv *Server, wrap func(net.Conn) net.Conn) syscall.RawConn {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { near.Close() })
	nc, err := l.Accept()
	require.NoError(t, err)
	raw, err := nc.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	srv.start(wrap(nc))
	t.Cleanup(func() { srv.Close() })
	return raw
}

func TestDeadPeerTimeout(t *testing.T) {
	for _, tt := range []struct {
		set                      time.Duration
		timeout, idle, intervals int // ms, s, s
	}{
		{0, 60_000, 30, 15},
		{10 * time.Minute, 600_000, 300, 150},
		{time.Second, 1000, 1, 1},
	} {
		for name, wrap := range map[string]func(net.Conn) net.Conn{
			"TCP":            func(nc net.Conn) net.Conn { return nc },
			"TLS":            func(nc net.Conn) net.Conn { return tls.Server(nc, new(tls.Config)) },
			"TLS in others":  func(nc net.Conn) net.Conn { return wrapped(tls.Server(inner{nc, nc}, new(tls.Config)), 3) },
			"at most":        func(nc net.Conn) net.Conn { return wrapped(nc, maxWrapped-1) },
			"without access": func(nc net.Conn) net.Conn { return withoutAccess{inner{nc, nc}} },
		} {
			raw := acceptedBy(t, &Server{Handler: &rig{}, DeadPeerTimeout: tt.set}, wrap)
			err := raw.Control(func(fd uintptr) {
				option := func(level, name int) int {
					v, err := unix.GetsockoptInt(int(fd), level, name)
					assert.NoError(t, err)
					return v
				}
				assert.Equal(t, tt.timeout, option(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT), name)
				assert.Equal(t, 1, option(unix.SOL_SOCKET, unix.SO_KEEPALIVE), name)
				assert.Equal(t, tt.idle, option(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE), name)
				assert.Equal(t, tt.intervals, option(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL), name)
			})
			require.NoError(t, err)
		}
	}
}

// inner is a connection that hides what it is, and says what is inside it.
type inner struct {
	net.Conn
	in net.Conn
}

func (c inner) NetConn() net.Conn { return c.in }

// withoutAccess has a method for access to the system's side, which gives none.
type withoutAccess struct{ inner }

func (withoutAccess) SyscallConn() (syscall.RawConn, error) { return nil, errors.ErrUnsupported }

// wrapped returns a connection inside n others.
func wrapped(nc net.Conn, n int) net.Conn {
	for range n {
		nc = inner{nc, nc}
	}
	return nc
}

// A connection without TCP inside is left alone, and the search ends.
func TestDeadPeerTimeoutWithoutTCP(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	endless := &inner{Conn: near}
	endless.in = endless
	for _, nc := range []net.Conn{near, inner{near, near}, inner{near, nil}, endless, tls.Server(near, new(tls.Config))} {
		assert.Nil(t, rawConn(nc))
		assert.ErrorIs(t, boundDeadPeer(nc, time.Second), errNoRawConn)
	}
}

// What the system refuses to set is said, and the rest is set.
func TestDeadPeerTimeoutThatCannotBeSet(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	nc, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer nc.Close()
	err = boundDeadPeer(nc, 100*time.Hour)
	require.ErrorIs(t, err, unix.EINVAL, "longer than between probes can be")
	assert.ErrorContains(t, err, "TCP_KEEPIDLE")
	assert.NotContains(t, err.Error(), "TCP_USER_TIMEOUT")
	require.NoError(t, rawConn(nc).Control(func(fd uintptr) {
		ms, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		assert.NoError(t, err)
		assert.EqualValues(t, (100 * time.Hour).Milliseconds(), ms)
	}))
	nc.Close()
	assert.ErrorIs(t, boundDeadPeer(nc, time.Second), net.ErrClosed)

	path := filepath.Join(t.TempDir(), "socket")
	local, err := net.Listen("unix", path)
	require.NoError(t, err)
	defer local.Close()
	nc, err = net.Dial("unix", path)
	require.NoError(t, err)
	defer nc.Close()
	assert.ErrorIs(t, boundDeadPeer(nc, time.Second), unix.EOPNOTSUPP)
}

// A session whose socket options cannot be set goes on, and the debug log says so.
func TestDeadPeerTimeoutThatCannotBeSetIsLogged(t *testing.T) {
	for level, want := range map[slog.Level]string{slog.LevelDebug: errNoRawConn.Error(), slog.LevelInfo: ""} {
		var log logBuffer
		srv := &Server{Handler: &rig{}, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: level}))}
		near, far := net.Pipe()
		srv.start(near)
		if want == "" {
			assert.NotContains(t, log.String(), errNoRawConn.Error())
		} else {
			assert.Regexp(t, `level=DEBUG msg="[^"]*" connection=1 remote=pipe error="`+want, log.String())
		}
		far.Close()
		require.NoError(t, srv.Close())
	}
}

// That the system heeds it shows at a client whose system is there but takes nothing:
// that counts as well.
func TestDeadPeerTimeoutIsHeeded(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	h := &rig{}
	addr := serve(t, &Server{Handler: h, DeadPeerTimeout: time.Second, WriteTimeout: time.Minute})
	p := connected(t, addr, "live")
	p.play("a")
	stream := h.playback(t, 0).stream
	p.nc.(*net.TCPConn).SetReadBuffer(4 << 10)
	err := stream.Send(make([]byte, 64<<20)) // more than all buffers hold
	require.Error(t, err)
	assert.True(t, errors.Is(err, syscall.ETIMEDOUT) || errors.Is(err, syscall.EPIPE), // if the reader was told
		"not the system but we gave up: %v", err)
	h.wait(t, "close", func() bool { return h.playbacks[0].closed == 1 })
}
