package pull

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"io"
)

// errChunks is the error of a body whose chunks make no sense.
var errChunks = errors.New("pull: malformed chunk")

// chunks reads the chunks of a body (RFC 9112 §7.1). What net/http has for that does not say whether what it
// has buffered is more than the line's end behind a chunk.
type chunks struct {
	in     *bufio.Reader
	left   int64 // bytes of the chunk
	ending bool  // the line's end behind the chunk is still to come
	err    error
}

// Read reads some of a chunk. The error is io.EOF behind the last chunk only.
func (c *chunks) Read(p []byte) (int, error) {
	for c.left == 0 && c.err == nil {
		c.err = c.next()
	}
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.in.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if c.left == 0 {
		c.ending = true
	}
	return n, err
}

// next reads the line's end behind a chunk, and the line before the next.
func (c *chunks) next() error {
	if c.ending {
		if line, err := c.line(); err != nil || len(line) > 0 {
			return cmp.Or(err, errChunks)
		}
		c.ending = false
	}
	line, err := c.line()
	if err != nil {
		return err
	}
	size, _, _ := bytes.Cut(line, []byte{';'})
	switch c.left, err = parseSize(bytes.TrimSpace(size)); {
	case err != nil:
		return err
	case c.left == 0: // trailers and the connection's end are of no interest
		return io.EOF
	}
	return nil
}

// parseSize reads the size of a chunk.
func parseSize(digits []byte) (size int64, _ error) {
	if len(digits) == 0 || len(digits) > 16 {
		return 0, errChunks
	}
	for _, d := range digits {
		switch {
		case size >= 1<<59:
			return 0, errChunks
		case '0' <= d && d <= '9':
			d -= '0'
		case 'a' <= d|0x20 && d|0x20 <= 'f':
			d = d | 0x20 - 'a' + 10
		default:
			return 0, errChunks
		}
		size = size<<4 | int64(d)
	}
	return size, nil
}

// line reads a line of less than the buffer's size. It is valid until the next read.
func (c *chunks) line() ([]byte, error) {
	b, err := c.in.ReadSlice('\n')
	switch {
	case err == io.EOF:
		return nil, io.ErrUnexpectedEOF
	case err == bufio.ErrBufferFull:
		return nil, errChunks
	case err != nil:
		return nil, err
	}
	return bytes.TrimSuffix(b[:len(b)-1], []byte{'\r'}), nil
}

// between returns how many buffered bytes are at most the end of a chunk.
func (c *chunks) between() int {
	if c.ending {
		return len("\r\n")
	}
	return 0
}

// sized is a body of known size.
type sized struct {
	in   *bufio.Reader
	left int64
}

func (s *sized) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n, err := s.in.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
