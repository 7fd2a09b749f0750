package mp4_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/mp4"
)

// firstPicture returns the codec header and the first key frame of a session.
func firstPicture(t testing.TB, tags []flv.Tag) (config, key flv.Tag) {
	t.Helper()
	for _, tag := range tags {
		if tag.Type != flv.TypeVideo {
			continue
		}
		p, err := tag.Packet()
		require.NoError(t, err)
		switch {
		case p.Kind == flv.KindConfig && config.Data == nil:
			config = tag
		case p.Key:
			return config, tag
		}
	}
	t.Fatal("no key frame")
	return
}

// The key frame of what real encoders sent, as a file of its own: ffprobe has nothing to complain
// of, and it decodes to the same picture as the session does.
func TestStillsDecode(t *testing.T) {
	for name, codec := range map[string]string{
		"obs30-h264-aac": "h264", "ffmpeg5-h264-aac": "h264", "ffmpeg7-h264-bframes-aac": "h264",
		"ffmpeg7-hevc-aac": "hevc", "ffmpeg7-av1-aac": "av1",
	} {
		t.Run(name, func(t *testing.T) {
			tags := captured(t, name)
			config, key := firstPicture(t, tags)
			still, err := mp4.AppendStill(nil, config, key)
			require.NoError(t, err)
			path := keep(t, "still.mp4", still)
			shown := run(t, newer(t, "ffprobe"), "-v", "warning", "-count_frames", "-show_streams", path)
			for _, want := range []string{"codec_name=" + codec, "nb_read_frames=1", "duration=0.040000"} {
				assert.Contains(t, strings.Split(shown, "\n"), want)
			}
			want := decode(t, keep(t, "in.flv", file(tags...)))["0"][0]
			got := decode(t, path)
			require.Len(t, got, 1)
			require.Len(t, got["0"], 1)
			assert.Equal(t, want.hash, got["0"][0].hash)
			assert.Zero(t, got["0"][0].at)
		})
	}
}

// A still is the same whether its picture came in one body or in one for each slice, whatever
// stands before it, and however many tracks are in the body.
func TestStillForms(t *testing.T) {
	want, err := mp4.AppendStill(nil, h264Header(), picture(0, true, 0, "abcdef"))
	require.NoError(t, err)
	m := unpack(want)
	require.Len(t, m.tracks, 1)
	require.Len(t, m.tracks[0].samples, 1)
	sample := m.tracks[0].samples[0]
	assert.Equal(t, "abcdef", string(sample.data))
	assert.True(t, sample.key)
	assert.Equal(t, uint64(40), m.duration)
	assert.Empty(t, m.tracks[0].edits)
	assert.Equal(t, uint32(176<<16|144), binary.BigEndian.Uint32(m.tracks[0].entries[0].body[24:]))

	enhanced := func(kind flv.Kind, payload string) flv.Tag {
		return video(7, flv.Packet{Codec: flv.CodecH264, Enhanced: true, Kind: kind, Key: kind == flv.KindFrame, Payload: []byte(payload)})
	}
	for name, tt := range map[string]struct {
		config flv.Tag
		frames []flv.Tag
	}{
		"slices":           {h264Header(), []flv.Tag{picture(0, true, 0, "ab"), picture(0, true, 0, "c"), picture(0, true, 0, "def")}},
		"time":             {h264Header(), []flv.Tag{picture(12345, true, 80, "abcdef")}},
		"shown before":     {h264Header(), []flv.Tag{picture(0, true, -80, "abcdef")}},
		"enhanced":         {enhanced(flv.KindConfig, string(avcC)), []flv.Tag{enhanced(flv.KindFrame, "abcdef")}},
		"one with another": {h264Header(), []flv.Tag{multitrack(0, 1, "other", 0, "abcdef")}},
	} {
		got, err := mp4.AppendStill([]byte("before"), tt.config, tt.frames...)
		require.NoError(t, err, name)
		assert.Equal(t, "before", string(got[:6]), name)
		assert.True(t, bytes.Equal(want, got[6:]), name)
	}
}

// The size of the picture stands in the key frame where the codec header does not tell it.
func TestStillSizes(t *testing.T) {
	config := video(0, flv.Packet{Codec: flv.CodecAV1, Enhanced: true, Kind: flv.KindConfig, Payload: av1C})
	key := video(0, flv.Packet{Codec: flv.CodecAV1, Enhanced: true, Kind: flv.KindFrame, Key: true,
		Payload: []byte("\x12\x00\x0a\x0a\x00\x00\x00\x06\x27\xfe\x55\x74\x13\xff")})
	still, err := mp4.AppendStill(nil, config, key)
	require.NoError(t, err)
	assert.NotZero(t, binary.BigEndian.Uint32(unpack(still).tracks[0].entries[0].body[24:]))
}

