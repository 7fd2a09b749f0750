package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/archive/flvfile"
	"sluice/hub/archive/union"
)

// recorded are two recordings, with all that there is to say and with nothing.
var recorded = []archive.Recording{{
	Key: hub.Key{App: "live/a", Name: "ü b"}, ID: "20261128T170500.123Z", State: archive.StateDiskFull,
	Info: flvfile.Info{
		Begin:    time.Date(2026, 11, 28, 18, 5, 0, 123_999_999, time.FixedZone("", 3600)),
		Duration: 3_601_520 * time.Millisecond, Size: 1287331123,
		Video: flv.CodecH264, Audio: flv.CodecAAC, Width: 1280, Height: 720,
		Gaps: 2, GapTime: 1500 * time.Millisecond,
	},
}, {
	Key: hub.Key{App: "live", Name: "demo"}, ID: "by hand", State: archive.StateFinished,
}}

// librarian answers for recordings, and notes what it was asked.
type librarian struct {
	key       hub.Key
	id, after string
	limit     int
	err       error
	away      union.Recording // where they are
	unreached []string
}

func (l *librarian) of(r archive.Recording) union.Recording {
	of := l.away
	of.Recording = r
	return of
}

func (l *librarian) config() RecordingsConfig {
	return RecordingsConfig{
		List: func(_ *http.Request, key hub.Key, after string, limit int) (union.Page, error) {
			l.key, l.after, l.limit = key, after, limit
			page := union.Page{Next: "more", Unreached: l.unreached}
			for _, r := range recorded {
				page.Recordings = append(page.Recordings, l.of(r))
			}
			return page, l.err
		},
		Find: func(_ *http.Request, key hub.Key, id string) (union.Recording, error) {
			l.key, l.id = key, id
			return l.of(recorded[1]), l.err
		},
		Path: func(key hub.Key, id string) string { return "/rec/" + url.PathEscape(key.String()+"/"+id) + ".flv" },
	}
}

const secondRecording = `{
	"id": "by hand", "stream": "live/demo", "app": "live", "name": "demo",
	"begin": null, "duration": 0, "bytes": 0, "video": null, "audio": null, "gaps": 0, "gap_seconds": 0,
	"state": "finished", "url": "/rec/live%2Fdemo%2Fby%20hand.flv"
}`

// The form of the answer is a promise to programs: this is it, to the letter.
func TestRecordingsForm(t *testing.T) {
	var l librarian
	h := Handler(Config{Logger: quiet, assets: files(t, true), Recordings: l.config()})
	r := ask(h, "GET", "/api/v1/recordings")
	assert.Equal(t, 200, r.StatusCode)
	assert.Equal(t, "application/json", r.Header.Get("Content-Type"))
	assert.Equal(t, "no-store", r.Header.Get("Cache-Control"))
	assert.JSONEq(t, `{"recordings": [{
		"id": "20261128T170500.123Z", "stream": "live/a/ü b", "app": "live/a", "name": "ü b",
		"begin": "2026-11-28T17:05:00.123Z", "duration": 3601.52, "bytes": 1287331123,
		"video": {"codec": "H.264", "width": 1280, "height": 720}, "audio": {"codec": "AAC"},
		"gaps": 2, "gap_seconds": 1.5, "state": "disk full",
		"url": "/rec/live%2Fa%2F%C3%BC%20b%2F20261128T170500.123Z.flv"
	}, `+secondRecording+`], "next": "more"}`, body(t, r))
	assert.JSONEq(t, secondRecording, body(t, ask(h, "GET", "/api/v1/recordings/live/demo/latest")))
	assert.Equal(t, "latest", l.id)
	assert.Equal(t, hub.Key{App: "live", Name: "demo"}, l.key)
	assert.Equal(t, http.StatusOK, ask(h, "HEAD", "/api/v1/recordings").StatusCode)
	assert.Equal(t, http.StatusMethodNotAllowed, ask(h, "DELETE", "/api/v1/recordings/live/demo/latest").StatusCode)
}

