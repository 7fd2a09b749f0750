package flv

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// packetCase is a body and what it means. Bodies with more than a Packet can
// tell (several tracks, ModEx of other types, …) are parsed only.
type packetCase struct {
	name      string
	body      string
	packet    Packet
	parseOnly bool
}

var videoCases = []packetCase{
	// FLV 10.1 E.4.3
	{"H.264 config", "17 00 000000 0164", Packet{Codec: CodecH264, Kind: KindConfig, Frame: FrameKey, Payload: []byte{1, 0x64}}, false},
	{"H.264 key frame", "17 01 000085 aabb", Packet{Codec: CodecH264, Kind: KindFrame, Key: true, Frame: FrameKey, CompositionTime: 133, Payload: []byte{0xaa, 0xbb}}, false},
	{"H.264 inter frame", "27 01 000000 aa", Packet{Codec: CodecH264, Kind: KindFrame, Frame: FrameInter, Payload: []byte{0xaa}}, false},
	{"H.264 disposable frame", "37 01 000000 aa", Packet{Codec: CodecH264, Kind: KindFrame, Frame: FrameDisposable, Payload: []byte{0xaa}}, false},
	{"negative composition time", "27 01 ffffbe aa", Packet{Codec: CodecH264, Kind: KindFrame, Frame: FrameInter, CompositionTime: -66, Payload: []byte{0xaa}}, false},
	{"least composition time", "27 01 800000 aa", Packet{Codec: CodecH264, Kind: KindFrame, Frame: FrameInter, CompositionTime: -1 << 23, Payload: []byte{0xaa}}, false},
	{"greatest composition time", "27 01 7fffff aa", Packet{Codec: CodecH264, Kind: KindFrame, Frame: FrameInter, CompositionTime: 1<<23 - 1, Payload: []byte{0xaa}}, false},
	{"H.264 end of sequence", "17 02 000000", Packet{Codec: CodecH264, Kind: KindEnd, Frame: FrameKey}, false},
	{"H.264 end of sequence, short", "17 02", Packet{Codec: CodecH264, Kind: KindEnd, Frame: FrameKey}, true},
	{"H.264 packet type 3", "17 03 000000 aa", Packet{Codec: CodecH264, Frame: FrameKey, Payload: []byte{0xaa}}, true},
	{"H.263 key frame", "12 0000", Packet{Codec: CodecH263, Kind: KindFrame, Key: true, Frame: FrameKey, Payload: []byte{0, 0}}, false},
	{"Screen Video", "13 00", Packet{Codec: CodecScreenVideo, Kind: KindFrame, Key: true, Frame: FrameKey, Payload: []byte{0}}, false},
	{"VP6", "24 00", Packet{Codec: CodecVP6, Kind: KindFrame, Frame: FrameInter, Payload: []byte{0}}, false},
	{"VP6 with alpha", "15 00", Packet{Codec: CodecVP6Alpha, Kind: KindFrame, Key: true, Frame: FrameKey, Payload: []byte{0}}, false},
	{"Screen Video 2", "16 00", Packet{Codec: CodecScreenVideo2, Kind: KindFrame, Key: true, Frame: FrameKey, Payload: []byte{0}}, false},
	{"server-made key frame", "42 00", Packet{Codec: CodecH263, Kind: KindFrame, Frame: FrameGenerated, Payload: []byte{0}}, false},
	{"command", "57 00", Packet{Codec: CodecH264, Kind: KindCommand, Frame: FrameCommand, Payload: []byte{0}}, false},
	{"codec 10", "1a 00", Packet{Codec: 10, Kind: KindFrame, Key: true, Frame: FrameKey, Payload: []byte{0}}, false},
	// unofficial ids
	{"MPEG-4", "19 01 000000 aa", Packet{Codec: CodecMPEG4, Kind: KindFrame, Key: true, Frame: FrameKey, Payload: []byte{0xaa}}, false},
	{"HEVC by id", "1c 01 000021 aa", Packet{Codec: CodecHEVC, Kind: KindFrame, Key: true, Frame: FrameKey, CompositionTime: 33, Payload: []byte{0xaa}}, false},
	{"HEVC config by id", "1c 00 000000 01", Packet{Codec: CodecHEVC, Kind: KindConfig, Frame: FrameKey, Payload: []byte{1}}, false},
	{"AV1 by id", "2d 01 000000 aa", Packet{Codec: CodecAV1, Kind: KindFrame, Frame: FrameInter, Payload: []byte{0xaa}}, false},
	{"VP8 by id", "1e 01 000000 aa", Packet{Codec: CodecVP8, Kind: KindFrame, Key: true, Frame: FrameKey, Payload: []byte{0xaa}}, false},
	{"VP9 by id", "1f 01 000000 aa", Packet{Codec: CodecVP9, Kind: KindFrame, Key: true, Frame: FrameKey, Payload: []byte{0xaa}}, false},
	// Enhanced RTMP
	{"Ex HEVC config", "90 68766331 01", Packet{Codec: CodecHEVC, Kind: KindConfig, Frame: FrameKey, Enhanced: true, Payload: []byte{1}}, false},
	{"Ex HEVC frame", "a1 68766331 000043 aa", Packet{Codec: CodecHEVC, Kind: KindFrame, Frame: FrameInter, CompositionTime: 67, Enhanced: true, Payload: []byte{0xaa}}, false},
	{"Ex H.264 negative time", "a1 61766331 ffffff aa", Packet{Codec: CodecH264, Kind: KindFrame, Frame: FrameInter, CompositionTime: -1, Enhanced: true, Payload: []byte{0xaa}}, false},
	{"Ex VVC frame", "91 76766331 000001 aa", Packet{Codec: CodecVVC, Kind: KindFrame, Key: true, Frame: FrameKey, CompositionTime: 1, Enhanced: true, Payload: []byte{0xaa}}, false},
	{"Ex HEVC frame without time", "93 68766331 aa", Packet{Codec: CodecHEVC, Kind: KindFrame, Key: true, Frame: FrameKey, Enhanced: true, Payload: []byte{0xaa}}, false},
	{"Ex HEVC frame with time 0", "91 68766331 000000 aa", Packet{Codec: CodecHEVC, Kind: KindFrame, Key: true, Frame: FrameKey, Enhanced: true, Payload: []byte{0xaa}}, true},
	{"Ex AV1 frame", "91 61763031 1200", Packet{Codec: CodecAV1, Kind: KindFrame, Key: true, Frame: FrameKey, Enhanced: true, Payload: []byte{0x12, 0}}, false},
	{"Ex AV1 frame as type 3", "93 61763031 1200", Packet{Codec: CodecAV1, Kind: KindFrame, Key: true, Frame: FrameKey, Enhanced: true, Payload: []byte{0x12, 0}}, true},
	{"Ex VP9 frame", "a1 76703039 aa", Packet{Codec: CodecVP9, Kind: KindFrame, Frame: FrameInter, Enhanced: true, Payload: []byte{0xaa}}, false},
	{"Ex VP8 frame", "a1 76703038 aa", Packet{Codec: CodecVP8, Kind: KindFrame, Frame: FrameInter, Enhanced: true, Payload: []byte{0xaa}}, false},
	{"Ex unknown FourCC", "91 78787878 aa", Packet{Codec: 0x78787878, Kind: KindFrame, Key: true, Frame: FrameKey, Enhanced: true, Payload: []byte{0xaa}}, false},
	{"Ex end of sequence", "92 68766331", Packet{Codec: CodecHEVC, Kind: KindEnd, Frame: FrameKey, Enhanced: true}, false},
	{"Ex metadata", "d4 61763031 05", Packet{Codec: CodecAV1, Kind: KindMetadata, Frame: FrameCommand, Enhanced: true, Payload: []byte{5}}, false},
	{"Ex MPEG-2 TS config", "95 61763031 80", Packet{Codec: CodecAV1, Kind: KindConfigTS, Frame: FrameKey, Enhanced: true, Payload: []byte{0x80}}, false},
	{"Ex command", "d0 01", Packet{Kind: KindCommand, Frame: FrameCommand, Enhanced: true, Payload: []byte{1}}, false},
	{"Ex packet type 9", "99 68766331 aa", Packet{Codec: CodecHEVC, Frame: FrameKey, Enhanced: true, Payload: []byte{0xaa}}, true},
	{"Ex nanoseconds", "97 02 0f423f 03 61766331 aa", Packet{Codec: CodecH264, Kind: KindFrame, Key: true, Frame: FrameKey, Nanos: 999999, Enhanced: true, Payload: []byte{0xaa}}, false},
	{"Ex two ModEx, one unknown", "97 00 ff 17 02 000005 03 61766331 aa", Packet{Codec: CodecH264, Kind: KindFrame, Key: true, Frame: FrameKey, Nanos: 5, Enhanced: true, Payload: []byte{0xaa}}, true},
	{"Ex ModEx with a long size", "97 ff 0003 00000512 03 61766331 aa", Packet{Codec: CodecH264, Kind: KindFrame, Key: true, Frame: FrameKey, Nanos: 5, Enhanced: true, Payload: []byte{0xaa}}, true},
	{"Ex one track", "96 03 68766331 00 aa", Packet{Codec: CodecHEVC, Kind: KindFrame, Key: true, Frame: FrameKey, Enhanced: true, Multitrack: true, Payload: []byte{0xaa}}, false},
	{"Ex one further track", "96 01 68766331 02 000010 aa", Packet{Codec: CodecHEVC, Kind: KindFrame, Frame: FrameKey, CompositionTime: 16, Enhanced: true, Multitrack: true, Track: 2, Payload: []byte{0xaa}}, false},
	{"Ex many tracks, 0 first", "96 13 68766331 00 000001 aa 01 000001 bb", Packet{Codec: CodecHEVC, Kind: KindFrame, Key: true, Frame: FrameKey, Enhanced: true, Multitrack: true, Payload: []byte{0xaa}}, true},
	{"Ex many tracks, 0 last", "96 13 68766331 02 000002 bbbb 01 000000 00 000001 aa", Packet{Codec: CodecHEVC, Kind: KindFrame, Key: true, Frame: FrameKey, Enhanced: true, Multitrack: true, Payload: []byte{0xaa}}, true},
	{"Ex many tracks without 0", "96 13 68766331 02 000002 bbbb 01 000001 aa", Packet{Codec: CodecHEVC, Kind: KindFrame, Frame: FrameKey, Enhanced: true, Multitrack: true, Track: 2, Payload: []byte{0xbb, 0xbb}}, true},
	{"Ex many codecs", "96 20 68766331 01 000001 bb 61766331 00 000002 0164", Packet{Codec: CodecH264, Kind: KindConfig, Frame: FrameKey, Enhanced: true, Multitrack: true, Payload: []byte{1, 0x64}}, true},
	{"Ex unknown multitrack type", "96 31 68766331", Packet{Frame: FrameKey, Enhanced: true, Payload: []byte("hvc1")}, true},
}

