package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/rtmp"
)

// recorded is what the API tells of a recording.
type recorded struct {
	ID, State, URL string
	Node           string  // in a cluster
	Duration       float64 // s
	Bytes          int64
	Gaps           int
}

// serveRecording is serve with a folder for recordings. A publisher that leaves is gone at
// once.
func serveRecording(t *testing.T, variables ...string) *server {
	t.Helper()
	return serve(t, append([]string{"SLUICE_RECORD_DIR=" + t.TempDir(), "SLUICE_RECORD_MIN_FREE=0", "SLUICE_PUBLISHER_GRACE=0"}, variables...)...)
}

// recordings returns what the API lists of a stream, the oldest first.
func (s *server) recordings(key string) (all []recorded) {
	s.t.Helper()
	answer, err := client.Get("http://" + s.http + "/api/v1/recordings?stream=" + url.QueryEscape(key))
	require.NoError(s.t, err)
	defer answer.Body.Close()
	require.Equal(s.t, http.StatusOK, answer.StatusCode)
	var list struct{ Recordings []recorded }
	require.NoError(s.t, json.NewDecoder(answer.Body).Decode(&list))
	for i := len(list.Recordings) - 1; i >= 0; i-- {
		all = append(all, list.Recordings[i])
	}
	return all
}

// finished waits for the only recording of a stream to be finished.
func (s *server) finished(key string) (r recorded) {
	s.t.Helper()
	until(s.t, "the recording of "+key+" is finished", func() bool {
		all := s.recordings(key)
		if len(all) == 1 {
			r = all[0]
		}
		return r.State == "finished"
	})
	assert.Zero(s.t, r.Gaps)
	return r
}

// recordingURL returns where a recording is played over RTMP.
func (s *server) recordingURL(key string, r recorded) string {
	return s.rtmpURL("rec/" + key + "/" + r.ID)
}

