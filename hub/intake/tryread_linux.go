package intake

import (
	"io"
	"sync"
	"syscall"
)

// attempt is one read. Attempts are used again, since what a RawConn is handed
// lives on the heap.
type attempt struct {
	p    []byte
	n    int
	err  error
	call func(fd uintptr) // read, bound once
}

var attempts = sync.Pool{New: func() any {
	a := new(attempt)
	a.call = a.read
	return a
}}

func (a *attempt) read(fd uintptr) {
	for {
		a.n, a.err = syscall.Read(int(fd), a.p)
		if a.err != syscall.EINTR {
			return
		}
	}
}

// tryRead makes one read that never blocks.
func tryRead(raw syscall.RawConn, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	a := attempts.Get().(*attempt)
	defer attempts.Put(a)
	a.p = p
	closed := raw.Control(a.call)
	a.p = nil
	switch {
	case closed != nil:
		return 0, closed
	case a.err == syscall.EAGAIN:
		return 0, ErrNothing
	case a.err != nil:
		return 0, a.err
	case a.n == 0:
		return 0, io.EOF
	}
	return a.n, nil
}
