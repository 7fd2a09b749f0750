package chunk

import "io"

// Bounds on the read buffer, in bytes. It starts small, since most of thousands
// of viewers say next to nothing, and grows while reads fill it, as those from a
// publisher do.
const (
	minReadBuffer = 1 << 10
	maxReadBuffer = 32 << 10
)

// maxHeader is the length of the longest header: basic header, message header and
// extended timestamp.
const maxHeader = 3 + 11 + 4

// maxEmptyReads is how often in a row a reader may return nothing and no error.
const maxEmptyReads = 100

// input is a read buffer. An error of the reader underneath is told once; after a
// deadline has passed, or ErrNothing, reading may go on where it stopped.
type input struct {
	r        io.Reader
	lent     *buffer // what buf is of; nil while there is next to nothing in it
	buf      []byte
	start    int // buf[start:end] is read and not yet taken
	end      int
	size     int    // of the buffer to borrow
	filled   bool   // the last read left no room
	err      error  // came together with bytes; to be told by the next fill
	received uint64 // bytes read from r
	rest     [maxHeader]byte
}

func (in *input) buffered() []byte { return in.buf[in.start:in.end] }

func (in *input) take(n int) { in.start += n }

// peek returns the next n bytes without taking them, n being no more than
// maxHeader. They are valid until the next call.
func (in *input) peek(n int) ([]byte, error) {
	for in.end-in.start < n {
		if err := in.fill(); err != nil {
			return nil, err
		}
	}
	return in.buf[in.start : in.start+n], nil
}

// fill reads once. It is called with less than a header left in the buffer.
func (in *input) fill() error {
	if err := in.err; err != nil {
		in.err = nil
		return err
	}
	in.makeRoom()
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

// makeRoom brings what is left in the buffer to its front, or to the front of a
// new one: a larger one if the last read filled it.
func (in *input) makeRoom() {
	last := in.lent
	if in.filled && in.size < maxReadBuffer {
		in.size *= 2
		in.lent = nil
	}
	if in.lent == nil {
		in.lent = borrow(in.size)
	} else {
		last = nil
	}
	in.end = copy(in.lent.bytes, in.buf[in.start:in.end])
	in.buf, in.start, in.filled = in.lent.bytes, 0, false
	last.giveBack()
}

// trim gives the buffer back. It is called with no more than a header left in it.
func (in *input) trim() {
	in.end = copy(in.rest[:], in.buf[in.start:in.end])
	in.buf, in.start = in.rest[:], 0
	in.lent.giveBack()
	in.lent = nil
}