var audioCases = []packetCase{
	// FLV 10.1 E.4.2
	{"silence", "", Packet{Kind: KindFrame}, false},
	{"AAC config", "af 00 1210", Packet{Codec: CodecAAC, Kind: KindConfig, Sound: 0xaf, Payload: []byte{0x12, 0x10}}, false},
	{"AAC frame", "af 01 2110", Packet{Codec: CodecAAC, Kind: KindFrame, Sound: 0xaf, Payload: []byte{0x21, 0x10}}, false},
	{"AAC frame, empty", "af 01", Packet{Codec: CodecAAC, Kind: KindFrame, Sound: 0xaf, Payload: []byte{}}, false},
	{"AAC mono", "ae 01 21", Packet{Codec: CodecAAC, Kind: KindFrame, Sound: 0xae, Payload: []byte{0x21}}, false},
	{"AAC packet type 2", "af 02 21", Packet{Codec: CodecAAC, Sound: 0xaf, Payload: []byte{0x21}}, true},
	{"MP3", "2e fffb", Packet{Codec: CodecMP3, Kind: KindFrame, Sound: 0x2e, Payload: []byte{0xff, 0xfb}}, false},
	{"MP3 at 8 kHz", "ee ffe3", Packet{Codec: CodecMP3, Kind: KindFrame, Sound: 0xee, Payload: []byte{0xff, 0xe3}}, false},
	{"PCM, native", "00 01", Packet{Codec: CodecPCM, Kind: KindFrame, Payload: []byte{1}}, false},
	{"PCM", "3f 01", Packet{Codec: CodecPCM, Kind: KindFrame, Sound: 0x3f, Payload: []byte{1}}, false},
	{"ADPCM", "1f 01", Packet{Codec: CodecADPCM, Kind: KindFrame, Sound: 0x1f, Payload: []byte{1}}, false},
	{"Nellymoser", "6a 01", Packet{Codec: CodecNellymoser, Kind: KindFrame, Sound: 0x6a, Payload: []byte{1}}, false},
	{"Nellymoser at 16 kHz", "42 01", Packet{Codec: CodecNellymoser, Kind: KindFrame, Sound: 0x42, Payload: []byte{1}}, false},
	{"Nellymoser at 8 kHz", "52 01", Packet{Codec: CodecNellymoser, Kind: KindFrame, Sound: 0x52, Payload: []byte{1}}, false},
	{"A-law", "72 01", Packet{Codec: CodecALaw, Kind: KindFrame, Sound: 0x72, Payload: []byte{1}}, false},
	{"mu-law", "82 01", Packet{Codec: CodecMuLaw, Kind: KindFrame, Sound: 0x82, Payload: []byte{1}}, false},
	{"Speex", "b6 01", Packet{Codec: CodecSpeex, Kind: KindFrame, Sound: 0xb6, Payload: []byte{1}}, false},
	{"format 12", "c0 01", Packet{Codec: 0x10c, Kind: KindFrame, Sound: 0xc0, Payload: []byte{1}}, false},
	{"format 15", "ff 01", Packet{Codec: 0x10f, Kind: KindFrame, Sound: 0xff, Payload: []byte{1}}, false},
	{"Opus by id, config", "df 00 4f", Packet{Codec: CodecOpus, Kind: KindConfig, Sound: 0xdf, Payload: []byte{'O'}}, false},
	{"Opus by id, frame", "df 01 fc", Packet{Codec: CodecOpus, Kind: KindFrame, Sound: 0xdf, Payload: []byte{0xfc}}, false},
	// Enhanced RTMP
	{"Ex AAC config", "90 6d703461 1210", Packet{Codec: CodecAAC, Kind: KindConfig, Enhanced: true, Payload: []byte{0x12, 0x10}}, false},
	{"Ex AAC frame", "91 6d703461 21", Packet{Codec: CodecAAC, Kind: KindFrame, Enhanced: true, Payload: []byte{0x21}}, false},
	{"Ex Opus frame", "91 4f707573 fc", Packet{Codec: CodecOpus, Kind: KindFrame, Enhanced: true, Payload: []byte{0xfc}}, false},
	{"Ex FLAC config", "90 664c6143 66", Packet{Codec: CodecFLAC, Kind: KindConfig, Enhanced: true, Payload: []byte{'f'}}, false},
	{"Ex MP3 frame", "91 2e6d7033 ff", Packet{Codec: CodecMP3, Kind: KindFrame, Enhanced: true, Payload: []byte{0xff}}, false},
	{"Ex AC-3 frame", "91 61632d33 0b77", Packet{Codec: CodecAC3, Kind: KindFrame, Enhanced: true, Payload: []byte{0x0b, 0x77}}, false},
	{"Ex E-AC-3 frame", "91 65632d33 0b77", Packet{Codec: CodecEAC3, Kind: KindFrame, Enhanced: true, Payload: []byte{0x0b, 0x77}}, false},
	{"Ex end of sequence", "92 6d703461", Packet{Codec: CodecAAC, Kind: KindEnd, Enhanced: true}, false},
	{"Ex multichannel", "94 6d703461 0106 0000003f", Packet{Codec: CodecAAC, Kind: KindMultichannel, Enhanced: true, Payload: []byte{1, 6, 0, 0, 0, 0x3f}}, false},
	{"Ex packet type 9", "99 6d703461 21", Packet{Codec: CodecAAC, Enhanced: true, Payload: []byte{0x21}}, true},
	{"Ex nanoseconds", "97 02 000102 01 6d703461 21", Packet{Codec: CodecAAC, Kind: KindFrame, Nanos: 258, Enhanced: true, Payload: []byte{0x21}}, false},
	{"Ex one further track", "95 01 6d703461 01 21", Packet{Codec: CodecAAC, Kind: KindFrame, Enhanced: true, Multitrack: true, Track: 1, Payload: []byte{0x21}}, false},
	{"Ex many tracks", "95 11 6d703461 01 000001 aa 00 000002 bbcc", Packet{Codec: CodecAAC, Kind: KindFrame, Enhanced: true, Multitrack: true, Payload: []byte{0xbb, 0xcc}}, true},
	{"Ex many codecs", "95 21 4f707573 00 000001 aa 6d703461 01 000002 bbcc", Packet{Codec: CodecOpus, Kind: KindFrame, Enhanced: true, Multitrack: true, Payload: []byte{0xaa}}, true},
}

