package rtmp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
)

// program returns a command that ends with the test. One that is missing leaves the
// test out, and fails it where CI=true.
func program(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
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

// start starts a program and returns what waits for its success.
func start(t *testing.T, cmd *exec.Cmd) (wait func()) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	return func() {
		t.Helper()
		require.NoError(t, cmd.Wait(), "%s: %s", cmd, &out)
	}
}

// publishClip makes an ffmpeg that publishes a few seconds.
func publishClip(t *testing.T, url string) *exec.Cmd {
	return program(t, "ffmpeg", "-v", "error", "-nostdin", "-re",
		"-f", "lavfi", "-i", "testsrc=size=160x120:rate=15", "-f", "lavfi", "-i", "sine=frequency=440",
		"-t", "3", "-c:v", "libx264", "-preset", "ultrafast", "-g", "15", "-pix_fmt", "yuv420p", "-c:a", "aac",
		"-f", "flv", url)
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
			tags = append(tags, tag)
		}
	}
}

func TestFFmpegPublishesAndPrograms(t *testing.T) {
	players := map[string]func(t *testing.T, url, file string) *exec.Cmd{
		"ffmpeg": func(t *testing.T, url, file string) *exec.Cmd {
			return program(t, "ffmpeg", "-v", "error", "-nostdin", "-i", url, "-c", "copy", "-f", "flv", file)
		},
		"ffmpeg live": func(t *testing.T, url, file string) *exec.Cmd {
			return program(t, "ffmpeg", "-v", "error", "-nostdin", "-rtmp_live", "live", "-i", url, "-c", "copy", "-f", "flv", file)
		},
		"ffmpeg, name is the URL": func(t *testing.T, url, file string) *exec.Cmd {
			return program(t, "ffmpeg", "-v", "error", "-nostdin", "-rtmp_playpath", url, "-i", url, "-c", "copy", "-f", "flv", file)
		},
		"rtmpdump": func(t *testing.T, url, file string) *exec.Cmd {
			return program(t, "rtmpdump", "-q", "-v", "-r", url, "-o", file)
		},
	}
	for name, player := range players {
		t.Run(name, func(t *testing.T) {
			h := &rig{}
			url := "rtmp://" + serve(t, &Server{Handler: h}) + "/live/clip"
			file := filepath.Join(t.TempDir(), "out.flv")
			publishing := publishClip(t, url+"?token=x")
			played := start(t, player(t, url, file))
			h.playback(t, 0)
			published := start(t, publishing)
			published()
			assert.NoError(t, h.publication(t, 0).ended(t), "FCUnpublish")
			played()
			h.wait(t, "end of playback", func() bool { return h.playbacks[0].closed == 1 })
			got := tagsOf(t, file)
			assert.InDelta(t, len(h.publications[0].tags), len(got), 5)
			if name == "rtmpdump" {
				var want []flv.Tag
				for _, tag := range h.publications[0].tags {
					// librtmp drops video bodies as short as an AVC end of sequence.
					if tag.Type == flv.TypeAudio || tag.Type == flv.TypeVideo && len(tag.Data) > 5 {
						want = append(want, tag)
					}
				}
				equalTags(t, want, got)
			}
		})
	}
}

// rtmpdump asks for a time, and ends well when it is over, before the stream is.
func TestRtmpdumpPlaysForATime(t *testing.T) {
	h := &rig{}
	url := "rtmp://" + serve(t, &Server{Handler: h}) + "/live/clip"
	file := filepath.Join(t.TempDir(), "out.flv")
	var c Client
	pub, err := c.Publish(t.Context(), url)
	require.NoError(t, err)
	defer pub.Close()
	played := start(t, program(t, "rtmpdump", "-q", "--live", "--stop", "3", "-r", url, "-o", file))
	b := h.playback(t, 0)
	assert.Equal(t, 3*time.Second, b.req.Duration)
	sent := []flv.Tag{
		{Type: flv.TypeVideo, Data: []byte{0x17, 0, 0, 0, 0, 1, 100}},
		{Type: flv.TypeVideo, Timestamp: 40, Data: bytes.Repeat([]byte{0x17, 1, 0, 0, 0, 0xC3}, 1000)},
		{Type: flv.TypeAudio, Timestamp: 41, Data: []byte{0xAF, 1, 2, 3}},
	}
	require.NoError(t, pub.WriteTags(sent))
	h.publication(t, 0).written(t, len(sent))
	require.NoError(t, b.stream.Send(b.stream.AppendPlayStop(nil)))
	b.stream.End(nil)
	played()
	h.wait(t, "close", func() bool { return b.closed == 1 })
	assert.Empty(t, h.publication(t, 0).ends())
	equalTags(t, sent, tagsOf(t, file))
}

// ffmpeg has to end by itself when it is refused, and must not hang.
func TestFFmpegIsRefused(t *testing.T) {
	h := &rig{refusePublish: &StatusError{Code: CodePublishBadName, Description: "busy"}, refusePlay: &StatusError{Code: CodePlayStreamNotFound}}
	url := "rtmp://" + serve(t, &Server{Handler: h}) + "/live/clip"
	out, err := publishClip(t, url).CombinedOutput()
	assert.Error(t, err)
	assert.Contains(t, string(out), "busy")
	for _, cmd := range []*exec.Cmd{
		program(t, "ffmpeg", "-v", "error", "-nostdin", "-i", url, "-f", "null", "-"),
		program(t, "rtmpdump", "-q", "-r", url, "-o", os.DevNull),
	} {
		assert.Error(t, cmd.Run(), cmd)
	}
}

// Our client against ffmpeg as a server: it is another implementation's view of
// what we send.
func TestClientPublishesToFFmpeg(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	source, file := filepath.Join(dir, "in.flv"), filepath.Join(dir, "out.flv")
	make := program(t, "ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=15", "-t", "2",
		"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-f", "flv", source)
	start(t, make)()
	listening := start(t, program(t, "ffmpeg", "-v", "error", "-nostdin", "-listen", "1", "-i", "rtmp://"+addr+"/live/a", "-c", "copy", "-f", "flv", file))

	var c Client
	var pub *Publisher
	require.Eventually(t, func() bool {
		pub, err = c.Publish(t.Context(), "rtmp://"+addr+"/live/a")
		return err == nil
	}, 20*time.Second, 50*time.Millisecond, "ffmpeg does not listen")
	f, err := os.Open(source)
	require.NoError(t, err)
	defer f.Close()
	for r := flv.NewReader(f); ; {
		tag, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		require.NoError(t, pub.WriteTag(tag))
	}
	pub.Close()
	listening()
	assert.InDelta(t, len(tagsOf(t, source)), len(tagsOf(t, file)), 2)
}
