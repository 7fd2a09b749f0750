//lint:file-ignore SA1019 the WebSocket library is given, and final at this version.

package vod

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"nhooyr.io/websocket"

	"sluice/flv"
	"sluice/hub"
)

func TestParse(t *testing.T) {
	h := &Handler{cfg: Config{Archive: newShelf(t)}}
	live := func(name string) hub.Key { return hub.Key{App: "live", Name: name} }
	for target, want := range map[string]request{
		"/rec/live/demo/x.flv":                                {key: demo, id: "x"},
		"/rec/live/demo/x.mp4":                                {key: demo, id: "x", mp4: true},
		"/rec/live/demo/x.flv.flv":                            {key: demo, id: "x.flv"},
		"/rec/live/demo/x.flv?follow=1":                       {key: demo, id: "x", follow: true},
		"/rec/live/demo/x.flv?download=1":                     {key: demo, id: "x", download: true},
		"/rec/live/demo/x.flv?start=1.5":                      {key: demo, id: "x", start: 1500 * time.Millisecond},
		"/rec/live/demo/latest.flv":                           {key: demo, id: "latest", latest: true},
		"/rec/a/b/c/x.flv":                                    {key: hub.Key{App: "a/b", Name: "c"}, id: "x"},
		"/rec//live///demo//x.flv":                            {key: demo, id: "x"},
		"/r%65c/live/demo/x.flv":                              {key: demo, id: "x"},
		"/rec/live%2Fdemo/x.flv":                              {key: demo, id: "x"},
		"/rec/live/%C3%BC%20%26%2B/x.flv":                     {key: live("ü &+"), id: "x"},
		"/rec/live/a+b/x.flv":                                 {key: live("a+b"), id: "x"},
		"/rec/live/demo/%25%3F%23%22%5C%0A.flv":               {key: demo, id: "%?#\"\\\n"},
		"/rec/live/demo/%2525.flv":                            {key: demo, id: "%25"},
		"/rec/live/demo/a%3Ab.flv":                            {key: demo, id: "a:b"},
		"/rec/live/demo/....flv":                              {key: demo, id: "..."},
		"/rec/live/demo/...mp4":                               {key: demo, id: "..", mp4: true},
		"/rec/rec/rec/rec.flv":                                {key: hub.Key{App: "rec", Name: "rec"}, id: "rec"},
		"/rec/live/demo/x.flv?back=x&chunked=0":               {key: demo, id: "x"},
		"/rec/live/demo/" + strings.Repeat("x", 255) + ".flv": {key: demo, id: strings.Repeat("x", 255)},
	} {
		got, err := h.parse(httptest.NewRequest(http.MethodGet, target, nil))
		require.NoError(t, err, target)
		want.watch.Shape.Form = flv.FormBrowser
		assert.Equal(t, want, got, target)
	}
	for target, want := range map[string]hub.Reason{
		"/rec/":                                               hub.ReasonNotFound,
		"/rec/x.flv":                                          hub.ReasonNotFound,
		"/rec/live/x.flv":                                     hub.ReasonNotFound,
		"/rec/live/demo/x":                                    hub.ReasonNotFound,
		"/rec/live/demo/x.FLV":                                hub.ReasonNotFound,
		"/rec/live/demo/.flv":                                 hub.ReasonNotFound,
		"/rec/live/demo/.mp4":                                 hub.ReasonNotFound,
		"/rec/live/demo/x.flv/":                               hub.ReasonNotFound,
		"/rec/live/demo/a%00b.flv":                            hub.ReasonNotFound,
		"/rec/live/demo/a%2Fb.flv":                            hub.ReasonNotFound,
		"/rec/live/demo/%2e%2e%2fx.flv":                       hub.ReasonNotFound,
		"/rec/live/demo/%FF.flv":                              hub.ReasonNotFound,
		"/rec/live/../demo/x.flv":                             hub.ReasonBadRequest,
		"/rec/live/%2e%2e/x.flv":                              hub.ReasonBadRequest,
		"/rec/live/de%00mo/x.flv":                             hub.ReasonBadRequest,
		"/rec/live/de%0Amo/x.flv":                             hub.ReasonBadRequest,
		"/rec/live/de%5Cmo/x.flv":                             hub.ReasonBadRequest,
		"/rec/live/demo/x.flv?start=-1":                       hub.ReasonBadRequest,
		"/rec/live/demo/x.flv?start=NaN":                      hub.ReasonBadRequest,
		"/rec/live/demo/x.flv?start=Inf":                      hub.ReasonBadRequest,
		"/rec/live/demo/x.flv?start=1e99":                     hub.ReasonBadRequest,
		"/rec/live/demo/x.flv?start=live":                     hub.ReasonBadRequest,
		"/rec/live/demo/x.mp4?follow=1":                       hub.ReasonBadRequest,
		"/rec/live/demo/x.flv?track=x":                        hub.ReasonBadRequest,
		"/rec/live/demo/x.flv?onlyaudio=1&onlyvideo=1":        hub.ReasonBadRequest,
		"/rec/live/demo/x.flv?" + strings.Repeat("x", 5000):   hub.ReasonBadRequest,
		"/rec/live/demo/" + strings.Repeat("x", 256) + ".flv": hub.ReasonNotFound,
		"/rec/live/" + strings.Repeat("x", 256) + "/x.flv":    hub.ReasonBadRequest,
		"/rec/live/" + strings.Repeat("x/", 2000) + "/x.flv":  hub.ReasonBadRequest,
	} {
		_, err := h.parse(httptest.NewRequest(http.MethodGet, target, nil))
		refusal, ok := err.(*hub.Refusal)
		require.True(t, ok, "%s: %v", target, err)
		assert.Equal(t, want, refusal.Reason, target)
		assert.NotEmpty(t, refusal.Detail, target)
	}
}

