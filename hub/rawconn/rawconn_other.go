//go:build !unix

package rawconn

import (
	"errors"
	"syscall"
)

// Supported says that this platform reads and writes in Go's own way only, with a
// goroutine for each connection: the functions return errors.ErrUnsupported.
const Supported = false

// TrySend is not possible here.
func TrySend(syscall.RawConn, []byte) (int, error) { return 0, errors.ErrUnsupported }

// SendNow is not possible here.
func SendNow(int, []byte) (int, error) { return 0, errors.ErrUnsupported }

// SendWhenReady is not possible here.
func SendWhenReady(syscall.RawConn, []byte) (int, error) { return 0, errors.ErrUnsupported }

// TryRead is not possible here.
func TryRead(syscall.RawConn, []byte) (int, error) { return 0, errors.ErrUnsupported }
