package flv

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAudioFormat(t *testing.T) {
	asc := func(w *bitWriter) []byte { return w.b }
	bw := func() *bitWriter { return &bitWriter{} }
	for name, c := range map[string]struct {
		codec   Codec
		payload []byte
		want    AudioFormat
	}{
		"AAC 44.1 kHz":        {CodecAAC, unhex(t, "121056e500"), AudioFormat{Profile: "LC", SampleRate: 44100, Channels: 2}},
		"AAC of OBS":          {CodecAAC, unhex(t, "119056e500"), AudioFormat{Profile: "LC", SampleRate: 48000, Channels: 2}},
		"AAC of ffmpeg, mono": {CodecAAC, unhex(t, "120856e500"), AudioFormat{Profile: "LC", SampleRate: 44100, Channels: 1}},
		"AAC, two bytes":      {CodecAAC, unhex(t, "1210"), AudioFormat{Profile: "LC", SampleRate: 44100, Channels: 2}},
		"AAC 5.1":             {CodecAAC, unhex(t, "11b056e500"), AudioFormat{Profile: "LC", SampleRate: 48000, Channels: 6}},
		"AAC 7.1":             {CodecAAC, unhex(t, "11b856e500"), AudioFormat{Profile: "LC", SampleRate: 48000, Channels: 8}},
		"AAC 96 kHz":          {CodecAAC, unhex(t, "101056e500"), AudioFormat{Profile: "LC", SampleRate: 96000, Channels: 2}},
		"AAC, rate in full":   {CodecAAC, asc(bw().u(5, 2).u(4, 15).u(24, 48000).u(4, 2).flags("000")), AudioFormat{Profile: "LC", SampleRate: 48000, Channels: 2}},
		"HE-AAC":              {CodecAAC, asc(bw().u(5, 5).u(4, 6).u(4, 2).u(4, 3).u(5, 2).flags("000")), AudioFormat{Profile: "HE", SampleRate: 48000, Channels: 2}},
		"HE-AAC v2":           {CodecAAC, asc(bw().u(5, 29).u(4, 6).u(4, 1).u(4, 3).u(5, 2).flags("000")), AudioFormat{Profile: "HEv2", SampleRate: 48000, Channels: 2}},
		"HE-AAC, compatible":  {CodecAAC, asc(bw().u(5, 2).u(4, 7).u(4, 2).flags("000").u(11, 0x2b7).u(5, 5).flags("1").u(4, 4)), AudioFormat{Profile: "HE", SampleRate: 44100, Channels: 2}},
		"HE-AAC v2, compatible": {CodecAAC, asc(bw().u(5, 2).u(4, 7).u(4, 1).flags("000").u(11, 0x2b7).u(5, 5).flags("1").u(4, 4).u(11, 0x548).flags("1")),
			AudioFormat{Profile: "HEv2", SampleRate: 44100, Channels: 2}},
		"AAC with a program config": {CodecAAC, asc(bw().u(5, 2).u(4, 4).u(4, 0).flags("000").
			flags("0000 01 0100 0010 0001 0001 01 001 0001").flags("1 0000 1 0000 1 000").
			flags("0 0000 1 0000  1 0001  1 0010  0011  0000  1 0000").u(6, 0).u(16, 0x0161).
			u(11, 0x2b7).u(5, 5).flags("0")),
			AudioFormat{Profile: "LC", SampleRate: 44100, Channels: 8}},
		"AAC with a core coder": {CodecAAC, asc(bw().u(5, 2).u(4, 4).u(4, 2).flags("0 1").u(14, 0).flags("0")), AudioFormat{Profile: "LC", SampleRate: 44100, Channels: 2}},
		"ER AAC LD":             {CodecAAC, asc(bw().u(5, 23).u(4, 4).u(4, 2).flags("0 0 1 000 0")), AudioFormat{Profile: "LD", SampleRate: 44100, Channels: 2}},
		"AAC ELD":               {CodecAAC, asc(bw().u(5, 31).u(6, 7).u(4, 3).u(4, 2)), AudioFormat{Profile: "ELD", SampleRate: 48000, Channels: 2}},
		"xHE-AAC":               {CodecAAC, asc(bw().u(5, 31).u(6, 10).u(4, 3).u(4, 2)), AudioFormat{Profile: "xHE", SampleRate: 48000, Channels: 2}},
		"Opus":                  {CodecOpus, unhex(t, "4f707573486561640102380180bb0000000000"), AudioFormat{SampleRate: 48000, Channels: 2}},
		"Opus fed with 16 kHz":  {CodecOpus, unhex(t, "4f7075734865616401013801803e0000000000"), AudioFormat{SampleRate: 48000, Channels: 1}},
		"FLAC":                  {CodecFLAC, unhex(t, "664c6143 80000022 120012000004a30005080ac442f0000022745d105ceb212ad5d36e4f5608def3d8b7"), AudioFormat{SampleRate: 44100, Channels: 2}},
		"FLAC, STREAMINFO only": {CodecFLAC, unhex(t, "2000200000032a0008a217700af000004b007465cbb5761941cddf95ae3b09e534ec"), AudioFormat{SampleRate: 96000, Channels: 6}},
	} {
		c.want.Codec = c.codec
		got, err := ParseAudioConfig(Packet{Codec: c.codec, Kind: KindConfig, Payload: c.payload})
		require.NoError(t, err, name)
		require.Equal(t, c.want, got, name)
	}
	for name, c := range map[string]struct {
		body string
		want AudioFormat
	}{
		"MP3 by LAME, stereo": {"2f fffb90640000026b0b", AudioFormat{CodecMP3, "", 44100, 2}},
		"MP3 by LAME, mono":   {"2e fffb50c400000a2c43", AudioFormat{CodecMP3, "", 44100, 1}},
		"MPEG-2 MP3":          {"2a fff340c400133062", AudioFormat{CodecMP3, "", 22050, 1}},
		"MPEG-2.5 MP3":        {"ee ffe318c4000af006", AudioFormat{CodecMP3, "", 8000, 1}},
		"MP3, not a head":     {"2f 0000", AudioFormat{CodecMP3, "", 44100, 2}},
		"MP3, reserved bits":  {"2f ffff", AudioFormat{CodecMP3, "", 44100, 2}},
		"MP3, reserved rate":  {"2b fffb9c64", AudioFormat{CodecMP3, "", 22050, 2}},
		"Ex MP3":              {"91 2e6d7033 fffb90640000", AudioFormat{CodecMP3, "", 44100, 2}},
		"AC-3 5.1":            {"91 61632d33 0b77b50b1e40ebf8403e", AudioFormat{CodecAC3, "", 48000, 6}},
		"AC-3 stereo":         {"91 61632d33 0b77c2ea544043e106f5", AudioFormat{CodecAC3, "", 44100, 2}},
		"AC-3 mono":           {"91 61632d33 0b77952f8c402f842bf1", AudioFormat{CodecAC3, "", 32000, 1}},
		"E-AC-3 5.1":          {"91 65632d33 0b77037f3f87c00020f8", AudioFormat{CodecEAC3, "", 48000, 6}},
		"E-AC-3 stereo":       {"91 65632d33 0b7701a07487c0002084", AudioFormat{CodecEAC3, "", 44100, 2}},
		"E-AC-3, half rate":   {"91 65632d33 0b7701a0d487c0002084", AudioFormat{CodecEAC3, "", 22050, 2}},
		"PCM":                 {"3f 0000", AudioFormat{CodecPCM, "", 44100, 2}},
		"PCM, native":         {"04 00", AudioFormat{CodecPCM, "", 11025, 1}},
		"ADPCM":               {"1a 00", AudioFormat{CodecADPCM, "", 22050, 1}},
		"A-law":               {"72 d5", AudioFormat{CodecALaw, "", 8000, 1}},
		"mu-law":              {"83 ff", AudioFormat{CodecMuLaw, "", 8000, 2}},
		"Speex":               {"b6 00", AudioFormat{CodecSpeex, "", 16000, 1}},
		"Nellymoser":          {"6e 00", AudioFormat{CodecNellymoser, "", 44100, 1}},
		"Nellymoser 16 kHz":   {"42 00", AudioFormat{CodecNellymoser, "", 16000, 1}},
		"Nellymoser 8 kHz":    {"52 00", AudioFormat{CodecNellymoser, "", 8000, 1}},
	} {
		p, err := ParseAudio(unhex(t, c.body))
		require.NoError(t, err)
		got, err := ParseAudioConfig(p)
		require.NoError(t, err, name)
		require.Equal(t, c.want, got, name)
	}
}

func TestAudioFormatRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		codec   Codec
		payload string
	}{
		"AAC, nothing":             {CodecAAC, ""},
		"AAC, one byte":            {CodecAAC, "12"},
		"AAC, reserved rate":       {CodecAAC, "1690"},
		"Opus, another magic":      {CodecOpus, "4f70757354616773 0102"},
		"Opus, no channels":        {CodecOpus, "4f70757348656164 0100"},
		"Opus, cut":                {CodecOpus, "4f70757348656164 01"},
		"FLAC, cut":                {CodecFLAC, "664c6143 80000022 120012000004a30005"},
		"FLAC, the magic alone":    {CodecFLAC, "664c6143"},
		"FLAC, a sample rate of 0": {CodecFLAC, "120012000004a3000508 000002f0"},
	} {
		_, err := ParseAudioConfig(Packet{Codec: c.codec, Kind: KindConfig, Payload: unhex(t, c.payload)})
		require.ErrorIs(t, err, ErrFormat, name)
	}
	for _, frame := range []string{"", "0b77", "0b78037f3f87c0", "0b77b50bde40eb", "0b7701a0f487c0"} {
		_, err := ParseAudioConfig(Packet{Codec: CodecAC3, Kind: KindFrame, Payload: unhex(t, frame)})
		require.ErrorIs(t, err, ErrFormat, frame)
	}
}
