package rtmp

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// boundVanish makes the system break a connection whose other end has answered
// nothing for d: neither what was sent to it nor, where nothing was, the probes that
// ask whether it is still there. Connections that have no such options stay as they
// are.
func boundVanish(nc net.Conn, d time.Duration) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
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
