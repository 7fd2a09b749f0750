package hub

import (
	"bytes"
	"math/bits"
	"slices"
	"sync"
	"unsafe"
)

// The bytes of small packets, which most packets are, stand one behind the other in
// pages. A log takes packets off in the order in which they came, so a page is free when
// the last packet in it is; it goes to the log that needs one next. All pages are alike:
// what one stream has no use for, any other can use.
//
// A larger packet would leave much of a page unused. It has a slot of its own: memory of
// one of a series of sizes, four to an octave, which goes from a packet that was trimmed
// to the next one of about its size. Where there is none of that size, one of up to twice
// as much is used before memory is taken: otherwise key frames, whose sizes change from
// scene to scene, would leave slots of every size lying about. A packet over maxSlot is
// the garbage collector's.
//
// So a running stream makes no garbage. What the pools have no use for, the garbage
// collector takes back.
const (
	pageSize    = 4<<10 - pageHead
	pageHead    = 16 // so that a page with its head is 4 KiB
	largePacket = 1 << firstOctave
	maxSlot     = largePacket << octaves // 1 MiB
	firstOctave = 10
	octaves     = 10
	octaveBits  = 2
	perOctave   = 1 << octaveBits // sizes
	slotClasses = octaves * perOctave
)

// page is memory for small packets of one log.
type page struct {
	last uint64 // the sequence number of the last packet in it
	used int
	buf  [pageSize]byte
}

var pages = sync.Pool{New: func() any { return new(page) }}

// slots hold free slots by class, each as a pointer to its first byte: a slice
// would have to be put into memory of its own.
var slots [slotClasses]sync.Pool

// payload is where a log has the bytes of its packets.
type payload struct {
	pages []*page // in the order of their packets; the last is being filled
	bytes int64   // of memory in pages and slots
}

// keep copies the data of packet seq, which follows all that were kept before. It
// returns the first byte of the copy, nil for no data, and the class of its slot if
// the packet is a large one.
func (l *payload) keep(seq uint64, data []byte) (first *byte, class uint8) {
	n := len(data)
	switch {
	case n == 0:
		return nil, 0
	case n > largePacket:
		first, class = keepLarge(data)
		l.bytes += int64(slotSize(class, n))
		return first, class
	}
	if len(l.pages) == 0 || l.pages[len(l.pages)-1].used+n > pageSize {
		p := pages.Get().(*page)
		p.used = 0
		l.pages = append(l.pages, p)
		l.bytes += pageSize
	}
	p := l.pages[len(l.pages)-1]
	first = &p.buf[p.used]
	p.used += copy(p.buf[p.used:], data)
	p.last = seq
	return first, 0
}

// recycle lets go of the n bytes of packet seq, the oldest one. Nobody may use them
// any more.
func (l *payload) recycle(seq uint64, first *byte, n int, class uint8) {
	switch {
	case n == 0:
	case n > largePacket:
		l.bytes -= int64(slotSize(class, n))
		if n <= maxSlot {
			slots[class].Put(first)
		}
	case l.pages[0].last == seq:
		pages.Put(l.pages[0])
		l.pages = slices.Delete(l.pages, 0, 1)
		l.bytes -= pageSize
	}
}

// kept returns the n bytes that were kept at first, not a copy of them.
func kept(first *byte, n int) []byte { return unsafe.Slice(first, n) }

// slotClass returns the class of the smallest slots for n bytes, n over largePacket
// and up to maxSlot.
func slotClass(n int) uint8 {
	octave := bits.Len(uint(n-1)) - 1              // from 2^octave, not counted, to 2^(octave+1)
	part := (n-1)>>(octave-octaveBits) - perOctave // from 0
	return uint8((octave-firstOctave)*perOctave + part)
}

// slotSize returns how many bytes of memory hold a large packet of n bytes in a slot
// of the class.
func slotSize(class uint8, n int) int {
	if n > maxSlot {
		return n
	}
	octave, part := int(class)/perOctave, int(class)%perOctave
	return largePacket << octave / perOctave * (perOctave + part + 1)
}

// keepLarge copies the data of a large packet.
func keepLarge(data []byte) (first *byte, class uint8) {
	n := len(data)
	if n > maxSlot {
		return unsafe.SliceData(bytes.Clone(data)), 0
	}
	best := slotClass(n)
	for class = best; class <= best+perOctave && class < slotClasses; class++ {
		if first, ok := slots[class].Get().(*byte); ok {
			copy(kept(first, n), data)
			return first, class
		}
	}
	slot := make([]byte, slotSize(best, n))
	copy(slot, data)
	return unsafe.SliceData(slot), best
}
