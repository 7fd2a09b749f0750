package flv

import (
	"fmt"
	"io"
)

// maxScratch bounds the buffer in bytes that a Writer keeps between tags.
const maxScratch = 1 << 20

// A Writer writes an FLV file or stream. It buffers nothing: each tag is one
// Write, and the file header goes out in the Write of the first tag. It is for
// one goroutine at a time.
type Writer struct {
	w       io.Writer
	header  Header
	started bool
	buf     []byte
	err     error // sticky
}

// NewWriter returns a Writer that writes to w, with a header that announces
// audio and video as told.
func NewWriter(w io.Writer, audio, video bool) *Writer {
	return &Writer{w: w, header: Header{Audio: audio, Video: video}}
}

// WriteHeader writes the file header now, for a file that may stay without
// tags. After the first WriteTag it does nothing.
func (w *Writer) WriteHeader() error { return w.flush(w.begin()) }

// WriteTag writes t. A body over MaxTagSize is ErrTooLarge and writes nothing;
// the Writer stays usable. Errors of the underlying writer stay: after one,
// every call returns it again.
func (w *Writer) WriteTag(t Tag) error {
	if len(t.Data) > MaxTagSize {
		return fmt.Errorf("%w: %d bytes", ErrTooLarge, len(t.Data))
	}
	return w.flush(AppendTag(w.begin(), t))
}

// begin returns the scratch buffer, with the file header in it if that is due.
func (w *Writer) begin() []byte {
	if w.started {
		return w.buf[:0]
	}
	return AppendHeader(w.buf[:0], w.header.Audio, w.header.Video)
}

func (w *Writer) flush(b []byte) error {
	if w.err != nil || len(b) == 0 {
		return w.err
	}
	w.started = true
	if _, err := w.w.Write(b); err != nil {
		w.err = fmt.Errorf("flv: writing: %w", err)
	}
	if w.buf = b; cap(b) > maxScratch {
		w.buf = nil
	}
	return w.err
}
