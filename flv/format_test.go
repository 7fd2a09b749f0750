package flv

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// bitWriter builds the headers for which no encoder is at hand.
type bitWriter struct {
	b []byte
	n int // bits
}

func (w *bitWriter) u(n int, v uint64) *bitWriter {
	for i := n - 1; i >= 0; i-- {
		if w.n%8 == 0 {
			w.b = append(w.b, 0)
		}
		w.b[w.n/8] |= byte(v>>i&1) << (7 - w.n%8)
		w.n++
	}
	return w
}

// flags writes digits 0 and 1; spaces are free.
func (w *bitWriter) flags(digits string) *bitWriter {
	for _, d := range strings.ReplaceAll(digits, " ", "") {
		w.u(1, uint64(d-'0'))
	}
	return w
}

func (w *bitWriter) ue(values ...uint64) *bitWriter {
	for _, v := range values {
		bits := 0
		for v+1 >= 2<<bits {
			bits++
		}
		w.u(bits, 0).u(bits+1, v+1)
	}
	return w
}

func (w *bitWriter) se(values ...int64) *bitWriter {
	for _, v := range values {
		if v > 0 {
			w.ue(uint64(2*v - 1))
		} else {
			w.ue(uint64(-2 * v))
		}
	}
	return w
}

// nal returns what was written as a NAL unit, with emulation prevention and the
// length that codec headers put before it.
func (w *bitWriter) nal() []byte {
	out, zeros := []byte{0, 0}, 0
	for _, b := range w.b {
		if zeros == 2 && b <= 3 {
			out, zeros = append(out, 3), 0
		}
		if zeros++; b != 0 {
			zeros = 0
		}
		out = append(out, b)
	}
	out[0], out[1] = byte((len(out)-2)>>8), byte(len(out)-2)
	return out
}

// h264ByHand is an SPS with picture order count type 1, every part of the
// colour information, and timing.
func h264ByHand() []byte {
	w := (&bitWriter{}).u(8, 0x67).u(8, 66).u(8, 0).u(8, 30)
	w.ue(0, 0, 1).flags("0").se(0, -1).ue(2).se(5, -300)
	w.ue(1).flags("0").ue(19, 14).flags("1 1 0")
	w.flags("1") // usability information
	w.flags("1").u(8, 255).u(16, 4).u(16, 3)
	w.flags("1 1")
	w.flags("1 101 1 1").u(24, 0x010101)
	w.flags("1").ue(0, 0)
	w.flags("1").u(32, 1).u(32, 60).flags("1")
	return append([]byte{1, 66, 0, 30, 0xff, 0xe1}, w.nal()...)
}

// h264ScalingLists is an SPS of 4:4:4 with every kind of scaling list: absent,
// default, cut to its last value, whole.
func h264ScalingLists() []byte {
	w := (&bitWriter{}).u(8, 0x67).u(8, 244).u(8, 0).u(8, 30)
	w.ue(0, 3).flags("0").ue(0, 0).flags("0").flags("1")
	for list := range 12 {
		size := 16
		if list >= 6 {
			size = 64
		}
		switch list % 4 {
		case 0:
			w.flags("0")
		case 1:
			w.flags("1").se(-8) // 8 - 8 = 0: the default list
		case 2:
			w.flags("1").se(2, -10) // 10, then 0: 10 to the end
		case 3:
			w.flags("1")
			for i := range size {
				w.se(int64(i%3) - 1)
			}
		}
	}
	w.ue(0, 2, 1).flags("0").ue(19, 14).flags("1 1 1").ue(1, 0, 0, 2).flags("0 1")
	return append([]byte{1, 244, 0, 30, 0xff, 0xe1}, w.nal()...)
}

