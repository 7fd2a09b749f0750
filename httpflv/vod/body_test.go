package vod

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

const firstPath = "/rec/live/demo/" + firstID + ".flv"

func TestFile(t *testing.T) {
	h := newRig(t)
	i := h.finished(20)
	file, err := os.ReadFile(h.path(i))
	require.NoError(t, err)

	res := h.get(firstPath)
	assert.Equal(t, http.StatusOK, res.StatusCode)
	assert.Equal(t, file, all(t, res))
	for name, want := range map[string]string{
		"Content-Type": "video/x-flv", "Content-Length": strconv.Itoa(len(file)), "Accept-Ranges": "bytes",
		"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff",
		"Content-Disposition":         "inline; filename=demo-" + firstID + ".flv",
		"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "*",
	} {
		assert.Equal(t, want, res.Header.Get(name), name)
	}
	assert.NotEmpty(t, res.Header.Get("Last-Modified"))
	tag := res.Header.Get("ETag")
	require.Regexp(t, `^"[^"]+"$`, tag)

	head := h.do(http.MethodHead, firstPath)
	assert.Empty(t, all(t, head))
	for _, name := range []string{"Content-Type", "Content-Length", "ETag", "Last-Modified", "Accept-Ranges"} {
		assert.Equal(t, res.Header.Get(name), head.Header.Get(name), name)
	}
	disposition := h.do(http.MethodHead, firstPath+"?download=1").Header.Get("Content-Disposition")
	assert.Equal(t, "attachment; filename=demo-"+firstID+".flv", disposition)

	left := h.events.wait(t, hub.EventLeft, 1)
	assert.Equal(t, hub.ReasonComplete, left.Reason)
	assert.Equal(t, uint64(len(file)), left.Bytes)
	assert.Equal(t, "http-file", left.Session.Protocol())
	assert.Equal(t, firstID, left.Session.Client().Recording)
}

func TestConditions(t *testing.T) {
	h := newRig(t)
	h.finished(1)
	known := h.do(http.MethodHead, firstPath).Header
	tag, changed := known.Get("ETag"), known.Get("Last-Modified")
	for _, tt := range []struct {
		name, value string
		status      int
	}{
		{"If-None-Match", tag, http.StatusNotModified},
		{"If-None-Match", `"other", ` + tag, http.StatusNotModified},
		{"If-None-Match", `"other"`, http.StatusOK},
		{"If-Modified-Since", changed, http.StatusNotModified},
		{"If-Modified-Since", "Sat, 01 Jan 2000 00:00:00 GMT", http.StatusOK},
		{"If-Match", tag, http.StatusOK},
		{"If-Match", `"other"`, http.StatusPreconditionFailed},
		{"If-Unmodified-Since", "Sat, 01 Jan 2000 00:00:00 GMT", http.StatusPreconditionFailed},
	} {
		res := h.get(firstPath, tt.name, tt.value)
		assert.Equal(t, tt.status, res.StatusCode, "%s: %s", tt.name, tt.value)
		body := all(t, res)
		assert.Equal(t, tt.status == http.StatusOK, len(body) > 0)
	}
}

