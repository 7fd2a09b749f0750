package flv

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// Bodies that were appended to the scratch stay as they are until it is cut back.
func TestApplyScratch(t *testing.T) {
	s := Shape{Form: FormClassic}
	first := Tag{Type: TypeVideo, Data: unhex(t, "93 61766331 aa")}
	second := Tag{Type: TypeVideo, Data: unhex(t, "a3 61766331 bb")}
	scratch := make([]byte, 0, 16)
	a, ok := s.Apply(first, &scratch)
	require.True(t, ok)
	b, ok := s.Apply(second, &scratch) // which does not fit any more
	require.True(t, ok)
	require.Equal(t, unhex(t, "17 01 000000 aa"), a)
	require.Equal(t, unhex(t, "27 01 000000 bb"), b)
	_ = append(a, 0xff)
	require.Equal(t, unhex(t, "27 01 000000 bb"), b, "appending to one body must not reach the next")

	scratch = scratch[:0]
	c, ok := s.Apply(second, &scratch)
	require.True(t, ok)
	require.Same(t, &scratch[:1][0], &c[0])

	// A body that is in the scratch itself, from an earlier shape.
	d, ok := Shape{Form: FormBrowser}.Apply(Tag{Type: TypeVideo, Data: c}, &scratch)
	require.True(t, ok)
	require.Equal(t, b, d)

	require.Zero(t, testing.AllocsPerRun(10, func() {
		scratch = scratch[:0]
		s.Apply(first, &scratch)
	}), "a scratch with room is not made anew")
}

func TestApplyLeavesOtherTags(t *testing.T) {
	var scratch []byte
	for _, typ := range []Type{TypeScript, TypeScriptAMF3, 5} {
		tag := Tag{Type: typ, Data: unhex(t, "02 000a 6f6e4d65746144617461")}
		for _, s := range allShapes() {
			got, ok := s.Apply(tag, &scratch)
			require.True(t, ok)
			require.Equal(t, tag.Data, got)
		}
	}
}

// What can't be read has no place where reading is needed, and what is too large to
// be read at leisure can't be read.
func TestApplyUnreadable(t *testing.T) {
	tooManyTracks := unhex(t, "96 11 61763031")
	for range maxTracks + 1 {
		tooManyTracks = append(tooManyTracks, 0, 0, 0, 0)
	}
	tooManyModEx := []byte{0x97}
	for range maxModEx {
		tooManyModEx = append(tooManyModEx, 0, 0, 0x17)
	}
	tooManyModEx = append(tooManyModEx, unhex(t, "00 00 11 61763031 aa")...)
	for name, data := range map[string][]byte{
		"empty": {}, "cut short": unhex(t, "91 617630"), "too many tracks": tooManyTracks, "too many ModEx headers": tooManyModEx,
	} {
		tag := Tag{Type: TypeVideo, Data: data}
		got, err := tag.AppendPackets([]Packet{{Track: 7}})
		require.ErrorIs(t, err, ErrFormat, name)
		require.Equal(t, []Packet{{Track: 7}}, got, name)
		var scratch []byte
		for _, s := range allShapes() {
			got, ok := s.Apply(tag, &scratch)
			if s == (Shape{}) {
				require.True(t, ok, name)
				require.Equal(t, data, got, name)
			} else {
				require.False(t, ok, "%s in %+v", name, s)
			}
		}
	}
	// One less of each is well.
	tag := Tag{Type: TypeVideo, Data: tooManyTracks[:len(tooManyTracks)-4]}
	packets, err := tag.AppendPackets(nil)
	require.NoError(t, err)
	require.Len(t, packets, maxTracks)
	tag.Data = append([]byte{0x97}, tooManyModEx[4:]...)
	p, err := tag.Packet()
	require.NoError(t, err)
	require.Equal(t, []byte{0xaa}, p.Payload)
}

func TestCodecID(t *testing.T) {
	const fourCC = true
	for _, c := range []struct {
		codec                          Codec
		sent                           bool // in the enhanced form
		asSent, single, classic, brows float64
	}{
		{CodecH264, false, 7, 7, 7, 7},
		{CodecH264, fourCC, 0x61766331, 0x61766331, 7, 7},
		{CodecAAC, false, 10, 10, 10, 10},
		{CodecAAC, fourCC, 0x6d703461, 0x6d703461, 10, 10},
		{CodecMP3, false, 2, 2, 2, 2},
		{CodecMP3, fourCC, 0x2e6d7033, 0x2e6d7033, 2, 2},
		{CodecHEVC, false, 12, 12, 12, 12},
		{CodecHEVC, fourCC, 0x68766331, 0x68766331, 0x68766331, 0x68766331},
		{CodecAV1, false, 13, 13, 13, 0x61763031},
		{CodecAV1, fourCC, 0x61763031, 0x61763031, 0x61763031, 0x61763031},
		{CodecVP8, false, 14, 14, 14, 0x76703038},
		{CodecVP9, false, 15, 15, 15, 0x76703039},
		{CodecVP9, fourCC, 0x76703039, 0x76703039, 0x76703039, 0x76703039},
		{CodecVVC, fourCC, 0x76766331, 0x76766331, 0x76766331, 0x76766331},
		{CodecOpus, false, 13, 13, 13, 0x4f707573},
		{CodecOpus, fourCC, 0x4f707573, 0x4f707573, 0x4f707573, 0x4f707573},
		{CodecFLAC, fourCC, 0x664c6143, 0x664c6143, 0x664c6143, 0x664c6143},
		{CodecAC3, fourCC, 0x61632d33, 0x61632d33, 0x61632d33, 0x61632d33},
		{CodecH263, false, 2, 2, 2, 2},
		{CodecVP6, false, 4, 4, 4, 4},
		{CodecSpeex, false, 11, 11, 11, 11},
		{CodecPCM, false, 3, 3, 3, 3},
		{CodecNellymoser, false, 6, 6, 6, 6},
		{CodecALaw, false, 7, 7, 7, 7},
		{CodecMuLaw, false, 8, 8, 8, 8},
		{10, false, 10, 10, 10, 10},
		{unknownAudio + 12, false, 12, 12, 12, 12},
		{0, false, 0, 0, 0, 0},
	} {
		for form, want := range []float64{c.asSent, c.single, c.classic, c.brows} {
			require.Equal(t, want, Shape{Form: Form(form)}.CodecID(c.codec, c.sent), "%v in form %d", c.codec, form)
			if c.codec == CodecHEVC {
				require.EqualValues(t, 12, Shape{Form: Form(form), HEVC: HEVCLegacy}.CodecID(c.codec, c.sent))
				require.EqualValues(t, 0x68766331, Shape{Form: Form(form), HEVC: HEVCEnhanced}.CodecID(c.codec, c.sent))
			}
		}
	}
}

