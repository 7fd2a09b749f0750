package mp4_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// frame is a decoded frame.
type frame struct {
	stream string
	at     float64 // s
	hash   string
}

// decode returns the decoded frames of a file, by stream. Times count from the first frame of
// all.
func decode(t *testing.T, path string, args ...string) map[string][]frame {
	t.Helper()
	args = append(args, "-i", path, "-map", "0:v?", "-map", "0:a?", "-fps_mode", "passthrough", "-enc_time_base", "1:1000", "-f", "framemd5", "-")
	out := run(t, newer(t, "ffmpeg"), append([]string{"-nostdin", "-v", "warning"}, args...)...)
	base := map[string]float64{}
	frames := map[string][]frame{}
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "#tb "); ok {
			stream, tb, _ := strings.Cut(rest, ": ")
			num, den, _ := strings.Cut(tb, "/")
			a, err := strconv.ParseFloat(num, 64)
			require.NoError(t, err)
			b, err := strconv.ParseFloat(den, 64)
			require.NoError(t, err)
			base[stream] = a / b
			continue
		}
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Split(line, ",")
		pts, err := strconv.ParseFloat(strings.TrimSpace(f[2]), 64)
		require.NoError(t, err, line)
		stream := strings.TrimSpace(f[0])
		frames[stream] = append(frames[stream], frame{stream, pts * base[stream], strings.TrimSpace(f[5])})
	}
	return frames
}

// What real encoders sent, as FLV and as MP4: the same pictures and the same sound, at the
// same times.
func TestCapturesDecode(t *testing.T) {
	for _, name := range []string{
		"obs30-h264-aac", "ffmpeg5-h264-aac", "ffmpeg7-h264-bframes-aac", "ffmpeg7-hevc-aac", "ffmpeg7-av1-aac", "ffmpeg7-audio-mp3",
	} {
		t.Run(name, func(t *testing.T) {
			b := file(captured(t, name)...)
			from, to := keep(t, "in.flv", b), keep(t, "out.mp4", whole(t, b))
			run(t, "ffprobe", "-v", "warning", "-show_streams", "-show_packets", to)
			want, got := decode(t, from), decode(t, to)
			require.Len(t, got, len(want))
			for stream, frames := range want {
				require.Len(t, got[stream], len(frames), "stream %s", stream)
				for i, f := range frames {
					require.Equal(t, f.hash, got[stream][i].hash, "stream %s, frame %d", stream, i)
					require.InDelta(t, f.at-frames[0].at, got[stream][i].at-got[stream][0].at, 0.0021, "stream %s, frame %d", stream, i)
				}
			}
			checkSeeks(t, to, got)
			if len(want) == 2 {
				assert.InDelta(t, want["0"][0].at-want["1"][0].at, got["0"][0].at-got["1"][0].at, 0.0015, "sound and picture")
			}
		})
	}
}

// Two sessions in one file, of encoders with different codec headers.
func TestChangeDecodes(t *testing.T) {
	tags := append(captured(t, "ffmpeg5-h264-aac"), later(captured(t, "ffmpeg7-h264-bframes-aac"), 7000)...)
	b := file(tags...)
	out := whole(t, b)
	require.Len(t, unpack(out).tracks[0].entries, 2)
	want, got := decode(t, keep(t, "in.flv", b)), decode(t, keep(t, "out.mp4", out))
	for stream, frames := range want {
		require.Len(t, got[stream], len(frames), "stream %s", stream)
		for i, f := range frames {
			require.Equal(t, f.hash, got[stream][i].hash, "stream %s, frame %d", stream, i)
		}
	}
}

// checkSeeks checks that wherever ffmpeg seeks to, it decodes the same from there on.
func checkSeeks(t *testing.T, path string, whole map[string][]frame) {
	t.Helper()
	for _, at := range []float64{0.5, 2.9, 5} {
		got := decode(t, path, "-copyts", "-ss", strconv.FormatFloat(at, 'f', -1, 64))
		for stream, frames := range whole {
			if len(whole) == 2 && stream == "1" || len(whole) == 1 {
				continue // sound is cut within frames, and its decoders take a while to swing in
			}
			var want []frame
			for _, f := range frames {
				if f.at >= at-0.0005 {
					want = append(want, f)
				}
			}
			require.NotEmpty(t, want)
			require.Equal(t, want, got[stream], "from %f s on", at)
		}
	}
}
