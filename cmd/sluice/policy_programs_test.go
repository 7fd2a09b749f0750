//go:build unix

package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// realProgram returns a command that ends with the test. One that is missing leaves the
// test out, and fails it where CI=true.
func realProgram(t *testing.T, name string, args ...string) *exec.Cmd {
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

// ffmpeg publishes, and ffmpeg and curl watch, with a policy that takes 2 s for each: they
// wait for that and then have their picture. One that is refused says why.
func TestPolicyAndPrograms(t *testing.T) {
	t.Parallel()
	_, p := startPolicy(t, io.Discard, func(ctx context.Context, s *hub.Session) (hub.Grant, error) {
		select {
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
			return hub.Grant{}, ctx.Err()
		}
		if s.Key().Name == "refused" {
			return hub.Grant{}, &hub.Refusal{Reason: hub.ReasonDenied, Detail: "not today"}
		}
		return hub.Grant{}, nil
	}, time.Minute, "SLUICE_VIEWER_WAIT=30s")
	clip := "../../testdata/clips/h264-bframes-aac.flv"
	publish := func(url string) *exec.Cmd {
		return realProgram(t, "ffmpeg", "-v", "error", "-nostdin", "-re", "-i", clip, "-c", "copy", "-f", "flv", url)
	}
	refused, err := publish("rtmp://" + p.rtmp + "/live/refused").CombinedOutput()
	assert.Error(t, err)
	assert.Contains(t, string(refused), "not today")

	dir := t.TempDir()
	files := map[string]*exec.Cmd{
		"curl.flv": realProgram(t, "curl", "-sS", "-o", filepath.Join(dir, "curl.flv"), "http://"+p.http+"/live/clip.flv"),
		"http.flv": realProgram(t, "ffmpeg", "-v", "error", "-nostdin", "-i", "http://"+p.http+"/live/clip.flv", "-c", "copy", filepath.Join(dir, "http.flv")),
		"rtmp.flv": realProgram(t, "ffmpeg", "-v", "error", "-nostdin", "-i", "rtmp://"+p.rtmp+"/live/clip", "-c", "copy", filepath.Join(dir, "rtmp.flv")),
	}
	said := make(map[string]*bytes.Buffer)
	for name, cmd := range files {
		said[name] = new(bytes.Buffer)
		cmd.Stdout, cmd.Stderr = said[name], said[name]
		require.NoError(t, cmd.Start())
	}
	out, err := publish("rtmp://" + p.rtmp + "/live/clip").CombinedOutput()
	require.NoError(t, err, "%s", out)
	for name, cmd := range files {
		require.NoError(t, cmd.Wait(), "%s: %s", name, said[name])
		f, err := os.Open(filepath.Join(dir, name))
		require.NoError(t, err)
		defer f.Close()
		keys, frames := 0, 0
		for r := flv.NewReader(f); ; frames++ {
			tag, err := r.Next()
			if err == io.EOF {
				break
			}
			require.NoError(t, err, name)
			if isKeyFrame(tag) {
				keys++
			}
		}
		assert.Positive(t, keys, name)
		t.Logf("%s: %d tags, %d key frames", name, frames, keys)
	}
	get := realProgram(t, "curl", "-sS", "-w", "%{http_code}", "http://"+p.http+"/live/refused.flv")
	answer, err := get.CombinedOutput()
	require.NoError(t, err, "%s", answer)
	assert.Equal(t, `{"error":"denied","reason":"not today"}`+"\n403", string(answer))
}
