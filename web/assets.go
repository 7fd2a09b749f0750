package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// static holds the page, and below static/npm what go generate has fetched,
// when it has.
//
//go:embed static
var static embed.FS

// playerFile is the script without which nothing plays.
const playerFile = "npm/mpegts.js"

// minCompress is the size in bytes below which compressing is not worth a
// header.
const minCompress = 1024

// assets are the files below /assets/.
//
// They are served under two kinds of path. /assets/HASH/NAME, with the hash of
// all of them together, is what the page links to: it never changes, so
// browsers keep it for good, and the script's relative imports stay in the same
// folder. /assets/NAME is the current file, which browsers check again each time.
type assets struct {
	files  map[string]*asset
	hash   string
	player bool // mpegts.js is among them
}

var embedded = sync.OnceValue(func() *assets {
	dir, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // "static" is a valid path
	}
	a, err := loadAssets(dir)
	if err != nil {
		panic(err) // an embedded file can be read
	}
	return a
})

func loadAssets(dir fs.FS) (*assets, error) {
	a := &assets{files: make(map[string]*asset)}
	err := fs.WalkDir(dir, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || name == "index.html" {
			return err
		}
		data, err := fs.ReadFile(dir, name)
		if err != nil {
			return err
		}
		a.files[name] = newAsset(name, data)
		return nil
	})
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(a.files)) {
		sum.Write([]byte(name + a.files[name].etag))
	}
	a.hash = hex.EncodeToString(sum.Sum(nil)[:8])
	a.player = a.files[playerFile] != nil
	return a, nil
}

// serve answers a request for a file, and reports false if there is none of that name:
// then it has written nothing.
func (a *assets) serve(w http.ResponseWriter, r *http.Request) bool {
	name := strings.TrimPrefix(r.URL.Path, "/assets/")
	cache := "no-cache"
	if folder, rest, ok := strings.Cut(name, "/"); ok && isHash(folder) {
		name = rest
		if folder == a.hash {
			cache = "public, max-age=31536000, immutable"
		} // else the page is from before an update: it gets today's file, not to be kept
	}
	file, ok := a.files[name]
	if !ok {
		return false
	}
	file.serve(w, r, cache)
	return true
}

// isHash reports whether a folder has the form of assets.hash.
func isHash(folder string) bool {
	b, err := hex.DecodeString(folder)
	return err == nil && len(b) == 8
}

// asset is one file with everything its answer needs. It does not change.
type asset struct {
	data  []byte
	kind  string // Content-Type
	etag  string // strong, quoted
	small func() []byte
}

// contentTypes are listed here since those of package mime depend on the machine, and
// a script with a wrong one does not run (X-Content-Type-Options).
var contentTypes = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
	".txt":  "text/plain; charset=utf-8",
}

func newAsset(name string, data []byte) *asset {
	kind := contentTypes[path.Ext(name)]
	if kind == "" {
		kind = "application/octet-stream"
	}
	sum := sha256.Sum256(data)
	return &asset{
		data: data,
		kind: kind,
		etag: `"` + hex.EncodeToString(sum[:8]) + `"`,
		small: sync.OnceValue(func() []byte {
			var b bytes.Buffer
			z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is valid
			z.Write(data)                                         // a Buffer takes everything
			z.Close()
			return b.Bytes()
		}),
	}
}

// serve answers GET and HEAD, conditional ones included, compressed for clients
// that accept gzip. The two forms differ in their ETag (RFC 9110 §8.8.3.3).
func (a *asset) serve(w http.ResponseWriter, r *http.Request, cache string) {
	h := w.Header()
	data, etag := a.data, a.etag
	if len(data) >= minCompress {
		h.Add("Vary", "Accept-Encoding") // there may be others
		if takesGzip(r.Header.Get("Accept-Encoding")) {
			data = a.small()
			etag = strings.TrimSuffix(etag, `"`) + `-gzip"`
			h.Set("Content-Encoding", "gzip")
		}
	}
	h.Set("Cache-Control", cache)
	h.Set("ETag", etag)
	if matches(r.Header.Get("If-None-Match"), etag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", a.kind)
	h.Set("Content-Length", strconv.Itoa(len(data)))
	if r.Method != http.MethodHead {
		w.Write(data)
	}
}

// takesGzip reads an Accept-Encoding as far as this package needs it (RFC 9110
// §12.5.3): gzip is named, and not with a weight of zero.
func takesGzip(accept string) bool {
	for item := range strings.SplitSeq(accept, ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(item), ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		_, q, weighted := strings.Cut(strings.ReplaceAll(weight, " ", ""), "q=")
		value, err := strconv.ParseFloat(q, 64)
		return !weighted || err == nil && value > 0
	}
	return false
}

// matches compares weakly, as If-None-Match wants it (RFC 9110 §13.1.2).
func matches(header, etag string) bool {
	for item := range strings.SplitSeq(header, ",") {
		item = strings.TrimPrefix(strings.TrimSpace(item), "W/")
		if item == etag || item == "*" {
			return true
		}
	}
	return false
}
