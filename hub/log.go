package hub

import (
	"slices"
	"sort"
	"sync"
	"time"

	"sluice/flv"
)

// packet is one entry of a stream's log: a tag on the stream's own clock. There
// are a hundred of them to a small stream, so it is kept small: 32 bytes.
type packet struct {
	time    int64 // ms, the stream's clock
	arrived int64 // ms, the hub's clock: when the publisher's bytes were here
	first   *byte // of its data (payload.go)
	size    uint32
	kind    flv.Type
	marks   marks
	track   uint8 // of a stream with several of its kind
	class   uint8 // of its data's slot
}

// marks are what the stream knows of a packet, for those who are given it.
type marks uint8

const (
	markStart  marks = 1 << iota // a start point: a video key frame, or any frame without video
	markPlain                    // the same in every shape, and of track 0
	markRandom                   // a video key frame, of whichever track
	markMany                     // its body holds several tracks
	markAside                    // for those only who get everything as it was sent
	markFill                     // for all but those: silence in a gap of the sound
)

func (p *packet) is(m marks) bool { return p.marks&m != 0 }

// entryCost is about what a packet takes beside its data, in bytes, with a share
// of what its block leaves unused. Without it, tiny frames would take many times
// what the log's bound allows.
const entryCost = 40

// data returns the tag's body. It is the log's, which recycles it.
func (p *packet) data() []byte { return kept(p.first, int(p.size)) }

// log is a bounded, append-only run of packets with consecutive sequence numbers.
// It is guarded by its stream's mutex: appending and trimming need the write
// lock, everything else the read lock, and the bytes of a packet may be used only
// while that is held, since trimming recycles them.
//
//	tail      shed            gop            head
//	 │ for     │ older packets │ newest GOP    │
//	 ▼ readers ▼ (while held)  ▼               ▼
//	[p][p][p][p][p][K][p][p][p][K][p][p][p][p]  next append
//
// Trimming takes whole packets off: those that nobody needs, but never
// any of the newest GOP, unless the log holds more than maxBytes. Then the GOP
// itself loses its start, no viewer can start until the next key frame, and the
// stream says so (gopCut).
type log struct {
	blocks []*block // of the packets from tail to head
	tail   uint64
	head   uint64 // the sequence number that the next packet will get
	bytes  int64  // of memory: entries and headers, without the payload

	payload payload

	keys []uint64 // the video start points among the packets, in order

	runs []run // the last is that of the next packet, if its headers are the same
	past int   // so many of the first runs are of trimmed packets only

	// Packets before shed are kept for readers only (Reader).
	shed     uint64
	lent     int64 // what these cost
	shedCost int64 // what all packets before shed have cost, those that are gone included
	cost     int64 // what all packets have cost

	gop    uint64 // newest start point, valid where hasGOP
	hasGOP bool
	gopCut uint64 // how often the byte bound cut into the newest GOP
	lost   bool   // that is why there is none to start at now
}

// block is memory for packets: the packet with sequence number n stands at n modulo
// blockSize of its block. Blocks go from log to log.
type block [blockSize]packet

const blockSize = 16

var blocks = sync.Pool{New: func() any { return new(block) }}

// run is consecutive packets with the same headers in force, up to the next run or to the
// head, so that a cursor that starts or jumps somewhere finds what has to be sent first.
type run struct {
	first   uint64
	headers *headers
	cost    int64 // bytes of memory
}

// cost returns about how many bytes of memory the packet takes.
func (p *packet) cost() int64 { return entryCost + int64(p.size) }

// costBefore returns what all packets before packet seq have cost. It is in the log, or
// is the head.
func (l *log) costBefore(seq uint64) int64 {
	cost := l.shedCost
	for i := l.shed; i < seq; i++ {
		cost += l.at(i).cost()
	}
	for i := seq; i < l.shed; i++ {
		cost -= l.at(i).cost()
	}
	return cost
}

// at returns the packet with sequence number seq, which must be in [tail, head).
func (l *log) at(seq uint64) *packet {
	return &l.blocks[seq/blockSize-l.tail/blockSize][seq%blockSize]
}

// memory returns how many bytes the log takes.
func (l *log) memory() int64 { return l.bytes + l.payload.bytes }

// newest returns the last packet; there must be one.
func (l *log) newest() *packet { return l.at(l.head - 1) }

// append adds a packet whose data is copied into the log's own memory, with the
// headers in force at it.
func (l *log) append(p packet, h *headers, data []byte) {
	p.first, p.class = l.payload.keep(l.head, data)
	p.size = uint32(len(data))
	if l.head%blockSize == 0 {
		l.blocks = append(l.blocks, blocks.Get().(*block))
	}
	if n := len(l.runs); n == 0 || l.runs[n-1].headers != h {
		r := run{l.head, h, int64(h.size())}
		l.runs = append(l.runs, r)
		l.bytes += r.cost
	}
	l.bytes += entryCost
	l.cost += entryCost + int64(len(data))
	l.head++
	*l.newest() = p
	if p.is(markStart) {
		l.markKey(l.head - 1)
	}
}

// markKey makes a packet a start point, the newest one.
func (l *log) markKey(seq uint64) {
	p := l.at(seq)
	p.marks |= markStart
	l.gop, l.hasGOP, l.lost = seq, true, false
	if p.kind == flv.TypeVideo {
		l.keys = append(l.keys, seq)
	}
}

// headersAt returns the headers in force at a packet of the log, and the first
// packet after it, or the head, where others may be.
func (l *log) headersAt(seq uint64) (h *headers, until uint64) {
	i := len(l.runs) - 1
	if l.runs[i].first <= seq {
		return l.runs[i].headers, l.head
	}
	i = sort.Search(i, func(i int) bool { return l.runs[i].first > seq })
	return l.runs[i-1].headers, l.runs[i].first
}

