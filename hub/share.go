package hub

import (
	"unsafe"

	"sluice/flv"
)

// Stamper is a Framer whose viewers differ only in their timestamps: what was framed for
// one of them can be given to the next with other timestamps.
type Stamper interface {
	Framer
	// Form identifies framers that make the same bytes of the same tags: those with
	// the same form do. 0 is for a framer whose next bytes are like no other's.
	Form() uint64
	// Stamp gives the tags in framed, all of which a framer of the same form has made
	// in one call of AppendTags, these timestamps, one for each. It returns false,
	// and may leave framed half changed, where that takes another length.
	Stamp(framed []byte, timestamps []uint32) bool
}

// share is what a batch was last filled with, to be given to the next viewer as well.
// A pass fills the same packets for thousands of viewers, one after the other.
type share struct {
	stream    *Stream
	from, to  uint64 // packets
	headers   *headers
	form      uint64
	selection selection
	framed    []byte  // where it stands in Batch.Bytes
	times     []int64 // of the tags, ms on the stream's clock, in their order
	stamps    []uint32
	large     lastLarge
}

// selection decides which packets a viewer gets.
type selection struct {
	noAudio, noVideo, hasAudio, hasVideo, fixedCodecs, scriptData bool
	shape                                                         flv.Shape
	audio, video                                                  uint8
}

func (c *cursor) selection() selection {
	return selection{
		c.noAudio, c.noVideo, c.hasAudio, c.hasVideo, c.fixedCodecs, c.scriptData,
		c.shape, c.audio, c.video,
	}
}

// shareable reports whether the viewer is one of many that get the packets from its
// cursor up to stop, and nothing else. Nor does it change otherwise: one without video
// for a while would have to note that it needs a key frame.
func (c *cursor) shareable(l *log, stop uint64, flags uint32) bool {
	if flags != 0 || c.plan != nil || !c.begun || c.needKey || c.next >= stop {
		return false
	}
	h, until := l.headersAt(c.next)
	return h == c.headers && until >= stop
}

// reuse fills the batch with what the viewer before was given, if this one is to get
// the same.
func (b *Batch) reuse(c *cursor, s *Stream, form uint64, f Stamper, stop uint64, limit int) bool {
	sh := &b.share
	if sh.stream != s || sh.from != c.next || sh.to != stop || sh.form != form || sh.headers != c.headers ||
		len(sh.framed) > min(limit, cap(b.Bytes)) || unsafe.SliceData(sh.framed) != unsafe.SliceData(b.Bytes) ||
		sh.selection != c.selection() {
		return false
	}
	sh.stamps = sh.stamps[:0]
	for _, t := range sh.times {
		if t < c.base {
			return false
		}
		sh.stamps = append(sh.stamps, uint32(t-c.base))
	}
	if !f.Stamp(sh.framed, sh.stamps) {
		b.Forget()
		return false
	}
	b.Bytes = b.Bytes[:len(sh.framed)]
	c.next = stop
	b.large = sh.large
	if n := len(sh.stamps); n > 0 {
		b.large.stamp(sh.stamps[n-1])
	}
	return true
}

// store notes what the batch was filled with from an empty one on.
func (b *Batch) store(c *cursor, s *Stream, form, from uint64) {
	sh := &b.share
	sh.stream, sh.from, sh.to, sh.headers = s, from, c.next, c.headers
	sh.form, sh.selection, sh.framed, sh.large = form, c.selection(), b.Bytes, b.large
}

// Forget makes the next Fill frame everything anew. It must be called before the batch
// is used again if anything but Fill has changed what stood in Bytes. It should be
// called when the batch is not used for a while, since it keeps the stream in memory.
func (b *Batch) Forget() {
	b.share.stream, b.share.headers, b.share.framed = nil, nil, nil
	b.share.large, b.large = lastLarge{}, lastLarge{}
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
