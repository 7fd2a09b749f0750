package relay

import (
	"hash/maphash"
	"time"

	"sluice/flv"
	"sluice/hub"
)

// pushClock gives the packets of one connection their timestamps: from 0 on, and on one timeline
// however many streams of the hub follow each other.
type pushClock struct {
	joins  bool      // the next packet is the first of a stream
	begun  bool      // a packet had its time
	base   int64     // stream time of timestamp 0, in ms
	floor  int64     // no frame of the present stream is before this timestamp
	last   int64     // the highest one given
	lastAt time.Time // when that was
}

// Bounds of the step from the last packet of a stream to the first of the next one: as much as has
// passed between them.
const (
	pushMinStep = 40 * time.Millisecond // a frame
	pushMaxStep = time.Hour
)

// join says that the next packet is the first one of a stream, whose clock is another.
func (c *pushClock) join() { c.joins = true }

// at returns the timestamp of a packet that is about to be written: false for a frame from before
// that with which its stream began here, as sound that comes behind its picture.
func (c *pushClock) at(p *hub.Packet, now time.Time) (timestamp uint32, ok bool) {
	if c.joins {
		c.joins, c.floor = false, 0
		if c.begun {
			step := min(max(now.Sub(c.lastAt), pushMinStep), pushMaxStep)
			c.floor = c.last
			c.base = p.Time - c.last - step.Milliseconds()
		} else {
			c.base = p.Time
		}
		c.begun = true
	}
	at := p.Time - c.base
	if at < c.floor {
		if p.Type == flv.TypeAudio || p.Type == flv.TypeVideo {
			if !p.Header {
				return 0, false
			}
		}
		at = c.floor
	}
	if at >= c.last {
		c.last, c.lastAt = at, now
	}
	return uint32(at), true
}

// pushHeaders knows which headers the target has: one that it has is not sent again when the next
// publisher comes with the same.
type pushHeaders struct{ sent map[pushSlot]uint64 }

// pushSlot is the place of a header; a new one replaces the one before it.
type pushSlot struct {
	typ   flv.Type
	kind  flv.Kind
	track uint8
}

var pushSeed = maphash.MakeSeed()

// reset forgets all: none of them is in force any more.
func (h *pushHeaders) reset() { clear(h.sent) }

// changed reports whether the target does not have a header, and takes it that it will.
func (h *pushHeaders) changed(t flv.Tag) bool {
	slot := pushSlot{typ: t.Type}
	if p, err := t.Packet(); err == nil {
		slot.kind, slot.track = p.Kind, p.Track
	}
	sum := maphash.Bytes(pushSeed, t.Data)
	if had, ok := h.sent[slot]; ok && had == sum {
		return false
	}
	if h.sent == nil {
		h.sent = make(map[pushSlot]uint64)
	}
	h.sent[slot] = sum
	return true
}
