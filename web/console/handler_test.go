package console

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/web"
)

func ask(method, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Handler(Config{Version: "<1.2.3>"}).ServeHTTP(w, r)
	return w
}

var linked = regexp.MustCompile(`(?:href|src)="(/admin/[^"]+)"`)

// The page and everything that it links to is served without a token, to be kept or checked
// again, and under the same strict policy.
func TestFiles(t *testing.T) {
	page := ask("GET", "/admin")
	require.Equal(t, 200, page.Code)
	assert.Contains(t, page.Body.String(), "Sluice &lt;1.2.3&gt;")
	paths := map[string]string{"/admin": "no-cache", "/admin/api.js": "no-cache"}
	for _, match := range linked.FindAllStringSubmatch(page.Body.String(), -1) {
		paths[match[1]] = "public, max-age=31536000, immutable"
	}
	for _, name := range []string{"dom.js", "format.js", "poll.js", "style.css"} {
		paths["/admin/"+embedded().Hash()+"/"+name] = "public, max-age=31536000, immutable"
	}
	assert.Len(t, paths, 9)
	for path, cache := range paths {
		get, head := ask("GET", path), ask("HEAD", path)
		assert.Equal(t, 200, get.Code, path)
		assert.Equal(t, get.Header(), head.Header(), path)
		assert.Empty(t, head.Body.String(), path)
		assert.Equal(t, cache, get.Header().Get("Cache-Control"), path)
		assert.Equal(t, http.StatusNotModified, ask("GET", path, "If-None-Match", get.Header().Get("ETag")).Code, path)
		for name, want := range map[string]string{
			"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		} {
			assert.Equal(t, want, get.Header().Get(name), path)
		}
	}
	assert.NotContains(t, policy, "unsafe")
}

func TestOtherPaths(t *testing.T) {
	for _, path := range []string{"/admin/x", "/admin/index.html", "/admin/app.js", "/admin/npm/mpegts.js", "/admin/../admin", "/adminx", "/", "/admin//api.js"} {
		assert.Equal(t, 404, ask("GET", path).Code, path)
	}
	moved := ask("GET", "/admin/")
	assert.Equal(t, http.StatusPermanentRedirect, moved.Code)
	assert.Equal(t, "/admin", moved.Header().Get("Location"))
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
		w := ask(method, "/admin")
		assert.Equal(t, 405, w.Code, method)
		assert.Equal(t, "GET, HEAD", w.Header().Get("Allow"), method)
	}
	for path, ours := range map[string]bool{"/admin": true, "/admin/": true, "/admin/x/y": true, "/administrator": false, "/api/v1/info": false, "/": false} {
		assert.Equal(t, ours, Serves(path), path)
	}
}

// forbidden makes markup of words, keeps the token where others find it, or leaves the page's
// policy no effect.
var forbidden = regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|setHTML|srcdoc|` +
	`\beval\b|new Function|localStorage|sessionStorage|indexedDB|document\.cookie|console\.log|setAttribute\('(on|style)|javascript:|https?://`)

func TestModulesMakeNoMarkupOfWords(t *testing.T) {
	count := 0
	for _, folder := range []fs.FS{staticFolder(), web.Shared()} {
		require.NoError(t, fs.WalkDir(folder, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(name, ".svg") {
				return err
			}
			count++
			data, err := fs.ReadFile(folder, name)
			require.NoError(t, err)
			text := string(data)
			assert.LessOrEqual(t, strings.Count(text, "\n"), 400, "%s is long", name)
			if strings.HasSuffix(name, ".js") {
				text = strings.ReplaceAll(text, "'http://www.w3.org/2000/svg'", "")
				assert.Empty(t, forbidden.FindAllString(text, -1), name)
			}
			if strings.HasSuffix(name, ".html") {
				assert.NotRegexp(t, `<script>|<style|\son[a-z]+=|\sstyle=`, text, "nothing inline")
			}
			return nil
		}))
	}
	assert.Greater(t, count, 18)
}
