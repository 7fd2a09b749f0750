package chunk

import "io"

// Bounds on the read buffer, in bytes. It starts small, since most of thousands
// of viewers say next to nothing, and grows while reads fill it, as those from a
// publisher do.
const (
	minReadBuffer = 1 << 10
	maxReadBuffer = 32 << 10
)

// maxEmptyReads is how often in a row a reader may return nothing and no error.
const maxEmptyReads = 100

// input is a read buffer. An error of the reader underneath is told once; after a
// deadline has passed, reading may go on where it stopped.
type input struct {
	r        io.Reader
	buf      []byte
	start    int // buf[start:end] is read and not yet taken
	end      int
	filled   bool   // the last read left no room
	err      error  // came together with bytes; to be told by the next fill
	received uint64 // bytes read from r
}

func (in *input) buffered() []byte { return in.buf[in.start:in.end] }

func (in *input) take(n int) { in.start += n }

// peek returns the next n bytes without taking them, n being no more than the 18
// of the longest header. They are valid until the next call.
func (in *input) peek(n int) ([]byte, error) {
	for in.end-in.start < n {
		if err := in.fill(); err != nil {
			return nil, err
		}
	}
	return in.buf[in.start : in.start+n], nil
}

// fill reads once. It is called with few bytes left in the buffer or none.
func (in *input) fill() error {
	if err := in.err; err != nil {
		in.err = nil
		return err
	}
	to := in.buf
	if in.filled && len(to) < maxReadBuffer {
		to = make([]byte, 2*len(to))
	}
	in.end = copy(to, in.buf[in.start:in.end])
	in.buf, in.start, in.filled = to, 0, false
	for range maxEmptyReads {
		n, err := in.r.Read(in.buf[in.end:])
		in.end += n
		in.received += uint64(n)
		in.filled = in.end == len(in.buf)
		if n > 0 {
			in.err = err
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}