func TestRanges(t *testing.T) {
	h := newRig(t)
	i := h.finished(20)
	file, err := os.ReadFile(h.path(i))
	require.NoError(t, err)
	size := len(file)
	tag := h.do(http.MethodHead, firstPath).Header.Get("ETag")
	for _, tt := range []struct {
		asked, ifRange string
		from, to       int // to is behind the last; 0 for a refusal
	}{
		{"bytes=0-", "", 0, size},
		{"bytes=0-0", "", 0, 1},
		{"bytes=100-199", "", 100, 200},
		{"bytes=70000-", "", 70000, size},
		{"bytes=-1", "", size - 1, size},
		{fmt.Sprintf("bytes=-%d", 2*size), "", 0, size},
		{fmt.Sprintf("bytes=100-%d", 2*size), "", 100, size},
		{"bytes=100-199", tag, 100, 200},
		{fmt.Sprintf("bytes=%d-", size), "", 0, 0},
		{"bytes=200-100", "", 0, 0},
		{"bytes=x-y", "", 0, 0},
	} {
		header := []string{"Range", tt.asked}
		if tt.ifRange != "" {
			header = append(header, "If-Range", tt.ifRange)
		}
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			res := h.do(method, firstPath, header...)
			if tt.to == 0 {
				require.Equal(t, http.StatusRequestedRangeNotSatisfiable, res.StatusCode, tt.asked)
				if method == http.MethodGet {
					what, _ := refused(t, res)
					assert.Equal(t, "bad request", what)
				}
				continue
			}
			require.Equal(t, http.StatusPartialContent, res.StatusCode, tt.asked)
			assert.Equal(t, fmt.Sprintf("bytes %d-%d/%d", tt.from, tt.to-1, size), res.Header.Get("Content-Range"))
			assert.Equal(t, int64(tt.to-tt.from), res.ContentLength)
			if method == http.MethodGet {
				assert.Equal(t, file[tt.from:tt.to], all(t, res), tt.asked)
			}
		}
	}
	// A condition that does not hold, and units that are not known, mean the whole.
	for _, header := range [][]string{
		{"Range", "bytes=1-2", "If-Range", `"other"`},
		{"Range", "bytes=1-2", "If-Range", "W/" + tag},
		{"Range", "bytes=" + strings.TrimSuffix(strings.Repeat("1-2,", maxRanges+1), ",")},
	} {
		res := h.get(firstPath, header...)
		assert.Equal(t, http.StatusOK, res.StatusCode, header)
		assert.Len(t, all(t, res), size)
	}
}

func TestSeveralRanges(t *testing.T) {
	h := newRig(t)
	i := h.finished(20)
	file, err := os.ReadFile(h.path(i))
	require.NoError(t, err)
	res := h.get(firstPath, "Range", "bytes=0-9,70000-79999, -5")
	require.Equal(t, http.StatusPartialContent, res.StatusCode)
	kind, params, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/byteranges", kind)
	parts := multipart.NewReader(res.Body, params["boundary"])
	for _, want := range [][]byte{file[:10], file[70000:80000], file[len(file)-5:]} {
		part, err := parts.NextPart()
		require.NoError(t, err)
		assert.Equal(t, "video/x-flv", part.Header.Get("Content-Type"))
		got, err := io.ReadAll(part)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	_, err = parts.NextPart()
	assert.ErrorIs(t, err, io.EOF)
}

// What there is of a file that grows can be had by ranges too. Its ETag says that it is not
// the same any more.
func TestGrowingFile(t *testing.T) {
	h := newRig(t)
	i := h.record(demo, firstID)
	h.write(i, headers()...)
	h.write(i, media(0, 10)...)

	first := h.get(firstPath)
	assert.Equal(t, http.StatusOK, first.StatusCode)
	assert.Empty(t, first.Header.Get("Last-Modified"), "it would be true for less than a second")
	file := all(t, first)
	assert.Equal(t, int64(len(file)), first.ContentLength)
	assert.Len(t, tags(t, file), 1+2+200)
	same := h.get(firstPath, "Range", "bytes=70000-", "If-Range", first.Header.Get("ETag"))
	require.Equal(t, http.StatusPartialContent, same.StatusCode)
	assert.Equal(t, file[70000:], all(t, same))

	h.write(i, media(10, 5)...)
	more := h.get(firstPath, "Range", "bytes=70000-")
	require.Equal(t, http.StatusPartialContent, more.StatusCode)
	assert.NotEqual(t, first.Header.Get("ETag"), more.Header.Get("ETag"))
	rest := all(t, more)
	assert.Equal(t, file[70000:], rest[:len(file)-70000], "what was there stays where it was")
	assert.Greater(t, len(rest), len(file)-70000)
	other := h.get(firstPath, "Range", "bytes=70000-", "If-Range", first.Header.Get("ETag"))
	require.Equal(t, http.StatusOK, other.StatusCode)
	assert.Len(t, tags(t, all(t, other)), 1+2+300)

	what, reason := refused(t, h.get("/rec/live/demo/"+firstID+".mp4"))
	assert.Equal(t, "busy", what)
	assert.Contains(t, reason, "still written")
	h.finish(i)
	done := h.get(firstPath)
	assert.NotEmpty(t, done.Header.Get("Last-Modified"))
	onDisk, err := os.ReadFile(h.path(i))
	require.NoError(t, err)
	assert.Equal(t, onDisk, all(t, done))
}
