package archive

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/hub"
	"sluice/hub/archive/flvfile"
)

// listing is what stands in a folder, by its names alone.
type listing struct {
	changed        int64    // of the folder, ns since 1970; 0 if it is not there any more
	read           int64    // when reading it began, ns since 1970
	files          []string // IDs of NAME.flv, sorted
	pinned         map[string]bool
	parts, indexes []string // IDs
	folders        []string
}

// listBatch is how many names are read at a time.
const listBatch = 1024

// list reads a folder. Names that begin with a dot are not ours: they belong to the system
// and to programs that copy.
func (a *Archive) list(at string) (l listing, err error) {
	dir, err := a.root.Open(at)
	if err != nil {
		return l, err
	}
	defer dir.Close()
	info, err := dir.Stat()
	if err != nil {
		return l, err
	}
	l.changed, l.read = info.ModTime().UnixNano(), time.Now().UnixNano()
	l.pinned = map[string]bool{}
	for {
		names, err := dir.ReadDir(listBatch)
		for _, d := range names {
			l.add(d)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return l, err
		}
	}
	slices.Sort(l.files)
	return l, nil
}

func (l *listing) add(d fs.DirEntry) {
	name := d.Name()
	switch {
	case strings.HasPrefix(name, "."):
	case d.IsDir():
		l.folders = append(l.folders, name)
	case strings.HasSuffix(name, flvfile.PartSuffix):
		l.parts = append(l.parts, strings.TrimSuffix(name, flvfile.PartSuffix))
	case strings.HasSuffix(name, flvfile.Suffix):
		l.files = append(l.files, strings.TrimSuffix(name, flvfile.Suffix))
	case strings.HasSuffix(name, flvfile.IndexSuffix):
		l.indexes = append(l.indexes, strings.TrimSuffix(name, flvfile.IndexSuffix))
	case strings.HasSuffix(name, pinSuffix):
		l.pinned[strings.TrimSuffix(name, pinSuffix)] = true
	}
}

// file is what was read of a file.
type file struct {
	id string
	stamp
	info   flvfile.Info
	key    hub.Key // as it says itself
	ours   bool    // key is that of its folder
	pinned bool
	same   bool  // it has not changed since it was looked at before
	gone   bool  // it is not there any more
	err    error // it is no recording
}

// empty reports whether nothing stands in the file: it is about to become one.
func (f file) empty() bool { return f.size == 0 && f.changed != 0 }

// How much is read at a time: so many folders while the archive is opened, so many batches of
// files in each folder.
const (
	readFolders = 8
	readBatches = 8
	readBatch   = 64
)

// readFiles reads files of a folder, in any order.
func (a *Archive) readFiles(f *folder, ids map[string]watched) []file {
	files := make([]file, 0, len(ids))
	known := make([]stamp, 0, len(ids))
	for id, w := range ids {
		files = append(files, file{id: id})
		known = append(known, w.stamp)
	}
	if len(files) <= readBatch {
		for i := range files {
			a.readFile(f, &files[i], known[i])
		}
		return files
	}
	var group errgroup.Group
	group.SetLimit(readBatches)
	for from := 0; from < len(files); from += readBatch {
		group.Go(func() error {
			for i := from; i < min(from+readBatch, len(files)); i++ {
				a.readFile(f, &files[i], known[i])
			}
			return nil
		})
	}
	group.Wait()
	return files
}

var (
	errNoStream  = errors.New("it does not stand in a folder APP/NAME")
	errNoFile    = errors.New("it is no regular file")
	errDuplicate = errors.New("the stream has another one of that name")
)

// readFile reads what a file says of itself, if it is not as it was.
func (a *Archive) readFile(f *folder, file *file, known stamp) {
	at := path.Join(f.path, file.id)
	info, err := a.root.Stat(at + flvfile.Suffix)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		file.gone = true
		return
	case err != nil:
		file.err = reason(err)
		return
	}
	file.stamp = stampOf(info)
	if file.stamp == known {
		file.same = true
		return
	}
	if file.err = listable(file.id); file.err != nil {
		return
	}
	switch {
	case !f.usable:
		file.err = errNoStream
	case !info.Mode().IsRegular():
		file.err = errNoFile
	default:
		file.info, file.err = flvfile.ReadInfo(a.fs, at)
		file.key = hub.Key{App: file.info.App, Name: file.info.Name}
		file.ours = file.err == nil && leadsTo(file.key, f.path)
	}
}

func stampOf(info fs.FileInfo) stamp {
	return stamp{size: info.Size(), changed: info.ModTime().UnixNano()}
}

// leadsTo reports whether the recordings of a stream stand in a folder. A file system may
// not tell capitals from small letters.
func leadsTo(key hub.Key, folder string) bool {
	at, err := folderOf(key)
	return err == nil && strings.EqualFold(at, folder)
}

// takeLocked brings the catalogue up to what was read of files; it returns those that are
// left out and were not before.
func (a *Archive) takeLocked(f *folder, files []file) (left []file) {
	if f.watched == nil {
		f.watched = map[string]watched{}
	}
	for _, file := range files {
		if !f.known && file.ours {
			f.key, f.known = file.key, true
		}
	}
	now := time.Now().UnixNano()
	added := map[hub.Key][]*entry{}
	var outdated []*entry
	for _, file := range files {
		old := findID(f.files, file.id)
		if file.same || old != nil && (old.writer != nil || old.claim != nil) {
			continue
		}
		if old != nil {
			outdated = append(outdated, old)
		}
		if file.gone {
			delete(f.watched, file.id)
			continue
		}
		key := f.key
		if file.ours {
			key = file.key
		}
		if file.err == nil && a.takenLocked(f, key, file.id) {
			file.err = errDuplicate
		}
		if file.err != nil {
			now := watched{stamp: file.stamp, left: true}
			if before, ok := f.watched[file.id]; (!ok || before != now) && !file.empty() {
				left = append(left, file)
			}
			f.watched[file.id] = now
			continue
		}
		delete(f.watched, file.id)
		if !file.ours && now-file.changed < int64(settleTime) {
			f.watched[file.id] = watched{stamp: file.stamp}
		}
		added[key] = append(added[key], file.entry())
	}
	a.removeLocked(f, outdated)
	for key, entries := range added {
		a.addLocked(f, key, entries)
	}
	return left
}

// takenLocked reports whether a recording of that name stands in another folder, as hand
// and case can have it.
func (a *Archive) takenLocked(f *folder, key hub.Key, id string) bool {
	s := a.streams[key]
	if s == nil {
		return false
	}
	e := findID(s.byID, id)
	return e != nil && e.folder != f
}

// entry returns the file as the catalogue has it.
func (f file) entry() *entry {
	e := &entry{
		id:      strings.Clone(f.id),
		changed: f.changed,
		foreign: !f.ours,
		pinned:  f.pinned,
	}
	e.fill(f.info)
	e.size = f.size
	e.begin = f.begin()
	return e
}

// maxBegin is the end of the year 9999, in ms since 1970.
const maxBegin = 253402300799999

// begin returns when the recording began, in ms since 1970: as it says itself, as its
// name says, or as its end and its duration make it.
func (f file) begin() int64 {
	begin := f.info.Begin
	if begin.IsZero() {
		if t, _, ok := parseID(f.id); ok {
			begin = t
		} else {
			begin = time.UnixMilli(time.Unix(0, f.changed).UnixMilli() - f.info.Duration.Milliseconds())
		}
	}
	return min(max(begin.UnixMilli(), 0), maxBegin)
}