func TestVideoGolden(t *testing.T) { testGolden(t, videoCases, ParseVideo, AppendVideo) }
func TestAudioGolden(t *testing.T) { testGolden(t, audioCases, ParseAudio, AppendAudio) }

func testGolden(t *testing.T, cases []packetCase, parse func([]byte) (Packet, error), appendTo func([]byte, Packet) ([]byte, error)) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			body := unhex(t, c.body)
			got, err := parse(body)
			require.NoError(t, err)
			require.Equal(t, c.packet, got)
			if c.parseOnly {
				return
			}
			back, err := appendTo([]byte("before"), c.packet)
			require.NoError(t, err)
			require.Equal(t, append([]byte("before"), body...), back)
		})
	}
}

func TestParseShort(t *testing.T) {
	for _, body := range []string{
		"", "17", "17 00", "17 01 0000", "1c 00 0000",
		"90", "90 687663", "91 68766331 0000", "91 00000007 00", // no FourCC
		"97", "97 02", "97 02 0000", "97 02 000000", "97 ff", "97 ff 00", "97 ff ffff 00", "97 01 0000 03 61766331",
		"96", "96 13", "96 13 687663", "96 13 68766331", "96 13 68766331 00", "96 13 68766331 00 0000", "96 13 68766331 00 000002 aa",
		"96 03 68766331", "96 23", "96 23 687663", "96 23 68766331 00 000000 6876", "96 11 68766331 00 000002 0000",
	} {
		_, err := ParseVideo(unhex(t, body))
		require.ErrorIs(t, err, ErrFormat, "video %s", body)
	}
	for _, body := range []string{"af", "df", "90", "91 6d7034", "97 02 0000", "95", "95 11 6d703461 00 000001", "95 01 6d703461"} {
		_, err := ParseAudio(unhex(t, body))
		require.ErrorIs(t, err, ErrFormat, "audio %s", body)
	}
}