func BenchmarkApply(b *testing.B) {
	frame := make([]byte, 20_000)
	for _, c := range []struct {
		name, head string
		shape      Shape
	}{
		{"as sent", "27 01 000000", Shape{}},
		{"nothing to change", "27 01 000000", Shape{Form: FormBrowser}},
		{"nothing to change, enhanced", "a1 68766331 000000", Shape{Form: FormBrowser}},
		{"unwrap", "a1 61766331 000000", Shape{Form: FormBrowser}},
		{"another track", "a6 01 61766331 01 000000", Shape{Form: FormBrowser}},
	} {
		tag := Tag{Type: TypeVideo, Data: append(unhex(b, c.head), frame...)}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var scratch []byte
			for b.Loop() {
				scratch = scratch[:0]
				c.shape.Apply(tag, &scratch)
			}
		})
	}
}

// What encoders sent in the old form, wrapped in every way of Enhanced RTMP, comes out
// of it as it was; and HEVC comes out of its legacy form.
func TestShapeOfCapturedPackets(t *testing.T) {
	for name, file := range captured(t) {
		tags, err := readAll(NewReader(bytes.NewReader(file)))
		require.Equal(t, io.EOF, err)
		for i, tag := range tags {
			if tag.Type == TypeScript {
				continue
			}
			p, err := tag.Packet()
			require.NoError(t, err)
			var scratch []byte
			if p.Codec == CodecHEVC && p.Kind == KindMetadata {
				_, ok := Shape{HEVC: HEVCLegacy}.Apply(tag, &scratch)
				require.False(t, ok)
			} else if p.Codec == CodecHEVC {
				legacy, ok := Shape{HEVC: HEVCLegacy}.Apply(tag, &scratch)
				require.True(t, ok)
				enhanced, ok := Shape{HEVC: HEVCEnhanced}.Apply(Tag{Type: TypeVideo, Data: legacy}, &scratch)
				require.True(t, ok)
				q, err := ParseVideo(enhanced)
				require.NoError(t, err)
				require.Equal(t, p, q, "%s: tag %d", name, i)
			}
			if p.Enhanced || p.Kind != KindFrame && p.Kind != KindConfig {
				continue
			}
			for way := range 4 {
				q := p
				q.Enhanced, q.Multitrack = true, way&1 != 0
				q.Nanos = uint32(way >> 1 * 999_999)
				wrapped, err := appendBody(tag.Type, nil, q)
				require.NoError(t, err)
				for _, form := range []Form{FormClassic, FormBrowser} {
					got, ok := Shape{Form: form}.Apply(Tag{Type: tag.Type, Data: wrapped}, &scratch)
					require.True(t, ok)
					if p.Codec == CodecMP3 {
						got[0] = tag.Data[0] // rate and channels, which the enhanced form does not have
					}
					require.True(t, bytes.Equal(tag.Data, got), "%s: tag %d", name, i)
				}
			}
		}
	}
}

// What publishers write for a codec.
func TestParseCodecID(t *testing.T) {
	for _, test := range []struct {
		typ   Type
		value any
		want  Codec
	}{
		{TypeVideo, 7.0, CodecH264}, {TypeVideo, 12.0, CodecHEVC}, {TypeAudio, 10.0, CodecAAC}, {TypeAudio, 2.0, CodecMP3},
		{TypeVideo, float64(CodecAV1), CodecAV1}, {TypeAudio, float64(CodecOpus), CodecOpus},
		{TypeVideo, "avc1", CodecH264}, {TypeAudio, "mp4a", CodecAAC}, {TypeVideo, "AVC1", CodecH264}, {TypeVideo, "H264", CodecH264},
		{TypeVideo, "H.264", CodecH264}, {TypeAudio, ".mp3", CodecMP3}, {TypeAudio, "AAC", CodecAAC}, {TypeVideo, "hvc1", CodecHEVC},
		{TypeVideo, 0.0, 0}, {TypeAudio, 0.0, 0}, {TypeVideo, -7.0, 0}, {TypeVideo, 1e300, 0}, {TypeAudio, 9.0, 0}, {TypeAudio, 15.0, 0},
		{TypeVideo, 10.0, 0}, {TypeVideo, "", 0}, {TypeVideo, "none", 0}, {TypeVideo, "mp4a", 0}, {TypeAudio, "avc1", 0},
		{TypeVideo, float64(CodecAAC), 0}, {TypeVideo, nil, 0}, {TypeAudio, true, 0}, {TypeScript, 7.0, 0},
	} {
		require.Equal(t, test.want, ParseCodecID(test.typ, test.value), "%v %v", test.typ, test.value)
	}
}
