package flv

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// What encoders wrote, by way of ffmpeg 7.1, and what its ffprobe said of it; headers
// of HEVC and H.264 and frames are cut where they are not read any more. ffprobe takes
// the frame rate of AV1, VP8 and VP9 from the container, as these have none here, and
// calls the range extensions of HEVC "Rext".
var encodedVideo = []struct {
	name   string
	codec  Codec
	kind   Kind
	header string
	want   VideoFormat
}{
	{"x264 baseline", CodecH264, KindConfig, "0142c00affe100166742c00ad902c4ec0440000003004000000783c48992", VideoFormat{Profile: "Constrained Baseline", Width: 176, Height: 144, FrameRate: 15}},
	{"x264 portrait", CodecH264, KindConfig, "0142c028ffe100196742c028da01100f1e5f0110000003001000000303c0f1832a", VideoFormat{Profile: "Constrained Baseline", Width: 1080, Height: 1920, FrameRate: 30}},
	{"x264 high, cropped", CodecH264, KindConfig, "0164001fffe100196764001facd940d83fe688c04400000fa40002ee003c60c658", VideoFormat{Profile: "High", Width: 854, Height: 482, FrameRate: 24000.0 / 1001}},
	{"x264 high, interlaced, 1080 of 1088 lines", CodecH264, KindConfig, "01640028ffe1001a67640028acd94078044fde0220000003002000000643e2c5b2c0", VideoFormat{Profile: "High", Width: 1920, Height: 1080, FrameRate: 25}},
	{"x264 high 10", CodecH264, KindConfig, "016e000dffe1001a676e000da6cd941419f9f0110000030001000003003c0f142996", VideoFormat{Profile: "High 10", Width: 320, Height: 180, FrameRate: 30}},
	{"x264 4:2:2", CodecH264, KindConfig, "017a000dffe1001b677a000dbcd941519e22370110000003001000000303c0f1429960", VideoFormat{Profile: "High 4:2:2", Width: 322, Height: 180, FrameRate: 30}},
	{"x264 4:2:2 10 bits, interlaced", CodecH264, KindConfig, "017a001effe1001a677a001eb6cd940b424d808800000300080000030190f8a14cb0", VideoFormat{Profile: "High 4:2:2", Width: 720, Height: 576, FrameRate: 25}},
	{"x264 lossless", CodecH264, KindConfig, "01f4000dffe1001a67f4000d91d6405067e370110000030001000003003c0f142a48", VideoFormat{Profile: "High 4:4:4 Predictive", Width: 320, Height: 180, FrameRate: 30}},
	{"x264 with quantiser matrices", CodecH264, KindConfig, "0164000dffe1001a6764000dacd941419f9f0110000003001000000303c0f1429960", VideoFormat{Profile: "High", Width: 320, Height: 180, FrameRate: 30}},
	{"x264 4:4:4 with quantiser matrices", CodecH264, KindConfig, "01f4000dffe1001967f4000d919b282833f1b80880000003008000001e078a14cb", VideoFormat{Profile: "High 4:4:4 Predictive", Width: 320, Height: 180, FrameRate: 30}},
	{"x264 grey, full range", CodecH264, KindConfig, "0164000dffe100196764000df36505067e37016c80000003008000001e078a14cb", VideoFormat{Profile: "High", Width: 320, Height: 180, FrameRate: 30}},
	{"x264 with every part of the usability information", CodecH264, KindConfig, "01640015ffe1002767640015acd941419f9f01b702020140000003004000001e1808007a10001e84e4d38078b16cb0", VideoFormat{Profile: "High", Width: 320, Height: 180, FrameRate: 60}},
	{"x264, wide pixels", CodecH264, KindConfig, "0164001effe100196764001eacd940b4126c1040000003004000000c83c58b658001000668ebe3cb22c0fdf8f800", VideoFormat{Profile: "High", Width: 720, Height: 576, PixelWidth: 16, PixelHeight: 11, FrameRate: 25}},
	{"x264, pixels in full", CodecH264, KindConfig, "0164001effe1001d6764001eacd940b4126ffc0094009040000003004000000c83c58b658001000668ebe3cb22c0fdf8f800", VideoFormat{Profile: "High", Width: 720, Height: 576, PixelWidth: 37, PixelHeight: 36, FrameRate: 25}},
	{"x265", CodecHEVC, KindConfig, "0101600000009000000000003ff000fcfdf8f800000f04200001001840010c01ffff01600000030090000003000003003f959809210001002a42010101600000030090000003000003003fa00502016965959a4932bc05a020000003002000000303c1", VideoFormat{Profile: "Main", Width: 640, Height: 360, FrameRate: 30}},
	{"x265, cropped", CodecHEVC, KindConfig, "01016000000090000000000078f000fcfdf8f800000f04200001001840010c01ffff016000000300900000030000030078959409210001002a420101016000000300900000030000030078a003c0801107cb965654a4c2f01680800001f480003a9804", VideoFormat{Profile: "Main", Width: 1920, Height: 1080, FrameRate: 30000.0 / 1001}},
	{"x265 HDR10", CodecHEVC, KindConfig, "0102200000009000000000007bf000fcfdfafa00000f04200001001840010c01ffff02200000030090000003000003007b959409210001003042010102200000030090000003000003007ba003c0801107cad965654a4c2f016a04041208000003000800000301e040", VideoFormat{Profile: "Main 10", Width: 1920, Height: 1080, FrameRate: 60}},
	{"x265 12 bits", CodecHEVC, KindConfig, "0104080000009988000000003cf000fcfdfcfc00000f04200001001740010c01ffff040800000300998800000300003c959809210001002b420101040800000300998800000300003ca00a080b9f65296566924caf016808000003000800000300c040", VideoFormat{Profile: "Range Extensions", Width: 320, Height: 180, FrameRate: 24}},
	{"x265 grey", CodecHEVC, KindConfig, "0104080000009fc8000000003cf000fcfcf8f800000f04200001001740010c01ffff0408000003009fc800000300003c959809210001002a4201010408000003009fc800000300003cc028202e7cb96566924caf016c08000003000800000300f040", VideoFormat{Profile: "Range Extensions", Width: 320, Height: 180, FrameRate: 30}},
	{"x265 4:2:2 10 bits", CodecHEVC, KindConfig, "0104080000009d08000000003cf000fcfefafa00000f04200001001740010c01ffff0408000003009d0800000300003c959809210001002b4201010408000003009d0800000300003cb00a480b9c96d96566924caf016808000003000800000300c840", VideoFormat{Profile: "Range Extensions", Width: 322, Height: 182, FrameRate: 25}},
	{"x265 4:4:4", CodecHEVC, KindConfig, "0104080000009e08000000003cf000fcfff8f800000f04200001001740010c01ffff0408000003009e0800000300003c959809210001002b4201010408000003009e0800000300003c90014901739ef2cacd24995e02d0100000030010000003019080", VideoFormat{Profile: "Range Extensions", Width: 322, Height: 182, FrameRate: 25}},
	{"x265, narrow pixels in full", CodecHEVC, KindConfig, "0101600000009000000000005af000fcfdf8f800000f04200001001840010c01ffff01600000030090000003000003005a959809210001002f42010101600000030090000003000003005aa005a20090596566924cafff000800096808000003000800000300c840", VideoFormat{Profile: "Main", Width: 720, Height: 576, PixelWidth: 8, PixelHeight: 9, FrameRate: 25}},
	{"x265, wide pixels", CodecHEVC, KindConfig, "0101600000009000000000005af000fcfdf8f800000f04200001001840010c01ffff01600000030090000003000003005a959809210001002b42010101600000030090000003000003005aa005a20090596566924caf0e6808000003000800000300c840", VideoFormat{Profile: "Main", Width: 720, Height: 576, PixelWidth: 4, PixelHeight: 3, FrameRate: 25}},
	{"x265 fields", CodecHEVC, KindConfig, "0101600000004000000000005df000fcfdf8f800000f04200001001840010c01ffff01600000030040000003000003005d959809210001002b42010101600000030040000003000003005da005a20090596566924caf0168680000030008000003019040", VideoFormat{Profile: "Main", Width: 720, Height: 576, FrameRate: 50}},
	{"x265 with temporal layers, scaling lists, HRD", CodecHEVC, KindConfig, "0101600000009000000000003cf002fffdf8f800001b04200001001e40010c04ffff01600000030090000003000003003c00009d94eca7650240210001004842010401600000030090000003000003003c0000a00a080b9f7967653b29d9649395e02d010000030001000003001e600c966e001e840007a12e001e840007a12e001e840007a122", VideoFormat{Profile: "Main", Width: 320, Height: 180, FrameRate: 30}},
	{"SVT-AV1 for live", CodecAV1, KindConfig, "81010c000a0b0000000cc4ff6700be0010", VideoFormat{Profile: "Main", Width: 640, Height: 360}},
	{"SVT-AV1 10 bits", CodecAV1, KindConfig, "81084c000a0b00000042a67fd9e017c202", VideoFormat{Profile: "Main", Width: 1280, Height: 720}},
	{"libaom 4:2:0", CodecAV1, KindConfig, "81000c000a0b000000043d07c4daf90040", VideoFormat{Profile: "Main", Width: 322, Height: 242}},
	{"libaom 4:2:2 10 bits", CodecAV1, KindConfig, "814048000a0b400000043d07c4daf94080", VideoFormat{Profile: "Professional", Width: 322, Height: 242}},
	{"libaom 4:4:4 10 bits", CodecAV1, KindConfig, "812040000a0a200000043d07c4daf942", VideoFormat{Profile: "High", Width: 322, Height: 242}},
	{"libaom real-time", CodecAV1, KindConfig, "81010c000a0b0000000cc4ff6736be4010", VideoFormat{Profile: "Main", Width: 640, Height: 360}},
	{"libvpx VP8", CodecVP8, KindFrame, "f072009d012a4201f200", VideoFormat{Width: 322, Height: 242}},
	{"libvpx VP9 4:2:0", CodecVP9, KindFrame, "824983420014100f16", VideoFormat{Profile: "Profile 0", Width: 322, Height: 242}},
	{"libvpx VP9 4:4:4", CodecVP9, KindFrame, "a249834200028201e2", VideoFormat{Profile: "Profile 1", Width: 322, Height: 242}},
	{"libvpx VP9 4:2:0 10 bits", CodecVP9, KindFrame, "924983420013f80b3b", VideoFormat{Profile: "Profile 2", Width: 640, Height: 360}},
	{"libvpx VP9 4:2:2 10 bits", CodecVP9, KindFrame, "b124c1a10200a08078b0", VideoFormat{Profile: "Profile 3", Width: 322, Height: 242}},
	{"Sorenson H.263", CodecH263, KindFrame, "0000840080a1007912", VideoFormat{Width: 322, Height: 242}},
	{"rav1e, whose codec header has no sequence header", CodecAV1, KindConfig, "811f0c00", VideoFormat{Profile: "Main"}},
	{"rav1e, key frame", CodecAV1, KindFrame, "12000a0e000000fa1e7f66210a88101010a032f93c1002254862bf3bf99fe007f403fa01018083804320000002082080", VideoFormat{Profile: "Main", Width: 320, Height: 180}},
}

