package mp4

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"sluice/flv"
)

const (
	tagHeader = flv.TagOverhead - backSize // bytes before a body
	backSize  = 4                          // PreviousTagSize after it

	// bodyHead is how many bytes of a body are looked at, unless it has to be known whole.
	// Every head of a body is shorter, unless its publisher pads it, and so is what a key
	// frame of VP9 says of its size.
	bodyHead = 64
	// keyHead is how many bytes of a key frame are searched for the size of the picture
	// where the codec header does not tell it (AV1 by some encoders).
	keyHead = 2 << 10
	// scanStep is after how many tags a scan looks whether it is still wanted.
	scanStep = 1024
)

// Scan makes the index of a finished file of size bytes. It reads the headers of all tags
// and the first bytes of their bodies, codec headers whole.
//
// A file that is no FLV file is flv.ErrFormat, one with nothing to show ErrNoTracks or
// ErrUnsupported. A file that is damaged further on, or breaks off, is taken as far as it
// consists of whole tags: see Index.Rest. Errors of r and ctx end the scan.
func Scan(ctx context.Context, r io.ReaderAt, size int64) (*Index, error) {
	s := &scanner{
		in:    window{r: r, size: size},
		x:     &Index{size: size},
		video: track{video: true, samples: samples{video: true}},
	}
	pos, err := fileHeader(r, size)
	for n := 0; err == nil; n++ {
		if n%scanStep == 0 && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		next, scanErr := s.tag(pos)
		if err = scanErr; next == pos {
			break
		}
		pos = next
	}
	if err != nil {
		return nil, err
	}
	s.x.Rest = size - pos
	if err := s.x.complete(&s.video, &s.audio); err != nil {
		return nil, err
	}
	return s.x, nil
}

// fileHeader checks the file header and returns where the first tag begins.
func fileHeader(r io.ReaderAt, size int64) (int64, error) {
	in := io.NewSectionReader(r, 0, size)
	if _, err := flv.NewReader(in).Header(); err == io.EOF || err == io.ErrUnexpectedEOF {
		return 0, fmt.Errorf("%w: file of %d bytes", flv.ErrFormat, size)
	} else if err != nil {
		return 0, fmt.Errorf("mp4: %w", err)
	}
	pos, err := in.Seek(0, io.SeekCurrent)
	return pos, err
}

// scanner collects the samples of a file.
type scanner struct {
	in           window
	x            *Index
	video, audio track
	// now is the time of the last frame in ms, stamp its timestamp, of which only
	// differences count: it wraps.
	now   int64
	stamp uint32
	began bool
}

// tag looks at the tag at pos and returns where the next one begins: pos if there is no whole
// tag, or no tag at all.
func (s *scanner) tag(pos int64) (next int64, err error) {
	left := s.in.size - pos
	if left < flv.TagOverhead {
		return pos, nil
	}
	b, err := s.in.bytes(pos, int(min(tagHeader+bodyHead, left)))
	if err != nil {
		return pos, err
	}
	n := int(uint24(b[1:]))
	if left < int64(flv.TagOverhead+n) {
		return pos, nil
	}
	t := flv.Tag{Type: flv.Type(b[0]), Timestamp: uint32(b[7])<<24 | uint24(b[4:])}
	next = pos + int64(flv.TagOverhead+n)
	switch t.Type {
	case flv.TypeAudio, flv.TypeVideo:
		t.Data = b[tagHeader:min(tagHeader+n, len(b))]
		return next, s.body(t, pos+tagHeader, n)
	case flv.TypeScript, flv.TypeScriptAMF3:
		return next, nil
	}
	// Another type is a tag if its size stands behind it, as flv.Reader has it.
	back, err := s.in.bytes(next-backSize, backSize)
	if err != nil {
		return pos, err
	}
	if binary.BigEndian.Uint32(back) != uint32(tagHeader+n) {
		return pos, nil
	}
	return next, nil
}

