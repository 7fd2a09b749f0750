package mp4

import (
	"errors"
	"io"
)

var errNegative = errors.New("mp4: negative position")

// Content is an MP4 file: a head, and the FLV file behind it. Any number of goroutines may
// read it at a time.
type Content struct {
	head []byte
	file io.ReaderAt
	size int64
}

// NewContent returns the bytes of the MP4 whose head an Index gave, of the file of size
// bytes that the index was made of.
func NewContent(head []byte, file io.ReaderAt, size int64) *Content {
	return &Content{head, file, size}
}

// Size returns the size of the MP4 in bytes.
func (c *Content) Size() int64 { return int64(len(c.head)) + c.size }

// ReadAt is io.ReaderAt. What lies behind the head is read from the file directly.
func (c *Content) ReadAt(b []byte, pos int64) (n int, err error) {
	if pos < 0 {
		return 0, errNegative
	}
	if pos < int64(len(c.head)) {
		n = copy(b, c.head[pos:])
	}
	pos += int64(n) - int64(len(c.head))
	left := c.size - pos
	switch {
	case n == len(b):
		return n, nil
	case left <= 0:
		return n, io.EOF
	}
	rest := b[n:]
	short := int64(len(rest)) > left
	if short {
		rest = rest[:left]
	}
	m, err := c.file.ReadAt(rest, pos)
	n += m
	switch {
	case m == len(rest) && short:
		return n, io.EOF
	case m == len(rest):
		return n, nil
	case err == io.EOF:
		return n, io.ErrUnexpectedEOF // the file has become shorter
	}
	return n, err
}