var encodedAudio = []struct {
	name   string
	codec  Codec
	kind   Kind
	header string
	want   AudioFormat
}{
	{"AAC 8 kHz", CodecAAC, KindConfig, "158856e500", AudioFormat{Profile: "LC", SampleRate: 8000, Channels: 1}},
	{"AAC 96 kHz", CodecAAC, KindConfig, "101056e500", AudioFormat{Profile: "LC", SampleRate: 96000, Channels: 2}},
	{"AAC 2.1, by a program config element", CodecAAC, KindConfig, "118004c4010020000d4c61766336312e31392e31303156e500", AudioFormat{Profile: "LC", SampleRate: 48000, Channels: 3}},
	{"AAC 5.1", CodecAAC, KindConfig, "11b056e500", AudioFormat{Profile: "LC", SampleRate: 48000, Channels: 6}},
	{"AAC 7.1", CodecAAC, KindConfig, "11b856e500", AudioFormat{Profile: "LC", SampleRate: 48000, Channels: 8}},
	{"AAC mono", CodecAAC, KindConfig, "120856e500", AudioFormat{Profile: "LC", SampleRate: 44100, Channels: 1}},
	{"AAC stereo", CodecAAC, KindConfig, "119056e500", AudioFormat{Profile: "LC", SampleRate: 48000, Channels: 2}},
	{"AAC Main", CodecAAC, KindConfig, "0a1056e500", AudioFormat{Profile: "Main", SampleRate: 44100, Channels: 2}},
	{"Opus mono", CodecOpus, KindConfig, "4f707573486561640101380180bb0000000000", AudioFormat{SampleRate: 48000, Channels: 1}},
	{"Opus from 16 kHz", CodecOpus, KindConfig, "4f7075734865616401013801803e0000000000", AudioFormat{SampleRate: 48000, Channels: 1}},
	{"Opus stereo", CodecOpus, KindConfig, "4f707573486561640102380180bb0000000000", AudioFormat{SampleRate: 48000, Channels: 2}},
	{"Opus 5.1", CodecOpus, KindConfig, "4f707573486561640106380180bb00000000010402000401020305", AudioFormat{SampleRate: 48000, Channels: 6}},
	{"Opus 7.1", CodecOpus, KindConfig, "4f707573486561640108380180bb000000000105030006010203040507", AudioFormat{SampleRate: 48000, Channels: 8}},
	{"FLAC 44.1 kHz", CodecFLAC, KindConfig, "1200120000040500050a0ac442f0000056228eb4f38c6d95c20efdc6beee632a277b", AudioFormat{SampleRate: 44100, Channels: 2}},
	{"FLAC 48 kHz", CodecFLAC, KindConfig, "120012000001500005170bb802f000005dc0a2fc3617bc0e6c99e035cbe06fb4e52a", AudioFormat{SampleRate: 48000, Channels: 2}},
	{"FLAC 96 kHz", CodecFLAC, KindConfig, "20002000000777000897177002f00000bb80e9a2e9cc562c33efd673b0b92cb6b58e", AudioFormat{SampleRate: 96000, Channels: 2}},
	{"FLAC 192 kHz", CodecFLAC, KindConfig, "40004000000e4000109a2ee002f000017700e7d2c53414375ca091a2bb8d25535963", AudioFormat{SampleRate: 192000, Channels: 2}},
	{"FLAC 5.1, 24 bits", CodecFLAC, KindConfig, "120012000004fe00156f0bb80b7000005dc0631698d8161b9d6d0509b66230d5b49e", AudioFormat{SampleRate: 48000, Channels: 6}},
	{"MP3", CodecMP3, KindFrame, "fffb9064", AudioFormat{SampleRate: 44100, Channels: 2}},
	{"AC-3 5.1", CodecAC3, KindFrame, "0b77b50b1e40eb", AudioFormat{SampleRate: 48000, Channels: 6}},
	{"E-AC-3", CodecEAC3, KindFrame, "0b7701a07487c0", AudioFormat{SampleRate: 44100, Channels: 2}},
}

