package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub/record"
)

// mountTmpfs mounts an empty file system of so many bytes at a folder, until the test ends. A
// test that may not do that is left out.
func mountTmpfs(t *testing.T, at, size string) {
	t.Helper()
	if err := syscall.Mount("tmpfs", at, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("left out: a tmpfs cannot be mounted: %v", err)
	}
	t.Cleanup(func() { assert.NoError(t, syscall.Unmount(at, syscall.MNT_DETACH)) })
}

// diskTest is a stream that is published and watched while the disk of its recording fails.
type diskTest struct {
	s       *recordingService
	frames  []flv.Tag
	sent    int
	viewers []*recording
	running sync.WaitGroup
	write   func(flv.Tag) error
	close   func() error
}

// newDiskTest has viewers over everything come, and publishes the headers.
func newDiskTest(t *testing.T, s *recordingService, stream madeStream, length time.Duration) *diskTest {
	d := &diskTest{s: s, frames: stream.frames(length)}
	served := servedStream{publish: s.at.rtmp, watch: s.at.http, key: "live/disk", viewers: viewersOf(s.hub)}
	for name, open := range map[string]func(context.Context) (tagSource, error){
		"RTMP": served.openRTMP, "HTTP-FLV": served.openHTTP, "WebSocket-FLV": served.openWebSocket,
	} {
		v := &recording{name: name}
		d.viewers = append(d.viewers, v)
		d.running.Go(func() { v.run(t.Context(), open, func() {}) })
	}
	served.awaitViewers(t, len(d.viewers))
	p := s.publish(t, served.key)
	writeAll(t, p, madeHeader())
	d.write, d.close = p.WriteTag, p.Close
	return d
}

// send publishes up to a time of the stream.
func (d *diskTest) send(t *testing.T, to time.Duration) {
	t.Helper()
	for d.sent < len(d.frames) && d.frames[d.sent].Timestamp < uint32(to.Milliseconds()) {
		require.NoError(t, d.write(d.frames[d.sent]))
		d.sent++
	}
}

// Paces of diskTest.sendUntil: how much of the stream is published at a time.
const (
	fast     = 400 * time.Millisecond
	realTime = 20 * time.Millisecond // about
)

// sendUntil goes on publishing until ok says yes.
func (d *diskTest) sendUntil(t *testing.T, pace time.Duration, what string, ok func(record.Totals) bool) {
	t.Helper()
	until(t, what, func() bool {
		at := time.Duration(d.frames[d.sent].Timestamp) * time.Millisecond
		d.send(t, at+pace)
		require.Less(t, d.sent, len(d.frames), "the stream is long enough until %s", what)
		return ok(d.s.recorder.Totals())
	})
}

// end ends the stream. No viewer has lost anything.
func (d *diskTest) end(t *testing.T) {
	t.Helper()
	require.NoError(t, d.close())
	d.running.Wait()
	for _, v := range d.viewers {
		sameFrames(t, rebase(d.frames[:d.sent]), framesOf(t, v.tags), v.name)
	}
}

// recorded checks that every recording begins with a key frame and is a part of the stream,
// with something missing only where it says so. It returns where each of them begins and ends
// among the frames.
func (d *diskTest) recorded(t *testing.T) (all []listed, parts [][2]int) {
	t.Helper()
	at := 0
	all = d.s.at.finished(t, "live/disk", 1)
	for _, r := range all {
		got := framesOf(t, d.s.at.download(t, r))
		require.NotEmpty(t, got, r.URL)
		assert.True(t, isKeyFrame(got[0]), "%s begins with a key frame", r.URL)
		begin, gaps := -1, 0
		for i, frame := range got {
			if i > 0 && string(d.frames[at].Data) != string(frame.Data) {
				gaps++
			}
			for string(d.frames[at].Data) != string(frame.Data) {
				at++
				require.Less(t, at, d.sent, "%s: frame %d was published, behind those before", r.URL, i)
			}
			if begin < 0 {
				begin = at
			}
			at++
		}
		assert.LessOrEqual(t, gaps, r.Gaps, "%s: gaps", r.URL)
		parts = append(parts, [2]int{begin, at})
	}
	noParts(t, d.s.dir)
	return all, parts
}

// A disk that is full ends the recording cleanly, and it goes on when there is room again;
// it says so. Nobody who watches notices.
func TestDiskIsFull(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		minFree string
		told    string
	}{
		"in the middle of a write": {"0", "writing a recording failed"},
		"before that":              {"2MiB", "disk full: recordings stop until there is room"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			mountTmpfs(t, dir, "8m")
			filler := filepath.Join(dir, "filler")
			require.NoError(t, os.WriteFile(filler, make([]byte, 4<<20), 0o600))
			s := startRecording(t, nil, "SLUICE_RECORD_DIR="+dir, "SLUICE_RECORD_MIN_FREE="+tt.minFree)
			d := newDiskTest(t, s, stream2M, 3*time.Minute)
			d.sendUntil(t, realTime, "it is recorded", func(n record.Totals) bool { return n.Bytes > 0 })
			if tt.minFree == "0" {
				d.sendUntil(t, fast, "the disk is full", func(n record.Totals) bool { return n.Failures > 0 && n.Finished > 0 })
			} else { // somebody else fills it
				require.NoError(t, os.WriteFile(filler, make([]byte, 7<<20), 0o600))
				d.sendUntil(t, realTime, "the disk is full", func(n record.Totals) bool { return n.DiskFull && n.Finished > 0 })
			}
			s.log.find(t, tt.told)
			begun := s.recorder.Totals().Begun
			for _, r := range s.at.recordings(t, "live/disk") { // it may have been deleted to make room
				assert.Equal(t, "disk full", r.State)
			}

			require.NoError(t, os.Remove(filler))
			d.sendUntil(t, realTime, "recording goes on", func(n record.Totals) bool { return n.Begun > begun && n.Gaps > 0 && !n.DiskFull })
			s.log.find(t, "a recording has a gap")
			d.end(t)
			all, parts := d.recorded(t)
			if tt.minFree == "0" {
				require.GreaterOrEqual(t, len(all), 2)
				assert.Zero(t, parts[0][0])
			}
			assert.Equal(t, d.sent, parts[len(parts)-1][1], "it is recorded to the end")
			assert.Positive(t, s.recorder.Totals().Lost)
		})
	}
}

// A stream's folder that is read-only for a while: the recording begins when it can be
// written.
func TestFolderIsReadOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	folder := filepath.Join(dir, "live") // the folder itself has files open
	require.NoError(t, os.Mkdir(folder, 0o700))
	mountTmpfs(t, folder, "16m")
	s := startRecording(t, nil, "SLUICE_RECORD_DIR="+dir)
	require.NoError(t, syscall.Mount("", folder, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	d := newDiskTest(t, s, stream2M, 3*time.Minute)
	d.sendUntil(t, realTime, "recording fails", func(n record.Totals) bool { return n.Failures > 0 })
	assert.Contains(t, s.log.String(), "a recording could not begin")
	assert.Contains(t, s.log.String(), "read-only file system")
	assert.Empty(t, s.at.recordings(t, "live/disk"))

	require.NoError(t, syscall.Mount("", folder, "", syscall.MS_REMOUNT, ""))
	d.sendUntil(t, realTime, "recording begins", func(n record.Totals) bool { return n.Bytes > 0 })
	d.end(t)
	all, parts := d.recorded(t)
	require.Len(t, all, 1)
	assert.Equal(t, d.sent, parts[0][1], "it is recorded to the end")
	assert.Equal(t, 1, strings.Count(s.log.String(), "recording begins"))
}