// fetch saves what is at a path of the server.
func (s *server) fetch(path string) (file string) {
	s.t.Helper()
	answer, err := client.Get("http://" + s.http + path)
	require.NoError(s.t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(s.t, err)
	require.Equal(s.t, http.StatusOK, answer.StatusCode, "%s", path)
	file = filepath.Join(s.t.TempDir(), filepath.Base(path))
	require.NoError(s.t, os.WriteFile(file, body, 0o600))
	return file
}

// framemd5 returns the checksums of all decoded frames of a kind, "v" or "a", without their
// times.
func framemd5(t *testing.T, file, kind string) (sums []string) {
	t.Helper()
	out := run(t, newer(t, "ffmpeg"), "-nostdin", "-v", "warning", "-i", file, "-map", "0:"+kind, "-fps_mode:v", "passthrough",
		"-enc_time_base:v", "demux", "-f", "framemd5", "-")
	for line := range strings.Lines(string(out)) {
		if fields := strings.Split(strings.TrimSpace(line), ","); line[0] != '#' && len(fields) == 6 {
			sums = append(sums, strings.TrimSpace(fields[5]))
		}
	}
	return sums
}

// Every session that a real encoder was recorded in is a file that a recent ffprobe reads
// without a word, in which nothing is missing; and the same in MP4, picture by picture.
func TestCapturesRecorded(t *testing.T) {
	t.Parallel()
	newer(t, "ffprobe")
	s := serveRecording(t)
	for _, c := range everyCapture {
		t.Run(c.file, func(t *testing.T) {
			t.Parallel()
			s := s.in(t)
			s.replay(c.file, func() { until(t, "it is recorded", func() bool { return len(s.recordings(c.key)) == 1 }) })
			r := s.finished(c.key)
			file := s.fetch(r.URL)
			if c.video == "av1" {
				c.packets++ // there is sound before the first picture, which viewers do not get
			}
			c.check(t, "FLV", s.probe(file).result())
			tags := read(t, file)
			frame := 1.0 / 15 // of the slowest
			assert.InDelta(t, float64(tags.length())/1000, r.Duration, frame, "duration, less the last frame")
			p := probed{}
			out := run(t, newer(t, "ffprobe"), "-v", "warning", "-show_format", "-of", "json", file)
			require.NoError(t, json.Unmarshal(out, &p))
			assert.InDelta(t, r.Duration, p.duration(t), 0.002, "duration as ffprobe tells it")
			s.sameInMP4(r, file, c.video != "", c.audio != "")
		})
	}
}

// sameInMP4 checks that what a recording's MP4 has is what its FLV file has, decoded.
func (s *server) sameInMP4(r recorded, file string, video, audio bool) {
	s.t.Helper()
	mp4 := s.fetch(strings.TrimSuffix(r.URL, ".flv") + ".mp4")
	for kind, has := range map[string]bool{"v": video, "a": audio} {
		if !has {
			continue
		}
		want := framemd5(s.t, file, kind)
		require.NotEmpty(s.t, want)
		assert.Equal(s.t, want, framemd5(s.t, mp4, kind), "decoded frames, %q", kind)
	}
}

// Opus and FLAC, which no ffmpeg here publishes, are published by us, and decoded from the
// MP4: the sound is the encoder's, to the sample.
func TestSoundRecorded(t *testing.T) {
	t.Parallel()
	s := serveRecording(t)
	for name, tt := range map[string]struct {
		codec   flv.Codec
		encoder []string
		format  string
	}{
		"opus": {flv.CodecOpus, []string{"-c:a", "libopus", "-b:a", "64k"}, "opus"},
		"flac": {flv.CodecFLAC, []string{"-c:a", "flac", "-frame_size", "960", "-sample_fmt", "s16"}, "flac"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, key := s.in(t), "live/"+name
			encoded := filepath.Join(t.TempDir(), "sound."+tt.format)
			run(t, "ffmpeg", append(append([]string{"-nostdin", "-v", "error", "-f", "lavfi", "-i", "sine=sample_rate=48000:duration=5", "-ac", "2"},
				tt.encoder...), encoded)...)
			header, frames := soundPackets(t, encoded, tt.codec)
			var c rtmp.Client
			p, err := c.Publish(t.Context(), s.rtmpURL(key))
			require.NoError(t, err)
			defer p.Close()
			packet := flv.Packet{Codec: tt.codec, Kind: flv.KindConfig, Enhanced: true, Payload: header}
			write := func(at int) {
				body, err := flv.AppendAudio(nil, packet)
				require.NoError(t, err)
				require.NoError(t, p.WriteTag(flv.Tag{Type: flv.TypeAudio, Timestamp: uint32(at), Data: body}))
			}
			require.NoError(t, p.WriteTag(flv.Tag{Type: flv.TypeScript, Data: amf.AppendAMF0(nil, "onMetaData",
				amf.ECMAArray{{Name: "audiocodecid", Value: float64(tt.codec)}})}))
			write(0)
			for i, frame := range frames {
				packet.Kind, packet.Payload = flv.KindFrame, frame
				write(20 * i)
			}
			until(t, "it is recorded", func() bool { return len(s.recordings(key)) == 1 })
			require.NoError(t, p.Close())
			r := s.finished(key)
			assert.InDelta(t, 0.02*float64(len(frames)), r.Duration, 0.02)
			mp4 := s.fetch(strings.TrimSuffix(r.URL, ".flv") + ".mp4")
			decode := func(file string) []byte {
				return run(t, "ffmpeg", "-nostdin", "-v", "warning", "-i", file, "-f", "s16le", "-")
			}
			want, got := decode(encoded), decode(mp4)
			n := min(len(want), len(got))
			assert.InDelta(t, len(want), len(got), 0.1*192_000, "length")
			assert.True(t, bytes.Equal(want[:n], got[:n]), "samples, of %d and %d bytes", len(want), len(got))
		})
	}
}

// soundPackets returns the codec header and the frames of a file that ffmpeg has encoded.
func soundPackets(t *testing.T, file string, codec flv.Codec) (header []byte, frames [][]byte) {
	t.Helper()
	var p struct {
		Packets []struct{ Data string }
		Streams []struct{ Extradata string }
	}
	out := run(t, "ffprobe", "-v", "warning", "-show_packets", "-show_data", "-show_streams", "-of", "json", file)
	require.NoError(t, json.Unmarshal(out, &p))
	header = hexdump(t, p.Streams[0].Extradata)
	if codec == flv.CodecFLAC {
		header = append([]byte("fLaC\x80\x00\x00\x22"), header...)
	}
	for _, packet := range p.Packets {
		frames = append(frames, hexdump(t, packet.Data))
	}
	require.NotEmpty(t, header)
	return header, frames
}

// hexdump reads what ffprobe writes for data: lines of an offset, groups of four digits, and
// text.
func hexdump(t *testing.T, text string) (b []byte) {
	t.Helper()
	for line := range strings.Lines(text) {
		_, rest, found := strings.Cut(line, ": ")
		if !found {
			continue
		}
		digits, _, _ := strings.Cut(rest, "  ")
		for _, group := range strings.Fields(digits) {
			for len(group) >= 2 {
				n, err := strconv.ParseUint(group[:2], 16, 8)
				require.NoError(t, err, "%q", line)
				b, group = append(b, byte(n)), group[2:]
			}
		}
	}
	return b
}

