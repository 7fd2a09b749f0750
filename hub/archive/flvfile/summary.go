package flvfile

import (
	"errors"
	"math"
	"time"

	"sluice/flv"
)

// summary is what is learnt of a file while its tags go by, from the first one or from
// one in its middle. Writer, Recover and the scan of a file from elsewhere all have one.
type summary struct {
	video, audio track
	width        int
	height       int
	gaps         int
	gapTime      int64 // ms
	until        int64 // what the file is known to last, ms, whatever the tags say that went by

	// For the records of the index.
	records    int   // how many there are
	lastHeader int   // number of the last one of a header, -1 for none
	lastTime   int64 // of the last one
	sounds     int   // how many are of sound
	lastSound  int64 // time of the last of these
}

// track is what is known of the audio or the video.
type track struct {
	codec    flv.Codec
	enhanced bool
	seen     bool  // there are frames
	last     int64 // time of the last packet
	length   int64 // of a frame, ms, as the last two differ
	frame    int64 // time of the last frame, noTime before
}

// noTime is the time of what there was none of.
const noTime = math.MinInt64

// maxFrame is how long a frame may last, in ms; what is longer is a pause.
const maxFrame = 1000

// soundInterval is how often a file of sound has a record, in ms.
const soundInterval = 1000

func newSummary() summary {
	return summary{video: track{frame: noTime}, audio: track{frame: noTime}, lastHeader: -1}
}

// end returns when the last frame ends, in ms.
func (s *summary) end() int64 {
	return max(s.until, s.video.last+s.video.length, s.audio.last+s.audio.length)
}

// note takes note of a packet.
func (s *summary) note(p *Packet) {
	switch p.Type {
	case flv.TypeVideo:
		s.video.note(p)
		if p.Header || p.Key && s.width == 0 {
			s.noteSize(p)
		}
	case flv.TypeAudio:
		s.audio.note(p)
	}
}

func (t *track) note(p *Packet) {
	if t.codec == 0 || p.Header {
		said, err := p.Packet()
		if err == nil && said.Codec != 0 && (t.codec == 0 || said.Kind == flv.KindConfig && said.Track == 0) {
			t.codec, t.enhanced = said.Codec, said.Enhanced
		}
	}
	t.last = max(t.last, p.Time)
	if p.Header {
		return
	}
	if d := p.Time - t.frame; t.frame != noTime && d > 0 && d <= maxFrame {
		t.length = d
	}
	t.seen, t.frame = true, p.Time
}

// noteSize takes note of the picture's size, if the packet tells it.
func (s *summary) noteSize(p *Packet) {
	said, err := p.Packet()
	if err != nil || said.Track != 0 {
		return
	}
	if f, err := flv.ParseVideoConfig(said); err == nil && f.Width > 0 {
		s.width, s.height = f.Width, f.Height
	}
}

// appendRecords appends the records that are due for a packet whose tag stands at pos, after
// gap ms that are missing.
func (s *summary) appendRecords(dst []record, pos int64, p *Packet, gap int64) []record {
	if gap > 0 {
		dst = s.appendRecord(dst, lengthRecord(kindGap, pos, p.Time, gap))
	}
	switch {
	case p.Header && p.Type == flv.TypeScript:
		return s.appendRecord(dst, record{pos: pos, kind: kindMetadata, time: p.Time})
	case p.Header:
		return s.appendHeaders(dst, pos, p)
	case p.Type == flv.TypeVideo && p.Key:
		return s.appendRecord(dst, record{pos: pos, kind: kindKey, time: p.Time})
	case p.Type == flv.TypeAudio && !s.video.seen && s.soundDue(p.Time):
		return s.appendRecord(dst, record{pos: pos, kind: kindSound, time: p.Time})
	}
	return dst
}

// soundDue reports whether a frame of sound has a record. The second one does where there is
// no codec header, as the first entry of the head is worth nothing then (index.entries).
func (s *summary) soundDue(time int64) bool {
	return s.sounds == 0 || s.sounds == 1 && s.lastHeader < 0 || time-s.lastSound >= soundInterval
}