// hevcByHand is an SPS with everything that can stand before the timing.
func hevcByHand() []byte {
	w := (&bitWriter{}).u(16, 33<<9|1)
	w.u(4, 0).u(3, 2).flags("1")
	w.u(8, 4).u(80, 0).u(8, 93)              // general profile, tier, level
	w.flags("11 01").u(12, 0)                // two sub-layers, alignment
	w.u(88, 0).u(8, 60).u(8, 90)             // the first's profile and level, the second's level
	w.ue(0, 3).flags("0")                    // id, 4:4:4
	w.ue(648, 488).flags("1").ue(1, 2, 3, 4) // size, conformance window
	w.ue(2, 2, 4).flags("1")                 // bit depths, POC bits 8, ordering of each sub-layer
	w.ue(1, 2, 3, 1, 2, 3, 1, 2, 3)
	w.ue(0, 1, 2, 3, 4, 5)
	w.flags("1 1") // scaling lists
	for size := range 4 {
		for matrix := range 6 {
			if size == 3 && matrix%3 != 0 {
				continue
			}
			if matrix == 0 {
				w.flags("0").ue(0)
				continue
			}
			w.flags("1")
			if size > 1 {
				w.se(-7)
			}
			for i := range min(64, 1<<(4+2*size)) {
				w.se(int64(i%5) - 2)
			}
		}
	}
	w.flags("1 1")
	w.flags("1").u(8, 0x77).ue(0, 1).flags("1")                   // PCM
	w.ue(3)                                                       // short-term sets
	w.ue(2, 1).ue(0).flags("1").ue(1).flags("0").ue(2).flags("1") // first: three pictures
	w.flags("1 0").ue(0).flags("1 01 00 1")                       // second, from the first: keeps three of four
	w.flags("1 1").ue(1).flags("1 1 01 00")                       // third, from the second: four flags
	w.flags("1").ue(2).u(9, 1).u(9, 2)                            // long-term pictures
	w.flags("1 1")
	w.flags("1") // usability information
	w.flags("0 0 0 0").flags("000").flags("1").ue(1, 1, 1, 1)
	w.flags("1").u(32, 1001).u(32, 30000)
	record := make([]byte, 23)
	record[0], record[1], record[22] = 1, 4, 1
	return append(append(record, 33, 0, 1), w.nal()...)
}

// av1ByHand is a sequence header with timing, decoder model and two operating
// points.
func av1ByHand() []byte {
	w := (&bitWriter{}).u(3, 0).flags("0 0")
	w.flags("1").u(32, 1).u(32, 60).flags("1").ue(1) // two ticks a picture
	w.flags("1").u(5, 9).u(32, 1).u(5, 0).u(5, 0)    // delays of 10 bits
	w.flags("1").u(5, 1)
	w.u(12, 0).u(5, 8).flags("1 1").u(10, 1).u(10, 2).flags("0 1").u(4, 9)
	w.u(12, 0).u(5, 4).flags("0 0")
	w.u(4, 10).u(4, 9).u(11, 1279).u(10, 719)
	return append([]byte{0x81, 0, 0, 0, 0x12, 0, 0x0e, 0, byte(len(w.b))}, w.b...)
}

func av1Reduced() []byte {
	w := (&bitWriter{}).u(3, 1).flags("1 1").u(5, 0).u(4, 15).u(4, 15).u(16, 65535).u(16, 0)
	return append([]byte{0x81, 0x20, 0, 0, 0x08}, w.b...)
}

func vvcByHand(subLayers int) []byte {
	w := (&bitWriter{}).flags("11111 11 1").u(9, 0).u(3, uint64(subLayers)).flags("01 01 010 11111")
	w.u(2, 0).u(6, 2).u(7, 1).flags("0").u(8, 51).flags("11").u(14, 0)
	subProfiles := 0
	if subLayers == 3 {
		w.flags("10 000000").u(8, 48)
		subProfiles = 1
	}
	w.u(8, uint64(subProfiles)).u(32*subProfiles, 0)
	return w.u(16, 1920).u(16, 1080).u(16, 50*256).b
}

type videoFormatCase struct {
	name   string
	codec  Codec
	config string // hexadecimal
	want   VideoFormat
}

