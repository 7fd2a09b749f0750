package httpflv

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// notWaiting makes viewers of streams that nobody publishes be refused at once.
func notWaiting(c *configs) { c.hub.ViewerWait = -1 }

func TestHeadersOfStream(t *testing.T) {
	h := newRig(t)
	s := h.publish()
	s.send(start)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		res := h.do(method, "/live/demo.flv", nil)
		assert.Equal(t, http.StatusOK, res.StatusCode)
		assert.Equal(t, "video/x-flv", res.Header.Get("Content-Type"))
		assert.Equal(t, "no-cache, no-store", res.Header.Get("Cache-Control"))
		assert.Equal(t, "no", res.Header.Get("X-Accel-Buffering"))
		assert.Equal(t, "*", res.Header.Get("Access-Control-Allow-Origin"))
		assert.Empty(t, res.Header.Get("Accept-Ranges"))
		assert.Empty(t, res.Header.Get("Content-Encoding"))
		assert.EqualValues(t, -1, res.ContentLength, method)
	}
}

func TestHead(t *testing.T) {
	h := newRig(t) // a GET would wait
	res := h.do(http.MethodHead, "/live/demo.flv", nil)
	assert.Equal(t, http.StatusNotFound, res.StatusCode)
	assert.Equal(t, "*", res.Header.Get("Access-Control-Allow-Origin"))
	assert.Empty(t, h.hub.Streams(), "HEAD makes no viewer")

	h.publish()
	res = h.do(http.MethodHead, "/live/demo.flv", nil)
	assert.Equal(t, http.StatusOK, res.StatusCode)
	body, err := io.ReadAll(res.Body)
	assert.NoError(t, err)
	assert.Empty(t, body)
	assert.Zero(t, h.hub.Streams()[0].Viewers)
	res = h.do(http.MethodHead, "/live/demo.flv?onlyaudio=1&onlyvideo=1", nil)
	assert.Equal(t, http.StatusBadRequest, res.StatusCode)
}

func TestPreflight(t *testing.T) {
	h := newRig(t)
	res := h.do(http.MethodOptions, "/live/demo.flv", http.Header{
		"Origin":                                 {"https://example.com"},
		"Access-Control-Request-Method":          {"GET"},
		"Access-Control-Request-Headers":         {"range, x-player"},
		"Access-Control-Request-Private-Network": {"true"},
	})
	assert.Equal(t, http.StatusNoContent, res.StatusCode)
	assert.Equal(t, "*", res.Header.Get("Access-Control-Allow-Origin"))
	assert.Equal(t, "GET, HEAD, OPTIONS", res.Header.Get("Access-Control-Allow-Methods"))
	assert.Equal(t, "range, x-player", res.Header.Get("Access-Control-Allow-Headers"))
	assert.Equal(t, "true", res.Header.Get("Access-Control-Allow-Private-Network"))
	assert.Empty(t, h.hub.Streams())

	res = h.do(http.MethodOptions, "/any/thing", nil)
	assert.Equal(t, http.StatusNoContent, res.StatusCode)
	assert.Contains(t, strings.ToLower(res.Header.Get("Access-Control-Allow-Headers")), "range")
}

func TestOtherMethods(t *testing.T) {
	h := newRig(t)
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, "FETCH"} {
		res := h.do(method, "/live/demo.flv", nil)
		assert.Equal(t, http.StatusMethodNotAllowed, res.StatusCode)
		assert.Equal(t, "GET, HEAD, OPTIONS", res.Header.Get("Allow"))
		assert.Equal(t, "*", res.Header.Get("Access-Control-Allow-Origin"))
		refusal(t, res)
	}
}

