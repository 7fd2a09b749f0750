package bench

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"sort"
	"time"

	"sluice/flv"
)

// A loop is a piece of a stream that is repeated for ever. Its frames are numbered
// without an end: frame n is frames[n%len(frames)], period later with each lap.
// A loop is not changed once it is made.
type loop struct {
	header []flv.Tag // metadata and codec headers, at 0 ms
	frames []frame   // by timestamp; the first is at 0 ms, and a key frame if there is video
	period uint32    // ms from one lap to the next
	gop    time.Duration
	tracks [2]track
	before [2][]int64 // by track, bytes of its frames before each frame of the loop, as FLV tags; one more than frames
}

// frame is an audio or video frame of a loop.
type frame struct {
	flv.Tag
	key   bool
	track trackID
	order int // within its track
}

// trackID numbers the tracks of a stream.
type trackID int

const (
	audioTrack trackID = iota
	videoTrack
)

// String returns the track's name.
func (id trackID) String() string { return [...]string{"audio", "video"}[id] }

// trackOf returns the track of a tag; ok is false for script tags.
func trackOf(t flv.Type) (id trackID, ok bool) {
	switch t {
	case flv.TypeAudio:
		return audioTrack, true
	case flv.TypeVideo:
		return videoTrack, true
	}
	return 0, false
}

// track is the audio or the video of a loop. Its frames are numbered without an
// end as well.
type track struct {
	config []byte           // the codec header's body, nil without one
	frames []int            // in loop.frames
	byHash map[uint64][]int // in frames
}

// Seed of the hashes by which frames are found.
var seed = maphash.MakeSeed()

// errNoFrames is the error of a file without audio and video.
var errNoFrames = errors.New("no audio or video frame in the file")

// readLoop makes a loop of an FLV file. Frames before the first key frame are left
// out.
func readLoop(r io.Reader) (*loop, error) {
	var tags []flv.Tag
	in := flv.NewReader(r)
	for {
		t, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		tags = append(tags, t)
	}
	hasVideo := slices.ContainsFunc(tags, func(t flv.Tag) bool {
		p, err := t.Packet()
		return err == nil && t.Type == flv.TypeVideo && p.Kind == flv.KindFrame
	})
	l := &loop{}
	start := uint32(0)
	for _, t := range tags {
		if t.Type == flv.TypeScript && len(l.frames) == 0 {
			t.Timestamp = 0
			l.header = append(l.header, t)
		}
		p, err := t.Packet()
		if err != nil {
			continue
		}
		id, _ := trackOf(t.Type)
		switch p.Kind {
		case flv.KindConfig:
			if err := l.setConfig(id, t); err != nil {
				return nil, err
			}
		case flv.KindFrame:
			if len(l.frames) == 0 {
				if hasVideo && !p.Key {
					continue
				}
				start = t.Timestamp
			}
			if int32(t.Timestamp-start) < 0 {
				continue
			}
			t.Timestamp -= start
			l.frames = append(l.frames, frame{Tag: t, key: p.Key, track: id})
		}
	}
	if len(l.frames) == 0 {
		return nil, errNoFrames
	}
	slices.SortStableFunc(l.frames, func(a, b frame) int { return int(a.Timestamp) - int(b.Timestamp) })
	l.index()
	return l, nil
}

// setConfig takes a codec header.
func (l *loop) setConfig(id trackID, t flv.Tag) error {
	switch config := l.tracks[id].config; {
	case config == nil:
		t.Timestamp = 0
		l.header = append(l.header, t)
		l.tracks[id].config = t.Data
	case !bytes.Equal(config, t.Data):
		return fmt.Errorf("the %v changes its codec header midway: it cannot be looped", id)
	}
	return nil
}

// index computes what follows from the frames.
func (l *loop) index() {
	var keys int
	for id := range l.before {
		l.before[id] = make([]int64, 1, len(l.frames)+1)
	}
	for i := range l.frames {
		f := &l.frames[i]
		tr := &l.tracks[f.track]
		f.order = len(tr.frames)
		tr.frames = append(tr.frames, i)
		if tr.byHash == nil {
			tr.byHash = map[uint64][]int{}
		}
		h := maphash.Bytes(seed, f.Data)
		tr.byHash[h] = append(tr.byHash[h], f.order)
		for id := range l.before {
			size := 0
			if f.track == trackID(id) {
				size = f.Size()
			}
			l.before[id] = append(l.before[id], l.before[id][i]+int64(size))
		}
		if f.key {
			keys++
		}
	}
	for _, tr := range l.tracks {
		if n := uint32(len(tr.frames)); n > 0 {
			first, last := l.frames[tr.frames[0]].Timestamp, l.frames[tr.frames[n-1]].Timestamp
			step := uint32(40) // of a lonely frame
			if n > 1 {
				step = (last - first + (n-1)/2) / (n - 1)
			}
			l.period = max(l.period, last+max(step, 1))
		}
	}
	l.gop = time.Duration(l.period) * time.Millisecond
	if keys > 0 {
		l.gop /= time.Duration(keys)
	}
}

// tag returns frame n.
func (l *loop) tag(n int64) flv.Tag {
	count := int64(len(l.frames))
	t := l.frames[n%count].Tag
	t.Timestamp += uint32(n/count) * l.period
	return t
}