func TestInexpressible(t *testing.T) {
	for name, p := range map[string]Packet{
		"VVC in classic form":             {Codec: CodecVVC, Kind: KindFrame},
		"metadata in classic form":        {Codec: CodecH264, Kind: KindMetadata},
		"track in classic form":           {Codec: CodecH264, Kind: KindFrame, Multitrack: true},
		"nanoseconds in classic form":     {Codec: CodecH264, Kind: KindFrame, Nanos: 1},
		"config of a codec without":       {Codec: CodecH263, Kind: KindConfig},
		"end of a codec without":          {Codec: CodecVP6, Kind: KindEnd},
		"unknown kind":                    {Codec: CodecH264},
		"unknown kind, enhanced":          {Codec: CodecH264, Enhanced: true},
		"multichannel video":              {Codec: CodecH264, Kind: KindMultichannel, Enhanced: true},
		"command frame type for a frame":  {Codec: CodecH264, Kind: KindFrame, Frame: FrameCommand},
		"the same, enhanced":              {Codec: CodecH264, Kind: KindFrame, Frame: FrameCommand, Enhanced: true},
		"frame type of 4 bits":            {Codec: CodecH264, Kind: KindFrame, Frame: 8},
		"track without multitrack":        {Codec: CodecH264, Kind: KindFrame, Track: 1, Enhanced: true},
		"composition time of 25 bits":     {Codec: CodecH264, Kind: KindFrame, CompositionTime: 1 << 23},
		"composition time of AV1":         {Codec: CodecAV1, Kind: KindFrame, CompositionTime: 1, Enhanced: true},
		"composition time of H.263":       {Codec: CodecH263, Kind: KindFrame, CompositionTime: 1},
		"nanoseconds of 25 bits":          {Codec: CodecH264, Kind: KindFrame, Nanos: 1 << 24, Enhanced: true},
		"nanoseconds of 25 bits, command": {Kind: KindCommand, Nanos: 1 << 24, Enhanced: true},
		"codec id, enhanced":              {Codec: 10, Kind: KindFrame, Enhanced: true},
	} {
		dst, err := AppendVideo([]byte("x"), p)
		require.ErrorIs(t, err, ErrInexpressible, name)
		require.Equal(t, []byte("x"), dst, name)
	}
	for name, p := range map[string]Packet{
		"FLAC in classic form":     {Codec: CodecFLAC, Kind: KindFrame},
		"Speex without its byte":   {Codec: CodecSpeex, Kind: KindFrame},
		"config of MP3":            {Codec: CodecMP3, Kind: KindConfig},
		"end in classic form":      {Codec: CodecAAC, Kind: KindEnd},
		"track in classic form":    {Codec: CodecAAC, Kind: KindFrame, Multitrack: true},
		"nanos in classic form":    {Codec: CodecAAC, Kind: KindFrame, Nanos: 1},
		"no codec, enhanced":       {Kind: KindFrame, Enhanced: true},
		"metadata":                 {Codec: CodecAAC, Kind: KindMetadata, Enhanced: true},
		"composition time":         {Codec: CodecAAC, Kind: KindFrame, CompositionTime: 1},
		"bytes without a codec":    {Kind: KindFrame, Payload: []byte{1}},
		"track without multitrack": {Codec: CodecAAC, Kind: KindFrame, Track: 1, Enhanced: true},
	} {
		dst, err := AppendAudio([]byte("x"), p)
		require.ErrorIs(t, err, ErrInexpressible, name)
		require.Equal(t, []byte("x"), dst, name)
	}
}

