package pull

import (
	"bufio"
	"cmp"
	"errors"
	"io"
	"strconv"
	"strings"
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
		if line, err := c.line(); err != nil || line != "" {
			return cmp.Or(err, errChunks)
		}
		c.ending = false
	}
	line, err := c.line()
	if err != nil {
		return err
	}
	size, _, _ := strings.Cut(line, ";")
	n, err := strconv.ParseUint(strings.TrimSpace(size), 16, 63)
	switch {
	case err != nil:
		return errChunks
	case n == 0: // trailers and the connection's end are of no interest
		return io.EOF
	}
	c.left = int64(n)
	return nil
}

// line reads a line of less than the buffer's size.
func (c *chunks) line() (string, error) {
	b, err := c.in.ReadSlice('\n')
	switch {
	case err == io.EOF:
		return "", io.ErrUnexpectedEOF
	case err == bufio.ErrBufferFull:
		return "", errChunks
	case err != nil:
		return "", err
	}
	return strings.TrimSuffix(string(b[:len(b)-1]), "\r"), nil
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