// A refusal is a status from the hub's table and a reason in words.
func TestRefusals(t *testing.T) {
	h := newRig(t, notWaiting, func(c *configs) {
		c.hub.Authorize = func(_ context.Context, s *hub.Session) (grant hub.Grant, err error) {
			switch s.Key().Name {
			case "secret":
				err = errors.New("not for you")
			case "full":
				err = &hub.Refusal{Reason: hub.ReasonTooMany, Detail: "no seats left"}
			case "other":
				grant.Key = hub.Key{App: "live", Name: "demo"}
			}
			return grant, err
		}
	})
	s := h.publish()
	s.send("meta:v vc K:1")
	for path, want := range map[string]struct {
		reason hub.Reason
		words  string
	}{
		"/live/nobody.flv":                           {hub.ReasonNotFound, "no publisher for live/nobody"},
		"/live/demo.flv?onlyaudio=1":                 {hub.ReasonNotFound, "has no audio"},
		"/live/demo.flv?onlyaudio=1&onlyvideo=1":     {hub.ReasonBadRequest, "leave nothing"},
		"/live/demo.flv?start=yesterday":             {hub.ReasonBadRequest, "start is gop or live"},
		"/live/demo.flv?back=-1":                     {hub.ReasonBadRequest, "back is a number of seconds"},
		"/live/demo.flv?back=NaN":                    {hub.ReasonBadRequest, "back is a number of seconds"},
		"/live/demo.flv?back=5&start=live":           {hub.ReasonBadRequest, "contradict"},
		"/live/demo.flv?track=256":                   {hub.ReasonBadRequest, "track is a number up to 255"},
		"/live/demo.flv?hevc=1":                      {hub.ReasonBadRequest, "hevc is legacy or enhanced"},
		"/live/demo":                                 {hub.ReasonNotFound, "/APP/NAME.flv"},
		"/live/demo.mp4":                             {hub.ReasonNotFound, "/APP/NAME.flv"},
		"/demo.flv":                                  {hub.ReasonBadRequest, "app and a name"},
		"/.flv":                                      {hub.ReasonBadRequest, "app and a name"},
		"/live/.flv":                                 {hub.ReasonBadRequest, "app and a name"},
		"/live/..%2fdemo.flv":                        {hub.ReasonBadRequest, "stream name"},
		"/live/a%0d%0ab.flv":                         {hub.ReasonBadRequest, "stream name"},
		"/live/%00.flv":                              {hub.ReasonBadRequest, "stream name"},
		"/live/%ff.flv":                              {hub.ReasonBadRequest, "stream name"},
		"/live/a%3Fb.flv":                            {hub.ReasonBadRequest, "stream name"},
		"/live/" + strings.Repeat("x", 300) + ".flv": {hub.ReasonBadRequest, "longer"},
		"/live/secret.flv":                           {hub.ReasonDenied, "not for you"},
		"/live/full.flv":                             {hub.ReasonTooMany, "no seats left"},
	} {
		res := h.get(path)
		assert.Equal(t, want.reason.HTTPStatus(), res.StatusCode, path)
		assert.Equal(t, "*", res.Header.Get("Access-Control-Allow-Origin"), path)
		assert.Equal(t, "no-store", res.Header.Get("Cache-Control"), path)
		said := refusal(t, res)
		assert.Equal(t, want.reason.String(), said["error"], path)
		assert.Contains(t, said["reason"], want.words, path)
	}
	assert.Len(t, h.hub.Streams(), 1, "nothing is left of the refused")
	h.log.wait(t, "session refused", "stream=live/secret", "not for you")
	res := h.do(http.MethodHead, "/live/other.flv", nil)
	assert.Equal(t, http.StatusOK, res.StatusCode, "the policy names another stream")
}

func TestSeveralAppSegments(t *testing.T) {
	h := newRig(t)
	s := h.publishAs("live/studio 1", "ünï")
	s.send(start)
	for _, path := range []string{"/live/studio%201/%C3%BCn%C3%AF.flv", "//live/studio%201//%C3%BCn%C3%AF.flv"} {
		res := h.get(path)
		require.Equal(t, http.StatusOK, res.StatusCode, path)
		newTape(t, res.Body).expect(started)
	}
}

// ffmpeg and VLC ask for ranges and titles: neither means anything to a live stream.
func TestOddHeadersAreIgnored(t *testing.T) {
	h := newRig(t)
	s := h.publish()
	s.send(start)
	for _, header := range []http.Header{
		{"Range": {"bytes=0-"}, "Icy-MetaData": {"1"}, "User-Agent": {"Lavf/59"}},
		{"Range": {"bytes=1000-2000"}, "If-Range": {`"x"`}},
		{"Range": {"nonsense"}, "If-None-Match": {"*"}},
		{"Accept-Encoding": {"gzip, br"}, "Te": {"trailers"}, "Expect": {"100-continue"}},
	} {
		res := h.do(http.MethodGet, "/live/demo.flv?x=%zz&token=abc", header)
		assert.Equal(t, http.StatusOK, res.StatusCode)
		assert.Empty(t, res.Header.Get("Content-Range"))
		assert.Empty(t, res.Header.Get("Content-Encoding"))
		newTape(t, res.Body).expect(started)
		res.Body.Close()
	}
	assert.NotContains(t, h.log.String(), "token")
}