// Enhanced bodies become the classic ones that every player knows.
func TestUnwrapEnhanced(t *testing.T) {
	for _, c := range []struct {
		typ      Type
		enhanced string
		classic  string
	}{
		{TypeVideo, "90 61766331 0164", "17 00 000000 0164"},
		{TypeVideo, "91 61766331 000021 aa", "17 01 000021 aa"},
		{TypeVideo, "a3 61766331 aa", "27 01 000000 aa"},
		{TypeVideo, "92 61766331", "17 02 000000"},
		{TypeVideo, "96 03 61766331 00 aa", "17 01 000000 aa"},
		{TypeVideo, "91 68766331 000021 aa", "1c 01 000021 aa"},
		{TypeAudio, "90 6d703461 1210", "af 00 1210"},
		{TypeAudio, "91 6d703461 21", "af 01 21"},
		{TypeAudio, "91 2e6d7033 fffb", "2f fffb"},
		{TypeAudio, "91 4f707573 fc", "df 01 fc"},
	} {
		p, err := Tag{Type: c.typ, Data: unhex(t, c.enhanced)}.Packet()
		require.NoError(t, err)
		require.True(t, p.Enhanced)
		p.Enhanced, p.Multitrack = false, false
		appendTo := AppendVideo
		if c.typ == TypeAudio {
			appendTo = AppendAudio
		}
		got, err := appendTo(nil, p)
		require.NoError(t, err)
		require.Equal(t, unhex(t, c.classic), got)
	}
}

