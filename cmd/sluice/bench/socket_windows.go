package bench

import (
	"errors"
	"syscall"
)

// setReceiveBuffer sets the size of a socket's receive buffer, in bytes.
func setReceiveBuffer(raw syscall.RawConn, size int) error {
	var set error
	err := raw.Control(func(fd uintptr) {
		set = syscall.SetsockoptInt(syscall.Handle(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, size)
	})
	return errors.Join(err, set)
}

// raiseFileLimit does nothing: Windows has no such limit.
func raiseFileLimit() {}
