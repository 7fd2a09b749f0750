package web

import (
	"fmt"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// What browsers say when somebody follows a link or types an address.
const (
	chrome  = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
	firefox = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
)

// Whoever asks for /APP/NAME in a browser is led to the page of the stream, and never anywhere
// else.
func TestToPage(t *testing.T) {
	for target, want := range map[string]string{
		"/live/cam1":                              "/?stream=live/cam1",
		"/live/cam1/":                             "/?stream=live/cam1",
		"//live///cam1//":                         "/?stream=live/cam1",
		"/a/b/c":                                  "/?stream=a/b/c",
		"/%E4%B8%AD%E6%96%87/%D8%A8%20(1)":        "/?stream=%E4%B8%AD%E6%96%87/%D8%A8+%281%29",
		"/live/a&b=c":                             "/?stream=live/a%26b%3Dc",
		"/live/cam1?start=live&x=y&over=http":     "/?stream=live/cam1&over=http&start=live",
		"/live/cam1?key=a%26b&key=c&track=1":      "/?stream=live/cam1&key=a%26b&key=c&track=1",
		"/live/cam1?stream=other/one&recording=x": "/?stream=live/cam1",
		"/live/cam1?wall=a/b&key=%0d%0aX:y":       "/?stream=live/cam1&key=%0D%0AX%3Ay",
		"/live/cam1?key":                          "/?stream=live/cam1&key=",
		"/live/cam1?%zz&start=gop":                "/?stream=live/cam1&start=gop",
		"//evil.example/live":                     "/?stream=evil.example/live",
		"http://evil.example/live/cam1":           "/?stream=live/cam1",
		"/live/" + strings.Repeat("x", 250):       "/?stream=live/" + strings.Repeat("x", 250),

		// What names no stream stays as it is.
		"/cam1":                              "",
		"/":                                  "",
		"/live/..":                           "",
		"/live/a%00b":                        "",
		"/live/a%0d%0ab":                     "",
		"/live/%3Cscript%3E":                 "",
		"/live/%ff":                          "",
		"/live/" + strings.Repeat("x", 251):  "",
		"/live/" + strings.Repeat("/", 5000): "",
		"/live/cam1?key=" + strings.Repeat("x", 5000): "",
		"/api/v2/streams":         "",
		"/assets/app.js":          "",
		"/rec/live/cam/x.mp4":     "",
		"/.well-known/acme/token": "",
	} {
		for _, accept := range []string{chrome, firefox, "image/png, Text/HTML ;level=1"} {
			for _, method := range []string{"GET", "HEAD"} {
				r := httptest.NewRequest(method, target, nil)
				r.Header.Set("Accept", accept)
				w := httptest.NewRecorder()
				assert.Equal(t, want != "", ToPage(w, r), "%.60s", target)
				if want == "" {
					assert.Empty(t, w.Header(), "%.60s", target)
					continue
				}
				assert.Equal(t, 303, w.Code)
				assert.Equal(t, want, w.Header().Get("Location"))
				assert.Empty(t, w.Body.String())
			}
		}
		for _, accept := range []string{"", "*/*", "video/mp4,*/*", "text/html;q=0", "text/html;q=0.0", "text/html;level=1;q=x", "text/htmlx", "application/json"} {
			r := httptest.NewRequest("GET", target, nil)
			r.Header.Set("Accept", accept)
			assert.False(t, ToPage(httptest.NewRecorder(), r), accept)
		}
		r := httptest.NewRequest("POST", target, nil)
		r.Header.Set("Accept", chrome)
		assert.False(t, ToPage(httptest.NewRecorder(), r))
	}
}

// What is handed on is what the page takes and what the server knows.
func TestPageParameters(t *testing.T) {
	script, err := os.ReadFile("static/addresses.js")
	require.NoError(t, err)
	taken := []string{"over", "mode"}
	for _, list := range regexp.MustCompile(`const (?:known|shown) = \[([^\]]*)\]`).FindAllSubmatch(script, -1) {
		for _, name := range regexp.MustCompile(`'(\w+)'`).FindAllSubmatch(list[1], -1) {
			taken = append(taken, string(name[1]))
		}
	}
	assert.ElementsMatch(t, taken, pageParameters)
	for _, name := range pageParameters[:6] {
		assert.True(t, hub.IsWatchOption(name), name)
	}
	assert.Contains(t, string(script), fmt.Sprintf("const wallMost = %d;", maxWall))
}

// Wherever a request leads, it is the page of this server, for a stream that a name can be of.
func FuzzToPage(f *testing.F) {
	f.Add("/live/cam1", "key=a&start=live")
	f.Add("//evil/x", "over=//evil")
	f.Add("/\\evil/\r\nx", "sign=%0d%0a")
	f.Fuzz(func(t *testing.T, path, query string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.Path, r.URL.RawQuery = path, query
		r.Header.Set("Accept", chrome)
		location, ok := pageFor(r)
		if !ok {
			return
		}
		require.True(t, strings.HasPrefix(location, "/?stream="), location)
		require.NotRegexp(t, `[^!-~]|[\\<>"#]`, location)
		u, err := url.Parse(location)
		require.NoError(t, err)
		require.Equal(t, "/", u.Path)
		require.Empty(t, u.Host)
		app, name := cutLast(u.Query().Get("stream"))
		key, err := hub.NewKey(app, name)
		require.NoError(t, err)
		require.Equal(t, key.String(), u.Query().Get("stream"))
		for name, values := range u.Query() {
			if name != "stream" {
				require.Contains(t, pageParameters, name)
				require.Equal(t, r.URL.Query()[name], values)
			}
		}
	})
}