func TestFrameTypeByDefault(t *testing.T) {
	for want, p := range map[string]Packet{
		"17 01 000000": {Codec: CodecH264, Kind: KindFrame, Key: true},
		"27 01 000000": {Codec: CodecH264, Kind: KindFrame},
		"17 00 000000": {Codec: CodecH264, Kind: KindConfig},
		"94 61763031":  {Codec: CodecAV1, Kind: KindMetadata, Enhanced: true},
		"57":           {Codec: CodecH264, Kind: KindCommand},
	} {
		got, err := AppendVideo(nil, p)
		require.NoError(t, err)
		require.Equal(t, unhex(t, want), got)
	}
}

func TestCodecOf(t *testing.T) {
	for _, c := range []struct {
		typ  Type
		body string
		want Codec
	}{
		{TypeVideo, "17 01 000000 aa", CodecH264},
		{TypeVideo, "a1 61766331 000000 aa", CodecH264},
		{TypeVideo, "1c 01 000000 aa", CodecHEVC},
		{TypeVideo, "d0 00", 0},
		{TypeVideo, "", 0},
		{TypeAudio, "", 0},
		{TypeAudio, "af 01 21", CodecAAC},
		{TypeAudio, "91 6d703461 21", CodecAAC},
		{TypeScript, "02 0000", 0},
	} {
		require.Equal(t, c.want, CodecOf(c.typ, unhex(t, c.body)), c.body)
	}
	_, err := Tag{Type: TypeScript}.Packet()
	require.ErrorIs(t, err, ErrNoFormat)
}