// due returns when frame n is due, counted from frame 0.
func (l *loop) due(n int64) time.Duration {
	count := int64(len(l.frames))
	ms := int64(l.frames[n%count].Timestamp) + n/count*int64(l.period)
	return time.Duration(ms) * time.Millisecond
}

// framesBefore returns how many frames are due before d after frame 0.
func (l *loop) framesBefore(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	lap := time.Duration(l.period) * time.Millisecond
	i := sort.Search(len(l.frames), func(i int) bool {
		return time.Duration(l.frames[i].Timestamp)*time.Millisecond >= d%lap
	})
	return int64(d/lap)*int64(len(l.frames)) + int64(i)
}

// trackSet says which tracks are meant.
type trackSet [2]bool

// allTracks are both.
var allTracks = trackSet{true, true}

// bytes returns the size of the frames of some tracks before frame n, as FLV tags.
func (l *loop) bytes(n int64, of trackSet) (size int64) {
	count := int64(len(l.frames))
	for id, before := range l.before {
		if of[id] {
			size += n/count*before[count] + before[n%count]
		}
	}
	return size
}

// bitrate returns the bits per second of the loop as FLV.
func (l *loop) bitrate() float64 {
	return float64(l.bytes(int64(len(l.frames)), allTracks)) * 8 * 1000 / float64(l.period)
}

// tagRate returns the tags per second.
func (l *loop) tagRate() float64 {
	return float64(len(l.frames)) * 1000 / float64(l.period)
}

// largest returns the size of the largest frame of some tracks as an FLV tag.
func (l *loop) largest(of trackSet) int64 {
	n := 0
	for _, f := range l.frames {
		if of[f.track] {
			n = max(n, f.Size())
		}
	}
	return int64(n)
}

// of returns the number in the whole stream of frame m of a track.
func (l *loop) of(id trackID, m int64) int64 {
	frames := l.tracks[id].frames
	count := int64(len(frames))
	return m/count*int64(len(l.frames)) + int64(frames[m%count])
}

// ordered returns the number within the track of the last frame of a track that
// comes before frame n of the stream, -1 if there is none.
func (l *loop) ordered(id trackID, n int64) int64 {
	frames := l.tracks[id].frames
	count := int64(len(l.frames))
	i, _ := slices.BinarySearch(frames, int(n%count))
	return n/count*int64(len(frames)) + int64(i) - 1
}

// Filler data NAL units: RFC 6184 and H.264 7.3.2.7. They hold nothing; decoders
// pass over them.
const (
	nalFiller     = 12   // with nal_ref_idc 0
	fillerByte    = 0xFF // ff_byte
	fillerEnd     = 0x80 // rbsp_trailing_bits
	fillerMinimum = 2    // nal_unit header and trailing bits
)

// padded returns the loop with filler data in its H.264 frames, in proportion to
// their size, so that it has the given bit rate.
func (l *loop) padded(bitrate float64) (*loop, error) {
	need := int64((bitrate - l.bitrate()) / 8 * float64(l.period) / 1000)
	if need < 0 {
		return nil, fmt.Errorf("the stream has %.0f kbps already, it cannot get less", l.bitrate()/1000)
	}
	lengthSize, err := l.nalLengthSize()
	if err != nil {
		return nil, err
	}
	var video int64
	for _, i := range l.tracks[videoTrack].frames {
		video += int64(len(l.frames[i].Data))
	}
	p := &loop{header: l.header, frames: slices.Clone(l.frames)}
	for id := range p.tracks {
		p.tracks[id].config = l.tracks[id].config
	}
	longest := int64(1)<<(8*lengthSize) - 1
	for _, i := range l.tracks[videoTrack].frames {
		f := &p.frames[i]
		n := min(need*int64(len(f.Data))/video-int64(lengthSize), longest)
		if n < fillerMinimum || int64(len(f.Data))+n > flv.MaxTagSize {
			continue
		}
		data := make([]byte, 0, int64(len(f.Data)+lengthSize)+n)
		data = append(data, f.Data...)
		for shift := 8 * (lengthSize - 1); shift >= 0; shift -= 8 {
			data = append(data, byte(n>>shift))
		}
		data = append(data, nalFiller)
		data = append(data, bytes.Repeat([]byte{fillerByte}, int(n-fillerMinimum))...)
		f.Data = append(data, fillerEnd)
	}
	p.index()
	return p, nil
}

// nalLengthSize returns the size of the length before each NAL unit, from the
// codec header (ISO/IEC 14496-15, AVCDecoderConfigurationRecord).
func (l *loop) nalLengthSize() (int, error) {
	p, err := flv.ParseVideo(l.tracks[videoTrack].config)
	if err != nil || p.Codec != flv.CodecH264 || len(p.Payload) < 5 {
		return 0, errors.New("only H.264 can be filled up to a bit rate")
	}
	return int(p.Payload[4]&3) + 1, nil
}

// find returns the frames of the track, by their place in it, that have this body.
func (l *loop) find(id trackID, body []byte) (orders []int) {
	tr := &l.tracks[id]
	for _, m := range tr.byHash[maphash.Bytes(seed, body)] {
		if bytes.Equal(l.frames[tr.frames[m]].Data, body) {
			orders = append(orders, m)
		}
	}
	return orders
}
