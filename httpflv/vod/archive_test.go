package vod

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/archive"
	"sluice/web"
)

// newArchive opens an archive in a new folder.
func newArchive(t *testing.T) (*archive.Archive, string) {
	t.Helper()
	dir := t.TempDir()
	a, err := archive.Open(archive.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, a.Close()) })
	return a, dir
}

// recordInto makes a finished recording of a second.
func recordInto(t *testing.T, a *archive.Archive, key hub.Key, begin time.Time) archive.Recording {
	t.Helper()
	w, err := a.Create(key, begin, nil)
	require.NoError(t, err)
	_, _, err = w.Write(nil, append(headers(), media(0, 1)...))
	require.NoError(t, err)
	r, err := w.Finish(archive.StateFinished)
	require.NoError(t, err)
	return r
}

// What the list names can be had by the address that stands there, whatever its stream is
// called and whoever put it there.
func TestEveryNameLeadsBack(t *testing.T) {
	a, dir := newArchive(t)
	h := newRig(t, func(s *setup) { s.vod.Archive = FromArchive(a) })
	page := web.Handler(web.Config{
		Logger:     slog.New(slog.DiscardHandler),
		Recordings: web.RecordingsConfig{List: h.vod.List, Find: h.vod.Find, Path: Path},
	})
	names := []string{
		"demo", "ü b", "a&b=c+d,e!(f)@g:h", "~", "con", "NUL", "aux.flv", "x.flv", "x.part", "latest", "...", ". .", "日本語", "हिन्दी", "العربية",
		strings.Repeat("漢", 80), strings.Repeat("x", 240),
	}
	for n, name := range names {
		key, err := hub.NewKey("live/a", name)
		require.NoError(t, err, name)
		recordInto(t, a, key, begin.Add(time.Duration(n)*time.Second))
	}
	hand := recordInto(t, a, demo, begin)
	b, err := os.ReadFile(filepath.Join(dir, "live", "demo", hand.ID+".flv"))
	require.NoError(t, err)
	for _, id := range []string{"by hand", "a%2Fb", "100%", "ü", "a:b", "-", "~x", "a.flv", "LATEST"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "live", "demo", id+".flv"), b, 0o600))
		f, _, err := a.Open(demo, id) // which looks for it
		require.NoError(t, err, id)
		require.NoError(t, f.Close())
	}

	seen := make(map[string]bool)
	for after := ""; ; {
		r := httptest.NewRequest(http.MethodGet, "/api/v1/recordings?limit=5&after="+url.QueryEscape(after), nil)
		w := httptest.NewRecorder()
		page.ServeHTTP(w, r)
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		var said web.Recordings
		require.NoError(t, unmarshal(w.Body, &said))
		for _, r := range said.Recordings {
			require.False(t, seen[r.URL], r.URL)
			seen[r.URL] = true
			res := h.get(r.URL)
			assert.Equal(t, http.StatusOK, res.StatusCode, r.URL)
			assert.Equal(t, r.Bytes, int64(len(all(t, res))), r.URL)
			assert.Equal(t, http.StatusOK, h.do(http.MethodHead, r.URL).StatusCode)

			one := httptest.NewRecorder()
			page.ServeHTTP(one, httptest.NewRequest(http.MethodGet, "/api/v1/recordings"+strings.TrimSuffix(strings.TrimPrefix(r.URL, "/rec"), ".flv"), nil))
			var again web.Recording
			require.NoError(t, unmarshal(one.Body, &again))
			if r.ID != archive.Latest {
				assert.Equal(t, r, again)
			}
		}
		if after = said.Next; after == "" {
			break
		}
	}
	assert.Len(t, seen, len(names)+1+9)
	w := httptest.NewRecorder()
	page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/recordings?after=%00x", nil))
	assert.Equal(t, http.StatusBadRequest, w.Code)
}

// Whoever has a recording goes on to its end when it is deleted.
func TestDeletedMeanwhile(t *testing.T) {
	a, _ := newArchive(t)
	h := newRig(t, func(s *setup) { s.vod.Archive = FromArchive(a) })
	w, err := a.Create(demo, begin, nil)
	require.NoError(t, err)
	_, _, err = w.Write(nil, headers())
	require.NoError(t, err)
	large := media(0, 1)[0]
	large.Data = append(large.Data, make([]byte, 8<<20)...)
	for range 4 {
		_, _, err = w.Write(nil, media(0, 1)[:1])
		require.NoError(t, err)
		large.Time += 1000
		p := media(0, 1)[:1]
		p[0] = large
		_, _, err = w.Write(nil, p)
		require.NoError(t, err)
	}
	r, err := w.Finish(archive.StateFinished)
	require.NoError(t, err)
	res := h.get(Path(demo, r.ID))
	_, err = io.ReadFull(res.Body, make([]byte, 100_000))
	require.NoError(t, err)
	require.NoError(t, a.Delete(demo, r.ID))
	assert.Len(t, all(t, res), int(res.ContentLength)-100_000)
	assert.Equal(t, http.StatusNotFound, h.get(Path(demo, r.ID)).StatusCode)
}
