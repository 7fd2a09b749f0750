package mp4

import (
	"fmt"
	"io"
)

// Sizes of reads, in bytes. Reading on through the bodies of tags is cheaper than a call for
// each tag, and what disks do best, unless the bodies are large.
const (
	minBlock = 16 << 10
	maxBlock = 256 << 10
	near     = 64 << 10 // what may lie between two blocks that are as good as one behind the other
)

// window reads a file forward in blocks.
type window struct {
	r     io.ReaderAt
	size  int64 // of the file
	at    int64 // of the block in the file
	block []byte
	ahead int // size of the next block
	whole []byte
}

// bytes returns n bytes at pos, which are in the file; n is at most minBlock. They are
// valid until the next call.
func (w *window) bytes(pos int64, n int) ([]byte, error) {
	skip := pos - w.at
	if skip < 0 || skip+int64(n) > int64(len(w.block)) {
		if w.block == nil {
			w.block = make([]byte, 0, min(maxBlock, w.size))
		}
		if skip >= 0 && skip <= int64(len(w.block))+near {
			w.ahead = min(2*w.ahead, maxBlock)
		} else {
			w.ahead = 0
		}
		w.ahead = max(w.ahead, minBlock)
		w.block = w.block[:min(int64(w.ahead), w.size-pos)]
		w.at, skip = pos, 0
		if err := w.read(w.block, pos); err != nil {
			return nil, err
		}
	}
	return w.block[skip : skip+int64(n)], nil
}

// all returns n bytes at pos, which are in the file, however many. They are valid until the
// next call.
func (w *window) all(pos int64, n int) ([]byte, error) {
	if skip := pos - w.at; skip >= 0 && skip+int64(n) <= int64(len(w.block)) {
		return w.block[skip : skip+int64(n)], nil
	}
	if n > cap(w.whole) {
		w.whole = make([]byte, n)
	}
	b := w.whole[:n]
	return b, w.read(b, pos)
}

func (w *window) read(b []byte, pos int64) error {
	n, err := w.r.ReadAt(b, pos)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("mp4: reading the file at %d: %w", pos, err)
}
