//go:build unix

package main

import (
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/web/admin"
)

// run starts a real program, which ends with the test at the latest.
func (r *whyRig) run(name string, args ...string) *exec.Cmd {
	r.t.Helper()
	cmd := realProgram(r.t, name, args...)
	cmd.Stdout = io.Discard
	require.NoError(r.t, cmd.Start())
	r.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd
}

// curl and ffmpeg as they are stopped: curl does not read, ffmpeg does not send.
func TestWhyOfPrograms(t *testing.T) {
	t.Parallel()
	r := startWhy(t)
	publish := func(name, bitrate string) *exec.Cmd {
		return r.run("ffmpeg", "-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25",
			"-f", "lavfi", "-i", "sine", "-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-b:v", bitrate, "-maxrate", bitrate, "-bufsize", bitrate, "-c:a", "aac",
			"-f", "flv", "rtmp://"+r.at.rtmp+"/live/"+name)
	}
	ffmpeg, thin := publish("cam", "400k"), publish("thin", "100k")
	until(t, "ffmpeg publishes", func() bool { return len(r.hub.Streams()) == 2 })

	// The system takes what few bytes there are for seconds after curl has ceased to read.
	little := r.run("curl", "-sS", "-o", "/dev/null", "http://"+r.at.http+"/live/thin.flv")
	r.why("thin", "ok")
	require.NoError(t, little.Process.Signal(syscall.SIGSTOP))
	s := r.why("thin", "unacknowledged")
	assert.Positive(t, *s.Why.Unacknowledged)
	assert.Contains(t, s.Why.Sentence, "does not read")
	require.NoError(t, little.Process.Kill())
	require.NoError(t, thin.Process.Kill())

	curl := r.run("curl", "-sS", "-o", "/dev/null", "http://"+r.at.http+"/live/cam.flv")
	s = r.why("cam", "ok")
	assert.Contains(t, s.Client, "curl")
	require.NoError(t, curl.Process.Signal(syscall.SIGSTOP))
	s = r.whyWhere("cam", "congested", func(w *admin.Why) bool { return strings.Contains(w.Sentence, "has taken nothing") })
	assert.Positive(t, s.Why.Unwritten)
	assert.Contains(t, s.Why.Sentence, "does not read")
	require.NoError(t, curl.Process.Signal(syscall.SIGCONT))
	r.why("cam", "ok")
	require.NoError(t, curl.Process.Kill())
	r.gone("cam")

	slow := r.run("curl", "-sS", "-o", "/dev/null", "--limit-rate", "1k", "http://"+r.at.http+"/live/cam.flv")
	s = r.why("cam", "congested")
	assert.Positive(t, s.Why.BehindMS)
	require.NoError(t, slow.Process.Kill())
	r.gone("cam")

	r.run("curl", "-sS", "-o", "/dev/null", "http://"+r.at.http+"/live/cam.flv")
	r.why("cam", "ok")
	require.NoError(t, ffmpeg.Process.Signal(syscall.SIGSTOP))
	s = r.why("cam", "publisher_silent")
	assert.Equal(t, []string{"video h264", "audio aac"}, s.Why.Told)
	assert.WithinDuration(t, time.Now(), time.Time(*s.Why.Since), patience)
	require.NoError(t, ffmpeg.Process.Signal(syscall.SIGCONT))
	r.why("cam", "ok")
	require.NoError(t, ffmpeg.Process.Kill())
	r.why("cam", "publisher_left")
}

// Who plays a recording, or is given one before it goes on live, is not black because of the
// stream; nor is who is given the rest of one that has ended.
func TestWhyItIsARecording(t *testing.T) {
	t.Parallel()
	r := startWhy(t, "SLUICE_RECORD_DIR="+t.TempDir(), "SLUICE_RECORD=**", "SLUICE_RECORD_MIN_FREE=0", "SLUICE_PUBLISHER_GRACE=0")
	p := r.publish("old", append(madeHeader(), stream200k.frames(20*time.Second)...)...)
	until(t, "nearly all is written", func() bool { return r.recorder.Totals().Bytes > 400_000 })
	back := r.get("old.flv?back=15")
	r.why("old", "rewinding")
	back.Close()
	require.NoError(t, p.Close())
	r.gone("old")
	recording := r.at.finished(t, "live/old", 1)[0]
	r.run("ffmpeg", "-v", "error", "-nostdin", "-i", "rtmp://"+r.at.rtmp+"/rec/live/old/"+recording.ID, "-c", "copy", "-f", "flv", "-y", "/dev/null")
	s := r.why("old", "recording")
	assert.Equal(t, recording.ID, s.Recording)
	assert.Empty(t, s.Why.Told)

	p = r.publish("over", append(madeHeader(), madeStream{gop: 2 * time.Second, video: 8_000_000, key: 100_000}.frames(4*time.Second)...)...)
	r.get("over.flv")
	until(t, "it watches", func() bool { return len(r.viewers("over")) == 1 && r.viewers("over")[0].State == "running" })
	require.NoError(t, p.Close())
	r.why("over", "ended")
}