// videoFormats were written by x264, x265, libaom, SVT-AV1 and ffmpeg's own
// encoders, and cut behind the parameter sets.
var videoFormats = []videoFormatCase{
	{"x264 Constrained Baseline", CodecH264, "0142c00dffe100186742c00dd90141fb011000000300100000030320f142a48001000568cb83cb20", VideoFormat{Profile: "Constrained Baseline", Width: 320, Height: 240, FrameRate: 25}},
	{"x264 Main, cropped", CodecH264, "014d4028ffe10018674d4028eca03c0113f2e022000007d20001d4c01e30632c01000568ebe3cb20", VideoFormat{Profile: "Main", Width: 1920, Height: 1080, FrameRate: 30000.0 / 1001}},
	{"x264 High, interlaced", CodecH264, "0164001effe100186764001eacd940b424d8088000000300800000190f8a14cb01000768fba3cb3002c0fdf8f800", VideoFormat{Profile: "High", Width: 720, Height: 576, FrameRate: 25}},
	{"x264 High 4:2:2", CodecH264, "017a0020ffe1001a677a0020b6cd9405005bb011000003000100000300640f18319601000668ebe3cb22c0fefafa00", VideoFormat{Profile: "High 4:2:2", Width: 1280, Height: 720, FrameRate: 50}},
	{"x264 4:4:4, odd size", CodecH264, "01f4000cffe1001a67f4000c919b282a10f1f1f80880000003008000000c078a14cb01000868ebe3c44c000440fff8f800", VideoFormat{Profile: "High 4:4:4 Predictive", Width: 322, Height: 242, FrameRate: 12}},
	{"x264 High 10", CodecH264, "016e001fffe1001a676e001fa6cd940d83de6f0110000003001000000780f183196001000668ebe3cb22c0fdfafa00", VideoFormat{Profile: "High 10", Width: 854, Height: 480, FrameRate: 60}},
	{"H.264 without SPS", CodecH264, "014d401effe000", VideoFormat{Profile: "Main"}},
	{"x265 Main, cropped", CodecHEVC, "0101600000009000000000007bf000fcfdf8f800000f03200001001840010c01ffff01600000030090000003000003007b959809210001002942010101600000030090000003000003007ba003c08010e596566924caf01680800001f4800075300422000100074401c172b46240", VideoFormat{Profile: "Main", Width: 1920, Height: 1080, FrameRate: 60000.0 / 1001}},
	{"x265 Main 10, two temporal layers, scaling lists", CodecHEVC, "0102200000009000000000005af000fcfdfafa00001303200001001c40010c02ffff02200000030090000003000003005a00009598acc048210001002f42010202200000030090000003000003005a0000a006b201e1d6d965662b349272bc05a0200000030020000003030122000100074401c172b46240", VideoFormat{Profile: "Main 10", Width: 854, Height: 480, FrameRate: 24}},
	{"x265 4:2:2", CodecHEVC, "0104080000009d08000000003ff000fcfefafa00000f03200001001740010c01ffff0408000003009d0800000300003f959809210001002b4201010408000003009d0800000300003fb00a480f9c93b65959a4932bc05a02000003000200000300641022000100074401c172b46240", VideoFormat{Profile: "Range Extensions", Width: 322, Height: 242, FrameRate: 50}},
	{"HEVC without SPS", CodecHEVC, "0101600000009000000000007bf000fcfdf8f800000f00", VideoFormat{Profile: "Main"}},
	{"libaom", CodecAV1, "81000c000a0b000000043ea7bcdaf90040", VideoFormat{Profile: "Main", Width: 426, Height: 240}},
	{"libaom 4:4:4", CodecAV1, "812000000a0a20000003b40e136be408", VideoFormat{Profile: "High", Width: 130, Height: 98}},
	{"SVT-AV1", CodecAV1, "81014c000a0b0000000cc4ff6700be1010", VideoFormat{Profile: "Main", Width: 640, Height: 360}},
	{"AV1 without sequence header", CodecAV1, "81400000", VideoFormat{Profile: "Professional"}},
	{"VP9 record", CodecVP9, "02 1f a2 01 01 01 0000", VideoFormat{Profile: "Profile 2"}},
	{"VP9 record with the box's head", CodecVP9, "01000000 00 1f 82 01 01 01 0000", VideoFormat{Profile: "Profile 0"}},
	{"VVC without profile, tier, level", CodecVVC, "fe00", VideoFormat{}},
}

