package bench

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"time"

	"sluice/flv"
)

// findings is what checking viewers count.
type findings struct {
	Frames     int64 `json:"frames"`           // audio and video
	Lost       int64 `json:"lost"`             // frames that never came although a later one did
	Unequal    int64 `json:"unequal"`          // frames and codec headers whose body nobody published
	Reordered  int64 `json:"reordered"`        // frames that came after a later one of their track, or twice
	BadTime    int64 `json:"wrong_timestamps"` // timestamps that differ from those published, or go back
	WrongStart int64 `json:"wrong_starts"`     // tracks that began without codec header or, video, without a key frame
	Malformed  int64 `json:"malformed"`        // bodies that are no audio or video

	first string // the first of all that, in words; of Lost only if there is nothing else
}

// bad returns how many findings there are.
func (f *findings) bad() int64 {
	return f.Lost + f.Unequal + f.Reordered + f.BadTime + f.WrongStart + f.Malformed
}

// merge adds other.
func (f *findings) merge(other *findings) {
	f.Frames += other.Frames
	f.Lost += other.Lost
	f.Unequal += other.Unequal
	f.Reordered += other.Reordered
	f.BadTime += other.BadTime
	f.WrongStart += other.WrongStart
	f.Malformed += other.Malformed
	if f.first == "" {
		f.first = other.first
	}
}

// checker checks a stream frame by frame. It is for one goroutine at a time.
//
// With the publication at hand, it knows which frame has to come next in each
// track; where another one comes it looks for that, first at its timestamp, then
// by its body among those sent last. Without, only the order of timestamps and the
// start are checked.
type checker struct {
	loop *loop        // nil if somebody else publishes
	from *publication // nil as well then
	// joined is the moment at which the viewer was let in: latency counts for
	// frames written later.
	joined int64
	// early is how many frames had been sent when the viewer was let in, for one
	// that reads much later: the same frames come again with each lap. 0 if it reads
	// at once.
	early     int64
	measuring func() bool // latency counts now

	findings
	latency histogram
	tracks  [2]checkedTrack
	lossy   bool      // what is first is a loss
	picture time.Time // when the first key frame was read
	gaps    int       // in the video track
	rough   int64     // of them, those that did not end with a key frame
	broken  string    // the last of those, in words
	parsed  int64     // bytes of all tags, as FLV
	largest int       // bytes of the largest tag
	newest  int64     // frame of the publication, the latest one seen

	// worst is the longest time that a frame was on its way, by the period in which it came;
	// periods are counted by somebody else, if at all.
	period *atomic.Int32
	worst  []time.Duration
}

// checkedTrack is where a checker is in a track.
type checkedTrack struct {
	begun  bool
	config bool   // a codec header was seen
	last   uint32 // timestamp
	synced bool
	next   int64  // the frame to come, counted in the track
	shift  uint32 // timestamp seen - timestamp published
	// missing are the frames left out, the newest few: one that comes late is no
	// longer lost.
	missing []int64
}

// Bounds of a checker.
const (
	maxMissing = 1024
	maxShift   = 50  // ms that audio and video may be moved against each other
	leap       = 500 // ms between two frames that are a gap, if nobody knows better
)

// complain counts in one of the findings, and notes the first.
func (c *checker) complain(count *int64, n int64, format string, args ...any) {
	if c.first == "" || c.lossy && count != &c.Lost {
		c.first = fmt.Sprintf(format, args...)
		c.lossy = count == &c.Lost
	}
	*count += n
}

// tag takes the next tag of the stream, and when it was read.
func (c *checker) tag(t flv.Tag, at time.Time) {
	c.parsed += int64(t.Size())
	id, ok := trackOf(t.Type)
	if !ok {
		return // servers may write metadata anew
	}
	p, err := t.Packet()
	if err != nil {
		c.complain(&c.Malformed, 1, "%v at %d ms is malformed: %v", id, t.Timestamp, err)
		return
	}
	switch p.Kind {
	case flv.KindConfig:
		c.tracks[id].config = true
		if c.loop != nil && !bytes.Equal(c.loop.tracks[id].config, t.Data) {
			c.complain(&c.Unequal, 1, "%v codec header differs from the one published", id)
		}
	case flv.KindFrame:
		c.Frames++
		c.largest = max(c.largest, t.Size())
		if p.Key && c.picture.IsZero() {
			c.picture = at
		}
		c.frame(id, t, p.Key, at)
	}
}

// frame takes a frame of a track.
func (c *checker) frame(id trackID, t flv.Tag, key bool, at time.Time) {
	tr := &c.tracks[id]
	if !tr.begun {
		tr.begun = true
		tr.last = t.Timestamp
		if id == videoTrack && !key {
			c.complain(&c.WrongStart, 1, "video began at %d ms without a key frame", t.Timestamp)
		}
		if c.loop != nil && c.loop.tracks[id].config != nil && !tr.config {
			c.complain(&c.WrongStart, 1, "%v began at %d ms without a codec header", id, t.Timestamp)
		}
	}
	if c.from == nil {
		c.order(id, t, key)
		return
	}
	m, ok := c.place(id, t)
	tr.last = t.Timestamp
	if !ok {
		c.complain(&c.Unequal, 1, "%v at %d ms is not what was published", id, t.Timestamp)
		tr.next++
		return
	}
	if !c.advance(id, m, key, t.Timestamp) {
		return
	}
	if want := c.timestamp(id, m) + tr.shift; t.Timestamp != want {
		c.complain(&c.BadTime, 1, "%v at %d ms was published %d ms later than that", id, t.Timestamp, int32(want-t.Timestamp))
		tr.shift += t.Timestamp - want
	}
	c.time(id, m, at)
}