// Those of other nodes have the address at which they are, and who has not answered is named.
func TestRecordingsOfOtherNodes(t *testing.T) {
	l := librarian{away: union.Recording{Node: "n2:6222", Away: true, HTTP: "https://n2.example.com"}, unreached: []string{"n3:6222"}}
	c := l.config()
	c.Origins = func() []string { return []string{"https://n2.example.com"} }
	h := Handler(Config{Logger: quiet, assets: files(t, true), Recordings: c})
	list := body(t, ask(h, "GET", "/api/v1/recordings"))
	for _, want := range []string{
		`"node":"n2:6222"`, `"url":"https://n2.example.com/rec/live%2Fdemo%2Fby%20hand.flv"`, `"unreached":["n3:6222"]`,
	} {
		assert.Contains(t, list, want)
	}
	assert.Contains(t, body(t, ask(h, "GET", "/api/v1/recordings/live/demo/latest")), `"url":"https://n2.example.com/rec/`)
	policy := ask(h, "GET", "/").Header.Get("Content-Security-Policy")
	assert.Contains(t, policy, "wss://example.com https://n2.example.com;", "the page may fetch them")
	assert.Contains(t, policy, "media-src 'self' blob: https://n2.example.com;")
}

func TestRecordingsQuery(t *testing.T) {
	for query, want := range map[string]librarian{
		"":                               {limit: 100},
		"?limit=1":                       {limit: 1},
		"?limit=1000&after=x%26y":        {limit: 1000, after: "x&y"},
		"?stream=live/demo":              {limit: 100, key: hub.Key{App: "live", Name: "demo"}},
		"?stream=live%2fa%2f%C3%BC%20b":  {limit: 100, key: hub.Key{App: "live/a", Name: "ü b"}},
		"?stream=live/demo&something=on": {limit: 100, key: hub.Key{App: "live", Name: "demo"}},
	} {
		var l librarian
		h := Handler(Config{Logger: quiet, assets: files(t, true), Recordings: l.config()})
		assert.Equal(t, http.StatusOK, ask(h, "GET", "/api/v1/recordings"+query).StatusCode, query)
		assert.Equal(t, want, l, query)
	}
	var l librarian
	h := Handler(Config{Logger: quiet, assets: files(t, true), Recordings: l.config()})
	for _, bad := range []string{
		"?limit=0", "?limit=1001", "?limit=-1", "?limit=x", "?limit=1.5", "?stream=", "?stream=demo", "?stream=../x",
		"?stream=a/%00", "?after=" + strings.Repeat("x", 2049), "/live", "/live/demo", "/live/demo/", "/../x/y",
	} {
		r := ask(h, "GET", "/api/v1/recordings"+bad)
		require.Equal(t, http.StatusBadRequest, r.StatusCode, bad)
		var said map[string]string
		require.NoError(t, json.Unmarshal([]byte(body(t, r)), &said))
		assert.Equal(t, "bad request", said["error"], bad)
		assert.NotEmpty(t, said["reason"], bad)
	}
	assert.Zero(t, l, "nobody is asked")
}

func TestRecordingsRefused(t *testing.T) {
	for _, path := range []string{"/api/v1/recordings", "/api/v1/recordings/live/demo/x"} {
		h := Handler(Config{Logger: quiet, assets: files(t, true)})
		r := ask(h, "GET", path)
		assert.Equal(t, http.StatusNotFound, r.StatusCode)
		assert.JSONEq(t, `{"error": "not found", "reason": "nothing is recorded here"}`, body(t, r))

		l := librarian{err: &hub.Refusal{Reason: hub.ReasonDenied, Detail: "not you"}}
		h = Handler(Config{Logger: quiet, assets: files(t, true), Recordings: l.config()})
		r = ask(h, "GET", path)
		assert.Equal(t, http.StatusForbidden, r.StatusCode)
		assert.JSONEq(t, `{"error": "denied", "reason": "not you"}`, body(t, r))

		l.err = &hub.Refusal{Reason: hub.ReasonNotFound}
		assert.JSONEq(t, `{"error": "not found", "reason": "not found"}`, body(t, ask(h, "GET", path)))

		l.err = errors.New("disk on fire")
		r = ask(h, "GET", path)
		assert.Equal(t, http.StatusInternalServerError, r.StatusCode)
		assert.NotContains(t, body(t, r), "fire")

		l.err = context.Canceled // the client's
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		assert.PanicsWithValue(t, http.ErrAbortHandler, func() {
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", path, nil))
		})
	}
}
