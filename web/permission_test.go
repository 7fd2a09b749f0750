package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	everyPermission = "key=S3CRETkey&token=S3CRET.to-ken&expires=1893456000&sign=S3CRETsign&bind=1" +
		"&txSecret=S3CRETtx&txTime=70DBD880&auth_key=1893456000-0-0-S3CRETali"
	signature = "expires=1893456000&sign=S3CRETsign"
)

// unseen fails if a secret is in what the page shows, or in the addresses that it links to.
func unseen(p *page) {
	p.t.Helper()
	assert.NotContains(p.t, eval[string](p, "document.title + document.body.textContent"), "S3CRET")
	assert.NotContains(p.t, eval[string](p, "[...document.querySelectorAll('a[data-link]')].map((a) => a.href).join(' ')"), "S3CRET")
}

// copies are what the buttons of the lines within a selector copy, by their labels.
func copies(p *page, within string) map[string]string {
	p.t.Helper()
	return eval[map[string]string](p, fmt.Sprintf(`(() => {
		const copied = {};
		let label;
		const writeText = (text) => { copied[label] = text; };
		Object.defineProperty(navigator, 'clipboard', { value: { writeText }, configurable: true });
		for (const line of document.querySelectorAll(%q + ' .copyable')) {
			label = line.querySelector('.label').textContent;
			line.querySelector('.copy').click();
		}
		return copied;
	})()`, within))
}

// What a link shows so that its viewer may watch goes to the server, whatever it is of, with
// each attempt; the page shows it nowhere, and what is copied from it works elsewhere.
func TestPagePassesPermissionOn(t *testing.T) {
	for _, over := range []string{"ws", "http"} {
		t.Run(over, func(t *testing.T) {
			s, p := newSource(t, true), browser(t)
			p.open(s.URL + "/?" + everyPermission + "&stream=live/demo&start=live&x=S3CRETx&over=" + over)
			p.until(state("playing"))
			asked := "start=live&" + everyPermission
			assert.Equal(t, asked, s.lastAsked())
			s.end(abrupt, "")
			p.until("sluice.figures.reconnects === 1 && sluice.state === 'playing'")
			assert.Equal(t, asked, s.lastAsked(), "again")
			unseen(p)
			shown := content(p, "#elsewhere")
			assert.Contains(t, shown, "/live/demo.flv?start=live&…")
			assert.Contains(t, content(p, "#addresses"), "whoever gets it may watch as you do")

			host := strings.TrimPrefix(s.URL, "http://")
			assert.Equal(t, map[string]string{
				"This page":             s.URL + "/?stream=live/demo&" + asked,
				"ffplay, RTMP":          `ffplay -fflags nobuffer "rtmp://127.0.0.1/live/demo?` + asked + `"`,
				"ffplay, HTTP-FLV":      `ffplay -fflags nobuffer "http://` + host + `/live/demo.flv?` + asked + `"`,
				"VLC, OBS media source": "http://" + host + "/live/demo.flv?" + asked,
				"curl, into a file":     `curl -f -o demo.flv "http://` + host + `/live/demo.flv?` + asked + `"`,
				"WebSocket-FLV":         "ws://" + host + "/live/demo.flv?" + asked,
			}, copies(p, "#elsewhere"))
			// Without the clipboard API, what is selected is less than what is copied.
			p.run(chromedp.Evaluate[chromedp.Void](`void (() => {
				Object.defineProperty(navigator, 'clipboard', { value: undefined });
				addEventListener('copy', (e) => { window.copied = e.clipboardData.getData('text/plain'); });
			})()`))
			p.click("#elsewhere .copy")
			p.until("!!window.copied")
			assert.Equal(t, s.URL+"/?stream=live/demo&"+asked, eval[string](p, "window.copied"))

			// Elsewhere in the page nothing of it is left, and on the way back it is there.
			p.click("#watch a.back")
			p.until(state("streams"))
			unseen(p)
			assert.Empty(t, eval[string](p, "location.search"))
			p.click(".card h2 a")
			p.until(state("playing"))
			assert.Equal(t, everyPermission, s.lastAsked(), "of this stream the tab knows it")
			assert.Equal(t, "?stream=live/demo", eval[string](p, "location.search"))
		})
	}
}

// A signature for a path over HTTP is no use over RTMP; one that stands there twice is the
// server's to refuse.
func TestPagePassesPermissionAsItIs(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	p.open(s.URL + "/?stream=live/demo&auth_key=1893456000-0-0-S3CRETali")
	p.until(state("playing"))
	assert.NotContains(t, content(p, "#elsewhere"), "rtmp:")
	p.open(s.URL + "/?stream=live/demo&key=a%26b+c&key=%24(x)'&token=")
	p.until(state("playing"))
	assert.Equal(t, "key=a%26b+c&key=%24%28x%29%27&token=", s.lastAsked())
	for _, line := range copies(p, "#elsewhere") {
		assert.NotRegexp(t, "[$;'`<>()|\\\\!\n]", line)
	}
	p.open(s.URL + "/?stream=live/other")
	require.Eventually(t, func() bool { return s.lastAsked() == "" }, patience, 10*time.Millisecond, "it is for one stream")
	assert.True(t, eval[bool](p, "document.getElementById('permitted').hidden"))
}

