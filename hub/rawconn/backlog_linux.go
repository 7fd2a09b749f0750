package rawconn

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Unacknowledged returns how many bytes the kernel holds for a connection that its peer
// has not acknowledged (tcp(7), SIOCOUTQ); ok is false where it does not tell.
func Unacknowledged(raw syscall.RawConn) (n int, ok bool) {
	var err error
	if raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }) != nil {
		return 0, false
	}
	return n, err == nil
}
