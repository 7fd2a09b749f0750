package web

import (
	"compress/gzip"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/web/asset"
)

var quiet = slog.New(slog.DiscardHandler)

// files returns the committed files, with or without what go generate fetches.
func files(t *testing.T, player bool) *asset.Files {
	dir := fstest.MapFS{}
	sub, err := fs.Sub(static, "static")
	require.NoError(t, err)
	require.NoError(t, fs.WalkDir(sub, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(name, "npm/") {
			return err
		}
		data, err := fs.ReadFile(sub, name)
		dir[name] = &fstest.MapFile{Data: data}
		return err
	}))
	if player {
		dir[playerFile] = &fstest.MapFile{Data: []byte("// mpegts.js")}
	}
	a, err := asset.Load(dir)
	require.NoError(t, err)
	return a
}

func ask(h http.Handler, method, path string, header ...string) *http.Response {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	b, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return string(b)
}

func TestPage(t *testing.T) {
	a := files(t, true)
	h := Handler(Config{RTMP: []string{"rtmp://:19350"}, Version: "1.2 <3>", Logger: quiet, assets: a})
	r := ask(h, "GET", "/?stream=live/demo")
	assert.Equal(t, 200, r.StatusCode)
	assert.Equal(t, "text/html; charset=utf-8", r.Header.Get("Content-Type"))
	assert.Equal(t, "no-cache", r.Header.Get("Cache-Control"))
	assert.Equal(t, "nosniff", r.Header.Get("X-Content-Type-Options"))
	page := body(t, r)
	assert.Contains(t, page, `data-rtmp="rtmp://:19350" data-origin=""`)
	assert.Contains(t, page, "1.2 &lt;3&gt;")
	assert.Contains(t, page, `data-player="/assets/`+a.Hash()+`/npm/mpegts.js"`)
	assert.NotContains(t, page, "not in this build")
	assert.NotContains(t, page, "{{")
	assert.NotContains(t, page, "Publishing needs permission")
	private := Handler(Config{PublishPrivate: true, Logger: quiet, assets: a})
	assert.Equal(t, 2, strings.Count(body(t, ask(private, "GET", "/")), "Publishing needs permission"), "wherever it tells how")

	etag := r.Header.Get("ETag")
	require.NotEmpty(t, etag)
	r = ask(h, "GET", "/?stream=live/demo", "If-None-Match", `"other", W/`+etag)
	assert.Equal(t, http.StatusNotModified, r.StatusCode)
	assert.Empty(t, body(t, r))
}

// Everything that the page and the style name is there, and ours.
func TestPageNamesOnlyItsOwn(t *testing.T) {
	h := Handler(Config{Logger: quiet, assets: files(t, true)})
	page := body(t, ask(h, "GET", "/"))
	paths := regexp.MustCompile(`(?:src|href)="([^"#]*)"`).FindAllStringSubmatch(page, -1)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		if path[1] == "" || strings.HasSuffix(path[1], "LICENSES.txt") {
			continue
		}
		assert.True(t, strings.HasPrefix(path[1], "/"), "%s is elsewhere", path[1])
		assert.Equal(t, 200, ask(h, "GET", path[1]).StatusCode, path[1])
	}
	assert.NotRegexp(t, `(?i)<script(?:[^>]*[^/])?>[^<]`, page, "inline script")
	assert.NotRegexp(t, `(?i)\s(style|on[a-z]+)=`, page, "inline style or handler")
	assert.NotContains(t, page, "<style")
}