// body takes a body of n bytes at pos in the file, of which t holds the first ones.
func (s *scanner) body(t flv.Tag, pos int64, n int) error {
	p, err := t.Packet()
	if head := len(t.Data); head < n && (err != nil || !toTheEnd(t, p)) || p.Kind == flv.KindConfig {
		var readErr error
		if t.Data, readErr = s.in.all(pos, n); readErr != nil {
			return readErr
		}
		p, err = t.Packet()
	}
	if err != nil {
		s.x.Skipped++
		return nil
	}
	if p.Track != 0 {
		return nil
	}
	tr := &s.audio
	if t.Type == flv.TypeVideo {
		tr = &s.video
	}
	switch p.Kind {
	case flv.KindConfig:
		s.config(tr, p)
	case flv.KindFrame:
		return s.frame(tr, t, p, pos, n)
	}
	return nil
}

// toTheEnd reports whether the payload of a body reaches to its end, wherever that is.
// It does not only where a body has several tracks; then the sizes of these say so,
// and the head of the body does not make sense without the rest, or by chance only.
func toTheEnd(t flv.Tag, p flv.Packet) bool {
	if !p.Multitrack || p.Kind == flv.KindEnd {
		return true
	}
	shorter := t
	shorter.Data = t.Data[:len(t.Data)-1]
	q, err := shorter.Packet()
	return err == nil && len(q.Payload)+1 == len(p.Payload)
}

// config takes a codec header.
func (s *scanner) config(t *track, p flv.Packet) {
	switch {
	case !supported(p.Codec, t.video):
		s.x.omit(p.Codec)
	case t.codec != 0 && t.codec != p.Codec, !t.describe(p):
		s.x.Skipped++
	}
}

// frame takes a frame of a body of n bytes at pos in the file.
func (s *scanner) frame(t *track, tag flv.Tag, p flv.Packet, pos int64, n int) error {
	if !supported(p.Codec, t.video) {
		if p.Codec != 0 { // else it is silence
			s.x.omit(p.Codec)
		}
		return nil
	}
	// A payload is a part of the body, and no slice of it has been cut at its capacity.
	offset := cap(tag.Data) - cap(p.Payload)
	size := len(p.Payload)
	if offset+size == len(tag.Data) {
		size = n - offset
	}
	if size <= 0 || cap(p.Payload) == 0 {
		return nil
	}
	if t.codec == 0 && !describedByFrames(p.Codec) || t.codec != 0 && t.codec != p.Codec || t.samples.n == 0 && t.video && !p.Key {
		s.x.Skipped++
		return nil
	}
	if ok, err := s.describe(t, p, pos+int64(offset), size); !ok {
		return err
	}
	if s.video.samples.n+s.audio.samples.n == maxSamples {
		return ErrTooLarge
	}
	now, err := s.time(t, tag.Timestamp)
	if err != nil {
		return err
	}
	t.add(sample{
		offset: pos + int64(offset), size: uint32(size),
		time: now, composition: p.CompositionTime, key: p.Key,
	}, p.Payload)
	return nil
}

// describe has a frame of size bytes at pos tell what the codec header did not. It reports
// whether the frame can be shown.
func (s *scanner) describe(t *track, p flv.Packet, pos int64, size int) (bool, error) {
	if t.codec == 0 && !t.describe(p) {
		s.x.Skipped++
		return false, nil
	}
	if d := &t.descriptions[t.current]; p.Key && d.width == 0 && !d.asked {
		d.asked = true
		var err error
		if p.Payload, err = s.in.all(pos, min(size, keyHead)); err != nil {
			return false, err
		}
		if f, err := flv.ParseVideoConfig(p); err == nil {
			d.width, d.height = f.Width, f.Height
		}
	}
	return true, nil
}

// maxStepBack is by how much timestamps of a track may go back, in ms, and be taken as they
// are. Further back they begin anew, and go on from where they were.
const maxStepBack = 1000

// time returns the time of a frame by its timestamp.
func (s *scanner) time(t *track, stamp uint32) (int64, error) {
	if s.began {
		s.now += int64(int32(stamp - s.stamp))
	} else {
		s.now, s.began = int64(stamp), true
	}
	s.stamp = stamp
	if last := t.samples.end.time; t.samples.n > 0 && s.now < last-maxStepBack {
		s.now = last
	}
	if s.now > maxTime || s.now < -maxTime {
		return 0, fmt.Errorf("%w: times of more than %d ms", flv.ErrFormat, int64(maxTime))
	}
	return s.now, nil
}

func uint24(b []byte) uint32 { return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]) }
