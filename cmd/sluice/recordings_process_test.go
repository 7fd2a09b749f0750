//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub/archive"
	"sluice/rtmp"
)

// A folder that cannot be recorded into is a mistake in the configuration, and the reason is
// told.
func TestFolderForRecordingsIsExit2(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	readOnly := filepath.Join(dir, "read-only")
	require.NoError(t, os.Mkdir(readOnly, 0o500))
	inUse := filepath.Join(dir, "in-use")
	other, err := archive.Open(archive.Config{Dir: inUse})
	require.NoError(t, err)
	defer other.Close()
	for name, tt := range map[string]struct{ dir, reason string }{
		"a file":            {file, "not a directory"},
		"below a file":      {file + "/recordings", "not a directory"},
		"read-only":         {readOnly, "not writable: permission denied"},
		"in use":            {inUse, "the folder is in use by another process"},
		"an impossible one": {"/proc/recordings", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "read-only" && os.Geteuid() == 0 {
				t.Skip("root may write everywhere")
			}
			var stdout, stderr bytes.Buffer
			environ := []string{"SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0", "SLUICE_RECORD_DIR=" + tt.dir}
			assert.Equal(t, exitUsage, run(t.Context(), nil, environ, &stdout, &stderr))
			assert.True(t, strings.HasPrefix(stderr.String(), "sluice: cannot start: SLUICE_RECORD_DIR="), stderr.String())
			assert.Contains(t, stderr.String(), tt.dir)
			assert.Contains(t, stderr.String(), tt.reason)
			assert.Equal(t, 1, strings.Count(stderr.String(), "\n"), "one line")
			assert.NotContains(t, stdout.String(), "in a browser")
		})
	}
}

// The same for the folder of another process, which goes on.
func TestFolderOfAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	p := startProcess(t, "SLUICE_RECORD_DIR="+dir, "SLUICE_RECORD_MIN_FREE=0")
	var exit *exec.ExitError
	_, err := command(t, "SLUICE_RECORD_DIR="+dir).Output()
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, exitUsage, exit.ExitCode())
	assert.Contains(t, string(exit.Stderr), "in use by another process")
	assert.Empty(t, p.recordings(t, ""))
}

// SIGTERM while it records: every file is finished and has everything that was published
// before, and the exit code is 0.
func TestSignalWhileRecording(t *testing.T) {
	dir := t.TempDir()
	p := launch(t, "SLUICE_RECORD_DIR="+dir, "SLUICE_RECORD_MIN_FREE=0", "SLUICE_RECORD_SEGMENT=2s")
	p.serves(t)
	frames := stream200k.frames(5 * time.Second)
	keys := []string{"live/a", "live/b", "studio/one/c"}
	for _, key := range keys {
		var c rtmp.Client
		publisher, err := c.Publish(t.Context(), "rtmp://"+p.rtmp+"/"+key)
		require.NoError(t, err)
		defer publisher.Close()
		writeAll(t, publisher, append(madeHeader(), frames...))
	}
	for _, key := range keys {
		// The third file begins at 4 s, so almost everything has come in.
		until(t, key+" is recorded", func() bool { return len(p.recordings(t, key)) == 3 })
	}
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, p.cmd.Wait(), "exit code 0")

	noParts(t, dir)
	a, err := archive.Open(archive.Config{Dir: dir})
	require.NoError(t, err)
	defer a.Close()
	for _, key := range keys {
		files, err := filepath.Glob(filepath.Join(dir, key, "*.flv"))
		require.NoError(t, err)
		require.Len(t, files, 3, key)
		var got []flv.Tag
		for i, name := range files { // the oldest first, by their names
			file, err := os.ReadFile(name)
			require.NoError(t, err)
			for _, frame := range framesOf(t, walk(t, file, name)) {
				frame.Timestamp += uint32(2000 * i)
				got = append(got, frame)
			}
		}
		sameFrames(t, frames[:len(got)], got, key)
		assert.Greater(t, len(got), len(frames)*4/5, key)
	}
}

// Where there are recordings, nobody publishes to the app under which they are played.
// Without them it is an app like others.
func TestAppOfRecordings(t *testing.T) {
	var c rtmp.Client
	s := startRecording(t, nil)
	for _, key := range []string{"rec/x", "rec/live/x"} {
		_, err := c.Publish(t.Context(), "rtmp://"+s.at.rtmp+"/"+key)
		var refused *rtmp.StatusError
		require.ErrorAs(t, err, &refused, key)
		assert.Contains(t, err.Error(), "the app rec is for recordings")
	}
	s.publish(t, "recx/x")
	_, plain := startService(t, patience, newOutput())
	p, err := c.Publish(t.Context(), "rtmp://"+plain.rtmp+"/rec/x")
	require.NoError(t, err)
	p.Close()
}

// A plain name is live wherever a player says that it wants to begin, and whatever has been
// recorded.
func TestPlainNamesStayLive(t *testing.T) {
	s := startRecording(t, nil)
	p := s.publish(t, "live/x")
	frames := stream200k.frames(10 * time.Second)
	writeAll(t, p, append(madeHeader(), frames...))
	s.cameIn(t, frames)
	s.begun(t, "live/x")
	for _, start := range []any{-2000.0, -1000.0, 0.0, 1.0, 2.0, 1000.0, 3_600_000.0, 1e300, nil, "5"} {
		conn := dialFrom(t, nil, s.at.rtmp)
		c, err := connectRaw(conn, "live", true)
		require.NoError(t, err)
		c.command(0, "createStream", 2.0, nil)
		c.command(1, "play", 0.0, nil, "x", start)
		for {
			m, err := c.next()
			require.NoError(t, err, "start %v", start)
			if tag := (flv.Tag{Type: flv.Type(m.typ), Data: m.body}); isKeyFrame(tag) {
				assert.Equal(t, frames[lastKey(frames)].Data, m.body, "start %v: begins at the newest key frame", start)
				break
			}
			assert.NotContains(t, m.code(), "Failed")
		}
		conn.Close()
	}
}

// lastKey returns the index of the last key frame.
func lastKey(frames []flv.Tag) int {
	i := len(frames) - 1
	for !isKeyFrame(frames[i]) {
		i--
	}
	return i
}