// Who is refused, or no longer permitted, is told which of the two in words.
func TestPageSaysWhoMayNotWatch(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	for _, test := range []struct {
		name           string
		code           uint16
		reason         string
		headline, pill string
		detail         string
	}{
		{
			"denied", 4403, "permission is needed: the address is not signed",
			"You may not watch this", "Denied", "Permission is needed: the address is not signed.",
		},
		{
			"expired", 4403, "the permission has ended: the signed address has expired",
			"Your permission has ended", "Expired", "The signed address has expired.",
		},
	} {
		for _, over := range []string{"ws", "http"} {
			s.turnAway(test.code, test.reason)
			p.open(s.URL + "/?stream=live/demo&" + signature + "&over=" + over)
			p.until(state("failed"))
			said := content(p, "#headline") + "|" + content(p, "#state") + "|" + content(p, "#detail")
			assert.Equal(t, test.headline+"|"+test.pill+"|"+test.detail, said, "%s over %s", test.name, over)
			unseen(p)
		}
		p.screenshot(test.name)
	}
	s.turnAway(0, "")
	p.click("#again")
	p.until(state("playing"))
	assert.Equal(t, signature, s.lastAsked())
	assert.Equal(t, "Playing", content(p, "#state"))
	p.screenshot("signed")
	for code, pill := range map[uint16]string{4401: "Expired", 4403: "Denied"} {
		p.open(s.URL + "/?stream=live/demo&" + signature + "&over=ws")
		p.until(state("playing"))
		sessions := s.count("ws")
		s.end(code, "an operator ended it")
		p.until(state("failed"))
		assert.Equal(t, pill, content(p, "#state"))
		assert.Equal(t, sessions, s.count("ws"), "it is not tried again")
	}

	// What nobody can ask for is told without the server's name for it, and without a button.
	s.turnAway(4400, "bad request: stream name has a character that is not allowed: '?'")
	p.open(s.URL + "/?stream=live/demo%3F")
	p.until(state("failed"))
	assert.Equal(t, "Stream name has a character that is not allowed: '?'.", content(p, "#detail"))
	assert.True(t, eval[bool](p, "document.getElementById('again').hidden"))
}

// Of a recording, every file is asked for with the link's permission.
func TestRecordingPassesPermissionOn(t *testing.T) {
	for _, way := range []string{"mp4", "flv"} {
		t.Run(way, func(t *testing.T) {
			s, p := newSourceOf(t, false, Config{Private: true}), browser(t)
			r := film(t, s, "a")
			if way == "flv" {
				r.failing = map[string]int{".mp4": 500}
			}
			s.recorded.record(r)
			s.recorded.demand(signature, "the permission has ended: the signed address has expired")
			p.open(s.URL + "/?recording=live/demo/a&" + signature)
			near(p, 0, 5)
			assert.Equal(t, way, eval[string](p, "sluice.way"))
			unseen(p)
			assert.Contains(t, content(p, "#elsewhere"), "/rec/live/demo/a.flv?…")
			for label, line := range copies(p, "#elsewhere") {
				assert.Contains(t, line, signature, label)
			}
			for _, href := range eval[[]string](p, "[...document.querySelectorAll('#files a')].map((a) => a.href)") {
				assert.Contains(t, href, "?"+signature)
			}

			s.recorded.demand("another", "the permission has ended: the signed address has expired")
			p.open(s.URL + "/?recording=live/demo/a&" + signature)
			p.until(state("failed"))
			assert.Equal(t, "Expired", content(p, "#state"))
			assert.Equal(t, "Your permission has ended", content(p, "#headline"))
			unseen(p)
			p.screenshot("recording-" + way + "-expired")
		})
	}
}

// A recording whose permission ends while it plays says so where more of it is asked for.
func TestRecordingPermissionEnds(t *testing.T) {
	s, p := newSource(t, false), browser(t)
	r := film(t, s, "a")
	r.failing = map[string]int{".mp4": 500}
	s.recorded.record(r)
	s.recorded.demand(signature, "")
	p.open(s.URL + "/?recording=live/demo/a&" + signature)
	near(p, 0, 5)
	s.recorded.demand("another", "permission is needed: the address is not signed")
	s.CloseClientConnections()
	p.run(chromedp.Evaluate[chromedp.Void]("void document.getElementById('video').dispatchEvent(new Event('error'))"))
	p.until(state("failed"))
	assert.Equal(t, "You may not watch this|Denied", content(p, "#headline")+"|"+content(p, "#state"))
	p.click("#again")
	p.until("document.getElementById('state').innerText === 'Denied'")
	s.recorded.demand("", "")
	p.click("#again")
	near(p, 0, 60)
}

// No request of the page repeats the query of its address.
func TestPageTellsNoReferrer(t *testing.T) {
	s, p := newSource(t, true), browser(t)
	told := make(chan string, 1000)
	asks := s.Config.Handler
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told <- fmt.Sprintf("%s %q", r.URL.Path, r.Referer())
		asks.ServeHTTP(w, r)
	})
	for _, path := range []string{"/?stream=live/demo&over=http&key=S3CRET", "/?stream=live/demo&over=ws&key=S3CRET"} {
		p.open(s.URL + path)
		p.until(state("playing"))
	}
	s.recorded.record(film(t, s, "a"))
	p.open(s.URL + "/?recording=live/demo/a&key=S3CRET")
	near(p, 0, 5)
	assert.Greater(t, len(told), 20)
	for len(told) > 0 {
		assert.NotContains(t, <-told, "S3CRET")
	}
	w := httptest.NewRecorder()
	asks.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/?key=S3CRET", nil))
	assert.Equal(t, "strict-origin", w.Header().Get("Referrer-Policy"))
	assert.NotContains(t, w.Body.String(), "S3CRET")
}
