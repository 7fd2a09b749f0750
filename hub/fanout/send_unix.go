//go:build unix

package fanout

import (
	"io"
	"sync"
	"syscall"
)

// canSend says that a connection's file descriptor can be written to without
// blocking.
const canSend = true

// attempt is one write. Attempts are used again, since what a RawConn is handed
// lives on the heap, and there is one for each viewer and pass.
type attempt struct {
	p    []byte
	n    int
	err  error
	call func(fd uintptr) // a.send, bound once
}

var attempts = sync.Pool{New: func() any {
	a := new(attempt)
	a.call = a.send
	return a
}}

func (a *attempt) send(fd uintptr) { a.n, a.err = sendNow(int(fd), a.p) }

// trySend makes one write that never blocks. It returns how much was taken, which
// may be nothing; an error says that the connection is of no more use.
//
// RawConn.Control keeps the descriptor from being closed and used for something
// else meanwhile, and unlike RawConn.Write has nothing to do with the runtime's
// poller, whose answer nobody waits for here.
func trySend(raw syscall.RawConn, p []byte) (int, error) {
	a := attempts.Get().(*attempt)
	defer attempts.Put(a)
	a.p = p
	rawErr := raw.Control(a.call)
	a.p = nil
	if rawErr != nil {
		return 0, rawErr
	}
	return a.n, a.err
}

// sendNow is trySend to a descriptor that is known to be the connection's.
func sendNow(fd int, p []byte) (int, error) {
	n, err := send(fd, p)
	if err == syscall.EAGAIN {
		return 0, nil
	}
	return n, err
}

// sendWhenReady waits until the connection takes some of p, or its write deadline,
// and returns how much that was.
func sendWhenReady(raw syscall.RawConn, p []byte) (n int, err error) {
	rawErr := raw.Write(func(fd uintptr) bool {
		n, err = send(int(fd), p)
		return err != syscall.EAGAIN
	})
	if rawErr != nil {
		return 0, rawErr
	}
	return n, err
}

// tryDiscard reads what the peer has sent, throws it away, and returns an error if
// the peer is gone.
func tryDiscard(raw syscall.RawConn) error {
	var buf [512]byte
	var n int
	var err error
	rawErr := raw.Control(func(fd uintptr) {
		for {
			n, err = syscall.Read(int(fd), buf[:])
			if err != syscall.EINTR {
				return
			}
		}
	})
	switch {
	case rawErr != nil:
		return rawErr
	case err == syscall.EAGAIN:
		return nil
	case err == nil && n == 0:
		return io.EOF
	}
	return err
}
