//go:build unix

package fanout

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pairConn is one end of a pair of Unix sockets, made so that a test on a fake
// clock can use it: system calls on it never block, and waiting is sleeping. It is
// written to directly, as a TCP connection is. What it holds unread is small and
// does not grow.
type pairConn struct {
	delay time.Duration // how long a direct write takes

	mu       sync.Mutex
	fd       int
	deadline time.Time
	isClosed bool
	writes   []time.Time // of direct writes
}

// peer is the other end of a pairConn.
type peer struct {
	t        testing.TB
	fd       int
	isClosed bool
	got      []byte // everything read so far
}

// pairBuffer is about how many bytes a pair holds, set as small as it goes so that
// tests need not write much.
const pairBuffer = 8 << 10

// newPair makes a connection and its peer; the test closes what it leaves open.
func newPair(t testing.TB) (*pairConn, *peer) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	for _, fd := range fds {
		require.NoError(t, syscall.SetNonblock(fd, true))
		require.NoError(t, syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, pairBuffer))
	}
	c, p := &pairConn{fd: fds[0]}, &peer{t: t, fd: fds[1]}
	t.Cleanup(func() { c.Close() })
	t.Cleanup(p.close)
	return c, p
}

// on calls f with the file descriptor, unless the connection cannot be written to.
func (c *pairConn) on(f func(fd int)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.deadline.IsZero() && !time.Now().Before(c.deadline) && !c.isClosed {
		return os.ErrDeadlineExceeded
	}
	return c.onLocked(f)
}

func (c *pairConn) onLocked(f func(fd int)) error {
	if c.isClosed {
		return net.ErrClosed
	}
	f(c.fd)
	return nil
}

// Write writes all of p, waiting where it has to.
func (c *pairConn) Write(p []byte) (written int, err error) {
	for written < len(p) {
		n := 0
		var errno error
		if err := c.on(func(fd int) { n, errno = syscall.Write(fd, p[written:]) }); err != nil {
			return written, err
		}
		switch {
		case errors.Is(errno, syscall.EAGAIN):
			time.Sleep(time.Millisecond)
		case errno != nil:
			return written, errno
		default:
			written += n
		}
	}
	return written, nil
}

func (c *pairConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isClosed {
		return net.ErrClosed
	}
	c.deadline = t
	return nil
}

func (c *pairConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isClosed {
		return net.ErrClosed
	}
	c.isClosed = true
	return syscall.Close(c.fd)
}

func (c *pairConn) closed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.isClosed
}

// written returns when direct writes were made.
func (c *pairConn) written() []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writes
}

// SyscallConn makes the connection one that is written to directly.
func (c *pairConn) SyscallConn() (syscall.RawConn, error) { return rawPair{c}, nil }

// rawPair is the pairConn as a syscall.RawConn. A deadline that has passed fails
// its writes, as it does with the net package's.
type rawPair struct{ c *pairConn }

// Control is what direct writes go through.
func (r rawPair) Control(f func(uintptr)) error {
	begun := time.Now()
	time.Sleep(r.c.delay)
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	return r.c.onLocked(func(fd int) {
		r.c.writes = append(r.c.writes, begun)
		f(uintptr(fd))
	})
}

// Write calls f until it reports true, or the deadline.
func (r rawPair) Write(f func(uintptr) bool) error {
	for done := false; !done; time.Sleep(time.Millisecond) {
		if err := r.c.on(func(fd int) { done = f(uintptr(fd)) }); err != nil {
			return err
		}
	}
	return nil
}

func (r rawPair) Read(func(uintptr) bool) error { return errors.ErrUnsupported }

// read reads what is there, up to n bytes, and returns how much that was.
func (p *peer) read(n int) int {
	p.t.Helper()
	buf := make([]byte, n)
	had := len(p.got)
	for n > 0 && !p.isClosed {
		m, err := syscall.Read(p.fd, buf[:n])
		if m <= 0 {
			require.True(p.t, m == 0 || errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.ECONNRESET), err)
			break
		}
		p.got = append(p.got, buf[:m]...)
		n -= m
	}
	return len(p.got) - had
}

// drain reads everything that comes until nothing has come for a while of a fake
// clock.
func (p *peer) drain() {
	p.t.Helper()
	for idle := 0; idle < 10; idle++ {
		if p.read(64<<10) > 0 {
			idle = 0
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// write sends bytes the other way.
func (p *peer) write(b []byte) {
	p.t.Helper()
	n, err := syscall.Write(p.fd, b)
	require.NoError(p.t, err)
	require.Equal(p.t, len(b), n)
}

func (p *peer) close() {
	if !p.isClosed {
		p.isClosed = true
		syscall.Close(p.fd)
	}
}

// ways are the two ways of writing to a connection. Tests of what they have in
// common run for both.
var ways = map[string]func(c *pairConn) Conn{
	"direct":  func(c *pairConn) Conn { return c },
	"generic": func(c *pairConn) Conn { return struct{ Conn }{c} }, // hides SyscallConn
}