// keyFrames are the first bytes of frames by libvpx and ffmpeg.
var keyFrames = []videoFormatCase{
	{"VP8", CodecVP8, "1074009d012a4201f20000070885858885848802", VideoFormat{Width: 322, Height: 242}},
	{"VP9", CodecVP9, "824983420014100f161438241c18e60007206fb0", VideoFormat{Profile: "Profile 0", Width: 322, Height: 242}},
	{"VP9 4:4:4", CodecVP9, "a249834200010200c2c087048383084001586f5e", VideoFormat{Profile: "Profile 1", Width: 130, Height: 98}},
	{"VP9 10 bits", CodecVP9, "92498342000408030b021c120e0c290004106fb1", VideoFormat{Profile: "Profile 2", Width: 130, Height: 98}},
	{"H.263 of a usual size", CodecH263, "00008402921e73e80c0070f80387c24807f07aac", VideoFormat{Width: 320, Height: 240}},
	{"H.263 with 16 bits of size", CodecH263, "00008400816800ca129e732006170422e1f843e0", VideoFormat{Width: 720, Height: 404}},
	{"H.263 with 8 bits of size", CodecH263, "00008400321e119e72aa0300262403001c250410", VideoFormat{Width: 100, Height: 60}},
}

func TestVideoFormat(t *testing.T) {
	check := func(t *testing.T, p Packet, want VideoFormat) {
		t.Helper()
		want.Codec = p.Codec
		got, err := ParseVideoConfig(p)
		require.NoError(t, err)
		require.InDelta(t, want.FrameRate, got.FrameRate, 1e-9)
		got.FrameRate = want.FrameRate
		require.Equal(t, want, got)
	}
	for _, c := range videoFormats {
		t.Run(c.name, func(t *testing.T) {
			check(t, Packet{Codec: c.codec, Kind: KindConfig, Payload: unhex(t, c.config)}, c.want)
		})
	}
	for _, c := range keyFrames {
		t.Run(c.name, func(t *testing.T) {
			check(t, Packet{Codec: c.codec, Kind: KindFrame, Frame: FrameKey, Payload: unhex(t, c.config)}, c.want)
		})
	}
	for name, c := range map[string]struct {
		codec  Codec
		config []byte
		want   VideoFormat
	}{
		"H.264 by hand":                      {CodecH264, h264ByHand(), VideoFormat{Profile: "Baseline", Width: 320, Height: 240, PixelWidth: 4, PixelHeight: 3, FrameRate: 30}},
		"H.264 with scaling lists":           {CodecH264, h264ScalingLists(), VideoFormat{Profile: "High 4:4:4 Predictive", Width: 319, Height: 238}},
		"HEVC by hand":                       {CodecHEVC, hevcByHand(), VideoFormat{Profile: "Range Extensions", Width: 645, Height: 481, FrameRate: 30000.0 / 1001}},
		"AV1 by hand":                        {CodecAV1, av1ByHand(), VideoFormat{Profile: "Main", Width: 1280, Height: 720, FrameRate: 30}},
		"AV1 still picture":                  {CodecAV1, av1Reduced(), VideoFormat{Profile: "High", Width: 65536, Height: 1}},
		"VVC by hand":                        {CodecVVC, vvcByHand(1), VideoFormat{Profile: "Main 10", Width: 1920, Height: 1080, FrameRate: 50}},
		"VVC by hand, three sub-layers":      {CodecVVC, vvcByHand(3), VideoFormat{Profile: "Main 10", Width: 1920, Height: 1080, FrameRate: 50}},
		"VVC by hand, with the box's head":   {CodecVVC, append(make([]byte, 4), vvcByHand(1)...), VideoFormat{Profile: "Main 10", Width: 1920, Height: 1080, FrameRate: 50}},
		"H.264, a profile without a name":    {CodecH264, []byte{1, 83, 0, 30, 0xff, 0xe0, 0}, VideoFormat{Profile: "profile 83"}},
		"HEVC, an array that is not for SPS": {CodecHEVC, append(append(make([]byte, 22), 1), 39, 0, 1, 0, 1, 0x4e), VideoFormat{Profile: "profile 0"}},
	} {
		t.Run(name, func(t *testing.T) {
			check(t, Packet{Codec: c.codec, Kind: KindConfig, Payload: c.config}, c.want)
		})
	}
}

