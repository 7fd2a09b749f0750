package flv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

// Header is what an FLV file says of itself before its tags. Many writers set
// the flags wrongly; do not rely on them.
type Header struct {
	Audio, Video bool
}

// Bounds of a Reader.
const (
	// maxHeaderSize bounds the header size that a file may declare. Version 1
	// has 9 bytes; what a longer header holds is skipped.
	maxHeaderSize = 4096
	// readStep is the most memory in bytes that a Reader takes before the data
	// for it has arrived.
	readStep = 64 << 10
	// maxReused is the largest body in bytes whose memory is kept for others.
	maxReused = 1 << 20
)

// A Reader reads an FLV file or stream. It is for one goroutine at a time.
//
// A Reader asks its source for small pieces; give it a [bufio.Reader] when these are
// expensive. Memory is taken as bytes arrive, not as a tag declares, so a tag that
// promises 16 MiB and sends nothing costs 64 KiB.
type Reader struct {
	r       io.Reader
	header  Header
	started bool
	err     error // sticky

	head  [tagHeaderSize]byte // of the tag that is read; and then its PreviousTagSize
	reuse bool
	lent  *[]byte // the body of the last tag, of bodies; nil if there is none
}

// bodies are those of Readers that use memory again.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

// NewReader returns a Reader that reads from r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Reuse lets the Data of a tag be valid until the next call of Next only: its memory is used again, by
// this Reader and others that do so. It is for those who read many streams at a time.
func (r *Reader) Reuse() { r.reuse = true }

// Header returns the file header, reading it when that has not been done yet.
// A file that does not begin with an FLV header is an ErrFormat; an empty one
// is io.EOF, and one that ends inside the header io.ErrUnexpectedEOF.
func (r *Reader) Header() (Header, error) {
	if r.started {
		return r.header, nil
	}
	if r.err != nil {
		return Header{}, r.err
	}
	if r.err = r.readHeader(); r.err != nil {
		return Header{}, r.err
	}
	r.started = true
	return r.header, nil
}

func (r *Reader) readHeader() error {
	var b [9]byte
	n, err := io.ReadFull(r.r, b[:])
	// What cannot become an FLV file any more is none, however short.
	if !strings.HasPrefix("FLV", string(b[:min(n, 3)])) {
		return fmt.Errorf("%w: no FLV signature", ErrFormat)
	}
	if err != nil {
		return err
	}
	if b[3] != 1 {
		return fmt.Errorf("%w: FLV version %d", ErrFormat, b[3])
	}
	size := binary.BigEndian.Uint32(b[5:])
	if size < uint32(len(b)) || size > maxHeaderSize {
		return fmt.Errorf("%w: header of %d bytes", ErrFormat, size)
	}
	r.header = Header{Audio: b[4]&flagAudio != 0, Video: b[4]&flagVideo != 0}
	// The rest of a longer header, and PreviousTagSize0, whose value nobody
	// relies on.
	if _, err := io.CopyN(io.Discard, r.r, int64(size)-int64(len(b))+4); err != nil {
		return unexpected(err)
	}
	return nil
}

// Next returns the next tag; the caller owns its Data, unless Reuse was called. It returns io.EOF at an
// end between two tags and io.ErrUnexpectedEOF at one inside a tag or its
// PreviousTagSize. Errors stay: after one, every call returns it again.
//
// PreviousTagSize is not checked, since some writers leave it 0, except for a
// tag of a type that is not in FLV: such a tag is returned as it is when the
// size after it is right, and is an ErrFormat when not, since then it is more
// likely that the Reader has lost its place. Encrypted tags (the filter bit,
// FLV 10.1 E.4.1) are of an unknown type in this sense.
func (r *Reader) Next() (Tag, error) {
	if _, err := r.Header(); err != nil {
		return Tag{}, err
	}
	if r.err != nil {
		return Tag{}, r.err
	}
	t, err := r.next()
	if err != nil {
		r.err = err
		return Tag{}, err
	}
	return t, nil
}

func (r *Reader) next() (Tag, error) {
	if r.lent != nil {
		bodies.Put(r.lent)
		r.lent = nil
	}
	b := r.head[:]
	if _, err := io.ReadFull(r.r, b); err != nil {
		return Tag{}, err
	}
	t := Tag{
		Type:      Type(b[0]),
		Timestamp: uint32(b[7])<<24 | uint24(b[4:]),
	}
	size := int(uint24(b[1:]))
	var err error
	if t.Data, err = r.readBody(size); err != nil {
		return Tag{}, unexpected(err)
	}
	back := r.head[:4]
	if _, err := io.ReadFull(r.r, back); err != nil {
		return Tag{}, unexpected(err)
	}
	switch t.Type {
	case TypeAudio, TypeVideo, TypeScript, TypeScriptAMF3:
	default:
		if got := binary.BigEndian.Uint32(back); got != uint32(tagHeaderSize+size) {
			return Tag{}, fmt.Errorf("%w: %v, and %d where its size %d should stand", ErrFormat, t.Type, got, tagHeaderSize+size)
		}
	}
	return t, nil
}

// readBody reads n bytes into memory of the caller's, or into one that is lent until the next tag.
func (r *Reader) readBody(n int) ([]byte, error) {
	if !r.reuse || n == 0 || n > maxReused {
		return readBody(r.r, n, nil)
	}
	r.lent = bodies.Get().(*[]byte)
	b, err := readBody(r.r, n, *r.lent)
	if err == nil {
		*r.lent = b
	}
	return b, err
}

// readBody reads n bytes into b, or into a new buffer that grows by what has come in so far.
func readBody(r io.Reader, n int, b []byte) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	if b = b[:min(n, cap(b))]; len(b) < n {
		b = make([]byte, min(n, readStep))
	}
	for have := 0; ; {
		m, err := io.ReadFull(r, b[have:])
		if err != nil {
			return nil, err
		}
		if have += m; have == n {
			return b, nil
		}
		grown := make([]byte, min(n, 2*have))
		copy(grown, b)
		b = grown
	}
}

// unexpected turns a clean end into one that came too soon.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func uint24(b []byte) uint32 {
	return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])
}