// film publishes a clip again and again, as fast as the server takes it, until the stream is
// so long, and returns its recording.
func (s *server) film(key string, length time.Duration) recorded {
	s.t.Helper()
	const clip, period = "../../../testdata/clips/h264-bframes-aac.flv", 5100 // ms
	tags := read(s.t, clip).tags
	var c rtmp.Client
	p, err := c.Publish(s.t.Context(), s.rtmpURL(key))
	require.NoError(s.t, err)
	defer p.Close()
	for round := uint32(0); round*period < uint32(length.Milliseconds()); round++ {
		for _, tag := range tags {
			packet, err := tag.Packet()
			if frame := tag.Type != flv.TypeScript && err == nil && packet.Kind == flv.KindFrame; frame || round == 0 && tag.Timestamp == 0 {
				tag.Timestamp += round * period
				require.NoError(s.t, p.WriteTag(tag))
			}
		}
	}
	until(s.t, "it is recorded", func() bool { return len(s.recordings(key)) == 1 })
	require.NoError(s.t, p.Close())
	return s.finished(key)
}

// ffmpeg seeks in a recording over RTMP: what it gets begins at the key frame at or before.
func TestFFmpegSeeksInRecording(t *testing.T) {
	t.Parallel()
	s := serveRecording(t)
	r := s.film("live/x", time.Minute)
	file := read(t, s.fetch(r.URL))
	// ffmpeg asks for a little less than it is told, so none of these is just behind a key frame.
	for _, seconds := range []int{0, 7, 30, 54} {
		t.Run(fmt.Sprint(seconds), func(t *testing.T) {
			t.Parallel()
			key := -1
			for i, tag := range file.tags {
				if p, err := tag.Packet(); err == nil && tag.Type == flv.TypeVideo && p.Kind == flv.KindFrame && p.Key && tag.Timestamp <= uint32(1000*seconds) {
					key = i
				}
			}
			if key < 0 { // the first one is a little behind 0
				key = firstKey(file)
			}
			out := filepath.Join(t.TempDir(), "sought.flv")
			run(t, "ffmpeg", "-nostdin", "-v", "error", "-ss", strconv.Itoa(seconds), "-noaccurate_seek", "-i", s.recordingURL("live/x", r),
				"-t", "3", "-c", "copy", "-flvflags", "no_duration_filesize", out)
			got := read(t, out).frames()
			require.NotEmpty(t, got)
			for _, tag := range got {
				if tag.Type == flv.TypeVideo {
					assert.True(t, bytes.Equal(file.tags[key].Data, tag.Data), "the first picture, at %d, is that at %d", tag.Timestamp, file.tags[key].Timestamp)
					break
				}
			}
		})
	}
}

func firstKey(r recording) int {
	for i, tag := range r.tags {
		if p, err := tag.Packet(); err == nil && tag.Type == flv.TypeVideo && p.Kind == flv.KindFrame && p.Key {
			return i
		}
	}
	return -1
}

// rtmpdump saves a recording, in far less time than it lasts; broken off, it goes on with
// --resume, and has the same bytes in the end.
func TestRtmpdumpSavesRecording(t *testing.T) {
	t.Parallel()
	s := serveRecording(t)
	const length = 10 * time.Minute
	r := s.film("live/x", length)
	dump := func(path string, more ...string) *process {
		return start(t, "rtmpdump", append([]string{"-q", "-r", s.recordingURL("live/x", r), "-o", path}, more...)...)
	}
	dir := t.TempDir()
	whole, broken := filepath.Join(dir, "whole.flv"), filepath.Join(dir, "broken.flv")
	begun := time.Now()
	dump(whole).done()
	assert.Less(t, time.Since(begun), length/4, "faster than it plays")
	file := read(t, s.fetch(r.URL))
	sameMedia(t, file.frames(), read(t, whole).frames())

	size := read(t, whole).size
	p := dump(broken)
	until(t, "some of it is there", func() bool {
		info, err := os.Stat(broken)
		return !p.running() || err == nil && info.Size() > size/10
	})
	if p.running() {
		p.kill()
	}
	// It may have been quicker than we were.
	if info, err := os.Stat(broken); assert.NoError(t, err) && info.Size() > size/2 {
		require.NoError(t, os.Truncate(broken, size/2))
	}
	trim(t, broken) // it does not go on in the middle of a tag
	dump(broken, "--resume").done()
	want, err := os.ReadFile(whole)
	require.NoError(t, err)
	got, err := os.ReadFile(broken)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(want, got), "taken up, it has %d bytes; %d at a stretch", len(got), len(want))
}

// sameMedia checks that two sequences hold the same frames, at the same times but for a
// constant.
func sameMedia(t *testing.T, want, got []flv.Tag) {
	t.Helper()
	require.Equal(t, len(want), len(got), "frames")
	shift := want[0].Timestamp - got[0].Timestamp
	for i := range want {
		require.True(t, bytes.Equal(want[i].Data, got[i].Data), "frame %d", i)
		require.InDelta(t, want[i].Timestamp, got[i].Timestamp+shift, 1, "time of frame %d", i)
	}
}
