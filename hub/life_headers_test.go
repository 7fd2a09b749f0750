package hub_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
)

// lifeFormat is what an encoder may send as a track: a codec, and what its header says.
type lifeFormat struct {
	name   string
	typ    flv.Type
	code   byte   // the first byte of a key frame's body, of a header's, and of all sound
	inter  byte   // of other frames of video
	header []byte // nil for a codec that needs none
	equal  []byte // a header of other bytes that says the same
	step   int64  // µs between frames
}

var lifeFormats = []lifeFormat{
	{"360p", flv.TypeVideo, 0x17, 0x27, avcc(640, 360, 0x80), avcc(640, 360, 0xa0), 40_000},
	{"turned", flv.TypeVideo, 0x17, 0x27, avcc(360, 640, 0x80), avcc(360, 640, 0xa0), 40_000},
	{"hevc", flv.TypeVideo, 0x1c, 0x2c, hvcc(1), hvcc(2), 40_000},
	{"44k", flv.TypeAudio, 0xaf, 0, []byte{0x12, 0x10}, []byte{0x12, 0x10, 0x56, 0xe5, 0}, 1024_000_000 / 44_100},
	{"48k", flv.TypeAudio, 0xaf, 0, []byte{0x11, 0x90}, []byte{0x11, 0x90, 0x56, 0xe5, 0}, 1024_000_000 / 48_000},
	{"mono", flv.TypeAudio, 0xaf, 0, []byte{0x12, 0x08}, []byte{0x12, 0x08, 0x56, 0xe5, 0}, 1024_000_000 / 44_100},
	{"mp3", flv.TypeAudio, 0x2f, 0, nil, nil, 1152_000_000 / 44_100},
}

func (f *lifeFormat) aac() bool { return f.code == 0xaf }

// id returns what stands for the codec in metadata.
func (f *lifeFormat) id() float64 {
	if f.typ == flv.TypeVideo {
		return float64(f.code & 0x0f)
	}
	return float64(f.code >> 4)
}

// config returns the tag of a header.
func (f *lifeFormat) config(header []byte) flv.Tag {
	if f.typ == flv.TypeVideo {
		return flv.Tag{Type: f.typ, Data: append([]byte{f.code, 0, 0, 0, 0}, header...)}
	}
	return flv.Tag{Type: f.typ, Data: append([]byte{f.code, 0}, header...)}
}

// frame returns the body of a frame that tells its number.
func (f *lifeFormat) frame(key bool, number int) []byte {
	body := []byte{f.code}
	switch {
	case f.typ == flv.TypeVideo:
		if !key {
			body[0] = f.inter
		}
		body = append(body, 1, 0, 0, 0)
	case f.aac():
		body = append(body, 1)
	}
	return binary.BigEndian.AppendUint32(append(body, lifeMark...), uint32(number))
}

const lifeMark = "real"

// lifeNumber returns what frame put into the payload, false for a frame that the
// publisher did not send.
func lifeNumber(p flv.Packet) (int, bool) {
	rest, ok := strings.CutPrefix(string(p.Payload), lifeMark)
	if !ok || len(rest) != 4 {
		return 0, false
	}
	return int(binary.BigEndian.Uint32([]byte(rest))), true
}

// bits is a bit string under construction, for headers.
type bits []byte

func (b *bits) put(n int, v uint) {
	for i := n - 1; i >= 0; i-- {
		*b = append(*b, byte(v>>i&1))
	}
}

// ue puts an Exp-Golomb code (ITU-T H.264 §9.1).
func (b *bits) ue(v uint) {
	n := 0
	for (v+1)>>(n+1) != 0 {
		n++
	}
	b.put(n, 0)
	b.put(n+1, v+1)
}

func (b *bits) bytes() []byte {
	b.put(1, 1) // rbsp_stop_one_bit
	out := make([]byte, (len(*b)+7)/8)
	for i, bit := range *b {
		out[i/8] |= bit << (7 - i%8)
	}
	return out
}

// avcc returns an AVCDecoderConfigurationRecord of Baseline profile for a picture of
// even size (ITU-T H.264 §7.3.2.1.1), with a picture parameter set that ends in pps.
func avcc(width, height uint, pps byte) []byte {
	var b bits
	b.ue(0)     // seq_parameter_set_id
	b.ue(0)     // log2_max_frame_num_minus4
	b.ue(2)     // pic_order_cnt_type
	b.ue(1)     // max_num_ref_frames
	b.put(1, 0) // gaps_in_frame_num_value_allowed_flag
	columns, rows := (width+15)/16, (height+15)/16
	b.ue(columns - 1)
	b.ue(rows - 1)
	b.put(1, 1) // frame_mbs_only_flag
	b.put(1, 1) // direct_8x8_inference_flag
	b.put(1, 1) // frame_cropping_flag
	b.ue(0)
	b.ue((16*columns - width) / 2)
	b.ue(0)
	b.ue((16*rows - height) / 2)
	b.put(1, 0) // vui_parameters_present_flag
	sps := append([]byte{0x67, 0x42, 0xc0, 0x1e}, b.bytes()...)
	out := []byte{1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0, byte(len(sps))}
	out = append(out, sps...)
	return append(out, 1, 0, 4, 0x68, 0xce, 0x3c, pps)
}

// hvcc returns an HEVCDecoderConfigurationRecord of Main profile that leaves the
// parameter sets to the stream, and differs in the frame rate that it names.
func hvcc(rate byte) []byte {
	out := make([]byte, 23)
	out[0], out[1], out[2], out[20] = 1, 1, 0x60, rate
	return out
}

// What the headers say is what their names say.
func TestLifeHeaders(t *testing.T) {
	says := map[string]string{
		"360p": "H.264 640x360", "turned": "H.264 360x640", "hevc": "HEVC 0x0",
		"44k": "AAC LC 44100 2", "48k": "AAC LC 48000 2", "mono": "AAC LC 44100 1",
	}
	for _, f := range lifeFormats {
		for _, header := range [][]byte{f.header, f.equal} {
			if header == nil {
				continue
			}
			p, err := f.config(header).Packet()
			require.NoError(t, err)
			if f.typ == flv.TypeVideo {
				v, err := flv.ParseVideoConfig(p)
				require.NoError(t, err)
				assert.Equal(t, says[f.name], fmt.Sprintf("%v %dx%d", v.Codec, v.Width, v.Height))
				continue
			}
			a, err := flv.ParseAudioConfig(p)
			require.NoError(t, err)
			assert.Equal(t, says[f.name], fmt.Sprint(a.Codec, " ", a.Profile, " ", a.SampleRate, " ", a.Channels))
		}
	}
}
