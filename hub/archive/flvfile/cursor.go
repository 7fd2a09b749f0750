package flvfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"sluice/flv"
)

// Cursor is a position in a file, for one goroutine at a time. It needs no closing.
type Cursor struct {
	shared *shared
	tags   tags
	clock  clock
	video  bool // the file has video

	begun   bool     // it is behind the headers at the beginning
	lead    []record // those headers
	leadEnd int64
}

// refresh takes what is known of the file by now.
func (c *Cursor) refresh(h head) {
	c.tags.end, c.video = h.Size, h.videoID != nil
}

// Offset returns the position of the next packet's tag in the file, in bytes.
func (c *Cursor) Offset() int64 { return c.tags.pos }

// Next returns the next packet, headers that change included but not those before the first
// packet, which Headers gives; its data is valid until the next call of any method. At the
// end of the file it is io.EOF, or ErrNotYet while the file is written. A last tag that is
// not whole counts as the end; where something else stands than a tag it is flv.ErrFormat.
func (c *Cursor) Next() (Packet, error) {
	if err := c.begin(); err != nil {
		return Packet{}, err
	}
	return c.next()
}

func (c *Cursor) next() (Packet, error) {
	for {
		h, body, err := c.tags.read()
		switch {
		case err == nil && !h.known():
			continue
		case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, errCut):
			state, growing := c.shared.now()
			if state.Size > c.tags.end {
				c.refresh(state)
				continue
			}
			if growing {
				return Packet{}, ErrNotYet
			}
			return Packet{}, io.EOF
		case err != nil:
			return Packet{}, err
		}
		p := Packet{Tag: flv.Tag{Type: h.typ, Data: body}, Time: c.clock.time(h.typ, h.timestamp)}
		p.Timestamp = uint32(p.Time)
		p.classify()
		p.Key = p.Key || p.Type == flv.TypeAudio && !c.video && !p.Header
		return p, nil
	}
}

// begin passes over the headers before the first packet. At the end of the file it stays
// among them, with the error of Next.
func (c *Cursor) begin() error {
	for !c.begun {
		pos, clock := c.tags.pos, c.clock
		p, err := c.next()
		if err != nil {
			return err
		}
		if !p.Header || len(c.lead) == maxExplored {
			c.tags.pos, c.clock, c.begun, c.leadEnd = pos, clock, true, pos
			return nil
		}
		if p.Type != flv.TypeScript {
			c.lead = append(c.lead, record{pos: pos, kind: kindVideoHeader})
		}
	}
	return nil
}

// Headers returns the metadata, as players get it that are not given the file itself:
// without the key frames, and of a finished file the same bytes each time; and the codec
// headers in force at the cursor, those of video first. Their times are that of the cursor's
// next packet. They are the caller's.
func (c *Cursor) Headers() ([]Packet, error) {
	if err := c.begin(); errors.Is(err, ErrNotYet) || errors.Is(err, io.EOF) {
		c.begun, c.leadEnd = true, c.tags.pos // Next gives what comes
	} else if err != nil {
		return nil, err
	}
	clock := c.clock
	at := clock.last
	if h, err := c.tags.peek(); err == nil {
		at = clock.time(h.typ, h.timestamp)
	}
	h, _ := c.shared.now()
	if c.tags.pos == c.leadEnd {
		return headerPackets(c.shared.file, c.lead, h, at)
	}
	x, h, err := c.shared.snapshot()
	if err != nil {
		return nil, err
	}
	return headersAt(c.shared.file, x, h, c.tags.pos, at)
}

// headersAt returns metadata and codec headers in force at a position, with the given time.
func headersAt(file io.ReaderAt, x index, h head, pos, time int64) ([]Packet, error) {
	records, err := x.headersBefore(pos)
	if err != nil {
		return nil, err
	}
	return headerPackets(file, records, h, time)
}