func TestPageSaysWhatIsMissing(t *testing.T) {
	var logged strings.Builder
	h := Handler(Config{assets: files(t, false), Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	page := body(t, ask(h, "GET", "/"))
	assert.Contains(t, page, "run <code>go generate ./web</code>")
	assert.Contains(t, page, `data-player=""`)
	assert.Contains(t, logged.String(), `remedy="go generate ./web"`)
}

func TestContentSecurityPolicy(t *testing.T) {
	h := Handler(Config{Logger: quiet, assets: files(t, true)})
	for _, c := range []struct{ host, connect string }{
		{"localhost:8080", "'self' ws://localhost:8080 wss://localhost:8080"},
		{"live.example.org", "'self' ws://live.example.org wss://live.example.org"},
		{"[::1]:8080", "'self' ws://[::1]:8080 wss://[::1]:8080"},
		{"x;script-src *", "'self'"},
		{"x, y", "'self'"},
		{"*", "'self'"},
		{"", "'self'"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = c.host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		assert.Equal(t, "default-src 'self'; connect-src "+c.connect+"; media-src 'self' blob:; object-src 'none'; "+
			"base-uri 'none'; form-action 'self'; frame-ancestors 'self'", w.Header().Get("Content-Security-Policy"), c.host)
	}
}

func TestAssets(t *testing.T) {
	a := files(t, true)
	h := Handler(Config{Logger: quiet, assets: a})

	for path, want := range map[string]struct{ kind, cache string }{
		"/assets/app.js":                         {"text/javascript; charset=utf-8", "no-cache"},
		"/assets/style.css":                      {"text/css; charset=utf-8", "no-cache"},
		"/assets/icon.svg":                       {"image/svg+xml", "no-cache"},
		"/assets/" + a.Hash() + "/app.js":        {"text/javascript; charset=utf-8", "public, max-age=31536000, immutable"},
		"/assets/" + a.Hash() + "/" + playerFile: {"text/javascript; charset=utf-8", "public, max-age=31536000, immutable"},
		"/assets/0123456789abcdef/app.js":        {"text/javascript; charset=utf-8", "no-cache"},
	} {
		r := ask(h, "GET", path)
		assert.Equal(t, 200, r.StatusCode, path)
		assert.Equal(t, want.kind, r.Header.Get("Content-Type"), path)
		assert.Equal(t, want.cache, r.Header.Get("Cache-Control"), path)
		assert.NotEmpty(t, body(t, r), path)
		r = ask(h, "GET", path, "If-None-Match", r.Header.Get("ETag"))
		assert.Equal(t, http.StatusNotModified, r.StatusCode, path)
		r = ask(h, "HEAD", path)
		assert.Equal(t, 200, r.StatusCode, path)
		assert.NotEmpty(t, r.Header.Get("Content-Length"), path)
		assert.Empty(t, body(t, r), path)
	}
	for _, path := range []string{
		"/assets/", "/assets/none.js", "/assets/index.html", "/assets/" + a.Hash() + "/none.js", "/assets/" + a.Hash(),
		"/assets/../web.go", "/assets/..%2fweb.go", "/assets//app.js", "/assets/" + a.Hash() + "/" + a.Hash() + "/app.js",
	} {
		assert.Equal(t, 404, ask(h, "GET", path).StatusCode, path)
	}
}

func TestAssetsChangeTheirFolderWithTheirContent(t *testing.T) {
	with, without := files(t, true), files(t, false)
	assert.NotEqual(t, with.Hash(), without.Hash())
	assert.Equal(t, with.Hash(), files(t, true).Hash())
}

func TestAssetsAreCompressed(t *testing.T) {
	h := Handler(Config{Logger: quiet, assets: files(t, true)})
	plain := ask(h, "GET", "/assets/player.js")
	assert.Equal(t, "Accept-Encoding", plain.Header.Get("Vary"))
	assert.Empty(t, plain.Header.Get("Content-Encoding"))

	packed := ask(h, "GET", "/assets/player.js", "Accept-Encoding", "br, GZIP;q=0.5")
	assert.Equal(t, "gzip", packed.Header.Get("Content-Encoding"))
	assert.NotEqual(t, plain.Header.Get("ETag"), packed.Header.Get("ETag"))
	z, err := gzip.NewReader(packed.Body)
	require.NoError(t, err)
	text, err := io.ReadAll(z)
	require.NoError(t, err)
	assert.Equal(t, body(t, plain), string(text))
}

func TestUnknownPathsAndMethods(t *testing.T) {
	h := Handler(Config{Logger: quiet, assets: files(t, true)})
	for _, path := range []string{"/live/demo", "/index.html", "/api", "/api/v1", "/api/v2/streams", "/favicon.ico"} {
		r := ask(h, "GET", path)
		assert.Equal(t, 404, r.StatusCode, path)
		if strings.HasPrefix(path, "/api/") {
			assert.JSONEq(t, `{"error":"not found","reason":"the API has no such path"}`, body(t, r), path)
		}
	}
	for _, path := range []string{"/", "/assets/app.js", "/api/v1/streams"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
			r := ask(h, method, path)
			assert.Equal(t, 405, r.StatusCode, "%s %s", method, path)
			assert.Equal(t, "GET, HEAD", r.Header.Get("Allow"), "%s %s", method, path)
		}
	}
}

// net/http answers HEAD with the headers of GET and without its body.
func TestHEAD(t *testing.T) {
	outer := chi.NewRouter() // as it is used
	outer.Mount("/", Handler(Config{Logger: quiet, assets: files(t, true)}))
	s := httptest.NewServer(outer)
	defer s.Close()
	s.Client().Transport.(*http.Transport).DisableCompression = true // which it asks for with GET only
	for _, path := range []string{"/", "/assets/app.js", "/api/v1/streams"} {
		get, err := s.Client().Get(s.URL + path)
		require.NoError(t, err)
		get.Body.Close()
		head, err := s.Client().Head(s.URL + path)
		require.NoError(t, err)
		head.Body.Close()
		assert.Equal(t, 200, head.StatusCode, path)
		for _, name := range []string{"Content-Type", "Cache-Control", "ETag", "Content-Security-Policy"} {
			assert.Equal(t, get.Header.Get(name), head.Header.Get(name), "%s of %s", name, path)
		}
	}
}

// The lock names versions and digests, and leaves the host to those who install.
func TestLockNamesNoHost(t *testing.T) {
	lock, err := os.ReadFile("package-lock.json")
	require.NoError(t, err)
	assert.NotContains(t, string(lock), "://")
	assert.NotContains(t, string(lock), "resolved")
	assert.Equal(t, strings.Count(string(lock), `"node_modules/`), strings.Count(string(lock), `"integrity": "sha512-`))
}
