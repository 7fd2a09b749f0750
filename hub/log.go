package hub

import (
	"sort"
	"sync"
	"time"

	"sluice/flv"
)

// packet is one entry of a stream's log: a tag on the stream's own clock.
//
// headers are those in force at this packet, so that whoever starts or jumps here
// knows what to send first.
type packet struct {
	time    int64 // ms, the stream's clock
	arrived int64 // ms, the hub's clock: when the publisher's bytes were here
	data    []byte
	headers *headers
	page    *page // where data lives; nil for a packet with memory of its own
	kind    flv.Type
	key     bool // a start point: a video key frame, or any frame without video
	cost    int  // bytes of memory that go with the packet
}

// entryCost is about what a packet takes beside its data, in bytes, with a share
// of the array's room to grow. Without it, tiny frames would take many times what
// the log's bound allows.
const entryCost = 96

// log is a bounded, append-only run of packets with consecutive sequence numbers.
// It is guarded by its stream's mutex: appending and trimming need the write
// lock, everything else the read lock, and the bytes of a packet may be used only
// while that is held, since trimming recycles them.
//
//	tail                 gop            head
//	 │ older packets      │ newest GOP    │
//	 ▼ (up to keep)       ▼               ▼
//	[p][p][p][K][p][p][p][K][p][p][p][p]  next append
//
// Trimming takes whole packets off the tail: the oldest, but never any
// of the newest GOP, unless the log holds more than maxBytes. Then the GOP itself
// loses its start, no viewer can start until the next key frame, and the stream
// says so (gopCut).
type log struct {
	packets []packet // packets[0] has sequence number tail
	tail    uint64
	bytes   int64 // of memory: the costs of the packets

	gop    uint64 // newest start point, valid where hasGOP
	hasGOP bool
	gopCut uint64 // how often the byte bound cut into the newest GOP

	fill *page // page that takes the next small packet
}

// pageSize is how much packet memory is taken at a time. A packet over
// largePacket gets memory of its own, so that a page is never left with much of
// it unused.
const (
	pageSize    = 8 << 10
	largePacket = pageSize / 4
)

// page holds the bytes of several small packets; it goes back to the pool when
// the last of them is trimmed.
type page struct {
	used int
	refs int
	buf  [pageSize]byte
}

var pages = sync.Pool{New: func() any { return new(page) }}

// head returns the sequence number that the next packet will get.
func (l *log) head() uint64 { return l.tail + uint64(len(l.packets)) }

// at returns the packet with sequence number seq, which must be in [tail, head).
func (l *log) at(seq uint64) *packet { return &l.packets[seq-l.tail] }

// append adds a packet whose data is copied into the log's own memory.
func (l *log) append(p packet, data []byte) {
	switch {
	case len(data) > largePacket:
		p.data = append([]byte(nil), data...)
	case len(data) > 0:
		if l.fill == nil || pageSize-l.fill.used < len(data) {
			l.releaseFill()
			l.fill = pages.Get().(*page)
			l.fill.used, l.fill.refs = 0, 1 // the log's own hold
		}
		n := l.fill.used
		l.fill.used += copy(l.fill.buf[n:], data)
		l.fill.refs++
		p.data, p.page = l.fill.buf[n:l.fill.used:l.fill.used], l.fill
	}
	p.cost = entryCost + len(data)
	if n := len(l.packets); p.headers != nil && (n == 0 || l.packets[n-1].headers != p.headers) {
		p.cost += p.headers.size() // which the packet keeps in memory
	}
	l.bytes += int64(p.cost)
	l.packets = append(l.packets, p)
	if p.key {
		l.markKey(l.head() - 1)
	}
}

// markKey makes a packet a start point, the newest one.
func (l *log) markKey(seq uint64) {
	l.at(seq).key = true
	l.gop, l.hasGOP = seq, true
}

// trim takes off the tail what arrived more than keep before the newest packet,
// but nothing of the newest GOP, then what exceeds maxBytes whatever it is.
//
// Age is a matter of arrival, not of timestamps: a publisher that was cut off for
// a while sends its backlog at once, and viewers who are up to date get all of it.
func (l *log) trim(keep time.Duration, maxBytes int64) {
	if len(l.packets) == 0 {
		return
	}
	oldest := l.packets[len(l.packets)-1].arrived - keep.Milliseconds()
	n := 0
	for n < len(l.packets)-1 {
		seq := l.tail + uint64(n)
		over := l.bytes > maxBytes
		old := l.packets[n].arrived < oldest && (!l.hasGOP || seq < l.gop)
		if !over && !old {
			break
		}
		if l.hasGOP && seq == l.gop {
			l.hasGOP = false
			l.gopCut++
		}
		l.free(&l.packets[n])
		n++
	}
	if n == 0 {
		return
	}
	l.tail += uint64(n)
	// The array's front stays behind until append needs a larger one and copies
	// what is left: a constant cost per packet, whatever the log's length.
	l.packets = l.packets[n:]
}

func (l *log) free(p *packet) {
	l.bytes -= int64(p.cost)
	if p.page != nil {
		p.page.release()
	}
	p.page, p.data, p.headers = nil, nil, nil
}

func (l *log) releaseFill() {
	if l.fill != nil {
		l.fill.release()
		l.fill = nil
	}
}

func (p *page) release() {
	if p.refs--; p.refs == 0 {
		pages.Put(p)
	}
}

// forgetGOP makes what the log holds no start point any more: a new publish
// session begins, and whoever joins starts with its first key frame.
func (l *log) forgetGOP() { l.hasGOP = false }

// since returns the first sequence number at or after floor whose packet is not
// older than time.
func (l *log) since(time int64, floor uint64) uint64 {
	floor = max(floor, l.tail)
	n := int(floor - l.tail)
	i := sort.Search(len(l.packets)-n, func(i int) bool { return l.packets[n+i].time >= time })
	return floor + uint64(i)
}
