// Package asset serves the files of a page: with their kinds, compressed, and with validators,
// so that browsers ask for what has changed and for nothing else.
package asset

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
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

// minCompress is the size in bytes below which compressing is not worth a
// header.
const minCompress = 256

// Files are the files of a page, below one path. They do not change.
//
// They are served under two kinds of path. PATH/HASH/NAME, with the hash of all of them
// together, is what the page links to: it never changes, so browsers keep it for good, and a
// script's relative imports stay in the same folder. PATH/NAME is the current file, which
// browsers check again each time.
type Files struct {
	files map[string]*File
	hash  string
}

// Load reads all files of some folders, but for index.html, which is the page itself. Of two
// with the same name the first counts. Scripts and styles are served without comments, see lean.
func Load(folders ...fs.FS) (*Files, error) {
	f := &Files{files: make(map[string]*File)}
	for _, folder := range folders {
		err := fs.WalkDir(folder, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || name == "index.html" || f.Has(name) {
				return err
			}
			data, err := fs.ReadFile(folder, name)
			if err != nil {
				return err
			}
			f.files[name] = New(name, lean(name, data))
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(f.files)) {
		sum.Write([]byte(name + f.files[name].etag))
	}
	f.hash = hex.EncodeToString(sum.Sum(nil)[:8])
	return f, nil
}

// Hash returns the folder of all files as they are.
func (f *Files) Hash() string { return f.hash }

// Has reports whether there is a file of that name.
func (f *Files) Has(name string) bool { return f.files[name] != nil }

// Serve answers a request for HASH/NAME or NAME, and reports false if there is none of that
// name: then it has written nothing.
func (f *Files) Serve(w http.ResponseWriter, r *http.Request, name string) bool {
	cache := "no-cache"
	if folder, rest, ok := strings.Cut(name, "/"); ok && isHash(folder) {
		name = rest
		if folder == f.hash {
			cache = "public, max-age=31536000, immutable"
		} // else the page is from before an update: it gets today's file, not to be kept
	}
	file, ok := f.files[name]
	if !ok {
		return false
	}
	file.Serve(w, r, cache)
	return true
}

// isHash reports whether a folder has the form of Files.Hash.
func isHash(folder string) bool {
	b, err := hex.DecodeString(folder)
	return err == nil && len(b) == 8
}

// File is one file with everything its answer needs. It does not change.
type File struct {
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
	".png":  "image/png",
	".svg":  "image/svg+xml",
	".txt":  "text/plain; charset=utf-8",
}

// writers are kept: one takes most of a megabyte, and pages that are made for a request are
// compressed each time.
var writers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestCompression) // the level is valid
	return z
}}

// New returns a file whose kind its name tells.
func New(name string, data []byte) *File {
	kind := contentTypes[path.Ext(name)]
	if kind == "" {
		kind = "application/octet-stream"
	}
	sum := sha256.Sum256(data)
	return &File{
		data: data,
		kind: kind,
		etag: `"` + hex.EncodeToString(sum[:8]) + `"`,
		small: sync.OnceValue(func() []byte {
			var b bytes.Buffer
			z := writers.Get().(*gzip.Writer)
			defer writers.Put(z)
			z.Reset(&b)
			z.Write(data) // a Buffer takes everything
			z.Close()
			return b.Bytes()
		}),
	}
}

// Serve answers GET and HEAD, conditional ones included, compressed for clients
// that accept gzip. The two forms differ in their ETag (RFC 9110 §8.8.3.3).
func (f *File) Serve(w http.ResponseWriter, r *http.Request, cache string) {
	h := w.Header()
	data, etag := f.data, f.etag
	if len(data) >= minCompress {
		h.Add("Vary", "Accept-Encoding") // there may be others
		if takesGzip(r.Header.Get("Accept-Encoding")) {
			data = f.small()
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
	h.Set("Content-Type", f.kind)
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