// changeHeaders makes change(h) the headers of all packets from first on that had
// h.
func (l *log) changeHeaders(first uint64, change func(*headers) *headers) {
	i := len(l.runs) - 1
	for i > l.past && l.runs[i].first > first {
		i--
	}
	if first >= l.head || i < 0 {
		return
	}
	if r := l.runs[i]; r.first < first && first > l.tail {
		i++
		l.runs = slices.Insert(l.runs, i, run{first: first, headers: r.headers})
	}
	for ; i < len(l.runs); i++ {
		r := &l.runs[i]
		r.headers = change(r.headers)
		l.bytes -= r.cost
		r.cost = int64(r.headers.size())
		l.bytes += r.cost
	}
}

// trim takes packets off the tail: first those that nobody needs, then, needed or not,
// those that exceed maxBytes. What is needed is the newest GOP, what arrived at most lead
// before the newest packet, and what is held: held is asked about a packet that is not
// needed otherwise, and its answer holds for all packets behind it.
//
// Age is a matter of arrival, not of timestamps: a publisher that was cut off for
// a while sends its backlog at once, and viewers who are up to date get all of it.
//
// What kept says a reader needs stays even so, and does not count for maxBytes.
func (l *log) trim(lead time.Duration, maxBytes int64, held, kept func(seq uint64) bool) {
	for l.shed+1 < l.head {
		if l.memory()-l.lent <= maxBytes && (l.leads(l.shed, lead) || held(l.shed)) {
			break
		}
		l.shedOne()
		if !kept(l.tail) {
			l.drop()
		}
	}
	for l.tail < l.shed && !kept(l.tail) {
		l.drop()
	}
}

// shedOne gives up the oldest packet that is kept for viewers. Readers may still need it.
func (l *log) shedOne() {
	if l.hasGOP && l.shed == l.gop {
		l.hasGOP, l.lost = false, true
		l.gopCut++
	}
	cost := l.at(l.shed).cost()
	l.lent += cost
	l.shedCost += cost
	l.shed++
}

// leads reports whether a viewer who joins now may have to begin at seq or before it.
func (l *log) leads(seq uint64, lead time.Duration) bool {
	return l.hasGOP && seq >= l.gop || l.at(seq).arrived >= l.newest().arrived-lead.Milliseconds()
}

// clear takes off all packets.
func (l *log) clear() {
	l.forgetGOP()
	for l.shed < l.head {
		l.shedOne()
	}
	for l.tail < l.head {
		l.drop()
	}
	for _, r := range l.runs[l.past:] {
		l.bytes -= r.cost
	}
	l.runs, l.past = nil, 0
}

// drop takes the oldest packet off, which has been shed. An empty log has no newest
// packet.
func (l *log) drop() {
	if len(l.keys) > 0 && l.keys[0] == l.tail {
		l.keys = slices.Delete(l.keys, 0, 1)
	}
	p := l.at(l.tail)
	l.bytes -= entryCost
	l.lent -= p.cost()
	l.payload.recycle(l.tail, p.first, int(p.size), p.class)
	*p = packet{}
	l.tail++
	if l.tail%blockSize == 0 {
		blocks.Put(l.blocks[0])
		l.blocks = slices.Delete(l.blocks, 0, 1)
	}
	if l.past+1 < len(l.runs) && l.runs[l.past+1].first == l.tail {
		l.bytes -= l.runs[l.past].cost
		l.runs[l.past] = run{}
		if l.past++; l.past >= len(l.runs)/2 { // seldom, where there are many
			l.runs = slices.Delete(l.runs, 0, l.past)
			l.past = 0
		}
	}
}

// headerTime returns the packet that lends its time to a header of a track, when the
// header is sent at seq: the next packet of the track, or the last one, since those of
// the other track may be well before or behind it. Where none is near it is the packet at
// seq.
func (l *log) headerTime(s slot, seq uint64) *packet {
	const near = 256
	for i := seq; i < min(seq+near, l.head); i++ {
		if p := l.at(i); p.kind == s.typ && p.track == s.track {
			return p
		}
	}
	for i := seq; i+near > seq && i > l.tail; i-- {
		if p := l.at(i - 1); p.kind == s.typ && p.track == s.track {
			return p
		}
	}
	return l.at(seq)
}

// forgetGOP makes what the log holds no start point any more: a new publish session
// begins, and viewers who join start with its first key frame.
func (l *log) forgetGOP() { l.hasGOP, l.lost = false, false }

// keyBefore returns the newest video start point, not before floor, whose packet is
// not younger than time: the oldest there is if all are.
func (l *log) keyBefore(time int64, floor uint64) (seq uint64, ok bool) {
	for i := len(l.keys) - 1; i >= 0 && l.keys[i] >= floor; i-- {
		seq, ok = l.keys[i], true
		if l.at(seq).time <= time {
			break
		}
	}
	return seq, ok
}

// soundSince returns the sequence number, not before floor, that follows the last sound
// of the main track from before a time. It looks at one packet after the other from the
// head on: times increase within a track only, and tracks may be seconds apart.
func (l *log) soundSince(time int64, floor uint64) uint64 {
	floor = max(floor, l.shed)
	for seq := l.head; seq > floor; seq-- {
		p := l.at(seq - 1)
		if p.kind == flv.TypeAudio && p.track == 0 && !p.is(markAside) && p.time < time {
			return seq
		}
	}
	return floor
}

// arrivedSince returns the first sequence number whose packet did not arrive
// before the time.
func (l *log) arrivedSince(time int64) uint64 {
	i := sort.Search(int(l.head-l.tail), func(i int) bool { return l.at(l.tail+uint64(i)).arrived >= time })
	return l.tail + uint64(i)
}
