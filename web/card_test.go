package web

import (
	"html"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/httpflv/answer"
)

var metaTags = regexp.MustCompile(`<meta (?:property|name)="((?:og|twitter):[^"]*)" content="([^"]*)">`)

// metas are the Open Graph data of a page, and what it calls itself.
func metas(t *testing.T, page string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, tag := range metaTags.FindAllStringSubmatch(page, -1) {
		assert.NotContains(t, found, tag[1], "twice")
		found[tag[1]] = html.UnescapeString(tag[2])
	}
	title := regexp.MustCompile(`<title>([^<]*)</title>`).FindStringSubmatch(page)
	require.NotNil(t, title)
	found["title"] = html.UnescapeString(title[1])
	return found
}

// What links to the page tell: what the address says and nothing else, whatever there is.
func TestCards(t *testing.T) {
	ours := Config{Logger: quiet, assets: files(t, true)}
	any, secure := ours, ours
	any.Embed = answer.Ancestors{"*"}
	secure.Embed = answer.Ancestors{"https://a.example"}
	both := any
	secure.Secure = func(*http.Request) bool { return true }
	public := any
	public.Public = Public{HTTP: "https://live.example"}
	both.Secure = secure.Secure
	const evil = `"><script>alert(1)</script>`
	permission := "&" + everyPermission
	for _, c := range []struct {
		name, target, host string
		config             Config
		want               map[string]string
	}{
		{"the list", "/", "", ours, map[string]string{"title": "Sluice"}},
		{"no stream", "/?stream=demo&" + permission, "", ours, map[string]string{"title": "Sluice"}},
		{"markup", "/?stream=" + evil + "/" + evil, "", ours, map[string]string{"title": "Sluice"}},
		{"a long name", "/?stream=live/" + strings.Repeat("n", 251), "", ours, map[string]string{"title": "Sluice"}},
		{"a stream", "/?stream=live/demo" + permission, "", ours, map[string]string{
			"title": "live/demo · Sluice", "og:title": "live/demo", "og:url": "http://example.com/?stream=live/demo",
			"og:description": "Live stream",
		}},
		{"a stream of many characters", "/?stream=%2Flive/a+%26b%3D%2B%E6%BC%94%E7%A4%BA(1).flv", "", any, map[string]string{
			"title": "live/a &b=+演示(1) · Sluice", "og:title": "live/a &b=+演示(1)",
			"og:url":         "http://example.com/?stream=live/a%20%26b%3D%2B%E6%BC%94%E7%A4%BA%281%29",
			"og:description": "Live stream", "og:video:type": "text/html",
			"og:video": "http://example.com/embed/live/a%20%26b%3D%2B%E6%BC%94%E7%A4%BA%281%29",
		}},
		{"over TLS", "/?stream=live/demo", "live.example:8443", secure, map[string]string{
			"title": "live/demo · Sluice", "og:title": "live/demo", "og:url": "https://live.example:8443/?stream=live/demo",
			"og:description": "Live stream", "og:video:type": "text/html",
			"og:video": "https://live.example:8443/embed/live/demo", "og:video:secure_url": "https://live.example:8443/embed/live/demo",
		}},
		{"over TLS, for all", "/?stream=live/demo", "live.example", both, map[string]string{
			"title": "live/demo · Sluice", "og:title": "live/demo", "og:url": "https://live.example/?stream=live/demo",
			"og:description": "Live stream", "og:video:type": "text/html",
			"og:video": "https://live.example/embed/live/demo", "og:video:secure_url": "https://live.example/embed/live/demo",
			"twitter:card": "player", "twitter:player": "https://live.example/embed/live/demo",
			"twitter:player:width": "1280", "twitter:player:height": "720",
		}},
		{"a server that was told its name", "/?stream=live/demo", "10.0.0.7:8080", public, map[string]string{
			"title": "live/demo · Sluice", "og:title": "live/demo", "og:url": "https://live.example/?stream=live/demo",
			"og:description": "Live stream", "og:video:type": "text/html",
			"og:video": "https://live.example/embed/live/demo", "og:video:secure_url": "https://live.example/embed/live/demo",
			"twitter:card": "player", "twitter:player": "https://live.example/embed/live/demo",
			"twitter:player:width": "1280", "twitter:player:height": "720",
		}},
		{"a host that is none", "/?stream=live/demo", `x"><script>`, any, map[string]string{
			"title": "live/demo · Sluice", "og:title": "live/demo", "og:description": "Live stream",
		}},
		{"the page to be framed", "/embed/live/demo?muted=0" + permission, "", any, map[string]string{
			"title": "live/demo · Sluice", "og:title": "live/demo", "og:url": "http://example.com/embed/live/demo",
			"og:description": "Live stream", "og:video": "http://example.com/embed/live/demo", "og:video:type": "text/html",
		}},
		{"a recording", "/?recording=live/demo/20261128T170500.000Z" + permission, "", any, map[string]string{
			"title": "live/demo, recorded · Sluice", "og:title": "live/demo, recorded",
			"og:url":         "http://example.com/?recording=live/demo/20261128T170500.000Z",
			"og:description": "A recording of live/demo",
		}},
		{"a wall", "/?wall=live/a&wall=live/b&wall=x" + strings.Repeat("&wall=live/c", 20) + permission, "", any, map[string]string{
			"title": "Wall · Sluice", "og:title": "Wall",
			"og:url":         "http://example.com/?wall=live/a&wall=live/b" + strings.Repeat("&wall=live/c", 7),
			"og:description": "9 live streams side by side",
		}},
	} {
		r := httptest.NewRequest("GET", strings.ReplaceAll(strings.ReplaceAll(c.target, `"`, "%22"), "<", "%3C"), nil)
		if c.host != "" {
			r.Host = c.host
		}
		w := httptest.NewRecorder()
		Handler(c.config).ServeHTTP(w, r)
		assert.Equal(t, 200, w.Code, c.name)
		page := w.Body.String()
		assert.NotContains(t, page, "S3CRET", c.name)
		assert.NotContains(t, page, "alert(1)", c.name)
		if c.want["og:title"] != "" {
			c.want["og:type"], c.want["og:site_name"] = "video.other", "Sluice"
			if c.want["twitter:card"] == "" {
				c.want["twitter:card"] = "summary"
			}
		}
		if u := c.want["og:url"]; u != "" {
			scheme, rest, _ := strings.Cut(u, "://")
			host, _, _ := strings.Cut(rest, "/")
			c.want["og:image"] = scheme + "://" + host + "/assets/icon.png"
			c.want["og:image:width"], c.want["og:image:height"] = "256", "256"
		}
		for _, name := range []string{"og:video:width", "og:video:height"} {
			if c.want["og:video"] != "" {
				c.want[name] = map[string]string{"og:video:width": "1280", "og:video:height": "720"}[name]
			}
		}
		assert.Equal(t, c.want, metas(t, page), c.name)
	}
	picture := ask(Handler(ours), "GET", "/assets/icon.png")
	assert.Equal(t, "image/png", picture.Header.Get("Content-Type"))
}