// order checks timestamps when nothing else is known.
func (c *checker) order(id trackID, t flv.Tag, key bool) {
	tr := &c.tracks[id]
	step := int32(t.Timestamp - tr.last)
	tr.last = t.Timestamp
	switch {
	case step < 0:
		c.complain(&c.BadTime, 1, "%v went back by %d ms to %d ms", id, -step, t.Timestamp)
	case step > leap && id == videoTrack:
		c.gap(key, t.Timestamp)
	}
}

// gap counts a gap in the video track.
func (c *checker) gap(key bool, timestamp uint32) {
	c.gaps++
	if !key {
		c.rough++
		c.broken = fmt.Sprintf("video went on at %d ms, after a gap, without a key frame", timestamp)
	}
}

// place returns which frame of its track a tag is.
func (c *checker) place(id trackID, t flv.Tag) (int64, bool) {
	tr := &c.tracks[id]
	frames := int64(len(c.loop.tracks[id].frames))
	if frames == 0 {
		return 0, false
	}
	asNext := tr.synced && bytes.Equal(c.body(id, tr.next), t.Data)
	if off := int32(t.Timestamp - tr.shift - c.timestamp(id, tr.next)); asNext && max(off, -off) <= maxShift {
		return tr.next, true
	}
	orders := c.loop.find(id, t.Data)
	if len(orders) == 0 {
		return 0, false
	}
	shift, known := tr.shift, tr.synced
	if other := &c.tracks[1-id]; !known && other.synced {
		shift, known = other.shift, true
	}
	sent := c.from.sent.Load()
	if !known && c.early > 0 {
		sent = c.early
	}
	sent = c.loop.ordered(id, sent) // the newest it can be
	best, nearest := int64(-1), int64(-1)
	for _, m := range orders {
		// The last time that this frame was sent.
		m := int64(m) + (sent-int64(m))/frames*frames
		if m > sent {
			continue
		}
		best = max(best, m)
		// The time that its timestamp speaks of, of all laps.
		if behind := int64(int32(c.timestamp(id, m) - (t.Timestamp - shift))); known && behind >= -maxShift {
			lap := int64(c.loop.period)
			if rest := (behind + maxShift) % lap; rest <= 2*maxShift {
				nearest = max(nearest, m-(behind+maxShift)/lap*frames)
			}
		}
	}
	switch {
	case nearest >= 0:
		best = nearest
	case asNext:
		best = tr.next
	}
	if best >= 0 && !tr.synced {
		c.sync(id, best, t.Timestamp)
	}
	return best, best >= 0
}

// sync settles where a track begins.
func (c *checker) sync(id trackID, m int64, timestamp uint32) {
	tr, other := &c.tracks[id], &c.tracks[1-id]
	tr.synced, tr.next = true, m
	tr.shift = timestamp - c.timestamp(id, m)
	if apart := int32(tr.shift - other.shift); other.synced && max(apart, -apart) > maxShift {
		c.complain(&c.BadTime, 1, "audio and video were moved against each other by %d ms", apart)
	}
}

// advance notes that frame m of a track has come; false if it came before or out
// of order.
func (c *checker) advance(id trackID, m int64, key bool, timestamp uint32) bool {
	tr := &c.tracks[id]
	if m < tr.next {
		c.complain(&c.Reordered, 1, "%v at %d ms came after a later one", id, timestamp)
		for i, missing := range tr.missing {
			if missing == m {
				tr.missing = append(tr.missing[:i], tr.missing[i+1:]...)
				c.Lost--
				break
			}
		}
		return false
	}
	if lost := m - tr.next; lost > 0 {
		c.complain(&c.Lost, lost, "%d %v frames before the one at %d ms are missing", lost, id, timestamp)
		for n := max(tr.next, m-maxMissing); n < m; n++ {
			tr.missing = append(tr.missing, n)
		}
		tr.missing = tr.missing[max(0, len(tr.missing)-maxMissing):]
		if id == videoTrack {
			c.gap(key, timestamp)
		}
	}
	tr.next = m + 1
	c.newest = max(c.newest, c.loop.of(id, m))
	return true
}

// time measures how long frame m of a track was on its way.
func (c *checker) time(id trackID, m int64, at time.Time) {
	if c.measuring == nil || !c.measuring() {
		return
	}
	sent, ok := c.from.sentAt(c.loop.of(id, m))
	if !ok || sent <= c.joined {
		return
	}
	took := time.Duration(moment(at) - sent)
	c.latency.add(took)
	if c.period == nil {
		return
	}
	period := int(c.period.Load())
	for len(c.worst) <= period {
		c.worst = append(c.worst, 0)
	}
	c.worst[period] = max(c.worst[period], took)
}

// body returns the body of frame m of a track.
func (c *checker) body(id trackID, m int64) []byte {
	frames := c.loop.tracks[id].frames
	return c.loop.frames[frames[m%int64(len(frames))]].Data
}

// timestamp returns the published timestamp of frame m of a track.
func (c *checker) timestamp(id trackID, m int64) uint32 {
	return c.loop.tag(c.loop.of(id, m)).Timestamp
}
