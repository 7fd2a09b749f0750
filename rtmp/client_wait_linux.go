package rtmp

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// unbuffered is the Polled of a player's own connection: it reads what there is, and its goroutine
// waits for more by await, when the chunk reader has given its buffers back. So a thousand
// players that wait hold no memory for what is to come.
type unbuffered struct {
	raw syscall.RawConn
	tls *tls.Conn // over a gate that does not wait; nil in the clear
}

// newUnbuffered returns one for a connection that is the system's own, or TLS over a gate to one; nil
// for others.
func newUnbuffered(nc net.Conn) *unbuffered {
	tc, encrypted := nc.(*tls.Conn)
	var g *gate
	if encrypted {
		if g, _ = tc.NetConn().(*gate); g == nil {
			return nil
		}
		nc = g.Conn
	}
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	u := &unbuffered{raw: raw}
	if encrypted {
		g.try, u = u, &unbuffered{raw, tc}
	}
	return u
}

// TryRead implements Polled.
func (u *unbuffered) TryRead(p []byte) (int, error) {
	if u.tls != nil {
		return u.tls.Read(p)
	}
	var n int
	var err error
	if closed := u.raw.Read(func(fd uintptr) bool {
		for {
			if n, err = syscall.Read(int(fd), p); err != syscall.EINTR {
				return true
			}
		}
	}); closed != nil {
		return 0, closed
	}
	switch {
	case err == syscall.EAGAIN:
		return 0, os.ErrDeadlineExceeded // temporary too, so that TLS goes on
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return n, nil
}

// await returns when there is something to read, or the end, or an error such as a read deadline
// that has passed.
func (u *unbuffered) await() error {
	asked := false
	return u.raw.Read(func(fd uintptr) bool {
		if asked {
			return true
		}
		asked = true
		p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}}
		n, err := unix.Poll(p[:], 0)
		return n > 0 || err != nil
	})
}

// Wait, Wake and Close implement Polled; a client's goroutine waits by await.
func (u *unbuffered) Wait(time.Time) {}
func (u *unbuffered) Wake()          {}
func (u *unbuffered) Close()         {}
