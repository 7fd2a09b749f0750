package flvfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"sluice/flv"
)

const (
	tagHeaderSize = flv.TagOverhead - tagTail // before the body
	tagTail       = 4                         // PreviousTagSize behind it
)

// How much is read at once, in bytes.
const (
	cursorAhead = 32 << 10 // for a player, who wants all of it
	scanAhead   = 64 << 10 // for a scan, which wants tag headers
	skipAhead   = 512      // for a scan behind a large tag
	scanPrefix  = 64       // what a scan looks at of a body, unless that is not enough
)

// errCut is a tag that is not all there.
var errCut = errors.New("flvfile: the last tag is cut short")

// tags reads the tags of a file one after another, for one goroutine. Reads go ahead into
// one buffer, which is only taken when something is read.
type tags struct {
	file  io.ReaderAt
	pos   int64 // of the next tag
	end   int64 // bytes of the file that may be read
	ahead int   // how much to read at once
	// strict wants PreviousTagSize to be right; files from elsewhere often have 0 there.
	strict bool

	buf    []byte // what the file has at position at
	at     int64
	prefix [scanPrefix]byte // of skip
}

// header is a tag's head and place.
type header struct {
	typ       flv.Type
	pos       int64 // of the tag
	size      int   // of the body
	timestamp uint32
}

// next is where the tag behind this one stands.
func (h header) next() int64 { return h.pos + int64(h.size) + flv.TagOverhead }

// bytes returns n bytes of the file at pos; fewer if it ends before. It reads at least so many
// bytes ahead. They are valid until the next call.
func (t *tags) bytes(pos int64, n, ahead int) ([]byte, error) {
	n = int(min(int64(n), t.end-pos))
	if n <= 0 {
		return nil, nil
	}
	if pos >= t.at && pos+int64(n) <= t.at+int64(len(t.buf)) {
		return t.buf[pos-t.at:][:n], nil
	}
	want := int(min(int64(max(n, ahead)), t.end-pos))
	if cap(t.buf) < want || cap(t.buf) > max(want, t.ahead) {
		t.buf = make([]byte, want, max(want, t.ahead))
	}
	t.buf = t.buf[:want]
	got, err := t.file.ReadAt(t.buf, pos)
	t.buf, t.at = t.buf[:got], pos
	if got < n {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // it is shorter than its size was
		}
		return nil, fmt.Errorf("flvfile: reading at %d: %w", pos, err)
	}
	return t.buf[:n], nil
}

// read returns the header and the body of the next tag, valid until the next call, and
// moves on. At the end of the file it is io.EOF, at a tag that is not all there errCut, and
// flv.ErrFormat where no tag stands; none of these moves on.
func (t *tags) read() (header, []byte, error) {
	h, err := t.peek()
	if err != nil {
		return header{}, nil, err
	}
	b, err := t.bytes(h.pos, tagHeaderSize+h.size+tagTail, t.ahead)
	if err != nil {
		return header{}, nil, err
	}
	if err := t.check(h, b[tagHeaderSize+h.size:]); err != nil {
		return header{}, nil, err
	}
	t.pos = h.next()
	return h, b[tagHeaderSize:][:h.size], nil
}

// skip is read with the first bytes of the body only.
func (t *tags) skip() (header, []byte, error) {
	h, err := t.peek()
	if err != nil {
		return header{}, nil, err
	}
	n := min(h.size, len(t.prefix))
	b, err := t.bytes(h.pos+tagHeaderSize, n, t.ahead)
	if err != nil {
		return header{}, nil, err
	}
	copy(t.prefix[:], b)
	ahead := t.ahead
	if h.size > ahead/4 {
		ahead = skipAhead
	}
	if b, err = t.bytes(h.next()-tagTail, tagTail, ahead); err != nil {
		return header{}, nil, err
	}
	if err := t.check(h, b); err != nil {
		return header{}, nil, err
	}
	t.pos = h.next()
	return h, t.prefix[:n], nil
}