// appendHeaders appends a record for each track of a header.
func (s *summary) appendHeaders(dst []record, pos int64, p *Packet) []record {
	base := kindVideoHeader
	if p.Type == flv.TypeAudio {
		base = kindAudioHeader
	}
	var few [4]flv.Packet
	said, err := p.AppendPackets(few[:0])
	if err != nil {
		return dst
	}
	for _, track := range said {
		dst = s.appendRecord(dst, record{pos: pos, kind: base + recordKind(track.Kind), track: track.Track, time: p.Time})
	}
	return dst
}

// appendRecord appends a record whose time and links are not complete yet.
func (s *summary) appendRecord(dst []record, r record) []record {
	r.time = min(max(r.time, s.lastTime), maxTime)
	if r.kind.linked() && s.lastHeader >= 0 {
		r.extra = uint16(min(s.records-s.lastHeader, maxExtra))
	}
	s.noteRecord(r)
	return append(dst, r)
}

// noteRecord takes note of a record that is new, or stands in the index already.
func (s *summary) noteRecord(r record) {
	switch {
	case r.kind == kindGap:
		s.gaps++
		s.gapTime += r.length()
	case r.kind == kindSound:
		s.lastSound = r.time
		s.sounds++
	case r.kind.isHeader():
		s.lastHeader = s.records
	}
	s.lastTime = max(s.lastTime, r.time)
	s.records++
}

// adopt takes what the head of the file says of the track, of which only the last tags
// went by: also where the file ends, as the length of a frame depends on how many did.
func (t *track) adopt(codec flv.Codec, id any, end int64) {
	t.last = min(t.last, end)
	t.length = min(t.length, end-t.last)
	t.seen = t.frame != noTime || id != nil
	if codec != 0 && id != nil {
		n, _ := id.(float64)
		t.codec, t.enhanced = codec, n == float64(codec)
	}
}

// present returns the codec of a track that has frames.
func (t *track) present() flv.Codec {
	if !t.seen {
		return 0
	}
	return t.codec
}

// fill fills in what is known of the file.
func (s *summary) fill(i Info, size int64) Info {
	i.Duration = time.Duration(s.end()) * time.Millisecond
	i.Size = size
	i.Video, i.Audio = s.video.present(), s.audio.present()
	i.Width, i.Height = s.width, s.height
	i.Gaps, i.GapTime = s.gaps, time.Duration(s.gapTime)*time.Millisecond
	return i
}

// scan reads the tags of t, takes note of each and gives the records of those that stand at
// from or behind it to emit, until the end, or a tag that is not whole. The rest of the file
// begins at t.pos then. The error is that of emit, or one of reading.
func (s *summary) scan(t *tags, c *clock, from int64, emit func([]record) error) error {
	var due []record
	for {
		h, body, err := t.skip()
		switch {
		case isEnd(err):
			return nil
		case err != nil:
			return err
		}
		p := Packet{Tag: flv.Tag{Type: h.typ, Data: body}, Time: c.time(h.typ, h.timestamp)}
		if err := t.complete(h, &p); err != nil {
			return err
		}
		s.note(&p)
		if h.pos >= from {
			if due = s.appendRecords(due[:0], h.pos, &p, 0); len(due) > 0 {
				if err := emit(due); err != nil {
					return err
				}
			}
		}
	}
}

// isEnd reports whether an error of reading tags says that no further whole one follows.
func isEnd(err error) bool {
	return errors.Is(err, errCut) || errors.Is(err, flv.ErrFormat) || isEOF(err)
}

// complete classifies a packet of which only the beginning of the body is known, and reads
// the rest if that does not tell, or is needed.
func (t *tags) complete(h header, p *Packet) error {
	p.classify()
	if cut := len(p.Data) < h.size; !cut || p.clear() {
		return nil
	}
	body, err := t.body(h)
	if err != nil {
		return err
	}
	p.Data = body
	p.classify()
	return nil
}

// clear reports whether the beginning of a body says all that is wanted of it.
func (p *Packet) clear() bool {
	media := p.Type == flv.TypeAudio || p.Type == flv.TypeVideo
	if !media {
		return true
	}
	_, err := p.Packet()
	return err == nil && !p.Header && !p.tellsSize()
}

// tellsSize reports whether a key frame is of a codec whose frames tell the picture's
// size, further in than a scan looks.
func (p *Packet) tellsSize() bool {
	if !p.Key {
		return false
	}
	said, err := p.Packet()
	return err == nil && said.Codec == flv.CodecAV1
}
