package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub/archive"
	"sluice/hub/archive/flvfile"
)

// program returns a command that ends with the test. One that is missing leaves the
// test out, and fails it where CI=true.
func program(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	if os.Getenv("SLUICE_TEST_TLS") != "" {
		t.Skip("programs do not trust the certificate of the tests")
	}
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("nothing may be left out where CI=true: %s is missing", name)
		}
		t.Skipf("left out: %s is missing; apt-get install %s", name, name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	return cmd
}

// run runs a program that has to succeed.
func run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s: %s", cmd, out)
}

// tagsOf reads the media tags of a file.
func tagsOf(t *testing.T, file string) []flv.Tag {
	t.Helper()
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	var tags []flv.Tag
	for r := flv.NewReader(f); ; {
		tag, err := r.Next()
		if errors.Is(err, io.EOF) {
			return tags
		}
		require.NoError(t, err)
		if tag.Type != flv.TypeScript {
			tag.Data = bytes.Clone(tag.Data)
			tags = append(tags, tag)
		}
	}
}

// classified makes a packet of a tag.
func classified(t testing.TB, tag flv.Tag) flvfile.Packet {
	t.Helper()
	parse := flv.ParseAudio
	if tag.Type == flv.TypeVideo {
		parse = flv.ParseVideo
	}
	p, err := parse(tag.Data)
	require.NoError(t, err)
	return flvfile.Packet{Tag: tag, Time: int64(tag.Timestamp), Header: p.Kind == flv.KindConfig, Key: p.Key}
}

// filmed makes a real film of so many seconds, with a key frame every three, and
// returns its media.
func filmed(t *testing.T, seconds string) (file string, tags []flv.Tag) {
	file = filepath.Join(t.TempDir(), "in.flv")
	run(t, program(t, "ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=25",
		"-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100", "-t", seconds,
		"-c:v", "libx264", "-preset", "ultrafast", "-g", "75", "-sc_threshold", "0", "-pix_fmt", "yuv420p", "-c:a", "aac", "-f", "flv", file))
	return file, tagsOf(t, file)
}

// large makes a film of our own that takes megabytes. No two packets have one time: rtmpdump
// --resume throws away what has the time of the key frame at which it goes on.
func large(length int) []flv.Tag {
	var tags []flv.Tag
	for _, p := range packets(headersAt(0) + " " + film(0, length)) {
		if !p.Header {
			size := 2000
			if p.Key {
				size = 20_000
			}
			p.Data = append(p.Data, bytes.Repeat([]byte{byte(p.Time), byte(p.Time >> 8), 7}, size/3)...)
		}
		tags = append(tags, p.Tag)
	}
	return tags
}

// recordTags makes a recording of tags.
func recordTags(t *testing.T, a *archive.Archive, tags []flv.Tag) string {
	t.Helper()
	w := begin(t, a, recorded)
	for _, tag := range tags {
		write(t, w, []flvfile.Packet{classified(t, tag)})
	}
	r, err := w.Finish(archive.StateFinished)
	require.NoError(t, err)
	return r.ID
}

// equalTags fails unless the tags are the same, the second ones later by so much.
func equalTags(t *testing.T, want, got []flv.Tag, later uint32) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		require.Equal(t, want[i].Timestamp+later, got[i].Timestamp, "tag %d", i)
		require.True(t, want[i].Type == got[i].Type && bytes.Equal(want[i].Data, got[i].Data), "tag %d", i)
	}
}

// ffmpeg seeks to the key frame at or before, also where its file was put there by hand, and ends
// at once behind the end.
func TestFFmpegSeeksInRecording(t *testing.T) {
	file, tags := filmed(t, "40")
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(dir+"/live/camera", 0o755))
	byHand, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(dir+"/live/camera/by-hand.flv", byHand, 0o600))
	a, err := archive.Open(archive.Config{Dir: dir})
	require.NoError(t, err)
	defer a.Close()
	id := recordTags(t, a, tags)
	h := newRig(t, func(c *configs) { c.archive = a })
	url := strings.Replace(h.url, "/live/", "/rec/live/camera/", 1)
	key := uint32(0)
	for _, tag := range tags {
		if tag.Timestamp <= 31_000 && classified(t, tag).Key {
			key = tag.Timestamp
		}
	}
	require.NotZero(t, key)
	for _, id := range []string{id, "latest", "by-hand"} {
		began := time.Now()
		out, err := program(t, "ffprobe", "-v", "error", "-read_intervals", "31%+3", "-select_streams", "v",
			"-show_entries", "packet=dts_time,flags", "-of", "csv=p=0", url+id).CombinedOutput()
		require.NoError(t, err, "%s", out)
		assert.Less(t, time.Since(began), 15*time.Second)
		first, _, _ := strings.Cut(string(out), "\n")
		assert.Regexp(t, fmt.Sprintf(`^%.6f,K`, float64(key)/1000), first)

		// Its pictures, one each frame: from 31 s on, not from the key frame.
		frames := filepath.Join(t.TempDir(), "frames")
		run(t, program(t, "ffmpeg", "-v", "error", "-nostdin", "-ss", "31", "-i", url+id, "-map", "0:v", "-t", "2", "-f", "framemd5", frames))
		seek, err := os.ReadFile(frames)
		require.NoError(t, err)
		run(t, program(t, "ffmpeg", "-v", "error", "-nostdin", "-ss", "31", "-i", file, "-map", "0:v", "-t", "2", "-f", "framemd5", "-y", frames))
		want, err := os.ReadFile(frames)
		require.NoError(t, err)
		assert.Equal(t, md5s(want), md5s(seek))

		// Behind the end there is nothing, at once.
		began = time.Now()
		out2, _ := program(t, "ffmpeg", "-v", "error", "-nostdin", "-ss", "9999", "-i", url+id, "-f", "null", "-").CombinedOutput()
		assert.Less(t, time.Since(began), 15*time.Second, "%s", out2)
	}
	// It knows how long it is.
	length, err := program(t, "ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", url+id).CombinedOutput()
	require.NoError(t, err, "%s", length)
	assert.Contains(t, string(length), "40.")
}

