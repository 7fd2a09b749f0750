package flv

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

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

// A codec is the same in its classic and its enhanced form, and none where the body
// names none or cannot be parsed.
func TestPacketCodec(t *testing.T) {
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
		p, _ := Tag{Type: c.typ, Data: unhex(t, c.body)}.Packet()
		require.Equal(t, c.want, p.Codec, c.body)
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
					require.True(t, bytes.HasPrefix(tag.Data, []byte("\x02\x00\x0aonMetaData")), "%q", tag.Data)
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