// A path leads back to what it was made of, whatever stands in it.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{"x", "a/b", "ü &+=?#%2F", "..", "a:b", "\xff", "a\nb", `a"b\`, "latest", "x.flv"} {
		f.Add("live", "demo", seed)
		f.Add("live", seed, "x")
		f.Add(seed, seed, seed)
	}
	h := &Handler{cfg: Config{Archive: newShelf(f)}}
	f.Fuzz(func(t *testing.T, app, name, id string) {
		key, err := hub.NewKey(app, name)
		if err != nil {
			return
		}
		path := Path(key, id)
		u, err := url.ParseRequestURI(path)
		require.NoError(t, err)
		q, err := h.parse(&http.Request{URL: u})
		if _, ok := err.(*hub.Refusal); !ok {
			require.NoError(t, err)
			assert.Equal(t, key, q.key)
			assert.Equal(t, id, q.id)
		}
		w := httptest.NewRecorder()
		redirect(w, &http.Request{URL: u}, id, ".flv")
		to, err := u.Parse(w.Header().Get("Location"))
		require.NoError(t, err)
		assert.Equal(t, u.EscapedPath(), to.EscapedPath(), "a redirect leads there too")
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"/rec/live/demo/x.flv?start=1", "/rec/%zz/x.flv", "/rec//.mp4", "/rec/a/b/%2F.flv?x=%&;"} {
		f.Add(seed)
	}
	h := &Handler{cfg: Config{Archive: newShelf(f)}}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		q, err := h.parse(&http.Request{URL: u})
		if err == nil {
			assert.NotEmpty(t, q.id)
			assert.NotContains(t, q.id, "/")
			assert.NotEmpty(t, q.key)
		}
	})
}

func TestLatest(t *testing.T) {
	h := newRig(t)
	for _, suffix := range []string{".flv", ".mp4"} {
		what, _ := refused(t, h.get("/rec/live/demo/latest"+suffix))
		assert.Equal(t, "not found", what)
	}
	h.finished(1)
	h.finish(h.written(demo, "a:b %ü"))
	for path, want := range map[string]string{
		"latest.flv":                  "./a:b%20%25%C3%BC.flv",
		"latest.mp4?download=1&t=%26": "./a:b%20%25%C3%BC.mp4?download=1&t=%26",
		"latest.flv?follow=1":         "./a:b%20%25%C3%BC.flv?follow=1",
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			res := h.do(method, "/rec/live/demo/"+path)
			assert.Equal(t, http.StatusTemporaryRedirect, res.StatusCode)
			assert.Equal(t, want, res.Header.Get("Location"))
			assert.Equal(t, "*", res.Header.Get("Access-Control-Allow-Origin"))
			to, err := res.Location()
			require.NoError(t, err)
			if strings.Contains(path, ".flv") {
				assert.Equal(t, http.StatusOK, h.do(http.MethodHead, to.RequestURI()).StatusCode)
			}
		}
	}
}

