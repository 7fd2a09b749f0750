package hub

import (
	"runtime"
	"unsafe"

	"sluice/flv"
)

// Stamper is a Framer whose viewers differ only in their timestamps: what was framed for
// one of them can be given to the next with other timestamps.
type Stamper interface {
	Framer
	// Form identifies framers that make the same bytes of the same tags: those with
	// the same form do. 0 is for a framer whose next bytes are like no other's. A framer
	// that has had another form keeps it for good.
	Form() uint64
	// Stamp gives the tags in framed, all of which a framer of the same form has made
	// in one call of AppendTags, these timestamps, one for each. It returns false,
	// and may leave framed half changed, where that takes another length. It depends
	// on nothing but the form: it is called for viewers of other framers that have the
	// same, at any time.
	Stamp(framed []byte, timestamps []uint32) bool
}

// share is what was filled for a viewer, to be given to others as well: a pass fills the
// same packets for thousands of viewers, one after the other.
type share struct {
	stream    *Stream // nil if there is nothing to give
	from, to  uint64  // packets
	headers   *headers
	form      uint64
	stamper   Stamper // of that form
	selection selection
	framed    []byte // with the timestamps of a viewer whose base is this
	base      int64
	times     []int64 // of the tags, ms on the stream's clock, in their order
	large     lastLarge
}

// maxShares is how many shares a batch keeps. Viewers of several protocols and of parts of
// a stream come in any order, and each kind of them has a share of its own. A pass that
// is overtaken by a packet needs some more: the viewers before it were given less.
const maxShares = 8

// shares are what a batch has filled that may be given to further viewers. Each has its
// bytes in a buffer of its own.
type shares struct {
	all  [maxShares]share
	next int // to be replaced
	// own is the buffer for what is not to be shared.
	own    []byte
	times  []int64 // as in share, of what is being filled
	stamps []uint32
}

// selection decides which packets a viewer gets.
type selection struct {
	noAudio, noVideo, hasAudio, hasVideo, fixedCodecs, scriptData bool
	needKey                                                       bool
	shape                                                         flv.Shape
	audio, video                                                  uint8
}

func (c *cursor) selection() selection {
	return selection{
		c.noAudio, c.noVideo, c.hasAudio, c.hasVideo, c.fixedCodecs, c.scriptData,
		c.needKey, c.shape, c.audio, c.video,
	}
}

// shareable reports whether the viewer is one of many that get the packets from its
// cursor up to stop, and nothing else.
//
// A viewer that needs a key frame, as one without video does for ever, is one of many
// until the key frame comes (store); but if packets are gone that it should have had,
// each frame that it is not sent is counted. One that has switched video off would have
// to note that it needs a key frame.
func (c *cursor) shareable(l *log, stop uint64, flags uint32) bool {
	if flags != 0 || c.plan != nil || !c.begun || c.needKey && c.evicted || c.next >= stop {
		return false
	}
	h, until := l.headersAt(c.next)
	return h == c.headers && until >= stop
}

// reuse fills the batch, whose Bytes are empty, with what another viewer was given, if
// this one is to get the same.
func (b *Batch) reuse(c *cursor, s *Stream, form uint64, stop uint64, limit int) bool {
	var sh *share
	for i := range b.shares.all {
		if x := &b.shares.all[i]; x.form == form && x.from == c.next && x.to == stop && x.stream == s &&
			x.headers == c.headers && len(x.framed) <= limit && x.selection == c.selection() {
			sh = x
			break
		}
	}
	if sh == nil || !b.restamp(sh, c) {
		return false
	}
	b.Bytes = sh.framed
	c.next = stop
	b.large = sh.large
	return true
}

// restamp gives what was shared a viewer's timestamps. It returns false if that can't be.
func (b *Batch) restamp(sh *share, c *cursor) bool {
	if sh.base == c.base || len(sh.times) == 0 {
		return true
	}
	stamps := b.shares.stamps[:0]
	for _, t := range sh.times {
		if t < c.base {
			return false
		}
		stamps = append(stamps, uint32(t-c.base))
	}
	b.shares.stamps = stamps
	if !sh.stamper.Stamp(sh.framed, stamps) {
		sh.drop()
		return false
	}
	sh.base = c.base
	sh.large.stamp(stamps[len(stamps)-1])
	return true
}

// buffer makes Bytes, which are empty, a buffer that may be written to: that of a share to
// be, or one that is never shared.
func (b *Batch) buffer(shared bool) {
	if shared {
		sh := &b.shares.all[b.shares.next]
		sh.drop()
		b.Bytes = sh.framed[:0]
	} else {
		b.Bytes = b.shares.own[:0]
	}
}

