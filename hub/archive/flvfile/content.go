package flvfile

import (
	"fmt"
	"io"
	"time"
)

// Content is the file as bytes, as it was at one moment. While it grows, and where a file
// from elsewhere has no key frames in its metadata, the head is made up in memory, so that
// players can seek by it; the rest is the file as it is.
type Content struct {
	Size    int64
	ETag    string // strong, with its quotes; another one for other bytes
	ModTime time.Time

	io.ReaderAt // of all bytes. Reads that lie behind the head go to the file directly
	// Head is how many bytes are made up; 0 where the whole content is the file as it is.
	Head int64
	// Offset is where the byte at position Head stands in the file (see File.Reopen).
	Offset int64
}

// Content returns the bytes of the file as it is now, with a true duration and as many key
// frames as its head has room for.
func (f *File) Content() (*Content, error) {
	s := f.shared
	i, err := s.file.Stat()
	if err != nil {
		return nil, fmt.Errorf("flvfile: %w", err)
	}
	h, growing := s.now()
	c := &Content{Size: h.Size, ModTime: i.ModTime()}
	if !growing && (h.ours || h.keyframes) {
		c.ETag = fmt.Sprintf(`"%x-%x"`, c.Size, c.ModTime.UnixNano())
		c.ReaderAt = io.NewSectionReader(s.file, 0, c.Size)
		return c, nil
	}
	x, h, err := s.snapshot()
	if err != nil {
		return nil, err
	}
	if err := c.makeHead(s.file, x, h); err != nil {
		return nil, err
	}
	// What the head says follows from the bytes behind it.
	c.ETag = fmt.Sprintf(`"%x-%x-h"`, c.Size, c.ModTime.UnixNano())
	if growing {
		c.ETag = fmt.Sprintf(`"%x-%x-g"`, c.Size, h.Duration.Milliseconds())
	}
	return c, nil
}

// makeHead makes the content one with a head of its own.
func (c *Content) makeHead(file io.ReaderAt, x index, h head) error {
	end := h.Size
	if h.whole > 0 {
		end = h.whole
	}
	c.Head, c.Offset = dataStart, h.start
	c.Size = c.Head + end - h.start
	h.Size, h.seekable = c.Size, true
	entries, err := x.entries(h.room(), h.start, c.Head-h.start)
	if err != nil {
		return err
	}
	if h.seekable = len(entries) > 0; !h.seekable {
		entries = nil
	}
	c.ReaderAt = &withHead{head: h.bytes(entries), rest: io.NewSectionReader(file, h.start, end-h.start)}
	return nil
}

// withHead is a file with another head.
type withHead struct {
	head []byte
	rest *io.SectionReader
}

// ReadAt implements io.ReaderAt.
func (w *withHead) ReadAt(b []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("flvfile: reading at %d", off)
	}
	if off < int64(len(w.head)) {
		if n = copy(b, w.head[off:]); n == len(b) {
			return n, nil
		}
	}
	m, err := w.rest.ReadAt(b[n:], off+int64(n)-int64(len(w.head)))
	return n + m, err
}
