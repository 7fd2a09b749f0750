package flvfile

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// run runs a program and returns what it printed. One that is missing leaves the test out,
// and fails it where CI=true.
func run(t *testing.T, name string, args ...string) (stdout, stderr string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("nothing may be left out where CI=true: %s is missing", name)
		}
		t.Skipf("left out: %s is missing; apt-get install %s", name, name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(t, cmd.Run(), "%s", &errs)
	return out.String(), errs.String()
}

// ffprobe has nothing to complain of: in a finished file, one that is written, and the
// content of either.
func TestFFprobeIsSilent(t *testing.T) {
	for _, name := range []string{"h264-bframes-aac", "h264-bframes", "aac"} {
		t.Run(name, func(t *testing.T) {
			fsys, dir := folder(t)
			meta, packets := clip(t, name)
			w, err := Create(fsys, "a", Properties{App: "live", Name: "camera", Begin: begin, Metadata: meta})
			require.NoError(t, err)
			write(t, w, packets)
			f, err := w.Open()
			require.NoError(t, err)
			defer f.Close()
			c, err := f.Content()
			require.NoError(t, err)
			b := make([]byte, c.Size)
			_, err = c.ReadAt(b, 0)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "content"), b, 0o600))
			want := w.Info().Duration
			probe(t, filepath.Join(dir, "a.flv.part"), 0)
			probe(t, filepath.Join(dir, "content"), want)
			_, err = w.Finish()
			require.NoError(t, err)
			probe(t, filepath.Join(dir, "a.flv"), want)
		})
	}
}

// probe has ffprobe read a file, and say how long it is, unless duration is 0.
func probe(t *testing.T, file string, duration time.Duration) {
	t.Helper()
	out, complaints := run(t, "ffprobe", "-v", "warning", "-of", "json", "-show_format", "-count_packets", "-show_entries", "stream=codec_type,nb_read_packets", file)
	assert.Empty(t, complaints, file)
	var said struct {
		Format struct {
			Duration string
			Tags     map[string]string
		}
		Streams []struct {
			Type    string `json:"codec_type"`
			Packets string `json:"nb_read_packets"`
		}
	}
	require.NoError(t, json.Unmarshal([]byte(out), &said))
	seconds, err := strconv.ParseFloat(said.Format.Duration, 64)
	require.NoError(t, err)
	if duration > 0 {
		assert.InDelta(t, duration.Seconds(), seconds, 0.0005, file)
	}
	for name := range said.Format.Tags {
		assert.NotContains(t, name, "spacer")
	}
	for _, s := range said.Streams {
		assert.Contains(t, []string{"audio", "video"}, s.Type)
	}
}

// ffmpeg seeks by the key frames of the head, in a file whose tags it cannot have read to
// find them: they are left out of the middle of it.
func TestFFmpegSeeks(t *testing.T) {
	fsys, dir := folder(t)
	meta, packets := clip(t, "h264-bframes-aac")
	w, err := Create(fsys, "a", Properties{Metadata: meta})
	require.NoError(t, err)
	const pieces = 40
	for n := range pieces {
		piece := append([]Packet(nil), packets...)
		if n > 0 {
			piece = piece[2:] // without the headers
		}
		for i := range piece {
			piece[i].Time += int64(n) * 5200
		}
		write(t, w, piece)
	}
	_, err = w.Finish()
	require.NoError(t, err)
	for _, second := range []int{1, 30, 100, 200} {
		_, log := run(t, "ffmpeg", "-v", "debug", "-ss", fmt.Sprint(second), "-i", filepath.Join(dir, "a.flv"), "-map", "0:v", "-c", "copy", "-frames:v", "1", "-copyts", "-f", "framecrc", os.DevNull, "-y")
		assert.NotContains(t, log, "Found invalid index entries")
	}
	out, complaints := run(t, "ffprobe", "-v", "warning", "-read_intervals", "150%+#1", "-select_streams", "v", "-show_entries", "packet=dts,pos,flags", "-of", "csv", filepath.Join(dir, "a.flv"))
	assert.Empty(t, complaints)
	// It takes the nearest key frame: the first one of piece 29.
	assert.True(t, strings.HasPrefix(out, "packet,150800,"), out)
	assert.Contains(t, out, ",K")
	// A broken tag right behind the first ones is no hindrance, as nobody reads there.
	b, err := os.ReadFile(filepath.Join(dir, "a.flv"))
	require.NoError(t, err)
	clear(b[dataStart+400_000 : dataStart+900_000])
	require.NoError(t, os.WriteFile(filepath.Join(dir, "hole.flv"), b, 0o600))
	again, _ := run(t, "ffprobe", "-v", "quiet", "-read_intervals", "150%+#1", "-select_streams", "v", "-show_entries", "packet=dts,pos,flags", "-of", "csv", filepath.Join(dir, "hole.flv"))
	assert.Equal(t, out, again)
}