// Viewers may come before the publisher.
func TestWaitingViewer(t *testing.T) {
	h := newRig(t)
	answer := make(chan *http.Response)
	go func() { answer <- h.get("/live/demo.flv") }()
	h.waitViewers(1)
	s := h.publish()
	s.send("meta:av")
	s.send(start)
	newTape(t, (<-answer).Body).expect(started)
}

func TestViewerWaitExpires(t *testing.T) {
	h := newRig(t, func(c *configs) { c.hub.ViewerWait = 30 * time.Millisecond })
	began := time.Now()
	res := h.get("/live/demo.flv")
	assert.GreaterOrEqual(t, time.Since(began), 30*time.Millisecond)
	assert.Equal(t, http.StatusNotFound, res.StatusCode)
	assert.Contains(t, refusal(t, res)["reason"], "no publisher for live/demo within 30ms")
	assert.Empty(t, h.hub.Streams())
}

// A client that leaves while it waits leaves nothing behind, and is told nothing.
func TestClientLeavesWhileWaiting(t *testing.T) {
	h := newRig(t)
	c := h.dial("GET /live/demo.flv HTTP/1.1\r\nHost: x\r\n\r\n")
	h.waitViewers(1)
	c.Close()
	h.waitViewers(0)
	assert.Empty(t, h.hub.Streams())
	h.log.wait(t, "session refused", "context canceled")

	half := h.dial("GET /live/demo.flv HTTP/1.1\r\nHost: x\r\n\r\n")
	h.waitViewers(1)
	require.NoError(t, half.(interface{ CloseWrite() error }).CloseWrite())
	answer, err := io.ReadAll(half)
	assert.NoError(t, err)
	assert.Empty(t, answer, "no status fits: a 200 would be a stream that is empty")
}

func TestShutdownRefusesThoseWhoWait(t *testing.T) {
	h := newRig(t)
	answer := make(chan *http.Response)
	go func() { answer <- h.get("/live/demo.flv") }()
	h.waitViewers(1)
	require.NoError(t, h.hub.Shutdown(t.Context()))
	for _, res := range []*http.Response{<-answer, h.get("/live/demo.flv")} {
		assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
		assert.Equal(t, "shutting down", refusal(t, res)["error"])
	}
}

// What a URL asks for, and what a browser gets that asks for nothing.
func TestParseRequest(t *testing.T) {
	browser := flv.Shape{Form: flv.FormBrowser}
	for query, want := range map[string]hub.WatchOptions{
		"":                          {Shape: browser},
		"?token=x&chunked=0&a=%zz":  {Shape: browser},
		"?onlyaudio=1":              {Shape: browser, NoVideo: true},
		"?onlyvideo=TRUE":           {Shape: browser, NoAudio: true},
		"?start=live":               {Shape: browser, Start: hub.StartLive},
		"?start=gop&back=2.5":       {Shape: browser, Back: 2500 * time.Millisecond},
		"?track=3":                  {Shape: flv.Shape{Form: flv.FormBrowser, Track: 3}},
		"?track=3&track=x":          {Shape: flv.Shape{Form: flv.FormBrowser, Track: 3}},
		"?track=all":                {Shape: flv.Shape{Form: flv.FormAsSent}, ScriptData: true},
		"?hevc=legacy":              {Shape: flv.Shape{Form: flv.FormBrowser, HEVC: flv.HEVCLegacy}},
		"?track=all&hevc=enhanced":  {Shape: flv.Shape{Form: flv.FormAsSent, HEVC: flv.HEVCEnhanced}, ScriptData: true},
		"?start=live&start=gop&x=1": {Shape: browser, Start: hub.StartLive},
	} {
		want.FixedCodecs = true
		got, err := parseRequest(httptest.NewRequest(http.MethodGet, "/live/demo.flv"+query, nil))
		require.NoError(t, err, query)
		assert.Equal(t, hub.Key{App: "live", Name: "demo"}, got.key, query)
		assert.Equal(t, want, got.opts, query)
		assert.Equal(t, !strings.Contains(query, "chunked=0"), got.chunked, query)
	}
}
