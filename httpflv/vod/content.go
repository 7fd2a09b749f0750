package vod

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// content is what an answer has bytes of: a head that is made up in memory, and then a file
// from somewhere on. One goroutine at a time calls Read and Seek.
type content struct {
	size     int64
	head     io.ReaderAt // of its first headSize bytes
	headSize int64
	rest     io.ReaderAt // of the file, whose bytes from restBase on are behind the head
	restBase int64
	file     *os.File // the same file, for sendfile, which moves its position; nil if there is none
	release  func()   // lets go of the head; nil if it is nobody else's
	pos      int64
}

// newContent returns a content of size bytes in all: a head, and what stands in a file from
// base on. It must be closed before the file.
func newContent(f File, head io.ReaderAt, headSize, base, size int64) *content {
	c := &content{size: size, head: head, headSize: headSize, rest: f, restBase: base}
	if own, err := f.Reopen(); err == nil { // otherwise bytes go through memory
		c.file = own
	}
	return c
}

// readAt reads some of p from the head or the rest, never from both.
func (c *content) readAt(p []byte, off int64) (n int, err error) {
	if off >= c.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), c.size-off)]
	if off < c.headSize {
		p = p[:min(int64(len(p)), c.headSize-off)]
		n, err = c.head.ReadAt(p, off)
	} else {
		n, err = c.rest.ReadAt(p, c.restBase+off-c.headSize)
	}
	if err == io.EOF && n == len(p) {
		err = nil
	}
	if err == io.EOF {
		err = fmt.Errorf("vod: the recording is shorter than it was: %w", io.ErrUnexpectedEOF)
	}
	return n, err
}

// Read is io.Reader's. For an answer of several ranges net/http calls it in a goroutine of its
// own, which may still read when the answer has ended and the files are closed.
func (c *content) Read(p []byte) (int, error) {
	n, err := c.readAt(p, c.pos)
	c.pos += int64(n)
	return n, err
}

// Seek is io.Seeker's.
func (c *content) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += c.pos
	case io.SeekEnd:
		offset += c.size
	}
	if offset < 0 {
		return 0, errors.New("vod: position before the beginning")
	}
	c.pos = offset
	return offset, nil
}

// Close lets go of the head, and closes the file that is its own.
func (c *content) Close() error {
	if c.release != nil {
		c.release()
	}
	if c.file == nil {
		return nil
	}
	return c.file.Close()
}
