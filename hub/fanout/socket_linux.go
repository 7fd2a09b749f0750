package fanout

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// backlog returns how many bytes the kernel holds for a connection that its peer
// has not acknowledged (tcp(7), SIOCOUTQ); ok is false where it does not tell.
func backlog(raw syscall.RawConn) (n int, ok bool) {
	var err error
	if raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }) != nil {
		return 0, false
	}
	return n, err == nil
}

// boundUnsent makes the kernel take no more than about n bytes that it can't send
// yet (tcp(7), TCP_NOTSENT_LOWAT), whatever it would have memory for; what is under
// way to the peer does not count. Connections that know no such bound are left as
// they are.
func boundUnsent(raw syscall.RawConn, n int) {
	raw.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, n)
	})
}
