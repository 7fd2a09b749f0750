package web

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/httpflv/answer"
)

// Who may frame the page of a stream is said of that page alone.
func TestEmbedPolicy(t *testing.T) {
	for _, c := range []struct {
		embed     answer.Ancestors
		ancestors string
	}{
		{nil, "'self'"},
		{answer.Ancestors{"https://a.example", "http://*.b.example:81"}, "'self' https://a.example http://*.b.example:81"},
		{answer.Ancestors{"*"}, "*"},
	} {
		h := Handler(Config{Logger: quiet, assets: files(t, true), Embed: c.embed})
		connect := "default-src 'self'; connect-src 'self' ws://example.com wss://example.com; media-src 'self' blob:; object-src 'none'; " +
			"base-uri 'none'; form-action 'self'; frame-ancestors "
		r := ask(h, "GET", "/embed/live/demo?key=S3CRET")
		assert.Equal(t, 200, r.StatusCode)
		assert.Equal(t, connect+c.ancestors, r.Header.Get("Content-Security-Policy"))
		assert.Equal(t, "strict-origin", r.Header.Get("Referrer-Policy"))
		assert.Equal(t, "no-cache", r.Header.Get("Cache-Control"))
		assert.Empty(t, r.Header.Get("X-Frame-Options"))
		assert.Equal(t, connect+"'self'", ask(h, "GET", "/?stream=live/demo").Header.Get("Content-Security-Policy"))
		assert.Equal(t, connect+"'self'", ask(h, "GET", "/").Header.Get("Content-Security-Policy"))
	}
}

func TestEmbedPage(t *testing.T) {
	h := Handler(Config{Logger: quiet, assets: files(t, true), Version: "1"})
	page := body(t, ask(h, "GET", "/embed//live/a%20%26%22b%22/"))
	assert.Contains(t, page, "stream name has a character", "a quotation mark")
	page = body(t, ask(h, "GET", "/embed//live/a%20%26b/?key=S3CRET"))
	assert.Contains(t, page, `data-key="live/a &amp;b"`)
	assert.NotContains(t, page, "S3CRET")
	assert.NotRegexp(t, `(?i)<script(?:[^>]*[^/])?>[^<]`, page, "inline script")
	assert.NotRegexp(t, `(?i)\s(style|on[a-z]+)=`, page, "inline style or handler")
	for path, want := range map[string]int{
		"/embed/live/demo": 200, "/embed/live/studio/demo": 200, "/embed/" + "live/" + strings.Repeat("n", 250): 200,
		"/embed/": 400, "/embed/demo": 400, "/embed/live/..": 400, "/embed/live/a%00": 400, "/embed/live/%3Cscript%3E": 400,
		"/embed/live/" + strings.Repeat("n", 251): 400, "/embed": 404,
	} {
		r := ask(h, "GET", path)
		assert.Equal(t, want, r.StatusCode, path)
		if want == 400 {
			assert.Equal(t, "application/json", r.Header.Get("Content-Type"), path)
			assert.Contains(t, body(t, r), `"reason":"stream name `, path)
		}
	}
	assert.Equal(t, 405, ask(h, "POST", "/embed/live/demo").StatusCode)
}