// headerPackets returns metadata, and the tags of records, with the given time.
func headerPackets(file io.ReaderAt, records []record, h head, time int64) ([]Packet, error) {
	packets := make([]Packet, 1, 1+len(records))
	packets[0] = Packet{Tag: flv.Tag{Type: flv.TypeScript, Data: h.body()}, Header: true}
	last := int64(-1)
	for _, r := range records {
		if r.pos == last { // a body with several tracks
			continue
		}
		last = r.pos
		t := tags{file: file, end: h.Size}
		p, err := t.packetAt(r)
		if err != nil {
			return nil, fmt.Errorf("flvfile: reading headers: %w", err)
		}
		p.Header, p.Key = true, false
		packets = append(packets, p)
	}
	slices.SortStableFunc(packets[1:], func(a, b Packet) int { return int(b.Type) - int(a.Type) })
	for i := range packets {
		packets[i].Time, packets[i].Timestamp = time, uint32(time)
	}
	return packets, nil
}

// SeekTo puts the cursor at the key frame at or before a time, the first one if there is none
// before; in a file of sound at the last packet of sound at or before it. It returns the
// time of that packet. Next then gives that packet. A time behind the end is ErrBeyond, and
// moves nothing.
func (c *Cursor) SeekTo(ms int64) (at int64, err error) {
	x, h, err := c.shared.snapshot()
	if err != nil {
		return 0, err
	}
	if ms > h.Duration.Milliseconds() {
		return 0, fmt.Errorf("%w: %d ms of %v", ErrBeyond, ms, h.Duration)
	}
	ms = max(ms, 0)
	r, err := x.place(ms, h)
	if errors.Is(err, errIndex) || err == nil && !verify(c.shared.file, h, r) {
		if x, h, err = c.shared.reload(); err == nil {
			r, err = x.place(ms, h)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("flvfile: seeking: %w", err)
	}
	pos, clock := r.pos, clock{base: h.base, last: r.time}
	if r.kind == kindSound {
		if pos, clock, err = c.lastSound(r, h, ms); err != nil {
			return 0, fmt.Errorf("flvfile: seeking: %w", err)
		}
	}
	there := tags{file: c.tags.file, pos: pos, end: h.Size, ahead: skipAhead}
	var next header
	for !next.known() {
		if next, _, err = there.skip(); err != nil {
			return 0, fmt.Errorf("flvfile: seeking: %w", err)
		}
	}
	c.refresh(h)
	c.begun, c.tags.pos, c.clock = true, pos, clock
	return clock.time(next.typ, next.timestamp), nil
}

// place returns the record where players begin that want to go to a time.
func (x index) place(ms int64, h head) (record, error) {
	kind := kindSound
	if h.videoID != nil {
		kind = kindKey
	}
	i, err := x.search(func(r record) bool { return r.kind != kindFile && r.time > ms })
	if err != nil {
		return record{}, err
	}
	r, _, ok, err := x.lastBefore(i, kind)
	if err == nil && !ok {
		r, ok, err = x.first(kind)
	}
	if err == nil && !ok {
		return record{pos: h.start, kind: kindFile}, nil
	}
	return r, err
}

// lastSound returns where the last frame of sound at or before a time stands, behind a
// record of one, and the clock before it.
func (c *Cursor) lastSound(r record, h head, ms int64) (pos int64, at clock, err error) {
	now := clock{base: h.base, last: r.time}
	pos, at = r.pos, now
	t := tags{file: c.tags.file, pos: r.pos, end: h.Size, ahead: scanAhead / 4}
	for {
		before := now
		h, _, err := t.skip()
		switch {
		case isEnd(err):
			return pos, at, nil
		case err != nil:
			return 0, clock{}, err
		case h.typ != flv.TypeAudio:
			continue
		case now.time(h.typ, h.timestamp) > ms:
			return pos, at, nil
		}
		pos, at = h.pos, before
	}
}

// Wait waits, after ErrNotYet, for something that Next can return, or for the end of the
// file, or of ctx, whose error it then returns.
func (c *Cursor) Wait(ctx context.Context) error { return c.shared.wait(ctx, c.tags.end) }
