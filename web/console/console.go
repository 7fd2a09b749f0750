// Package console is the page for operators: what runs, who watches, what is wrong, and what
// to do about it.
//
// [Handler] answers these paths:
//
//	/admin    the page; what it shows of the server stands behind the # of its address
//	/admin/…  scripts, styles and icon
//
// It is static and holds nothing that is worth a token. Its scripts ask the operators' API
// (package admin), which has to be at the same address, and with it for the token: that stays
// in the memory of the tab.
//
// Modules, style and icon that it has in common with the public page are that page's
// ([web.Shared]).
package console

import (
	"bytes"
	"cmp"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"strings"
	"sync"

	"sluice/httpflv/answer"
	"sluice/web"
	"sluice/web/asset"
)

// Path is where the console is. It has all that is below, too.
const Path = "/admin"

// Config says what the console shows of itself. Its zero value is good.
type Config struct {
	// Version stands at the foot of the page; empty means "devel".
	Version string
}

//go:embed static
var static embed.FS

var embedded = sync.OnceValue(func() *asset.Files {
	files, err := asset.Load(staticFolder(), web.Shared())
	if err != nil {
		panic(err) // an embedded file can be read
	}
	return files
})

func staticFolder() fs.FS {
	dir, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // "static" is a valid path
	}
	return dir
}

// Serves reports whether a path is one of the console.
func Serves(path string) bool { return path == Path || strings.HasPrefix(path, Path+"/") }

// policy is the Content-Security-Policy: nothing inline, nothing from elsewhere, and no form
// that leaves the page, with the token in it.
var policy = strings.Join([]string{
	"default-src 'none'",
	"script-src 'self'",
	"style-src 'self'",
	"connect-src 'self'",
	"img-src 'self' data:",
	"frame-ancestors 'none'",
	"form-action 'none'",
	"base-uri 'none'",
}, "; ")

// Handler returns the handler for everything at and below [Path]. It needs no token, is safe
// for use by many goroutines, and starts none.
func Handler(c Config) http.Handler {
	files := embedded()
	page := asset.New("index.html", renderPage(c, files))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer.Bound(w, r)
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		name, below := strings.CutPrefix(r.URL.Path, Path+"/")
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "this path takes GET and HEAD", http.StatusMethodNotAllowed)
		case r.URL.Path == Path:
			page.Serve(w, r, "no-cache")
		case below && name == "":
			http.Redirect(w, r, Path, http.StatusPermanentRedirect)
		case !below || !files.Serve(w, r, name):
			http.Error(w, "there is nothing here; the console is at "+Path, http.StatusNotFound)
		}
	})
}

// renderPage fills in what the page has to know before its script runs.
func renderPage(c Config, files *asset.Files) []byte {
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, struct{ Assets, Version string }{
		Path + "/" + files.Hash(), cmp.Or(c.Version, "devel"),
	})
	if err != nil {
		panic(err) // the template and its data are both part of this package
	}
	return b.Bytes()
}

var pageTemplate = template.Must(template.ParseFS(static, "static/index.html"))