// A codec header that is cut anywhere is refused or tells less; it never tells
// something else.
func TestVideoFormatCutAtEveryOffset(t *testing.T) {
	all := append([]videoFormatCase{}, videoFormats...)
	for _, c := range append(all, keyFrames...) {
		p := Packet{Codec: c.codec, Kind: KindConfig}
		if c.codec == CodecVP8 || c.codec == CodecH263 {
			p.Kind, p.Frame = KindFrame, FrameKey
		}
		config := unhex(t, c.config)
		for cut := range len(config) {
			p.Payload = config[:cut]
			if got, err := ParseVideoConfig(p); err == nil {
				require.Contains(t, []int{0, c.want.Width}, got.Width, "%s cut at %d", c.name, cut)
				require.Contains(t, []int{0, c.want.Height}, got.Height, "%s cut at %d", c.name, cut)
			} else {
				require.ErrorIs(t, err, ErrFormat, "%s cut at %d", c.name, cut)
			}
		}
	}
}

func TestVideoFormatRefuses(t *testing.T) {
	wide := (&bitWriter{}).u(8, 0x67).u(8, 66).u(8, 0).u(8, 30).ue(0, 0, 2, 1).flags("0").ue(5000, 14).flags("1 1 0 0 1")
	cropped := (&bitWriter{}).u(8, 0x67).u(8, 66).u(8, 0).u(8, 30).ue(0, 0, 2, 1).flags("0").ue(0, 0).flags("1 1 1").ue(4, 4, 0, 0).flags("0 1")
	cycle := (&bitWriter{}).u(8, 0x67).u(8, 66).u(8, 0).u(8, 30).ue(0, 0, 1).flags("0").se(0, 0).ue(256).u(64, 1)
	avcc := func(w *bitWriter) []byte { return append([]byte{1, 66, 0, 30, 0xff, 0xe1}, w.nal()...) }
	for name, p := range map[string]Packet{
		"H.264, too wide":            {Codec: CodecH264, Payload: avcc(wide)},
		"H.264, cropped to nothing":  {Codec: CodecH264, Payload: avcc(cropped)},
		"H.264, a cycle too long":    {Codec: CodecH264, Payload: avcc(cycle)},
		"H.264, Annex B":             {Codec: CodecH264, Payload: unhex(t, "00000001 6764001e acd9")},
		"H.264, a PPS for an SPS":    {Codec: CodecH264, Payload: unhex(t, "0164001effe1 0004 68efbcb0")},
		"HEVC, version 2":            {Codec: CodecHEVC, Payload: append([]byte{2}, make([]byte, 30)...)},
		"HEVC, a PPS for an SPS":     {Codec: CodecHEVC, Payload: append(append(make([]byte, 22), 1), 33, 0, 1, 0, 4, 0x44, 1, 0, 0)},
		"AV1, no marker":             {Codec: CodecAV1, Payload: unhex(t, "01000000")},
		"AV1, an endless size":       {Codec: CodecAV1, Payload: unhex(t, "81000000 0a ffffffffffffffffff01")},
		"AV1, an extension cut":      {Codec: CodecAV1, Payload: unhex(t, "81000000 0e")},
		"VP8, no start code":         {Codec: CodecVP8, Payload: make([]byte, 20)},
		"VP9, no marker":             {Codec: CodecVP9, Payload: make([]byte, 20)},
		"VP9, no sync code":          {Codec: CodecVP9, Payload: append([]byte{0x82}, make([]byte, 20)...)},
		"H.263, no start code":       {Codec: CodecH263, Payload: []byte{0xff, 0, 0, 0, 0}},
		"H.263, reserved size":       {Codec: CodecH263, Payload: unhex(t, "0000800380000000")},
		"VVC, nothing":               {Codec: CodecVVC},
		"H.264, nothing":             {Codec: CodecH264},
		"VP9 config with one byte":   {Codec: CodecVP9, Payload: []byte{0}},
		"HEVC SPS of sub-layers cut": {Codec: CodecHEVC, Payload: append(append(make([]byte, 22), 1), 33, 0, 1, 0, 4, 0x42, 1, 0xff, 0)},
	} {
		if strings.HasPrefix(name, "VP") && len(p.Payload) > 10 || p.Codec == CodecH263 {
			p.Kind, p.Frame = KindFrame, FrameKey
		} else {
			p.Kind = KindConfig
		}
		_, err := ParseVideoConfig(p)
		require.ErrorIs(t, err, ErrFormat, name)
	}
}

