package web

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/web/browsertest"
)

// overTLS starts a server of HTTP/1.1 and HTTP/2.
func overTLS(certificate tls.Certificate) func(http.Handler) *httptest.Server {
	return func(h http.Handler) *httptest.Server {
		s := httptest.NewUnstartedServer(h)
		s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
		s.EnableHTTP2 = true
		s.StartTLS()
		return s
	}
}

// insecure are the addresses, of all that the page has fetched, that are not https; WebSockets are
// not among what a browser tells of.
const insecure = `[document, ...performance.getEntriesByType("resource").map((e) => ({ URL: e.name }))]
	.map((d) => d.URL).filter((url) => !url.startsWith("https:") && !url.startsWith("blob:https:"))`

// A page under https has nothing that is not: its player takes wss, or https over HTTP/2, and the
// lines to copy are encrypted ones, RTMP's first. Mixed content would be an error on the console.
func TestPageOverTLS(t *testing.T) {
	certificate, trusts := browsertest.Certificate()
	s := newSourceOn(t, true, Config{RTMP: []string{"rtmp://:1935", "rtmps://:1936"}}, overTLS(certificate))
	p := browser(t, trusts)
	require.True(t, strings.HasPrefix(s.URL, "https://127.0.0.1:"))
	p.open(s.URL + "/?stream=live/demo")
	p.until("sluice.state === 'playing' && sluice.over === 'ws'")
	host := strings.TrimPrefix(s.URL, "https://")
	assert.Equal(t, map[string]string{
		"This page":             s.URL + "/?stream=live/demo",
		"ffplay, RTMP":          "ffplay -fflags nobuffer rtmp://127.0.0.1/live/demo",
		"ffplay, RTMPS":         "ffplay -fflags nobuffer rtmps://127.0.0.1:1936/live/demo",
		"ffplay, HTTP-FLV":      "ffplay -fflags nobuffer " + s.URL + "/live/demo.flv",
		"VLC, OBS media source": s.URL + "/live/demo.flv",
		"curl, into a file":     "curl -f -o demo.flv " + s.URL + "/live/demo.flv",
		"WebSocket-FLV":         "wss://" + host + "/live/demo.flv",
	}, copies(p, "#elsewhere"))
	assert.Equal(t, []string{"OBS server, RTMPS", "OBS server, RTMP", "OBS stream key", "ffmpeg, RTMPS", "ffmpeg, RTMP"},
		eval[[]string](p, "[...document.querySelectorAll('#publish .label')].map((l) => l.textContent)"))
	assert.Equal(t, "rtmps://127.0.0.1:1936/live", copies(p, "#publish")["OBS server, RTMPS"])
	assert.Contains(t, content(p, "#addresses"), "trusts the certificate of this server")
	p.click("#share button")
	p.until("!!document.querySelector('dialog.sharing')?.open")
	assert.Equal(t, s.URL+"/?stream=live/demo", offered(p)["Link"])
	p.screenshot("tls")
	assert.Empty(t, eval[[]string](p, insecure))

	p.open(s.URL + "/?stream=live/demo&over=http")
	p.until("sluice.state === 'playing' && sluice.over === 'http'")
	assert.Equal(t, []string{"h2"}, eval[[]string](p, `[...new Set(performance.getEntriesByType("navigation").map((e) => e.nextHopProtocol))]`))
	assert.Empty(t, eval[[]string](p, insecure))
	p.open(s.URL + "/embed/live/demo")
	p.until("document.body.dataset.state === 'playing'")
	assert.Empty(t, eval[[]string](p, insecure))
}

// A server that was told how the world reaches it says that to all who look, and plays from
// where the page is.
func TestPageKnowsItsPublicAddresses(t *testing.T) {
	s, p := newSourceOf(t, true, Config{
		RTMP: []string{"rtmp://:19350"}, Public: Public{HTTP: "https://live.example.com", RTMP: []string{"rtmps://in.example.com"}},
	}), browser(t)
	p.open(s.URL + "/?stream=live/demo")
	p.until("sluice.state === 'playing' && sluice.over === 'ws'")
	const world = "https://live.example.com"
	assert.Equal(t, map[string]string{
		"This page":             world + "/?stream=live/demo",
		"ffplay, RTMPS":         "ffplay -fflags nobuffer rtmps://in.example.com/live/demo",
		"ffplay, HTTP-FLV":      "ffplay -fflags nobuffer " + world + "/live/demo.flv",
		"VLC, OBS media source": world + "/live/demo.flv",
		"curl, into a file":     "curl -f -o demo.flv " + world + "/live/demo.flv",
		"WebSocket-FLV":         "wss://live.example.com/live/demo.flv",
	}, copies(p, "#elsewhere"))
	publish := copies(p, "#publish")
	assert.Equal(t, "rtmps://in.example.com/live", publish["OBS server"])
	assert.Contains(t, publish["ffmpeg"], " rtmps://in.example.com/live/demo")
	p.click("#share button")
	p.until("!!document.querySelector('dialog.sharing')?.open")
	assert.Equal(t, world+"/?stream=live/demo", offered(p)["Link"])
	s.recorded.record(film(t, s, "20261128T170500.000Z"))
	p.open(s.URL + "/?recording=live/demo/20261128T170500.000Z")
	p.until("sluice.state === 'playing'")
	lines := copies(p, "#elsewhere")
	assert.Equal(t, world+"/?recording=live/demo/20261128T170500.000Z", lines["This page"])
	assert.Equal(t, "rtmps://in.example.com/rec/live/demo/20261128T170500.000Z", lines["RTMPS"])
	assert.Equal(t, world+"/rec/live/demo/20261128T170500.000Z.flv", lines["VLC, OBS media source"])
}

// Where RTMP is off, the page says so in place of how to publish.
func TestPageWithoutRTMP(t *testing.T) {
	s, p := newSourceOf(t, false, Config{RTMP: []string{}}), browser(t)
	p.open(s.URL)
	p.until(state("empty"))
	assert.Contains(t, content(p, "#empty"), "nobody can publish")
	s.publish()
	p.until(state("streams"))
	assert.False(t, eval[bool](p, "!!document.getElementById('publishing').getClientRects().length"))
	p.click(".card summary")
	p.until("document.querySelectorAll('.card .copyable').length > 3")
	assert.NotRegexp(t, "rtmp|OBS s", content(p, ".card .lines"))
	p.open(s.URL + "/?stream=live/demo")
	p.until(state("playing"))
	assert.NotContains(t, content(p, "#addresses"), "rtmp")
}