// store keeps what Bytes were filled with since buffer(true), for viewers that are like c
// was before. The memory is kept in any case.
func (b *Batch) store(c *cursor, s *Stream, f Stamper, form, from uint64, like selection, whole bool) {
	sh := &b.shares.all[b.shares.next]
	sh.framed = b.Bytes
	if !whole || like.needKey != c.needKey { // which the others have to note as well
		return
	}
	for seq := from; seq < c.next; seq++ {
		if s.log.at(seq).time < c.base { // it was left out for this viewer
			return
		}
	}
	sh.stream, sh.from, sh.to, sh.headers = s, from, c.next, c.headers
	sh.form, sh.stamper, sh.selection, sh.base, sh.large = form, f, like, c.base, b.large
	sh.times, b.shares.times = b.shares.times, sh.times
	b.shares.next = (b.shares.next + 1) % maxShares
}

// drop makes a share one that has nothing to give, but keeps its memory.
func (sh *share) drop() {
	sh.stream, sh.headers, sh.stamper, sh.large = nil, nil, nil, lastLarge{}
}

// unshare takes Bytes, which are being appended to, away from the share whose memory
// they are in.
func (b *Batch) unshare() {
	for i := range b.shares.all {
		if sh := &b.shares.all[i]; unsafe.SliceData(sh.framed) == unsafe.SliceData(b.Bytes) {
			sh.drop()
			sh.framed = nil
		}
	}
}

// maxKept is how large the buffers for framed bytes may be that a batch keeps beyond
// Forget, in bytes.
const maxKept = 128 << 10

// Forget makes the next Fill frame everything anew, and empties Bytes. It must be called
// before the batch is used again if anything but Fill has changed what stood in Bytes. It
// should be called when the batch is not used for a while, since it keeps the stream, and
// large frames, in memory.
func (b *Batch) Forget() {
	for i := range b.shares.all {
		sh := &b.shares.all[i]
		sh.drop()
		if cap(sh.framed) > maxKept {
			sh.framed = nil
		}
	}
	if cap(b.shares.own) > maxKept {
		b.shares.own = nil
	}
	b.shares.next, b.large, b.Bytes = 0, lastLarge{}, b.shares.own[:0]
}

// FrameKey identifies a large framed tag: batches that give the same key have the same
// bytes from the offset on that LargeFrame returns. The zero key identifies nothing.
type FrameKey struct {
	stream *Stream
	packet uint64
	form   uint64
	shape  flv.Shape
	stamp  uint32
}

// minLarge is the size, in bytes, from which a frame is worth a key.
const minLarge = 32 << 10

// stampMargin is more, in bytes, than what may differ from viewer to viewer at the
// beginning of a framed body.
const stampMargin = 64

// LargeFrame returns the key of the end of Bytes, from offset from on, if the last thing
// that Fill appended is a large frame that is the same for all viewers of its kind.
func (b *Batch) LargeFrame() (key FrameKey, from int, ok bool) {
	l := &b.large
	if l.size < minLarge || l.end != len(b.Bytes) || l.key.form == 0 {
		return FrameKey{}, 0, false
	}
	return l.key, len(b.Bytes) - l.size + stampMargin, true
}

// lastLarge is the last tag that a batch was filled with, if it is large.
type lastLarge struct {
	key  FrameKey
	size int // of its body; 0 if it is small
	end  int // of Bytes
}

// note notes a tag that is added to the batch.
func (l *lastLarge) note(c *cursor, seq uint64, t flv.Tag) {
	*l = lastLarge{}
	if len(t.Data) < minLarge || c.plan != nil {
		return
	}
	shape := c.shape
	shape.Track = c.track(t.Type)
	l.key = FrameKey{packet: seq, shape: shape}
	l.size = len(t.Data)
	l.stamp(t.Timestamp)
}

// stamp notes the tag's timestamp if it is one that a protocol may repeat in the middle
// of a frame (RTMP 1.0 §5.3.1.3).
func (l *lastLarge) stamp(timestamp uint32) {
	const extended = 1<<24 - 1
	l.key.stamp = 0
	if timestamp >= extended {
		l.key.stamp = timestamp
	}
}

// Fetch brings into the processor's cache what the next Fill will look at, for a caller
// that has others to do it for before. It changes nothing, and may be called at any time
// once Wait has returned nil.
func (v *Viewer) Fetch() {
	// Of the first and the last part of a viewer; neither changes any more.
	runtime.KeepAlive(v.Stream())
	runtime.KeepAlive(v.hasAudio)
}
