package flv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"slices"
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

// addBodies makes seeds of what encoders sent and of the golden bytes. add is given
// tags, audio and video.
func addBodies(f *testing.F, add func(Tag)) {
	for _, g := range readGolden(f) {
		add(g.tag)
	}
	for _, file := range captured(f) {
		tags, err := readAll(NewReader(bytes.NewReader(file)))
		if err != io.EOF {
			f.Fatal(err)
		}
		for _, tag := range tags {
			const enough = 512 // bytes of a seed
			if tag.Type != TypeScript && len(tag.Data) < enough {
				add(tag)
			}
		}
	}
}

// fuzzTag is an audio or video tag.
func fuzzTag(video bool, body []byte) Tag {
	if video {
		return Tag{Type: TypeVideo, Data: body}
	}
	return Tag{Type: TypeAudio, Data: body}
}

// appendBody is the inverse of Tag.Packet.
func appendBody(t Type, dst []byte, p Packet) ([]byte, error) {
	if t == TypeVideo {
		return AppendVideo(dst, p)
	}
	return AppendAudio(dst, p)
}

// FuzzPacket: a body that is understood can be built again from its Packet,
// unless that kind of body is not known, and means the same then. Codec headers
// are parsed along.
func FuzzPacket(f *testing.F) {
	addBodies(f, func(tag Tag) { f.Add(tag.Type == TypeVideo, tag.Data) })
	f.Fuzz(func(t *testing.T, video bool, body []byte) {
		tag := fuzzTag(video, body)
		p, err := tag.Packet()
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		if !within(p.Payload, body) {
			t.Fatal("the payload lies outside of the body")
		}
		checkConfig(t, p)
		if p.Kind != KindUnknown {
			checkRoundTrip(t, tag.Type, p)
		}
	})
}

// checkRoundTrip: p can be built, and is read again as it is.
func checkRoundTrip(t *testing.T, typ Type, p Packet) {
	body, err := appendBody(typ, nil, p)
	if err != nil {
		t.Fatalf("%+v: %v", p, err)
	}
	q, err := Tag{Type: typ, Data: body}.Packet()
	if err != nil {
		t.Fatalf("%+v became % x: %v", p, body, err)
	}
	if p.Frame == 0 { // not in FLV; stands for the usual type when appending
		q.Frame = 0
	}
	checkEqual(t, p, q)
}

func checkEqual(t *testing.T, p, q Packet) {
	if !bytes.Equal(p.Payload, q.Payload) {
		t.Fatalf("payload % x became % x", p.Payload, q.Payload)
	}
	p.Payload, q.Payload = nil, nil
	if !reflect.DeepEqual(p, q) {
		t.Fatalf("%+v became %+v", p, q)
	}
}

// FuzzTracks: the tracks of a body lie in it one after the other, Packet is one of
// them, and each can be built as a body of its own.
func FuzzTracks(f *testing.F) {
	addBodies(f, func(tag Tag) { f.Add(tag.Type == TypeVideo, tag.Data) })
	f.Fuzz(func(t *testing.T, video bool, body []byte) {
		tag := fuzzTag(video, body)
		tracks, err := tag.AppendPackets(nil)
		settled, packetErr := tag.Packet()
		if (err == nil) != (packetErr == nil) {
			t.Fatalf("AppendPackets says %v, Packet %v", err, packetErr)
		}
		if err != nil {
			if len(tracks) > 0 || !errors.Is(err, ErrFormat) {
				t.Fatalf("%d tracks, then %v", len(tracks), err)
			}
			return
		}
		if len(tracks) == 0 || len(tracks) > maxTracks {
			t.Fatalf("%d tracks", len(tracks))
		}
		main, rest := tracks[0], body
		for _, p := range tracks {
			if !within(p.Payload, rest) {
				t.Fatal("payloads overlap, or lie outside of the body")
			}
			if len(p.Payload) > 0 {
				rest = rest[cap(rest)-cap(p.Payload)+len(p.Payload):]
			}
			if p.Track == 0 && main.Track != 0 {
				main = p
			}
			if p.Enhanced != tracks[0].Enhanced || p.Multitrack != tracks[0].Multitrack || p.Kind != tracks[0].Kind {
				t.Fatalf("%+v beside %+v", p, tracks[0])
			}
			if !p.Multitrack && (len(tracks) > 1 || p.Track != 0) {
				t.Fatalf("%d tracks and %+v", len(tracks), p)
			}
			if p.Kind != KindUnknown {
				checkRoundTrip(t, tag.Type, p)
			}
		}
		checkEqual(t, main, settled)
	})
}

// FuzzShape: whatever a body is, each shape makes of it nothing or a body that says
// the same of the track, in the form that was asked for.
func FuzzShape(f *testing.F) {
	addBodies(f, func(tag Tag) { f.Add(tag.Type == TypeVideo, tag.Data) })
	shapes := allShapes()
	f.Fuzz(func(t *testing.T, video bool, body []byte) {
		for _, s := range shapes {
			checkShape(t, s, fuzzTag(video, body))
		}
	})
}

