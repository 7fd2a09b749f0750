package check

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"sluice/cmd/sluice/demo"
	"sluice/flv"
	"sluice/flv/amf"
)

// clip makes the tags of a test: the demo's, cut so that a key frame comes each second, and each
// frame with a number in it that no other frame has, so that none can be taken for another. Any
// decoder plays it: what is added are a message in H.264 (SEI, user data: ITU-T H.264 D.1.6) and a
// data stream element in AAC (ISO/IEC 14496-3 §4.4.1.1), which decoders skip.
type clip struct {
	header []flv.Tag // metadata and codec headers
	video  []flv.Tag // of whole GOPs, gopFrames each
	audio  []flv.Tag
	length int     // bytes of a NAL unit's length
	id     [8]byte // in each frame, so that those of another test are others
}

// The form of the demo's clip, which newClip checks.
const (
	frameTime  = 40   // ms
	gopFrames  = 25   // of a GOP that are sent: one second
	demoGOP    = 50   // frames of a GOP in the demo's clip
	sampleRate = 48   // of the sound, in kHz
	samples    = 1024 // of a frame of sound
	trackAudio = 0
	trackVideo = 1
	bothTracks = 2
)

var errClip = errors.New("the built-in clip is not what it should be")

// newClip takes the demo's clip apart.
func newClip() (*clip, error) {
	c := new(clip)
	rand.Read(c.id[:]) // never fails
	r := flv.NewReader(bytes.NewReader(demo.Clip()))
	frames := 0
	for {
		tag, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errClip, err)
		}
		if tag.Type == flv.TypeScript {
			continue
		}
		p, err := tag.Packet()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errClip, err)
		}
		switch {
		case p.Kind == flv.KindConfig:
			c.header = append(c.header, tag)
			if tag.Type == flv.TypeVideo && len(p.Payload) > 4 {
				c.length = int(p.Payload[4]&3) + 1 // avcC, lengthSizeMinusOne (ISO/IEC 14496-15 §5.3.3.1)
			}
		case p.Kind != flv.KindFrame:
		case tag.Type == flv.TypeAudio:
			c.audio = append(c.audio, tag)
		default:
			if p.Key != (frames%demoGOP == 0) {
				return nil, fmt.Errorf("%w: frame %d", errClip, frames)
			}
			if frames%demoGOP < gopFrames {
				c.video = append(c.video, tag)
			}
			frames++
		}
	}
	if len(c.header) != bothTracks || c.length != 4 || len(c.audio) == 0 || len(c.video) == 0 || len(c.video)%gopFrames != 0 {
		return nil, errClip
	}
	c.header = append([]flv.Tag{{Type: flv.TypeScript, Data: metadata()}}, c.header...)
	return c, nil
}

// metadata returns the body of an onMetaData.
func metadata() []byte {
	return amf.AppendAMF0(nil, "onMetaData", amf.ECMAArray{
		{Name: "width", Value: 640.0}, {Name: "height", Value: 360.0}, {Name: "framerate", Value: 1000.0 / frameTime},
		{Name: "videocodecid", Value: 7.0}, {Name: "videodatarate", Value: 200.0},
		{Name: "audiocodecid", Value: 10.0}, {Name: "audiodatarate", Value: 48.0}, {Name: "audiosamplerate", Value: 1000.0 * sampleRate},
		{Name: "audiosamplesize", Value: 16.0}, {Name: "stereo", Value: true}, {Name: "encoder", Value: "sluice check"},
	})
}

// frame returns frame n of a track, from 0 on, with its timestamp.
func (c *clip) frame(track, n int) flv.Tag {
	if track == trackVideo {
		tag := c.video[n%len(c.video)]
		tag.Timestamp = uint32(n * frameTime)
		tag.Data = c.numberVideo(tag.Data, n)
		return tag
	}
	tag := c.audio[n%len(c.audio)]
	tag.Timestamp = uint32((n*samples + sampleRate/2) / sampleRate)
	tag.Data = c.numberAudio(tag.Data, n)
	return tag
}

// number returns what is written into frame n: the test's id and n, as hexadecimal digits, among
// which are no zero bytes, which mean something in H.264.
func (c *clip) number(n int) []byte {
	return hex.AppendEncode(nil, binary.BigEndian.AppendUint32(c.id[:len(c.id):len(c.id)], uint32(n)))
}

// seiUUID says whose user data it is.
const seiUUID = "sluice-selftest!"

// Bytes of H.264 (ITU-T H.264 §7.3) and of bodies.
const (
	videoHead  = 5    // of a body, before the NAL units: type and codec, packet type, composition time
	nalSEI     = 0x06 // NAL unit header: a message
	seiUser    = 5    // user data that is not registered
	rbspEnd    = 0x80
	audioHead  = 2    // of a body, before the frame
	elementDSE = 0x80 // id_syn_ele 4, tag 0, not aligned since what follows is
)

// numberVideo returns the body of a video frame with an SEI message before its NAL units.
func (c *clip) numberVideo(body []byte, n int) []byte {
	number := c.number(n)
	size := len(seiUUID) + len(number)
	sei := append([]byte{nalSEI, seiUser, byte(size)}, seiUUID...)
	sei = append(append(sei, number...), rbspEnd)
	out := append(make([]byte, 0, len(body)+len(sei)+4), body[:videoHead]...)
	out = binary.BigEndian.AppendUint32(out, uint32(len(sei)))
	return append(append(out, sei...), body[videoHead:]...)
}

// numberAudio returns the body of an AAC frame with a data stream element before its others.
func (c *clip) numberAudio(body []byte, n int) []byte {
	number := c.number(n)
	out := append(make([]byte, 0, len(body)+len(number)+2), body[:audioHead]...)
	out = append(out, elementDSE, byte(len(number)))
	return append(append(out, number...), body[audioHead:]...)
}

// due returns when a frame is to be sent, from the first on.
func due(t flv.Tag) time.Duration { return time.Duration(t.Timestamp) * time.Millisecond }