func TestNothingThere(t *testing.T) {
	h := newRig(t)
	h.finished(1)
	broken := h.put(demo, "broken", []byte("no FLV"))
	for _, path := range []string{
		"/rec/live/demo/other.flv", "/rec/live/other/" + firstID + ".flv", "/rec/live/other/latest.flv",
		"/rec/live/demo/x.mp4", "/rec/", "/rec/live/demo", "/rec/live/demo/" + broken.ID + ".flv",
	} {
		res := h.get(path)
		assert.Equal(t, http.StatusNotFound, res.StatusCode, path)
		what, _ := refused(t, res)
		assert.Equal(t, "not found", what, path)
	}
	assert.NotContains(t, h.log.String(), "a recording cannot be read")
	broken.broken = errors.New("disk on fire")
	for _, suffix := range []string{".flv", ".mp4"} {
		res := h.get("/rec/live/demo/broken" + suffix)
		assert.Equal(t, http.StatusInternalServerError, res.StatusCode)
		what, reason := refused(t, res)
		assert.Equal(t, "internal error: the recording cannot be read", what+": "+reason)
	}
	w := h.watch("/rec/live/demo/broken.flv")
	readAll(t, w)
	assert.Equal(t, websocket.StatusInternalError, w.end.Code)
	assert.Contains(t, h.log.String(), "disk on fire")
	for _, method := range []string{http.MethodPost, http.MethodDelete, http.MethodPut} {
		res := h.do(method, firstPath)
		assert.Equal(t, http.StatusMethodNotAllowed, res.StatusCode)
		assert.Equal(t, "GET, HEAD, OPTIONS", res.Header.Get("Allow"))
	}
}

func TestOrigins(t *testing.T) {
	h := newRig(t, func(s *setup) { require.NoError(t, s.origins.UnmarshalText([]byte("https://a.example"))) })
	h.finished(1)
	for _, path := range []string{firstPath, "/rec/live/demo/latest.flv"} {
		res := h.do(http.MethodOptions, path, "Origin", "https://a.example",
			"Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "range")
		assert.Equal(t, http.StatusNoContent, res.StatusCode)
		assert.Equal(t, "https://a.example", res.Header.Get("Access-Control-Allow-Origin"))
		assert.Equal(t, "range", res.Header.Get("Access-Control-Allow-Headers"))
		res = h.get(path, "Origin", "https://a.example", "Range", "bytes=0-1")
		assert.Equal(t, "https://a.example", res.Header.Get("Access-Control-Allow-Origin"))
		for _, name := range []string{"Content-Range", "Accept-Ranges", "ETag", "Content-Length"} {
			assert.Contains(t, res.Header.Get("Access-Control-Expose-Headers"), name)
		}
		res = h.get(path, "Origin", "https://b.example")
		assert.Equal(t, http.StatusForbidden, res.StatusCode)
		assert.Empty(t, res.Header.Get("Access-Control-Allow-Origin"))
	}
}

func TestDispositions(t *testing.T) {
	for name, want := range map[string]string{
		"demo":   "inline; filename=demo-x.flv",
		"a b":    `inline; filename="a b-x.flv"`,
		"ü":      "inline; filename*=utf-8''%C3%BC-x.flv",
		"a, (b)": `inline; filename="a, (b)-x.flv"`,
	} {
		q := request{key: hub.Key{App: "live", Name: name}}
		assert.Equal(t, want, disposition(q, "x", ".flv"))
	}
	evil := disposition(request{key: demo, download: true}, "a\"\\\r\nX: y", ".mp4")
	assert.NotContains(t, evil, "\n")
}