func checkShape(t *testing.T, s Shape, tag Tag) {
	sent := bytes.Clone(tag.Data)
	scratch := append(make([]byte, 0, 32), "before"...)
	got, ok := s.Apply(tag, &scratch)
	same := len(scratch) == 6 // nothing was appended
	switch {
	case !bytes.Equal(sent, tag.Data), string(scratch[:6]) != "before":
		t.Fatal("it wrote where it must not")
	case s == (Shape{}) && !(ok && same && bytes.Equal(got, sent)):
		t.Fatal("changed")
	case !ok && !same:
		t.Fatal("scratch used for nothing")
	case !ok:
		return
	}
	requireStable(t, s, Tag{Type: tag.Type, Data: got})
	if same {
		if len(got) != len(sent) || len(got) > 0 && &got[0] != &tag.Data[0] {
			t.Fatal("neither the body nor a new one")
		}
		return
	}
	p, _ := s.choose(tag)
	q, err := Tag{Type: tag.Type, Data: got}.Packet()
	if err != nil || q.Multitrack || q.Nanos != 0 {
		t.Fatalf("% x became % x: %+v, %v", tag.Data, got, q, err)
	}
	checkCodecID(t, s, p, Tag{Type: tag.Type, Data: got})
	p.Multitrack, p.Track, p.Nanos, p.Sound, q.Sound = false, 0, 0, 0, 0
	p.Enhanced = q.Enhanced
	p.Key = p.Kind == KindFrame && p.Frame == FrameKey
	if p.Frame == 0 {
		p.Frame = q.Frame
	}
	if q.Enhanced && !q.Codec.hasCompositionTime() {
		p.CompositionTime = 0
	}
	checkEqual(t, p, q)
}

// checkCodecID: onMetaData will name the codec of p as made, the body made of it, does.
func checkCodecID(t *testing.T, s Shape, p Packet, made Tag) {
	if made.Type == TypeVideo && !p.Codec.Video() || made.Type == TypeAudio && !p.Codec.Audio() {
		return // a FourCC in the wrong place, or one that is not known
	}
	var named float64
	switch head := made.Data[0]; {
	case head&exVideoBit != 0 && made.Type == TypeVideo, head>>4 == soundEnhanced && made.Type == TypeAudio:
		named = float64(binary.BigEndian.Uint32(made.Data[1:]))
	case made.Type == TypeVideo:
		named = float64(head & 0x0f)
	default:
		named = float64(head >> 4)
	}
	if id := s.CodecID(p.Codec, p.Enhanced); id != named {
		t.Fatalf("%v for % x", id, made.Data)
	}
}

// configCodecs are the codecs of FuzzConfig. The order is that of its seeds.
var configCodecs = []Codec{
	CodecH264, CodecHEVC, CodecVVC, CodecAV1, CodecVP9, CodecVP8, CodecH263,
	CodecAAC, CodecOpus, CodecFLAC, CodecMP3, CodecAC3, CodecEAC3,
}

// FuzzConfig: whatever a codec header or the first frame is, it tells a format within
// bounds or one of the two errors, and the same again.
func FuzzConfig(f *testing.F) {
	for _, c := range videoFormats {
		f.Add(byte(slices.Index(configCodecs, c.codec)), false, unhex(f, c.config))
	}
	for _, c := range keyFrames {
		f.Add(byte(slices.Index(configCodecs, c.codec)), true, unhex(f, c.config))
	}
	for _, c := range encodedVideo {
		f.Add(byte(slices.Index(configCodecs, c.codec)), c.kind == KindFrame, unhex(f, c.header))
	}
	for _, c := range encodedAudio {
		f.Add(byte(slices.Index(configCodecs, c.codec)), c.kind == KindFrame, unhex(f, c.header))
	}
	addBodies(f, func(tag Tag) {
		p, err := tag.Packet()
		if i := slices.Index(configCodecs, p.Codec); err == nil && i >= 0 && len(p.Payload) > 3 {
			f.Add(byte(i), p.Kind == KindFrame, p.Payload)
		}
	})
	f.Fuzz(func(t *testing.T, codec byte, frame bool, payload []byte) {
		p := Packet{Codec: configCodecs[int(codec)%len(configCodecs)], Kind: KindConfig, Payload: payload, Enhanced: true}
		if frame {
			p.Kind, p.Frame = KindFrame, FrameKey
		}
		checkConfig(t, p)
	})
}

// checkConfig: what a packet tells of its format is within bounds, and nothing but
// its own bytes counts.
func checkConfig(t *testing.T, p Packet) {
	video, err := ParseVideoConfig(p)
	checkFormatError(t, err)
	if video.Width < 0 || video.Height < 0 || video.Width > maxDimension || video.Height > maxDimension ||
		!(video.FrameRate >= 0 && video.FrameRate <= maxFrameRate) || err == nil && video.Codec != p.Codec {
		t.Fatalf("%+v", video)
	}
	audio, err := ParseAudioConfig(p)
	checkFormatError(t, err)
	if audio.SampleRate < 0 || audio.SampleRate > maxSampleRate || audio.Channels < 0 || audio.Channels > 255 ||
		err == nil && audio.Codec != p.Codec {
		t.Fatalf("%+v", audio)
	}
	p.Payload = append(bytes.Clone(p.Payload), 0xff, 0x80, 0x01)[:len(p.Payload)]
	if again, _ := ParseVideoConfig(p); again != video {
		t.Fatalf("%+v, then %+v", video, again)
	}
	if again, _ := ParseAudioConfig(p); again != audio {
		t.Fatalf("%+v, then %+v", audio, again)
	}
}

func checkFormatError(t *testing.T, err error) {
	if err != nil && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrNoFormat) {
		t.Fatal(err)
	}
}

func within(part, whole []byte) bool {
	if len(part) == 0 {
		return true
	}
	first := uintptr(unsafe.Pointer(unsafe.SliceData(whole)))
	at := uintptr(unsafe.Pointer(unsafe.SliceData(part)))
	return at >= first && at+uintptr(len(part)) <= first+uintptr(len(whole))
}
