package web

import (
	"embed"
	"io/fs"
	"sync"

	"sluice/web/asset"
)

// static holds the page, and below static/npm what go generate has fetched,
// when it has.
//
//go:embed static
var static embed.FS

// pages are the templates of the page: the frame, index.html, and a part for each view.
//
//go:embed pages
var pages embed.FS

// playerFile is the script without which nothing plays.
const playerFile = "npm/mpegts.js"

// qrFile is the module that makes QR codes; without it the page has none.
const qrFile = "npm/lean-qr.js"

// embedded are the files below /assets/.
var embedded = sync.OnceValue(func() *asset.Files {
	a, err := asset.Load(staticFolder())
	if err != nil {
		panic(err) // an embedded file can be read
	}
	return a
})

func staticFolder() fs.FS {
	dir, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // "static" is a valid path
	}
	return dir
}

// shared are the files of the page that know nothing of it: building elements, words for
// figures, asking again and again, and how it all looks.
var shared = []string{"dom.js", "format.js", "icon.svg", "poll.js", "style.css"}

// Shared returns the modules, the style and the icon that other pages of the server have in
// common with this one.
func Shared() fs.FS { return sharedFiles{staticFolder()} }

// sharedFiles is a folder of which only the shared files are to be seen.
type sharedFiles struct{ fs.FS }

// ReadDir implements fs.ReadDirFS.
func (s sharedFiles) ReadDir(name string) (entries []fs.DirEntry, err error) {
	if name != "." {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	for _, file := range shared {
		info, err := fs.Stat(s.FS, file)
		if err != nil {
			return nil, err
		}
		entries = append(entries, fs.FileInfoToDirEntry(info))
	}
	return entries, nil
}