// framing serves a page of another origin that frames an address, and counts the frames that
// have come to something.
func framing(t *testing.T, address string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><title>Elsewhere</title><body data-state="">
			<iframe src="%s" width="640" height="360" allow="autoplay; fullscreen; picture-in-picture"
				onload="document.body.dataset.state = 'framed'"></iframe>`, html.EscapeString(address))
	}))
	t.Cleanup(s.Close)
	return s
}

// A page of another origin frames a stream where it is listed, or all are, and nowhere else;
// and of the rest of the site nothing, wherever.
func TestEmbedInOtherPages(t *testing.T) {
	p := browser(t)
	for _, c := range []struct {
		name, path string
		embed      func(origin string) answer.Ancestors
		allowed    bool
	}{
		{"nobody is listed", "/embed/live/demo", func(string) answer.Ancestors { return nil }, false},
		{"another is listed", "/embed/live/demo", func(string) answer.Ancestors { return answer.Ancestors{"http://127.0.0.1:1"} }, false},
		{"it is listed", "/embed/live/demo", func(origin string) answer.Ancestors { return answer.Ancestors{origin} }, true},
		{"all are", "/embed/live/demo", func(string) answer.Ancestors { return answer.Ancestors{"*"} }, true},
		{"but the page is not to be framed", "/?stream=live/demo", func(string) answer.Ancestors { return answer.Ancestors{"*"} }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Each knows the other's address: one that passes on is made first.
			var s *source
			frames := framing(t, "/")
			elsewhere := frames.URL
			s = newSourceOf(t, true, Config{Embed: c.embed(elsewhere)})
			frames.Config.Handler = framing(t, s.URL+c.path).Config.Handler
			p.open(elsewhere)
			if c.allowed {
				require.Eventually(t, func() bool { return s.watching() == 1 }, patience, 10*time.Millisecond, "it plays")
				p.until(state("framed"))
				p.screenshot("embed-framed-" + strings.ReplaceAll(c.name, " ", "-"))
				return
			}
			assert.Contains(t, p.Complaint(), "frame-ancestors")
			p.until(state("framed")) // with the browser's own page of errors
			assert.Zero(t, s.count("ws")+s.count("http"))
		})
	}
}

// What the query of the framed page says is done, and what is for the server goes to it.
func TestEmbedParameters(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	still, err := oneFrame()
	require.NoError(t, err)
	var none atomic.Bool
	s.stills = func(w http.ResponseWriter, r *http.Request) {
		if none.Load() {
			http.Error(w, "no key frame yet", http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "video/mp4")
		w.Write(still)
	}
	const embedded = "/embed/live/demo?start=live&" + signature
	p.open(s.URL + embedded)
	p.until(state("playing"))
	p.until("sluice.time > 1")
	assert.True(t, eval[bool](p, "sluice.muted"))
	assert.Equal(t, "start=live&"+signature, s.lastAsked())
	assert.Equal(t, "live/demo · Sluice", eval[string](p, "document.title"))
	assert.Empty(t, eval[[]string](p, "[...document.querySelectorAll('a, header, footer')].map((e) => e.tagName)"), "nothing else")
	assert.Equal(t, "[0,0,0,0]", eval[string](p, `(() => {
		const r = document.getElementById('screen').getBoundingClientRect();
		return JSON.stringify([r.left, r.top, innerWidth - r.right, innerHeight - r.bottom]);
	})()`), "all of the window")
	p.click("#unmute")
	p.until("!sluice.muted")
	s.end(abrupt, "")
	p.until("sluice.figures.reconnects === 1 && sluice.state === 'playing'")

	p.open(s.URL + embedded + "&muted=0")
	p.until(state("playing"))
	assert.False(t, eval[bool](p, "sluice.muted"))

	before := s.count("ws")
	p.open(s.URL + embedded + "&autoplay=0")
	p.until(state("paused"))
	p.until("document.getElementById('again').textContent === 'Play'")
	p.until("document.getElementById('video').videoWidth === 640") // of the still
	assert.Equal(t, before, s.count("ws"), "nothing else is fetched")
	p.screenshot("embed-before")
	p.click("#again")
	p.until(state("playing"))
	assert.False(t, eval[bool](p, "sluice.muted"), "a click asks for sound")

	none.Store(true)
	p.open(s.URL + embedded + "&autoplay=0&muted")
	p.until(state("paused"))
	p.click("#again")
	p.until(state("playing"))
	assert.True(t, eval[bool](p, "sluice.muted"))

	s.turnAway(4403, "the link is not for this")
	p.open(s.URL + embedded)
	p.until(state("failed"))
	assert.Equal(t, "You may not watch this", content(p, "#headline"))
	p.run(chromedp.EmulateViewport(200, 112))
	p.screenshot("embed-small")
}

// Where the browser wants a click before there is sound, the picture comes without.
func TestEmbedWithoutItsSound(t *testing.T) {
	s, p := newSource(t, true), browser(t, chromedp.Flag("autoplay-policy", "user-gesture-required"))
	p.open(s.URL + "/embed/live/demo?muted=0")
	p.until(state("playing"))
	assert.True(t, eval[bool](p, "sluice.muted"))
	p.until("!document.getElementById('unmute').hidden")
	p.click("#unmute")
	p.until("!sluice.muted && sluice.state === 'playing'")
}
