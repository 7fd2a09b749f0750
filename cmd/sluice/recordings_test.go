//go:build unix

package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
)

// Everything that is published stands in the recording: each frame with its bytes, in
// order, at its time, from the first one on; the codec headers and script data; and how
// long it is. Sessions of real encoders have H.264, HEVC, AV1, AAC and MP3.
func TestRecordingHasWhatWasPublished(t *testing.T) {
	s := startRecording(t, nil)
	captures, err := filepath.Glob("../../testdata/captures/*-*-*.c2s")
	require.NoError(t, err)
	require.Len(t, captures, 6)
	t.Run("all", func(t *testing.T) { // which ends before the service does
		for _, file := range captures {
			t.Run(filepath.Base(file), func(t *testing.T) {
				t.Parallel()
				raw, err := os.ReadFile(file)
				require.NoError(t, err)
				key, tags := replayToRecorder(t, raw)
				s.replay(t, key, raw)
				s.checkRecording(t, key, tags)
			})
		}
		for name, tags := range map[string][]flv.Tag{
			"opus": soundOf(flv.CodecOpus, headOpus, 20), "flac": soundOf(flv.CodecFLAC, headFLAC, 96), "made": append(madeHeader(), stream200k.frames(madeFor)...),
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := s.publish(t, "live/"+name)
				writeAll(t, p, tags)
				s.begun(t, "live/"+name)
				require.NoError(t, p.Close())
				s.checkRecording(t, "live/"+name, tags)
			})
		}
	})
	assert.NotContains(t, s.log.String(), "level=ERROR")
	s.stop()
	noParts(t, s.dir)
}

// madeFor is how long made-up streams are.
const madeFor = 6 * time.Second

// headFLAC is the codec header of FLAC: STREAMINFO of 48 kHz, stereo, 16 bits (RFC 9639 §8.2).
const headFLAC = "fLaC\x80\x00\x00\x22\x12\x00\x12\x00\x00\x00\x0e\x00\x10\x00\x0b\xb8\x02\xf0\x00\x00\x00\x00" +
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// soundOf is a stream of Enhanced RTMP with sound of a codec and nothing else, a frame
// every so many ms.
func soundOf(codec flv.Codec, head string, every uint32) []flv.Tag {
	track := soakTrack{codec: codec, enhanced: true, header: head}
	tags := []flv.Tag{
		{Type: flv.TypeScript, Data: amf.AppendAMF0(nil, "onMetaData", amf.ECMAArray{{Name: "audiocodecid", Value: float64(codec)}})},
		{Type: flv.TypeAudio, Data: track.body(track.packet(flv.KindConfig, false, []byte(head)))},
	}
	for at := uint32(0); at < uint32(madeFor.Milliseconds()); at += every {
		payload := strings.Repeat(string(rune('a'+at%26)), int(50+at%100))
		tags = append(tags, flv.Tag{Type: flv.TypeAudio, Timestamp: at, Data: track.body(track.packet(flv.KindFrame, false, []byte(payload)))})
	}
	return tags
}

// replay publishes what a real encoder sent, the end of it when the recording has begun:
// without a grace, a stream that lives for less than that is not recorded.
func (s *recordingService) replay(t *testing.T, key string, raw []byte) {
	t.Helper()
	conn := dialFrom(t, nil, s.at.rtmp)
	answers := make(chan struct{})
	go func() {
		defer close(answers)
		io.Copy(io.Discard, conn)
	}()
	end := len(raw) - 2000
	_, err := conn.Write(raw[:end])
	require.NoError(t, err)
	s.begun(t, key)
	_, err = conn.Write(raw[end:])
	require.NoError(t, err)
	require.NoError(t, conn.CloseWrite())
	<-answers
}

// begun waits until a stream is being recorded.
func (s *recordingService) begun(t *testing.T, key string) {
	t.Helper()
	until(t, "a recording of "+key+" begins", func() bool { return len(s.at.recordings(t, key)) > 0 })
}

// checkRecording waits for the one recording of a stream, and compares it with what was
// published.
func (s *recordingService) checkRecording(t *testing.T, key string, published []flv.Tag) {
	t.Helper()
	all := s.at.finished(t, key, 1)
	require.Len(t, all, 1)
	r := all[0]
	recorded := s.at.download(t, r)
	want, got := rebase(framesOf(t, published)), framesOf(t, recorded)
	require.NotEmpty(t, want)
	sameFrames(t, want, got, r.URL)
	assert.Equal(t, headersOf(t, published), headersOf(t, recorded), "codec headers")
	assert.InDelta(t, lengthOf(want), r.Duration, 0.05, "duration")
	assert.Equal(t, "finished", r.State)
	assert.Zero(t, r.Gaps)

	onDisk, err := os.ReadFile(filepath.Join(s.dir, filepath.FromSlash(key), r.ID+".flv"))
	require.NoError(t, err)
	status, body := s.at.get(t, r.URL)
	require.Equal(t, http.StatusOK, status)
	assert.Equal(t, onDisk, body, "the file as it is")
	values, err := amf.DecodeAll(recorded[0].Data, amf.Limits{Elements: 1 << 20})
	require.NoError(t, err)
	properties, _ := amf.Properties(values[1])
	props := amf.ECMAArray(properties)
	duration, _ := props.Get("duration")
	assert.InDelta(t, r.Duration, duration, 0.001, "duration in the file")
	size, _ := props.Get("filesize")
	assert.EqualValues(t, len(body), size, "size in the file")
}

// headersOf returns the bodies of all codec headers.
func headersOf(t *testing.T, tags []flv.Tag) map[string]bool { return contentOf(t, tags).configs }

// lengthOf returns how long frames last, in seconds, the last ones of each track as long as
// those before them.
func lengthOf(frames []flv.Tag) float64 {
	last, step := map[flv.Type]uint32{}, map[flv.Type]uint32{}
	for _, f := range frames {
		step[f.Type] = f.Timestamp - last[f.Type]
		last[f.Type] = f.Timestamp
	}
	end := uint32(0)
	for typ := range last {
		end = max(end, last[typ]+step[typ])
	}
	return float64(end) / 1000
}
