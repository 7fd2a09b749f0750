package rtmp

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// acceptedBy has srv take a connection, of which it returns the server's end.
func acceptedBy(t *testing.T, srv *Server) syscall.RawConn {
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
	srv.start(nc)
	t.Cleanup(func() { srv.Close() })
	return raw
}

func TestVanishTimeout(t *testing.T) {
	for _, tt := range []struct {
		set                      time.Duration
		timeout, idle, intervals int // ms, s, s
	}{
		{0, 60_000, 30, 15},
		{10 * time.Minute, 600_000, 300, 150},
		{time.Second, 1000, 1, 1},
	} {
		raw := acceptedBy(t, &Server{Handler: &house{}, VanishTimeout: tt.set})
		err := raw.Control(func(fd uintptr) {
			option := func(level, name int) int {
				v, err := unix.GetsockoptInt(int(fd), level, name)
				assert.NoError(t, err)
				return v
			}
			assert.Equal(t, tt.timeout, option(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT))
			assert.Equal(t, 1, option(unix.SOL_SOCKET, unix.SO_KEEPALIVE))
			assert.Equal(t, tt.idle, option(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE))
			assert.Equal(t, tt.intervals, option(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL))
		})
		require.NoError(t, err)
	}
}

// That the system heeds it shows at a client whose system is there but takes nothing:
// that counts as well.
func TestVanishTimeoutIsHeeded(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	h := &house{}
	addr := serve(t, &Server{Handler: h, VanishTimeout: time.Second, WriteTimeout: time.Minute})
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
