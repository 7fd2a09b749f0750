//go:build unix

package rawconn

import (
	"io"
	"sync"
	"syscall"
)

// Supported says that the functions of this package work on this platform.
const Supported = true

// attempt is one call on a connection's descriptor. Attempts are used again, since what a
// RawConn is handed lives on the heap, and there is one for each viewer and pass.
type attempt struct {
	do   func(fd int, p []byte) (int, error)
	p    []byte
	n    int
	err  error
	call func(fd uintptr) // a.run, bound once
}

var attempts = sync.Pool{New: func() any {
	a := new(attempt)
	a.call = a.run
	return a
}}

func (a *attempt) run(fd uintptr) { a.n, a.err = a.do(int(fd), a.p) }

// try does something with a connection's descriptor once.
//
// RawConn.Control keeps the descriptor from being closed and used for something
// else meanwhile, and unlike RawConn.Write has nothing to do with the runtime's
// poller, whose answer nobody waits for here.
func try(raw syscall.RawConn, do func(fd int, p []byte) (int, error), p []byte) (int, error) {
	a := attempts.Get().(*attempt)
	defer attempts.Put(a)
	a.do, a.p = do, p
	rawErr := raw.Control(a.call)
	a.p = nil
	if rawErr != nil {
		return 0, rawErr
	}
	return a.n, a.err
}

// TrySend makes one write. It returns how much was taken, which may be nothing; an error
// says that the connection is of no more use.
func TrySend(raw syscall.RawConn, p []byte) (int, error) { return try(raw, SendNow, p) }

// SendNow is TrySend to a descriptor that is known to be the connection's.
func SendNow(fd int, p []byte) (int, error) {
	n, err := send(fd, p)
	if err == syscall.EAGAIN {
		return 0, nil
	}
	return n, err
}

// SendWhenReady waits until the connection takes some of p, or its write deadline,
// and returns how much that was.
func SendWhenReady(raw syscall.RawConn, p []byte) (n int, err error) {
	rawErr := raw.Write(func(fd uintptr) bool {
		n, err = send(int(fd), p)
		return err != syscall.EAGAIN
	})
	if rawErr != nil {
		return 0, rawErr
	}
	return n, err
}

// TryRead makes one read. Where there is nothing to read yet it returns 0 and nil; the end
// is io.EOF.
func TryRead(raw syscall.RawConn, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := try(raw, read, p)
	switch {
	case err == syscall.EAGAIN:
		return 0, nil
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

func read(fd int, p []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, p)
		if err != syscall.EINTR {
			return n, err
		}
	}
}
