package vod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/archive/flvfile"
)

// clip puts a clip of testdata into the shelf: as it is, or recorded.
func (h *rig) clip(name string, recorded bool) *item {
	h.t.Helper()
	b, err := os.ReadFile(filepath.Join("../../testdata/clips", name+".flv"))
	require.NoError(h.t, err)
	if !recorded {
		return h.put(demo, name, b)
	}
	i := h.record(demo, name)
	for _, tag := range tags(h.t, b) {
		if tag.Type == flv.TypeScript {
			continue
		}
		p := flvfile.Packet{Tag: tag, Time: int64(tag.Timestamp)}
		if parsed, err := tag.Packet(); err == nil {
			p.Header, p.Key = parsed.Kind == flv.KindConfig, parsed.Key
		}
		h.write(i, p)
	}
	h.finish(i)
	return i
}

func needs(t testing.TB, programs ...string) string {
	t.Helper()
	if os.Getenv("SLUICE_TEST_TLS") != "" {
		t.Skip("programs do not trust the certificate of the tests")
	}
	for _, program := range programs {
		if path, err := exec.LookPath(program); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing", programs[0])
	}
	t.Skipf("left out: %s is missing", programs[0])
	return ""
}

// frames returns the hash of each decoded frame of a file.
func frames(t *testing.T, url string) string {
	t.Helper()
	out, err := exec.Command("ffmpeg", "-v", "error", "-i", url, "-map", "0:v", "-f", "framehash", "-").CombinedOutput()
	require.NoError(t, err, "%s", out)
	var hashes bytes.Buffer // without the times, whose units differ
	for line := range bytes.Lines(out) {
		if fields := bytes.Split(line, []byte(",")); line[0] != '#' && len(fields) > 1 {
			hashes.Write(fields[len(fields)-1])
		}
	}
	return hashes.String()
}

// The MP4 of a recording is the same file with another head.
func TestMP4(t *testing.T) {
	h := newRig(t)
	for _, recorded := range []bool{true, false} {
		i := h.clip("h264-bframes-aac", recorded)
		path := "/rec/live/demo/" + i.ID + ".mp4"
		res := h.get(path)
		require.Equal(t, http.StatusOK, res.StatusCode)
		assert.Equal(t, "video/mp4", res.Header.Get("Content-Type"))
		assert.Equal(t, "bytes", res.Header.Get("Accept-Ranges"))
		assert.Equal(t, `inline; filename=demo-h264-bframes-aac.mp4`, res.Header.Get("Content-Disposition"))
		assert.Equal(t, "private, no-cache", res.Header.Get("Cache-Control"))
		whole := all(t, res)
		file, err := os.ReadFile(h.path(i))
		require.NoError(t, err)
		assert.True(t, bytes.HasSuffix(whole, file), "the file as it is")
		tag := res.Header.Get("ETag")
		assert.NotEqual(t, tag, h.do(http.MethodHead, "/rec/live/demo/"+i.ID+".flv").Header.Get("ETag"))

		for _, from := range []int{0, 1, 100, len(whole) - len(file) - 1, len(whole) - len(file), len(whole) - 10} {
			res := h.get(path, "Range", fmt.Sprintf("bytes=%d-%d", from, from+50_000), "If-Range", tag)
			require.Equal(t, http.StatusPartialContent, res.StatusCode)
			assert.Equal(t, whole[from:min(len(whole), from+50_001)], all(t, res))
		}
		assert.Equal(t, http.StatusNotModified, h.get(path, "If-None-Match", tag).StatusCode)
		assert.Equal(t, int64(len(whole)), h.do(http.MethodHead, path).ContentLength)

		needs(t, "ffmpeg")
		assert.Equal(t, frames(t, h.server.URL+"/rec/live/demo/"+i.ID+".flv"), frames(t, h.server.URL+path))
	}
	silent := h.put(demo, "nothing", flv.AppendHeader(nil, true, true))
	what, reason := refused(t, h.get("/rec/live/demo/"+silent.ID+".mp4"))
	assert.Equal(t, "not found", what)
	assert.Contains(t, reason, "cannot be had as MP4")
}

// The head is that of the file which was opened: where that was gone on with meanwhile there is
// none.
func TestMP4OfAnotherState(t *testing.T) {
	h := newRig(t)
	i := h.clip("h264-bframes-aac", true)
	_, release, err := h.vod.mp4Head(t.Context(), demo, i.ID, `"of before"`)
	assert.Nil(t, release)
	assert.ErrorContains(t, err, "gone on with")
}

// curl takes up a download that was broken off, in both forms.
func TestCurlResumes(t *testing.T) {
	curl := needs(t, "curl")
	h := newRig(t)
	h.clip("h264-bframes-aac", true)
	for _, suffix := range []string{".flv", ".mp4"} {
		url := h.server.URL + "/rec/live/demo/latest" + suffix
		dir := t.TempDir()
		run := func(args ...string) {
			cmd := exec.Command(curl, append([]string{"-sSfL"}, args...)...)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
		}
		whole, part := filepath.Join(dir, "whole"), filepath.Join(dir, "part")
		run("-o", whole, url)
		run("-o", part, "-r", "0-99999", url)
		run("-o", part, "-C", "-", url)
		want, err := os.ReadFile(whole)
		require.NoError(t, err)
		got, err := os.ReadFile(part)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(want, got))
	}
}

