//go:build unix

package main

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"sluice/flv"
	"sluice/flv/amf"
)

// madeStream says what a made-up stream is to be like: H.264 and AAC in all that
// a gateway looks at, random bytes in the rest, so that no two frames are alike.
type madeStream struct {
	gop          time.Duration
	video, audio int // bits per second
	key          int // bytes of a key frame
}

// Rates of a made-up stream; an AAC frame has 1024 samples.
const (
	madeFPS        = 25
	madeSampleRate = 44100
)

var (
	// stream200k has 200 kbps altogether, 68 frames a second.
	stream200k = madeStream{gop: 2 * time.Second, video: 152_000, audio: 48_000, key: 10_000}
	// stream2M is like 1080p at 2 Mbps.
	stream2M = madeStream{gop: 2 * time.Second, video: 1_872_000, audio: 128_000, key: 100_000}
)

// madeHeader is what a made-up stream begins with: metadata and codec headers.
func madeHeader() []flv.Tag {
	return []flv.Tag{
		{Type: flv.TypeScript, Data: amf.AppendAMF0(nil, "onMetaData", amf.ECMAArray{
			{Name: "width", Value: 1920.0}, {Name: "height", Value: 1080.0}, {Name: "framerate", Value: float64(madeFPS)},
			{Name: "videocodecid", Value: 7.0}, {Name: "audiocodecid", Value: 10.0},
		})},
		{Type: flv.TypeVideo, Data: []byte("\x17\x00\x00\x00\x00" + // avcC of Main, 1920 × 1080
			"\x01\x4d\x40\x28\xff\xe1\x00\x18\x67\x4d\x40\x28\xec\xa0\x3c\x01\x13\xf2\xe0\x22" +
			"\x00\x00\x07\xd2\x00\x01\xd4\xc0\x1e\x30\x63\x2c\x01\x00\x05\x68\xeb\xe3\xcb\x20")},
		{Type: flv.TypeAudio, Data: []byte("\xaf\x00\x12\x10")}, // LC, 44.1 kHz, stereo
	}
}

// frames returns the frames of the first d of the stream, which begins with a key
// frame, in the order of their timestamps.
func (m madeStream) frames(d time.Duration) []flv.Tag {
	random := rand.NewChaCha8([32]byte{})
	body := func(head string, size int) []byte {
		b := make([]byte, max(size, len(head)))
		random.Read(b[copy(b, head):])
		return b
	}
	perGOP := int(m.gop.Seconds() * madeFPS)
	inter := (m.video*perGOP/madeFPS/8 - m.key) / (perGOP - 1)
	var frames []flv.Tag
	for v, a := 0, 0; ; {
		t := flv.Tag{Type: flv.TypeVideo, Timestamp: uint32(v * 1000 / madeFPS)}
		if ts := uint32(a * 1024 * 1000 / madeSampleRate); ts < t.Timestamp {
			t = flv.Tag{Type: flv.TypeAudio, Timestamp: ts}
		}
		switch {
		case t.Timestamp >= uint32(d.Milliseconds()):
			return frames
		case t.Type == flv.TypeAudio:
			t.Data = body("\xaf\x01", m.audio*1024/madeSampleRate/8)
			a++
		case v%perGOP == 0:
			t.Data = nalUnit(body("\x17\x01\x00\x00\x00LLLL\x65", m.key))
			v++
		default:
			t.Data = nalUnit(body("\x27\x01\x00\x00\x00LLLL\x41", inter))
			v++
		}
		frames = append(frames, t)
	}
}

// nalUnit makes what follows the head of a video body one NAL unit behind its
// length.
func nalUnit(body []byte) []byte {
	binary.BigEndian.PutUint32(body[5:], uint32(len(body)-9))
	return body
}

// isKeyFrame reports whether a tag holds a key frame.
func isKeyFrame(t flv.Tag) bool {
	if t.Type != flv.TypeVideo {
		return false
	}
	p, err := t.Packet()
	return err == nil && p.Kind == flv.KindFrame && p.Key
}
