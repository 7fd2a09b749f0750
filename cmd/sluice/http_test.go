package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/httpflv/answer"
	"sluice/web"
)

func TestRoutes(t *testing.T) {
	says := func(who string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, who) })
	}
	srv := httptest.NewServer(site{page: says("page"), streams: says("streams")}.routes())
	defer srv.Close()
	for path, want := range map[string]string{
		"/":                        "page",
		"/?stream=live/demo":       "page",
		"/?stream=live/demo.flv":   "page",
		"/assets/123/app.js":       "page",
		"/api/v1/streams":          "page",
		"/live/demo.flv":           "streams",
		"/live/demo.flv?token=x":   "streams",
		"/live/a/b/c.flv":          "streams",
		"/assets/x.flv":            "streams",
		"/api/v1/streams.flv":      "streams",
		"/x.flv":                   "streams",
		"/live/%C3%BC%20x.flv":     "streams",
		"/live/demo":               "404",
		"/live/demo.flv/":          "404",
		"/live/demo.FLV":           "404",
		"/api/v2/streams":          "404",
		"/index.html":              "404",
		"/live/demo?name=/a/b.flv": "404",
	} {
		for _, method := range []string{"GET", "HEAD", "OPTIONS", "POST"} {
			req, err := http.NewRequest(method, srv.URL+path, nil)
			require.NoError(t, err)
			res, err := srv.Client().Do(req)
			require.NoError(t, err)
			body, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			res.Body.Close()
			if want == "404" {
				assert.Equal(t, http.StatusNotFound, res.StatusCode, "%s %s", method, path)
				assert.Equal(t, "application/json", res.Header.Get("Content-Type"))
				continue
			}
			assert.Equal(t, http.StatusOK, res.StatusCode, "%s %s", method, path)
			if method != "HEAD" {
				assert.Equal(t, want, string(body), "%s %s", method, path)
			}
		}
	}
}

// Where there are recordings, /rec/ is theirs, whatever follows. Where there are none, it is an
// app like any other.
func TestRoutesOfRecordings(t *testing.T) {
	says := func(who string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, who) })
	}
	with := site{page: says("page"), streams: says("streams"), recordings: says("recordings")}
	without := with
	without.recordings = nil
	for path, want := range map[string][2]string{
		"/rec/live/demo/latest.flv":        {"recordings", "streams"},
		"/rec/live/demo/latest.mp4":        {"recordings", "404"},
		"/rec/x.flv":                       {"recordings", "streams"},
		"/rec/":                            {"recordings", "404"},
		"/rec/live/%2e%2e/x.flv":           {"recordings", "streams"},
		"/r%65c/live/demo/latest.flv":      {"recordings", "streams"},
		"/rec":                             {"404", "404"},
		"/rec.flv":                         {"streams", "streams"},
		"/record/demo.flv":                 {"streams", "streams"},
		"/live/rec/demo.flv":               {"streams", "streams"},
		"/api/v1/recordings":               {"page", "page"},
		"/api/v1/recordings/live/demo/x":   {"page", "page"},
		"/api/v1/recordings/live/demo.flv": {"streams", "streams"},
	} {
		for i, s := range []site{with, without} {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, path, nil)
			s.routes().ServeHTTP(w, r)
			if want[i] == "404" {
				assert.Equal(t, http.StatusNotFound, w.Code, path)
				assert.False(t, s.decides(r), path)
				continue
			}
			assert.Equal(t, want[i], w.Body.String(), path)
			assert.Equal(t, want[i] != "page", s.decides(r), path)
		}
	}
}

// The page's own router works below ours.
func TestPageIsServed(t *testing.T) {
	page := web.Handler(web.Config{Logger: slog.New(slog.DiscardHandler)})
	srv := httptest.NewServer(site{page: page, streams: http.HandlerFunc(site{}.notFound)}.routes())
	defer srv.Close()
	for path, want := range map[string]int{
		"/":                  http.StatusOK,
		"/api/v1/streams":    http.StatusOK,
		"/api/v1/nothing":    http.StatusNotFound,
		"/assets/nothing.js": http.StatusNotFound,
	} {
		res, err := srv.Client().Get(srv.URL + path)
		require.NoError(t, err)
		res.Body.Close()
		assert.Equal(t, want, res.StatusCode, path)
	}
}

func TestNotFoundIsJSON(t *testing.T) {
	w := httptest.NewRecorder()
	site{}.notFound(w, httptest.NewRequest("GET", "/x", nil))
	assert.JSONEq(t, `{"error":"not found","reason":"nothing is served here; a stream is at /APP/NAME.flv, and its page at /?stream=APP/NAME"}`, w.Body.String())
	assert.Equal(t, "*", w.Header().Get("Access-Control-Allow-Origin"))
}