// A stream's page is made for its address: it has a validator of its own, and is compressed.
func TestCardsAreValidated(t *testing.T) {
	h := Handler(Config{Logger: quiet, assets: files(t, true)})
	etag := func(path string, header ...string) string { return ask(h, "GET", path, header...).Header.Get("ETag") }
	list, one := etag("/"), etag("/?stream=live/demo")
	assert.NotEqual(t, list, one)
	assert.Equal(t, one, etag("/?stream=/live/demo.flv&start=live"), "the page says no more of it")
	assert.Equal(t, one, etag("/?stream=live/demo.m3u8"))
	packed := ask(h, "GET", "/?stream=live/demo", "Accept-Encoding", "gzip")
	assert.Equal(t, "gzip", packed.Header.Get("Content-Encoding"))
	assert.Equal(t, http.StatusNotModified, ask(h, "GET", "/?stream=live/demo", "If-None-Match", one).StatusCode)
}

func BenchmarkCard(b *testing.B) {
	h := Handler(Config{Logger: quiet})
	r := httptest.NewRequest("GET", "/?stream=live/demo", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
}

// Whatever stands in an address, its page is a page, and what it tells is no more than the name of
// a stream.
func FuzzCard(f *testing.F) {
	for _, seed := range []string{
		"stream=live/demo&key=S3CRET", "wall=live/a&wall=%00", "recording=live/a/b", "stream=%E6%BC%94/%22%3E%3Cscript%3E", "stream=live/url=x;&%",
	} {
		f.Add(seed)
	}
	h := Handler(Config{Logger: quiet, Embed: answer.Ancestors{"*"}})
	markup := regexp.MustCompile(`(?s)^<!doctype html>.*</html>\s*$`)
	tags := func(page string) int { return strings.Count(page, "<") }
	plain := tags(serve(h, "stream=live/demo"))
	f.Fuzz(func(t *testing.T, query string) {
		page := serve(h, query)
		assert.Regexp(t, markup, page)
		assert.LessOrEqual(t, tags(page), plain, "no markup comes from the address")
		for name, value := range metas(t, page) {
			assert.LessOrEqual(t, len(value), maxWall*3*260+200, name)
		}
	})
}

// serve returns the page of a query.
func serve(h http.Handler, query string) string {
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
	r.URL.RawQuery = query
	h.ServeHTTP(w, r)
	return w.Body.String()
}
