package check

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"sluice/flv"
)

// comparison compares what comes of a stream with what was sent. It is of one goroutine.
type comparison struct {
	find   func(body []byte) (sent, bool)
	header []flv.Tag // metadata and codec headers that were sent
	joined time.Time // delays count for frames sent later
	trace  *trace

	tracks   [bothTracks]compared
	newest   time.Time     // when the newest tag came
	gap      time.Duration // the longest time between two tags that came, after the picture
	live     bool          // the first frame of video was none to begin with
	delays   []time.Duration
	findings findings
}

// compared is where a comparison is in a track.
type compared struct {
	config bool
	count  int
	next   int
	shift  uint32 // timestamp that came - timestamp that was sent
	seen   map[int]bool
}

// findings are what is wrong, by kind: how many, and the first in words.
type findings [findingKinds]struct {
	count int
	first string
}

// finding is a kind of what may be wrong with frames.
type finding uint8

const (
	findChanged finding = iota // bodies that were not sent
	findMissing                // frames that did not come although later ones did
	findTwice                  // frames that came again
	findOrder                  // frames that came after later ones of their track
	findTime                   // timestamps whose distances differ from those that were sent
	findHeader                 // tracks that began without their codec header
	findingKinds
)

// findingWords are the words of findings as faults.
var findingWords = [findingKinds]string{"changed", "missing", "twice", "order", "timestamps", "header"}

// Tolerances of timestamps, in ms.
const (
	tolerance = 2  // servers may round
	maxApart  = 50 // that audio and video may be moved against each other
)

func (c *comparison) note(kind finding, n int, format string, args ...any) {
	f := &c.findings[kind]
	if f.count == 0 {
		f.first = fmt.Sprintf(format, args...)
	}
	f.count += n
}

// trackNames are the tracks in words.
var trackNames = [bothTracks]string{trackAudio: "sound", trackVideo: "video"}

// take takes a tag that came.
func (c *comparison) take(tag flv.Tag, at time.Time) {
	track := trackVideo
	switch tag.Type {
	case flv.TypeVideo:
	case flv.TypeAudio:
		track = trackAudio
	default:
		return // servers write metadata anew
	}
	if len(tag.Data) == 0 {
		return // an empty message is silence: nginx-rtmp sends one before the first key frame
	}
	if c.trace.first.IsZero() {
		c.trace.first = at
	}
	p, err := tag.Packet()
	if err != nil {
		c.note(findChanged, 1, "%s at %d ms is malformed", trackNames[track], tag.Timestamp)
		return
	}
	switch p.Kind {
	case flv.KindConfig:
		c.tracks[track].config = true
		if !slices.ContainsFunc(c.header, func(h flv.Tag) bool { return h.Type == tag.Type && bytes.Equal(h.Data, tag.Data) }) {
			c.note(findChanged, 1, "the codec header of the %s differs from the one that was sent", trackNames[track])
		}
	case flv.KindFrame:
		c.frame(track, tag, p.Key, at)
	}
}

// frame takes a frame.
func (c *comparison) frame(track int, tag flv.Tag, key bool, at time.Time) {
	if !c.trace.picture.IsZero() && !c.newest.IsZero() {
		c.gap = max(c.gap, at.Sub(c.newest))
	}
	c.newest = at
	tr := &c.tracks[track]
	if tr.count++; tr.count == 1 {
		if !tr.config {
			c.note(findHeader, 1, "the %s began without its codec header", trackNames[track])
		}
		c.live = c.live || track == trackVideo && !key
	}
	if track == trackVideo && key && tr.config && c.trace.picture.IsZero() {
		c.trace.picture = at
	}
	s, ok := c.find(tag.Data)
	if !ok || s.track != track {
		c.note(findChanged, 1, "%s at %d ms is not what was sent", trackNames[track], tag.Timestamp)
		return
	}
	c.place(tr, s, tag.Timestamp)
	if s.at.After(c.joined) {
		c.delays = append(c.delays, at.Sub(s.at))
	}
}

// place looks at where a frame stands among those that came.
func (c *comparison) place(tr *compared, s sent, timestamp uint32) {
	name := trackNames[s.track]
	shift := timestamp - s.timestamp
	switch {
	case tr.seen == nil:
		tr.seen = make(map[int]bool)
		tr.next, tr.shift = s.number, shift
	case tr.seen[s.number]:
		c.note(findTwice, 1, "the frame of %s at %d ms came twice", name, timestamp)
		return
	case s.number < tr.next:
		c.note(findOrder, 1, "the frame of %s at %d ms came after a later one", name, timestamp)
		return
	case s.number > tr.next:
		c.note(findMissing, s.number-tr.next, "%d frames of %s before %d ms are missing", s.number-tr.next, name, timestamp)
	}
	tr.seen[s.number] = true
	tr.next = s.number + 1
	if off := int32(shift - tr.shift); max(off, -off) > tolerance {
		c.note(findTime, 1, "the frame of %s at %d ms is %d ms off from the one before it", name, timestamp, off)
		tr.shift = shift
	}
}

// finish looks at what can be told at the end only.
func (c *comparison) finish() {
	audio, video := &c.tracks[trackAudio], &c.tracks[trackVideo]
	if audio.seen == nil || video.seen == nil {
		return
	}
	if off := int32(video.shift - audio.shift); max(off, -off) > maxApart {
		c.note(findTime, 1, "video and sound were moved against each other by %d ms", off)
	}
}

// delay returns the median and the longest time that frames were on their way; zero without any.
func (c *comparison) delay() (median, longest time.Duration) {
	if len(c.delays) == 0 {
		return 0, 0
	}
	sorted := slices.Sorted(slices.Values(c.delays))
	return sorted[len(sorted)/2], sorted[len(sorted)-1]
}