// Packets that tell nothing are turned away without cost, so that each packet
// can be asked.
func TestNoFormat(t *testing.T) {
	for name, p := range map[string]Packet{
		"video frame":      {Codec: CodecH264, Kind: KindFrame, Frame: FrameKey},
		"VP8 inter frame":  {Codec: CodecVP8, Kind: KindFrame, Frame: FrameInter},
		"video end":        {Codec: CodecHEVC, Kind: KindEnd, Frame: FrameKey},
		"TS config":        {Codec: CodecAV1, Kind: KindConfigTS, Frame: FrameKey},
		"unknown config":   {Codec: 0x78787878, Kind: KindConfig},
		"AAC frame":        {Codec: CodecAAC, Kind: KindFrame, Sound: 0xaf, Payload: []byte{0x21}},
		"Opus by id":       {Codec: CodecOpus, Kind: KindFrame, Sound: 0xdf},
		"Ex AAC frame":     {Codec: CodecAAC, Kind: KindFrame, Enhanced: true},
		"Ex MP3, headless": {Codec: CodecMP3, Kind: KindFrame, Enhanced: true},
		"silence":          {Kind: KindFrame},
		"multichannel":     {Codec: CodecAAC, Kind: KindMultichannel},
		"format 15":        {Codec: 0x10f, Kind: KindFrame, Sound: 0xff},
	} {
		_, err := ParseVideoConfig(p)
		require.ErrorIs(t, err, ErrNoFormat, name)
		_, err = ParseAudioConfig(p)
		require.ErrorIs(t, err, ErrNoFormat, name)
		require.Zero(t, testing.AllocsPerRun(10, func() {
			_, _ = ParseVideoConfig(p)
			_, _ = ParseAudioConfig(p)
		}), name)
	}
	hidden := Packet{Codec: CodecVP9, Kind: KindFrame, Frame: FrameKey, Payload: []byte{0x88}} // show_existing_frame
	_, err := ParseVideoConfig(hidden)
	require.ErrorIs(t, err, ErrNoFormat)
	hidden.Payload = []byte{0x84} // an inter frame
	_, err = ParseVideoConfig(hidden)
	require.ErrorIs(t, err, ErrNoFormat)
}

// The formats of the captured sessions, as their commands asked for them.
func TestCapturedFormats(t *testing.T) {
	aac := AudioFormat{CodecAAC, "LC", 44100, 1}
	for name, want := range map[string]struct {
		video VideoFormat
		audio AudioFormat
	}{
		"obs30-h264-aac.flv":           {VideoFormat{Codec: CodecH264, Profile: "High", Width: 640, Height: 360, FrameRate: 30}, AudioFormat{CodecAAC, "LC", 48000, 2}},
		"ffmpeg5-h264-aac.flv":         {VideoFormat{Codec: CodecH264, Profile: "High", Width: 320, Height: 180, FrameRate: 15}, aac},
		"ffmpeg7-h264-bframes-aac.flv": {VideoFormat{Codec: CodecH264, Profile: "High", Width: 320, Height: 180, FrameRate: 15}, aac},
		"ffmpeg7-hevc-aac.flv":         {VideoFormat{Codec: CodecHEVC, Profile: "Main", Width: 320, Height: 180, FrameRate: 15}, aac},
		"ffmpeg7-av1-aac.flv":          {VideoFormat{Codec: CodecAV1, Profile: "Main", Width: 320, Height: 180}, aac},
		"ffmpeg7-audio-mp3.flv":        {VideoFormat{}, AudioFormat{CodecMP3, "", 44100, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			tags, err := readAll(NewReader(bytes.NewReader(captured(t)[name])))
			require.Equal(t, io.EOF, err)
			var video VideoFormat
			var audio AudioFormat
			for _, tag := range tags {
				p, err := tag.Packet()
				if tag.Type == TypeScript {
					continue
				}
				require.NoError(t, err)
				if f, err := ParseVideoConfig(p); err == nil {
					video = f
				}
				if f, err := ParseAudioConfig(p); err == nil {
					audio = f
				}
			}
			require.Equal(t, want.video, video)
			require.Equal(t, want.audio, audio)
		})
	}
}
