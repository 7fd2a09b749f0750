package rtmp

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// boundDeadPeer makes the system break a connection whose other end has answered
// nothing for d: neither data that was sent to it nor, where there was none, keep-alive
// probes. It also finds the connection below TLS. An error
// says what could not be set; a connection that has no such options stays as it is.
func boundDeadPeer(nc net.Conn, d time.Duration) error {
	raw := rawConn(nc)
	if raw == nil {
		return errNoRawConn
	}
	seconds := func(d time.Duration) int { return max(1, int(d/time.Second)) }
	var errs []error
	err := raw.Control(func(fd uintptr) {
		for _, o := range [...]struct {
			name               string
			level, opt, amount int
		}{
			// With the timeout set it alone says when to give up, instead of a number of
			// probes or, for what was sent, some 15 minutes (tcp(7), tcp_retries2).
			{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds())},
			{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds(d / 2)},
			{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds(d / 4)},
		} {
			if err := unix.SetsockoptInt(int(fd), o.level, o.opt, o.amount); err != nil {
				errs = append(errs, fmt.Errorf("rtmp: setting %s: %w", o.name, err))
			}
		}
	})
	if err != nil {
		errs = append(errs, fmt.Errorf("rtmp: setting socket options: %w", err))
	}
	return errors.Join(errs...)
}

// hungUp asks the system, without reading, whether the client has closed the connection
// or the system has given it up, and returns the error that a read would come to: nil if
// the client is there or nothing is known. Bytes that wait to be read do not matter.
func hungUp(nc net.Conn) error {
	raw := rawConn(nc)
	if raw == nil {
		return nil
	}
	var gone error
	err := raw.Control(func(fd uintptr) {
		p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		if n, err := unix.Poll(p[:], 0); n < 1 || err != nil {
			return
		}
		gone = io.EOF
		if p[0].Revents&unix.POLLERR != 0 {
			if code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && code != 0 {
				gone = os.NewSyscallError("poll", syscall.Errno(code))
			}
		}
	})
	return cmp.Or(err, gone)
}

// errNoRawConn is the error of a connection that is none of the system's.
var errNoRawConn = errors.New("rtmp: no access to the socket of the connection")

// rawConn returns the system's side of a connection, of itself or of what is inside it
// by a method NetConn, as that of *tls.Conn; nil if it has none.
func rawConn(nc net.Conn) syscall.RawConn {
	for range maxWrapped {
		if sc, ok := nc.(syscall.Conn); ok {
			if raw, err := sc.SyscallConn(); err == nil {
				return raw
			}
		}
		outer, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		nc = outer.NetConn()
	}
	return nil
}

// received returns how many bytes the system has received for a connection and nobody has read,
// those of TLS as they came; 0 if that is not known.
func received(nc net.Conn) (n int) {
	if raw := rawConn(nc); raw != nil {
		raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	}
	return n
}
