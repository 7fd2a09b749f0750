package rtmp

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// boundVanish makes the system break a connection whose other end has answered
// nothing for d: neither what was sent to it nor, where nothing was, the probes that
// ask whether it is still there. It holds for the connection below TLS too.
// Connections that have no such options stay as they are.
func boundVanish(nc net.Conn, d time.Duration) {
	raw := rawConn(nc)
	if raw == nil {
		return
	}
	seconds := func(d time.Duration) int { return max(1, int(d/time.Second)) }
	raw.Control(func(fd uintptr) {
		// With the timeout set it alone says when to give up, instead of a number of
		// probes or, for what was sent, some 15 minutes (tcp(7), tcp_retries2).
		if unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds())) != nil {
			return
		}
		unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds(d/2))
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds(d/4))
	})
}

// maxWrapped bounds the connections inside one another: nobody has more than TLS over
// one that counts or limits.
const maxWrapped = 8

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