// With a list of origins, only those pages may have the page and its API, and every
// client that is no page. Without one, pages of other origins may read nothing but
// refusals.
func TestOriginsOfPage(t *testing.T) {
	ask := func(s site, path, origin string) *http.Response {
		s.page = web.Handler(web.Config{AllowOrigins: s.origins, Logger: slog.New(slog.DiscardHandler)})
		s.streams = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil) // of example.com
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		s.routes().ServeHTTP(w, r)
		return w.Result()
	}
	listed := site{origins: originsOf(t, "https://a.example")}
	for path, status := range map[string]int{
		"/": http.StatusOK, "/api/v1/streams": http.StatusOK, "/assets/style.css": http.StatusOK,
		"/api/v1/streams?stream=live/x": http.StatusOK, "/api/v1/still?stream=live/x": http.StatusNotFound,
		"/api/v1/nothing": http.StatusNotFound, "/nothing": http.StatusNotFound,
	} {
		for _, origin := range []string{"https://a.example", "http://example.com", "https://example.com:443"} {
			res := ask(listed, path, origin)
			assert.Equal(t, status, res.StatusCode, path)
			assert.Equal(t, origin, res.Header.Get("Access-Control-Allow-Origin"), path)
			assert.Equal(t, "true", res.Header.Get("Access-Control-Allow-Credentials"), path)
			assert.Contains(t, res.Header.Values("Vary"), "Origin", path)
		}
		res := ask(listed, path, "")
		assert.Equal(t, status, res.StatusCode, path)
		assert.Contains(t, res.Header.Values("Vary"), "Origin", path)
		assert.Empty(t, res.Header.Get("Access-Control-Allow-Origin"), path)

		res = ask(listed, path, "https://b.example")
		assert.Equal(t, http.StatusForbidden, res.StatusCode, path)
		assert.Empty(t, res.Header.Get("Access-Control-Allow-Origin"), path)
		assert.Equal(t, []string{"Origin"}, res.Header.Values("Vary"), path)
		var body map[string]string
		require.NoError(t, json.NewDecoder(res.Body).Decode(&body))
		assert.Equal(t, map[string]string{"error": "denied", "reason": answer.DeniedOrigin}, body)

		res = ask(site{}, path, "https://b.example")
		assert.Equal(t, status, res.StatusCode, path)
		assert.NotContains(t, res.Header.Values("Vary"), "Origin", path)
		refused := status != http.StatusOK
		assert.Equal(t, refused, res.Header.Get("Access-Control-Allow-Origin") == "*", path)
	}
	for _, s := range []site{listed, {}} { // the handler of streams knows by itself
		res := ask(s, "/x.flv", "https://b.example")
		assert.Equal(t, http.StatusNoContent, res.StatusCode)
		assert.Empty(t, res.Header)
	}
	assert.Equal(t, []string{"Origin"}, ask(listed, "/nothing", "https://a.example").Header.Values("Vary"), "said once")
	assert.Equal(t, []string{"Origin", "Accept-Encoding"}, ask(listed, "/assets/style.css", "").Header.Values("Vary"))
}

// Somebody who opens the path of a stream in a browser is led to its page, unless he comes from a
// page that may not have it.
func TestBrowsersAreLedToThePage(t *testing.T) {
	for _, list := range []answer.Origins{nil, originsOf(t, "https://a.example")} {
		for origin, status := range map[string]int{"": 303, "https://a.example": 303, "https://b.example": 403} {
			if list == nil {
				status = 303
			}
			s := site{page: web.Handler(web.Config{Logger: slog.New(slog.DiscardHandler)}), streams: http.HandlerFunc(site{}.notFound), origins: list}
			w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/live/cam1?start=live", nil)
			r.Header.Set("Accept", "text/html,*/*;q=0.8")
			if origin != "" {
				r.Header.Set("Origin", origin)
			}
			s.routes().ServeHTTP(w, r)
			assert.Equal(t, status, w.Code, origin)
			if status == 303 {
				assert.Equal(t, "/?stream=live/cam1&start=live", w.Header().Get("Location"))
			}
		}
	}
}

func TestHTTPLogLevels(t *testing.T) {
	var out bytes.Buffer
	log := slog.NewLogLogger(httpLog{newLogger(&out, "text", slog.LevelInfo).Handler()}, slog.LevelDebug)
	log.Print("http: TLS handshake error from 127.0.0.1:1: EOF")
	assert.Empty(t, out.String())
	log.Print("http: panic serving 127.0.0.1:1: boom")
	assert.Contains(t, out.String(), "level=ERROR")
}

// A connection kept in reserve does not hold up the end.
func TestShutdownDoesNotWaitForSilentConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nothing := http.HandlerFunc(site{}.notFound)
	srv := newHTTPServer(site{page: nothing, streams: nothing}, slog.New(slog.DiscardHandler))
	noted := make(chan http.ConnState, 16)
	note := srv.ConnState
	srv.ConnState = func(c net.Conn, s http.ConnState) { note(c, s); noted <- s }
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()

	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	require.Equal(t, http.StateNew, <-noted)

	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // net/http would wait for 5 s
	defer cancel()
	assert.NoError(t, srv.Shutdown(ctx))
	assert.ErrorIs(t, <-served, http.ErrServerClosed)
	_, err = conn.Read(make([]byte, 1))
	assert.Error(t, err)
}