// md5s returns the sums of the frames of a framemd5 file.
func md5s(b []byte) (sums []string) {
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, "#") {
			fields := strings.Split(strings.TrimSpace(line), ",")
			sums = append(sums, strings.TrimSpace(fields[len(fields)-1]))
		}
	}
	return sums
}

// rtmpdump takes a whole file as fast as the line gives it.
func TestRtmpdumpTakesWholeRecording(t *testing.T) {
	a := newArchive(t)
	tags := large(600_000)
	id := recordTags(t, a, tags)
	h := newRig(t, func(c *configs) { c.archive = a })
	url := strings.Replace(h.url, "/live/", "/rec/live/camera/", 1)
	out := filepath.Join(t.TempDir(), "out.flv")
	began := time.Now()
	run(t, program(t, "rtmpdump", "-q", "-r", url+id, "-o", out))
	assert.Less(t, time.Since(began), 60*time.Second, "of ten minutes")
	equalTags(t, tags, tagsOf(t, out), 0)

	// One so short that its last frame is more than a thousandth of it is whole all the same.
	tags = large(5000)
	id = recordTags(t, a, tags)
	run(t, program(t, "rtmpdump", "-q", "-r", url+id, "-o", out))
	equalTags(t, tags, tagsOf(t, out), 0)
	tags = large(600_000)
	id = recordTags(t, a, tags)

	// A part: from the key frame at or before, with the timestamps that rtmpdump makes of it.
	program(t, "rtmpdump", "-q", "--start", "31", "--stop", "35", "-r", url+id, "-o", out).Run() // not all of it: status 2
	var part []flv.Tag
	for _, tag := range tags {
		if header := classified(t, tag).Header; header || tag.Timestamp >= 30_000 && tag.Timestamp < 35_000 {
			if !header {
				tag.Timestamp -= 30_000
			}
			part = append(part, tag)
		}
	}
	equalTags(t, part, tagsOf(t, out), 31_000)
}

// What was broken off and is taken up again becomes the same file, byte for byte.
func TestRtmpdumpResumesRecording(t *testing.T) {
	a := newArchive(t)
	id := recordTags(t, a, large(600_000))
	h := newRig(t, func(c *configs) { c.archive = a })
	url := strings.Replace(h.url, "/live/", "/rec/live/camera/", 1)
	dir := t.TempDir()
	run(t, program(t, "rtmpdump", "-q", "-r", url+id, "-o", dir+"/whole.flv"))
	whole, err := os.ReadFile(dir + "/whole.flv")
	require.NoError(t, err)
	for _, cut := range []int{300_000, 1_000_000, len(whole) * 9 / 10} {
		part := filepath.Join(dir, "part.flv")
		broken := strings.Replace(url, strings.Split(url, "/")[2], brokenProxy(t, strings.Split(url, "/")[2], cut), 1)
		cmd := program(t, "rtmpdump", "-q", "-r", broken+id, "-o", part)
		cmd.Run()
		begun, err := os.ReadFile(part)
		require.NoError(t, err)
		require.Less(t, len(begun), len(whole))
		require.NotEmpty(t, begun)
		run(t, program(t, "rtmpdump", "-q", "--resume", "-r", url+id, "-o", part))
		got, err := os.ReadFile(part)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(whole, got), "cut at %d: %d bytes of %d", cut, len(got), len(whole))
		require.NoError(t, os.Remove(part))
	}
}

// brokenProxy passes one connection on to a server, and breaks it off after so many bytes of the
// answer. It returns its address.
func brokenProxy(t *testing.T, server string, after int) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var running sync.WaitGroup
	t.Cleanup(running.Wait)
	t.Cleanup(func() { l.Close() })
	running.Go(func() {
		near, err := l.Accept()
		if err != nil {
			return
		}
		defer near.Close()
		far, err := net.Dial("tcp", server)
		if err != nil {
			return
		}
		defer far.Close()
		running.Go(func() { io.Copy(far, near) })
		io.CopyN(near, far, int64(after))
	})
	return l.Addr().String()
}