// peek returns the header of the next tag, which is all there.
func (t *tags) peek() (header, error) {
	b, err := t.bytes(t.pos, tagHeaderSize, t.ahead)
	switch {
	case err != nil:
		return header{}, err
	case len(b) == 0:
		return header{}, io.EOF
	case len(b) < tagHeaderSize:
		return header{}, errCut
	}
	h := parseHeader(b)
	h.pos = t.pos
	if h.next() > t.end {
		if t.strict || !h.known() {
			return header{}, fmt.Errorf("%w: %v at %d", flv.ErrFormat, h.typ, t.pos)
		}
		return header{}, errCut
	}
	return h, nil
}

// check looks at what stands behind a tag.
func (t *tags) check(h header, tail []byte) error {
	want := uint32(tagHeaderSize + h.size)
	if !t.strict && h.known() {
		return nil
	}
	if got := binary.BigEndian.Uint32(tail); got != want || t.strict && !h.known() {
		return fmt.Errorf("%w: %v at %d, and %d where its size %d should stand", flv.ErrFormat, h.typ, h.pos, got, want)
	}
	return nil
}

// known reports whether FLV has such tags.
func (h header) known() bool {
	switch h.typ {
	case flv.TypeAudio, flv.TypeVideo, flv.TypeScript, flv.TypeScriptAMF3:
		return true
	}
	return false
}

// parseHeader reads the eleven bytes of a tag header.
func parseHeader(b []byte) header {
	return header{
		typ:       flv.Type(b[0]),
		size:      int(b[1])<<16 | int(b[2])<<8 | int(b[3]),
		timestamp: uint32(b[7])<<24 | uint32(b[4])<<16 | uint32(b[5])<<8 | uint32(b[6]),
	}
}

// body returns the whole body of a tag, valid until the next call.
func (t *tags) body(h header) ([]byte, error) {
	b, err := t.bytes(h.pos+tagHeaderSize, h.size, 0)
	if err == nil && len(b) < h.size {
		err = errCut
	}
	return b, err
}

// clock turns timestamps of tags, which have 32 bits, into times of a file.
type clock struct {
	base uint32 // timestamp of the file's first packet
	last int64  // the last time
}

// maxScriptStep is how far ahead of the tag before it the time of a script tag may be, in
// ms. It is never behind it: many writers give script tags the timestamp 0, wherever they
// stand, and so does this one with metadata.
const maxScriptStep = 10_000

// time returns the time of the next tag. It may be up to 2^31 ms from the one before, in
// both directions, but not before 0.
func (c *clock) time(typ flv.Type, timestamp uint32) int64 {
	step := int64(int32(timestamp - c.base - uint32(c.last)))
	if (typ == flv.TypeScript || typ == flv.TypeScriptAMF3) && (step > maxScriptStep || step < 0) {
		return c.last
	}
	c.last = max(0, c.last+step)
	return c.last
}

// onMetaData is how the body of metadata begins: the AMF0 string.
var onMetaData = []byte("\x02\x00\x0aonMetaData")

// isHeader reports whether packets of a kind must be sent again after a seek.
func isHeader(k flv.Kind) bool {
	switch k {
	case flv.KindConfig, flv.KindMetadata, flv.KindMultichannel, flv.KindConfigTS:
		return true
	}
	return false
}

// classify fills in what a packet's body says: whether it is a header, or a video key frame.
func (p *Packet) classify() {
	switch p.Type {
	case flv.TypeScript:
		p.Header = bytes.HasPrefix(p.Data, onMetaData)
	case flv.TypeAudio, flv.TypeVideo:
		said, err := p.Packet()
		if err == nil {
			p.Header, p.Key = isHeader(said.Kind), said.Key
		}
	}
}

func isFormat(err error) bool { return errors.Is(err, flv.ErrFormat) }