func TestCodecString(t *testing.T) {
	for c, want := range map[Codec]string{
		0: "none", 10: "video codec 10", 0x10c: "audio codec 12", 0x78787878: `codec "xxxx"`,
		CodecH264: "H.264", CodecAAC: "AAC", CodecMuLaw: "G.711 mu-law",
	} {
		require.Equal(t, want, c.String())
	}
	require.True(t, CodecHEVC.Video())
	require.False(t, CodecHEVC.Audio())
	require.True(t, CodecOpus.Audio())
	require.False(t, CodecOpus.Video())
	require.False(t, Codec(0).Audio())
	require.False(t, Codec(10).Video())
}

// What real encoders send: every body is understood, the codec header comes
// before the frames, the first frame is a key frame.
func TestCapturedPackets(t *testing.T) {
	for name, file := range captured(t) {
		t.Run(name, func(t *testing.T) {
			tags, err := readAll(NewReader(bytes.NewReader(file)))
			require.Equal(t, io.EOF, err)
			configs, frames := map[Codec]int{}, map[Codec]int{}
			for _, tag := range tags {
				if tag.Type == TypeScript {
					script, ok := ScriptName(tag.Data)
					require.True(t, ok)
					require.Equal(t, "onMetaData", script)
					continue
				}
				p, err := tag.Packet()
				require.NoError(t, err)
				require.NotEqual(t, KindUnknown, p.Kind)
				require.Equal(t, tag.Type == TypeVideo, p.Codec.Video())
				switch p.Kind {
				case KindConfig:
					configs[p.Codec]++
				case KindFrame:
					if frames[p.Codec]++; p.Codec.Video() && frames[p.Codec] == 1 {
						require.True(t, p.Key)
						require.Equal(t, 1, configs[p.Codec])
					}
				}
			}
			require.NotEmpty(t, frames)
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for name, body := range map[string]string{
		"H.264": "27 01 000000 aabbccdd", "Ex HEVC": "a1 68766331 000043 aabbccdd", "AAC": "af 01 aabbccdd",
	} {
		tag := Tag{Type: TypeVideo, Data: unhex(b, body)}
		if name == "AAC" {
			tag.Type = TypeAudio
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tag.Packet(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestParseDoesNotAllocate(t *testing.T) {
	for _, cases := range []struct {
		typ  Type
		list []packetCase
	}{{TypeVideo, videoCases}, {TypeAudio, audioCases}} {
		for _, c := range cases.list {
			tag := Tag{Type: cases.typ, Data: unhex(t, c.body)}
			allocs := testing.AllocsPerRun(10, func() { _, _ = tag.Packet() })
			require.Zero(t, allocs, c.name)
		}
	}
}
