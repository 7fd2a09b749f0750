package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
)

// recording is an FLV file as far as it consists of whole tags.
type recording struct {
	path   string
	header flv.Header
	tags   []flv.Tag
	size   int64
}

// read reads a recording, which may still be growing: nothing of what is not there
// yet is an error.
func read(t *testing.T, path string) recording {
	t.Helper()
	r := recording{path: path}
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return r
	}
	require.NoError(t, err)
	defer file.Close()
	in := flv.NewReader(bufio.NewReader(file))
	r.header, err = in.Header()
	for err == nil {
		var tag flv.Tag
		if tag, err = in.Next(); err == nil {
			r.tags = append(r.tags, tag)
			r.size += int64(tag.Size())
		}
	}
	if !errors.Is(err, io.EOF) {
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%s is an FLV file", path)
	}
	r.size += flv.HeaderSize
	return r
}

// trim cuts a recording that was broken off after its last whole tag.
func trim(t *testing.T, path string) {
	t.Helper()
	r := read(t, path)
	require.NotEmpty(t, r.tags, "%s holds something", path)
	require.NoError(t, os.Truncate(path, r.size))
}

// frames returns the tags that hold sound or pictures.
func (r recording) frames() (frames []flv.Tag) {
	for _, tag := range r.tags {
		if p, err := tag.Packet(); err == nil && p.Kind == flv.KindFrame {
			frames = append(frames, tag)
		}
	}
	return frames
}

// length is the time from the first frame to the last, in ms.
func (r recording) length() int {
	frames := r.frames()
	if len(frames) == 0 {
		return 0
	}
	return int(frames[len(frames)-1].Timestamp) - int(frames[0].Timestamp)
}

// codecs returns what the recording holds, in order of appearance.
func (r recording) codecs() (names []string) {
	seen := map[flv.Codec]bool{}
	for _, tag := range r.frames() {
		if p, _ := tag.Packet(); p.Codec != 0 && !seen[p.Codec] {
			seen[p.Codec] = true
			names = append(names, p.Codec.String())
		}
	}
	return names
}

// probed is what ffprobe tells of a file.
type probed struct {
	Streams []struct {
		Index      int
		Type       string `json:"codec_type"`
		Codec      string `json:"codec_name"`
		Width      int
		Height     int
		BFrames    int    `json:"has_b_frames"`
		SampleRate string `json:"sample_rate"`
		Channels   int
	}
	Format  struct{ Duration string }
	Packets []struct {
		Stream int `json:"stream_index"`
		DTS    *int
		Time   string `json:"dts_time"` // s
		Flags  string
	}
}

// duration returns what players take for the file's length, in seconds.
func (p probed) duration(t *testing.T) float64 {
	t.Helper()
	d, err := strconv.ParseFloat(p.Format.Duration, 64)
	require.NoError(t, err)
	return d
}

// checkRecording checks a file that a client has recorded from its beginning: what
// every viewer is promised, and that ffmpeg can decode all of it without a word.
func checkRecording(t *testing.T, path string, want source) probed {
	t.Helper()
	p := checkFile(t, path, want)
	// Pictures keep their times. Otherwise ffmpeg rounds them to the frame rate, and
	// complains where a session begins less than a frame after the one before.
	run(t, "ffmpeg", "-nostdin", "-v", "warning", "-i", path, "-enc_time_base", "-1", "-fps_mode", "passthrough", "-f", "null", "-")
	return p
}

// checkFile is checkRecording without decoding.
func checkFile(t *testing.T, path string, want source) probed {
	t.Helper()
	r := read(t, path)
	require.NotEmpty(t, r.tags, path)
	assert.Equal(t, flv.Header{Audio: !want.silent, Video: want.size != ""}, r.header, "tracks in the FLV header")
	checkStart(t, r, want)

	var p probed
	out := run(t, "ffprobe", "-v", "warning", "-show_streams", "-show_format", "-show_packets", "-of", "json", path)
	require.NoError(t, json.Unmarshal(out, &p))
	var types []string
	for _, s := range p.Streams {
		types = append(types, s.Type+" "+s.Codec)
		if s.Type == "video" && want.codec == "" {
			assert.Positive(t, s.BFrames, "B-frames")
		}
	}
	var wanted []string
	if want.size != "" {
		wanted = append(wanted, "video h264")
	}
	if !want.silent {
		wanted = append(wanted, "audio aac")
	}
	assert.ElementsMatch(t, wanted, types)
	p.monotonic(t)
	return p
}

// monotonic checks that each stream begins with a key frame, and that its decoding
// times grow.
func (p probed) monotonic(t *testing.T) {
	t.Helper()
	first, last := map[int]bool{}, map[int]int{}
	for _, packet := range p.Packets {
		require.NotNil(t, packet.DTS)
		if !first[packet.Stream] {
			first[packet.Stream] = true
			assert.Contains(t, packet.Flags, "K", "first packet of stream %d", packet.Stream)
		} else {
			assert.Greater(t, *packet.DTS, last[packet.Stream], "decoding times of stream %d", packet.Stream)
		}
		last[packet.Stream] = *packet.DTS
	}
}

// checkStart checks the order in which a viewer gets things: metadata, the codec
// headers, and then frames from 0 on, the first picture a key frame.
func checkStart(t *testing.T, r recording, want source) {
	t.Helper()
	assert.Equal(t, flv.TypeScript, r.tags[0].Type, "the first tag")
	assert.True(t, bytes.HasPrefix(r.tags[0].Data, []byte("\x02\x00\x0aonMetaData")), "the first tag is %q", r.tags[0].Data)
	assert.Zero(t, r.tags[0].Timestamp)
	configs := map[flv.Type]bool{}
	for _, tag := range r.tags[1:] {
		if tag.Type == flv.TypeScript {
			continue
		}
		p, err := tag.Packet()
		require.NoError(t, err)
		if p.Kind == flv.KindConfig {
			configs[tag.Type] = true
			continue
		}
		assert.Equal(t, map[bool]flv.Type{true: flv.TypeVideo, false: flv.TypeAudio}[want.size != ""], tag.Type, "the first frame")
		assert.Zero(t, tag.Timestamp, "the first frame's timestamp")
		assert.True(t, p.Key || tag.Type == flv.TypeAudio, "the first picture is a key frame")
		assert.True(t, configs[tag.Type], "the codec header comes before")
		return
	}
	t.Errorf("%s has no frame", r.path)
}
