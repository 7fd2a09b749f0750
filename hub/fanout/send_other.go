//go:build !unix

package fanout

import (
	"errors"
	"syscall"
)

// canSend says that this platform writes to connections in the generic way only,
// with a goroutine for each.
const canSend = false

func trySend(syscall.RawConn, []byte) (int, error) { return 0, errors.ErrUnsupported }

func sendNow(int, []byte) (int, error) { return 0, errors.ErrUnsupported }

func sendWhenReady(syscall.RawConn, []byte) (int, error) { return 0, errors.ErrUnsupported }

func tryDiscard(syscall.RawConn) error { return errors.ErrUnsupported }