// A head is made once, however many wait for it, and kept.
func TestHeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeads(100)
		var scans, now atomic.Int32
		finish := make(chan struct{})
		scan := func(size int) func(context.Context) ([]byte, error) {
			return func(ctx context.Context) ([]byte, error) {
				scans.Add(1)
				assert.LessOrEqual(t, now.Add(1), int32(maxScans))
				defer now.Add(-1)
				select {
				case <-finish:
					return make([]byte, size), nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
		}
		key := func(id string) headKey { return headKey{id: id} }
		var got sync.WaitGroup
		for n := range 40 {
			got.Go(func() {
				head, release, err := h.get(t.Context(), key(fmt.Sprint(n%4)), scan(30))
				if assert.NoError(t, err) {
					assert.Len(t, head, 30)
					release()
				}
			})
		}
		synctest.Wait()
		assert.Equal(t, int32(maxScans), scans.Load())
		close(finish)
		got.Wait()
		assert.Equal(t, int32(4), scans.Load())
		assert.Equal(t, int64(90), h.size, "three of them are kept")

		large, release, err := h.get(t.Context(), key("large"), scan(101))
		require.NoError(t, err)
		assert.Len(t, large, 101)
		again, releaseAgain, err := h.get(t.Context(), key("large"), scan(101))
		require.NoError(t, err)
		assert.Same(t, &large[0], &again[0], "one in use is in memory once")
		assert.Equal(t, int64(101), h.used)
		release()
		release()
		assert.Equal(t, int64(101), h.used)
		releaseAgain()
		assert.Zero(t, h.used)
		assert.Equal(t, int64(90), h.size, "it would take the place of all")
		assert.NotContains(t, h.made, key("large"))

		_, _, err = h.get(t.Context(), key("bad"), func(context.Context) ([]byte, error) { return nil, io.ErrUnexpectedEOF })
		assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
		assert.Empty(t, h.making)
		h.wait()
	})
}

// A scan is given up when all who wait for it have left, and not before.
func TestHeadsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeads(100)
		var ended error
		scan := func(ctx context.Context) ([]byte, error) {
			<-ctx.Done()
			ended = ctx.Err()
			return nil, ended
		}
		ctx, cancel := context.WithCancel(t.Context())
		later, cancelLater := context.WithCancel(t.Context())
		var left atomic.Int32
		for _, ctx := range []context.Context{ctx, ctx, later} {
			go func() {
				_, _, err := h.get(ctx, headKey{id: "x"}, scan)
				assert.True(t, errors.Is(err, context.Canceled))
				left.Add(1)
			}()
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		assert.Equal(t, int32(2), left.Load())
		assert.NoError(t, ended)
		cancelLater()
		synctest.Wait()
		assert.ErrorIs(t, ended, context.Canceled)
		assert.Empty(t, h.making)
		h.wait()
	})
}

// However many download at a time, the heads that they use are bounded; those in use can be
// had all the same.
func TestHeadsInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeads(100)
		get := func(n int) (func(), error) {
			_, release, err := h.get(t.Context(), headKey{id: fmt.Sprint(n)}, func(context.Context) ([]byte, error) {
				return make([]byte, 90), nil
			})
			return release, err
		}
		var releases []func()
		for n := range usedFactor + 1 {
			release, err := get(n)
			require.NoError(t, err)
			releases = append(releases, release)
		}
		_, err := get(100)
		assert.ErrorIs(t, err, errManyHeads)
		release, err := get(0)
		require.NoError(t, err)
		release()
		releases[1]()
		assert.Equal(t, int64(90), h.size)
		release, err = get(100)
		require.NoError(t, err)
		release()
		for _, release := range releases {
			release()
		}
		assert.Zero(t, h.used)
		assert.Equal(t, int64(90), h.size)
		assert.Len(t, h.made, 1)
		h.wait()
	})
}

// A slow download costs a goroutine and small buffers.
func TestMemoryOfDownloads(t *testing.T) {
	if raceDetector {
		t.Skip("left out: the race detector takes memory of its own")
	}
	if os.Getenv("SLUICE_TEST_TLS") != "" {
		t.Skip("the clients, which are in this process, take memory for TLS as well")
	}
	h := newRig(t)
	h.large(demo, firstID)
	measure := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	const downloads = 100
	before, goroutines := measure(), runtime.NumGoroutine()
	for range downloads {
		h.dial("GET " + firstPath + " HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	h.events.wait(t, hub.EventJoined, downloads)
	each := (measure() - before) / downloads
	t.Logf("%d bytes a download, %d goroutines", each, (runtime.NumGoroutine()-goroutines)/downloads)
	assert.Less(t, each, uint64(100<<10))
}