func TestNoStill(t *testing.T) {
	config := func(c flv.Codec, text string) flv.Tag {
		return video(0, flv.Packet{Codec: c, Enhanced: true, Kind: flv.KindConfig, Payload: []byte(text)})
	}
	key := picture(0, true, 0, "k")
	for name, tt := range map[string]struct {
		config flv.Tag
		frames []flv.Tag
		want   error
	}{
		"nothing":                  {flv.Tag{}, nil, mp4.ErrNoTracks},
		"no codec header":          {flv.Tag{Type: flv.TypeVideo}, []flv.Tag{key}, mp4.ErrNoTracks},
		"a frame in its place":     {key, []flv.Tag{key}, mp4.ErrNoTracks},
		"sound in its place":       {aacHeader(), []flv.Tag{key}, mp4.ErrNoTracks},
		"one that makes no sense":  {config(flv.CodecH264, "x"), []flv.Tag{key}, mp4.ErrNoTracks},
		"one that cannot be read":  {flv.Tag{Type: flv.TypeVideo, Data: []byte{0x17}}, []flv.Tag{key}, flv.ErrFormat},
		"no frame":                 {h264Header(), nil, mp4.ErrNoTracks},
		"an empty one":             {h264Header(), []flv.Tag{picture(0, true, 0, "")}, mp4.ErrNoTracks},
		"no key frame":             {h264Header(), []flv.Tag{picture(0, false, 0, "p")}, mp4.ErrNoTracks},
		"sound":                    {h264Header(), []flv.Tag{key, sound(0, "s")}, mp4.ErrNoTracks},
		"a header as frame":        {h264Header(), []flv.Tag{h264Header()}, mp4.ErrNoTracks},
		"of another track":         {h264Header(), []flv.Tag{multitrack(0, 1, "other")}, mp4.ErrNoTracks},
		"of another codec":         {config(flv.CodecAV1, string(av1C)), []flv.Tag{key}, mp4.ErrNoTracks},
		"one that cannot be read ": {h264Header(), []flv.Tag{{Type: flv.TypeVideo, Data: []byte{0x17, 1}}}, flv.ErrFormat},
		"a codec without a place":  {config(flv.CodecVP8, "\x01"), []flv.Tag{key}, mp4.ErrUnsupported},
	} {
		got, err := mp4.AppendStill([]byte("before"), tt.config, tt.frames...)
		assert.ErrorIs(t, err, tt.want, name)
		assert.Equal(t, "before", string(got), name)
	}
}

// Whatever a header and a key frame are: no panic, and if there is a still, a file of one
// picture, which is within it.
func FuzzStill(f *testing.F) {
	for _, b := range oddFiles() {
		var bodies [][]byte
		for r := flv.NewReader(bytes.NewReader(b)); ; {
			tag, err := r.Next()
			if err != nil {
				break
			}
			if tag.Type == flv.TypeVideo {
				bodies = append(bodies, bytes.Clone(tag.Data))
			}
		}
		if len(bodies) > 1 {
			f.Add(bodies[0], bodies[1])
		}
	}
	f.Fuzz(func(t *testing.T, config, key []byte) {
		still, err := mp4.AppendStill(nil, flv.Tag{Type: flv.TypeVideo, Data: config}, flv.Tag{Type: flv.TypeVideo, Data: key})
		if err != nil {
			if still != nil {
				t.Fatal("there is something in spite of ", err)
			}
			return
		}
		if most := 1024 + len(config) + len(key); len(still) > most {
			t.Fatalf("%d bytes for %d and %d", len(still), len(config), len(key))
		}
		m := unpack(still)
		if len(m.tracks) != 1 || len(m.tracks[0].samples) != 1 || !m.tracks[0].samples[0].key {
			t.Fatal("not one key frame")
		}
		sample := m.tracks[0].samples[0]
		if end := sample.offset + uint64(len(sample.data)); len(sample.data) == 0 || end != uint64(len(still)) {
			t.Fatalf("a picture of %d bytes at %d of %d", len(sample.data), sample.offset, len(still))
		}
	})
}

// A picture of 50 KB, which is one of 1280×720.
func BenchmarkStill(b *testing.B) {
	config, key := h264Header(), picture(0, true, 0, strings.Repeat("x", 50_000))
	b.ReportAllocs()
	b.SetBytes(int64(len(key.Data)))
	for b.Loop() {
		_, err := mp4.AppendStill(make([]byte, 0, 51_500), config, key)
		require.NoError(b, err)
	}
}
