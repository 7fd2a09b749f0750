//go:build unix

package fanout

import (
	"io"
	"sync"
	"syscall"
)

// canTryWrite says that a connection's file descriptor can be written to without
// blocking.
const canTryWrite = true

// attempt is one write. Attempts are used again, since what a RawConn is handed
// lives on the heap, and there is one for each viewer and pass.
type attempt struct {
	p    []byte
	n    int
	err  error
	call func(fd uintptr) bool // write, bound once
}

var attempts = sync.Pool{New: func() any {
	a := new(attempt)
	a.call = a.write
	return a
}}

func (a *attempt) write(fd uintptr) bool {
	for {
		a.n, a.err = syscall.Write(int(fd), a.p)
		if a.err != syscall.EINTR {
			return true
		}
	}
}

// tryWrite makes one write that never blocks. It returns how much was taken, which
// may be nothing; an error says that the connection is of no more use.
func tryWrite(raw syscall.RawConn, p []byte) (int, error) {
	a := attempts.Get().(*attempt)
	defer attempts.Put(a)
	a.p = p
	rawErr := raw.Write(a.call)
	a.p = nil
	switch {
	case rawErr != nil:
		return 0, rawErr
	case a.err == syscall.EAGAIN:
		return 0, nil
	}
	return max(a.n, 0), a.err
}

// tryDiscard reads what the peer has sent, throws it away, and returns an error if
// the peer is gone.
func tryDiscard(raw syscall.RawConn) error {
	var buf [512]byte
	var n int
	var err error
	rawErr := raw.Read(func(fd uintptr) bool {
		for {
			n, err = syscall.Read(int(fd), buf[:])
			if err != syscall.EINTR {
				return true
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