func TestEncoders(t *testing.T) {
	for _, c := range encodedVideo {
		p := Packet{Codec: c.codec, Kind: c.kind, Frame: FrameKey, Enhanced: true, Payload: unhex(t, c.header)}
		got, err := ParseVideoConfig(p)
		require.NoError(t, err, c.name)
		require.InDelta(t, c.want.FrameRate, got.FrameRate, 1e-9, c.name)
		got.FrameRate, c.want.Codec = c.want.FrameRate, c.codec
		require.Equal(t, c.want, got, c.name)
	}
	for _, c := range encodedAudio {
		p := Packet{Codec: c.codec, Kind: c.kind, Enhanced: true, Payload: unhex(t, c.header)}
		got, err := ParseAudioConfig(p)
		require.NoError(t, err, c.name)
		c.want.Codec = c.codec
		require.Equal(t, c.want, got, c.name)
	}
}

// Headers with some bits turned, or cut and filled up with zeros or ones, tell
// something within bounds or are refused: no count in them is a loop to be waited for.
func TestHostileHeaders(t *testing.T) {
	var packets []Packet
	for _, c := range encodedVideo {
		packets = append(packets, Packet{Codec: c.codec, Kind: c.kind, Frame: FrameKey, Payload: unhex(t, c.header)})
	}
	for _, c := range encodedAudio {
		packets = append(packets, Packet{Codec: c.codec, Kind: c.kind, Enhanced: true, Payload: unhex(t, c.header)})
	}
	packets = append(packets,
		Packet{Codec: CodecH264, Kind: KindConfig, Payload: h264ByHand()},
		Packet{Codec: CodecH264, Kind: KindConfig, Payload: h264ScalingLists()},
		Packet{Codec: CodecHEVC, Kind: KindConfig, Payload: hevcByHand()},
		Packet{Codec: CodecAV1, Kind: KindConfig, Payload: av1ByHand()},
		Packet{Codec: CodecVVC, Kind: KindConfig, Payload: vvcByHand(3)},
	)
	for _, p := range packets {
		header := p.Payload
		for at := range header {
			for _, turned := range []byte{0x01, 0x10, 0x80, 0xff} {
				p.Payload = bytes.Clone(header)
				p.Payload[at] ^= turned
				checkConfig(t, p)
			}
			for _, fill := range []byte{0, 0xff} {
				p.Payload = append(bytes.Clone(header[:at]), bytes.Repeat([]byte{fill}, 200)...)
				checkConfig(t, p)
			}
		}
	}
	units := append(make([]byte, 22), 255)
	units = append(units, bytes.Repeat(append([]byte{39, 0x10, 0}, make([]byte, 2*0x1000)...), 16)...)
	_, err := ParseVideoConfig(Packet{Codec: CodecHEVC, Kind: KindConfig, Payload: units})
	require.ErrorIs(t, err, ErrFormat)
	obus := bytes.Repeat([]byte{0x12, 0}, maxAV1OBUs)
	obus = append(obus, unhex(t, "0a0b0000000cc4ff6700be0010")...)
	_, err = ParseVideoConfig(Packet{Codec: CodecAV1, Kind: KindFrame, Frame: FrameKey, Payload: obus})
	require.ErrorIs(t, err, ErrNoFormat)
	f, err := ParseVideoConfig(Packet{Codec: CodecAV1, Kind: KindFrame, Frame: FrameKey, Payload: obus[2:]})
	require.NoError(t, err)
	require.Equal(t, 640, f.Width)
}
