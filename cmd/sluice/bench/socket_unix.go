//go:build unix

package bench

import (
	"errors"
	"syscall"
)

// setReceiveBuffer sets the size of a socket's receive buffer, in bytes.
func setReceiveBuffer(raw syscall.RawConn, size int) error {
	var set error
	err := raw.Control(func(fd uintptr) {
		set = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, size)
	})
	return errors.Join(err, set)
}

// raiseFileLimit lets this process have as many connections as the system allows.
func raiseFileLimit() {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil && limit.Cur < limit.Max {
		limit.Cur = limit.Max
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit) // what fails says so later
	}
}
