package flv

import (
	"bytes"
	"io"
	"testing"
	"unsafe"
)

// FuzzReader: what a Reader makes of a file does not depend on how its bytes
// come in, and what it has read is written and read again unchanged.
func FuzzReader(f *testing.F) {
	f.Fuzz(func(t *testing.T, file []byte, step byte) {
		tags, end := readAll(NewReader(bytes.NewReader(file)))
		sliced, slicedEnd := readAll(NewReader(&stepReader{file, int(step)%7 + 1}))
		if !equalTags(tags, sliced) || (end == io.EOF) != (slicedEnd == io.EOF) {
			t.Fatalf("%d tags and %v at once, %d and %v in pieces", len(tags), end, len(sliced), slicedEnd)
		}
		total := 0
		var out bytes.Buffer
		w := NewWriter(&out, true, true)
		for _, tag := range tags {
			total += tag.Size()
			if err := w.WriteTag(tag); err != nil {
				t.Fatal(err)
			}
		}
		if total > len(file) {
			t.Fatalf("%d bytes of tags out of %d", total, len(file))
		}
		again, err := readAll(NewReader(&out))
		if err != io.EOF || !equalTags(tags, again) {
			t.Fatalf("written and read again: %d tags and %v, not %d", len(again), err, len(tags))
		}
	})
}

// stepReader gives out a few bytes at a time.
type stepReader struct {
	b    []byte
	step int
}

func (r *stepReader) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.b[:min(r.step, len(r.b))])
	r.b = r.b[n:]
	return n, nil
}

func equalTags(a, b []Tag) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Type != b[i].Type || a[i].Timestamp != b[i].Timestamp || !bytes.Equal(a[i].Data, b[i].Data) {
			return false
		}
	}
	return true
}

// FuzzPacket: a body that is understood can be built again from its Packet,
// unless that kind of body is not known, and means the same then. Codec headers
// are parsed along.
func FuzzPacket(f *testing.F) {
	f.Fuzz(func(t *testing.T, video bool, body []byte) {
		parse, appendTo := ParseAudio, AppendAudio
		if video {
			parse, appendTo = ParseVideo, AppendVideo
		}
		p, err := parse(body)
		if err != nil {
			return
		}
		if !within(p.Payload, body) {
			t.Fatal("the payload lies outside of the body")
		}
		if f, err := ParseVideoConfig(p); err == nil && (f.Width < 0 || f.Height < 0 || f.Width > maxDimension || f.Height > maxDimension) {
			t.Fatalf("%+v", f)
		}
		if f, err := ParseAudioConfig(p); err == nil && (f.SampleRate < 0 || f.Channels < 0 || f.Channels > 255) {
			t.Fatalf("%+v", f)
		}
		if p.Kind == KindUnknown {
			return
		}
		again, err := appendTo(nil, p)
		if err != nil {
			t.Fatalf("%+v: %v", p, err)
		}
		q, err := parse(again)
		if err != nil {
			t.Fatalf("%+v became % x: %v", p, again, err)
		}
		if !bytes.Equal(p.Payload, q.Payload) {
			t.Fatalf("payload % x became % x", p.Payload, q.Payload)
		}
		p.Payload, q.Payload = nil, nil
		if p.Frame == 0 { // not in FLV; stands for the usual type when appending
			q.Frame = 0
		}
		if !equalPackets(p, q) {
			t.Fatalf("%+v became %+v", p, q)
		}
	})
}

func equalPackets(a, b Packet) bool {
	return a.Codec == b.Codec && a.Kind == b.Kind && a.Key == b.Key && a.Frame == b.Frame &&
		a.CompositionTime == b.CompositionTime && a.Nanos == b.Nanos && a.Enhanced == b.Enhanced &&
		a.Multitrack == b.Multitrack && a.Track == b.Track && a.Sound == b.Sound
}

func within(part, whole []byte) bool {
	if len(part) == 0 {
		return true
	}
	first := uintptr(unsafe.Pointer(unsafe.SliceData(whole)))
	at := uintptr(unsafe.Pointer(unsafe.SliceData(part)))
	return at >= first && at+uintptr(len(part)) <= first+uintptr(len(whole))
}
