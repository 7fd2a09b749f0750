package replica

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/cluster"
)

// source is a copy under way.
type source struct {
	nc    net.Conn // what Close closes: TLS would wait for its last word to be taken
	in    input
	start cluster.Start
	place place
	err   error // sticky
}

// Start returns what the node said of where it begins.
func (s *source) Start() cluster.Start { return s.start }

// Close closes the connection. It may be called at any time.
func (s *source) Close() error { return s.nc.Close() }

// Next returns what comes next; its data is valid until the next call. Where nothing comes, it is a sign of life each
// second: an item that says nothing. The error is a *cluster.Ended, ErrProtocol,
// or what the connection has ended with: os.ErrDeadlineExceeded where nothing came for too long.
func (s *source) Next() (cluster.Item, error) {
	if s.err != nil {
		return cluster.Item{}, s.err
	}
	it, err := s.next()
	if err != nil {
		s.err = failure(err)
		s.in = input{}
		return cluster.Item{}, s.err
	}
	return it, nil
}

// failure returns the error that Next says an error in.
func failure(err error) error {
	var ended *cluster.Ended
	switch {
	case errors.As(err, &ended), errors.Is(err, ErrProtocol):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("replica: the node is silent: %w", os.ErrDeadlineExceeded)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("replica: the node broke off: %w", io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("replica: the connection broke: %w", err)
}

// next reads an item, and the control tag before it.
func (s *source) next() (cluster.Item, error) {
	s.in.shrink()
	t, err := s.in.tag()
	if err != nil {
		return cluster.Item{}, err
	}
	if !isNamed(t.kind, t.data) {
		return s.item(control{}, t)
	}
	said, err := parseControl(t.data)
	switch {
	case err != nil:
		return cluster.Item{}, err
	case said.end != hub.ReasonNone:
		return cluster.Item{}, &cluster.Ended{Reason: said.end}
	case said.ping: // a sign of life
		return cluster.Item{At: s.place.at, Time: s.place.time}, nil
	case said.alone:
		return s.item(said, tag{id: t.id, timestamp: t.timestamp})
	}
	if t, err = s.in.tag(); err != nil { // which said is about, whatever its name is
		return cluster.Item{}, err
	}
	return s.item(said, t)
}

// item makes an item of a tag and of what was said of it.
func (s *source) item(c control, t tag) (cluster.Item, error) {
	number, ms, err := c.number, s.place.wholeTime(t.timestamp), error(nil)
	at := cluster.Position{Incarnation: s.place.at.Incarnation, Epoch: s.place.at.Epoch}
	if c.far {
		at.Epoch = c.epoch
	} else if number, ms, err = s.place.whole(t.id, t.timestamp); err != nil {
		return cluster.Item{}, err
	}
	at.Number = number
	if uint32(number)&(1<<numberBits-1) != t.id {
		return cluster.Item{}, fmt.Errorf("%w: a tag with another number than it should have", ErrProtocol)
	}
	it := cluster.Item{At: at, Time: ms, Header: c.header, Reset: c.reset, First: c.first, Lost: c.lost}
	if t.kind != 0 {
		it.Tag = flv.Tag{Type: t.kind, Timestamp: uint32(ms), Data: t.data}
	}
	if err := s.place.advance(&it); err != nil {
		return cluster.Item{}, err
	}
	return it, nil
}

// tag is an FLV tag as it stands on the connection.
type tag struct {
	kind          flv.Type
	id, timestamp uint32
	data          []byte // of the input, until more is needed
}

// input reads a connection into a buffer, of which tags are parts.
type input struct {
	conn    net.Conn
	buf     []byte // small, or what lent has
	small   []byte
	lent    *[]byte       // of large; nil for none
	r, w    int           // what was read and not used yet
	silence time.Duration // how long nothing may come; 0 for as long as it takes
	began   time.Time     // when the tag was first waited for; zero if it was not
	set     time.Time     // the deadline that the connection has
}

// Sizes of buffers, in bytes.
const (
	minBuffer = 4 << 10
	maxBuffer = headSize + flv.MaxTagSize + trailerSize
	// maxSmall is the largest that a connection keeps, and maxLent the largest that is kept for any.
	maxSmall = 32 << 10
	maxLent  = 1 << 20
)

// large has buffers for connections whose tags are large, which most are only now and then.
var large = sync.Pool{New: func() any { return new([]byte) }}

func (in *input) buffered() []byte { return in.buf[in.r:in.w] }

// shrink gives a large buffer back, once what is in it has room in the small one.
func (in *input) shrink() {
	if in.lent == nil || in.w-in.r > len(in.small) {
		return
	}
	in.r, in.w = 0, copy(in.small, in.buffered())
	in.buf = in.small
	in.giveBack()
}

func (in *input) giveBack() {
	if in.lent != nil && len(*in.lent) <= maxLent {
		large.Put(in.lent)
	}
	in.lent = nil
}

// grow makes the buffer, which is full of what has come, twice as large, at the least.
func (in *input) grow() {
	size := max(minBuffer, min(2*len(in.buf), maxBuffer))
	old := in.buf
	if size <= maxSmall {
		in.small = make([]byte, size)
		in.buf = in.small
		copy(in.buf, old)
		return
	}
	lent := large.Get().(*[]byte)
	if len(*lent) < size {
		*lent = make([]byte, size)
	}
	in.buf = *lent
	copy(in.buf, old)
	in.giveBack()
	in.lent = lent
}

// tag reads a tag.
func (in *input) tag() (t tag, err error) {
	in.began = time.Time{}
	b, err := in.need(headSize)
	if err != nil {
		return t, err
	}
	switch t.kind = flv.Type(b[0]); t.kind {
	case flv.TypeAudio, flv.TypeVideo, flv.TypeScript, flv.TypeScriptAMF3:
	default:
		return t, fmt.Errorf("%w: %v", ErrProtocol, t.kind)
	}
	size := int(uint24(b[1:]))
	t.timestamp = uint24(b[4:]) | uint32(b[7])<<24
	t.id = uint24(b[8:])
	if b, err = in.need(headSize + size + trailerSize); err != nil {
		return t, err
	}
	t.data = b[headSize : headSize+size : headSize+size]
	if back := binary.BigEndian.Uint32(b[headSize+size:]); back != uint32(headSize+size) {
		return t, fmt.Errorf("%w: %d where the size %d should stand", ErrProtocol, back, headSize+size)
	}
	in.r += len(b)
	return t, nil
}

func uint24(b []byte) uint32 { return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]) }

// need returns the next n bytes, which stay where they are. What it returned before is not valid any more. Memory is taken
// as bytes come, and not as a tag announces.
func (in *input) need(n int) ([]byte, error) {
	for in.w-in.r < n {
		if in.r > 0 {
			in.w = copy(in.buf, in.buf[in.r:in.w])
			in.r = 0
		}
		if in.w == len(in.buf) {
			in.grow()
		}
		if err := in.read(); err != nil {
			return nil, err
		}
	}
	return in.buf[in.r : in.r+n], nil
}

// read reads what there is, and waits for it no longer than it may.
func (in *input) read() error {
	if in.silence > 0 {
		now := time.Now()
		if in.began.IsZero() {
			in.began = now
		}
		deadline := now.Add(in.silence)
		if last := in.began.Add(maxTagTime * in.silence); last.Before(deadline) {
			deadline = last
		}
		// A deadline costs as much as a short read: one that is a little early does as well.
		if early := deadline.Sub(in.set); early < 0 || early > in.silence/16 {
			in.set = deadline
			if err := in.conn.SetReadDeadline(deadline); err != nil {
				return err
			}
		}
	}
	n, err := in.conn.Read(in.buf[in.w:])
	in.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}
