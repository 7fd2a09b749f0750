package archive

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"sluice/hub"
)

// What others do in the folder is noticed in two ways: every scanInterval watch looks
// whether a folder has changed (its time does when a name in it comes or goes), and reads
// it anew if so; and a lookup of something that is not there does the same with the one
// folder in which it would stand. Files that may still be being copied, and those that
// could not be read, are looked at themselves.

const (
	scanInterval = 10 * time.Second
	// settleTime is for how long after its last change a file from elsewhere is looked at.
	settleTime = 10 * time.Minute
	// coarsest is how coarse the clock of a file system may be: a folder that was read so
	// soon after its change may have changed again.
	coarsest = 2 * time.Second
	// scanAttempts is how often a folder is read in which this process works meanwhile.
	scanAttempts = 3
)

// watch is the goroutine that notices what others do, until ctx ends.
func (a *Archive) watch(ctx context.Context) {
	ticker := time.NewTicker(scanInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			a.scan(ctx)
		}
	}
}

// scan looks at all folders, and at those in them.
func (a *Archive) scan(ctx context.Context) {
	a.mu.Lock()
	folders := make([]*folder, 0, len(a.folders))
	for _, f := range a.folders {
		folders = append(folders, f)
	}
	a.mu.Unlock()
	for len(folders) > 0 && ctx.Err() == nil {
		f := folders[len(folders)-1]
		folders = append(folders[:len(folders)-1], a.refresh(f, anyFile)...)
	}
}

// anyFile has refresh look at all files that are watched.
const anyFile = ""

// lookFor looks at the folder in which a recording would stand.
func (a *Archive) lookFor(key hub.Key, id string) {
	at, err := folderOf(key)
	if err != nil {
		return
	}
	a.mu.Lock()
	f := a.folders[at]
	a.mu.Unlock()
	if f != nil {
		a.refresh(f, id)
		return
	}
	// Only names that are really there are followed, from the top.
	for n := 0; ; n++ {
		prefix := "."
		if n > 0 {
			end := nthSlash(at, n)
			prefix = at[:end]
		}
		a.mu.Lock()
		f := a.folders[prefix]
		a.mu.Unlock()
		if f == nil {
			return
		}
		a.refresh(f, id)
		if prefix == at {
			return
		}
	}
}

// nthSlash returns where the first n segments of a path end.
func nthSlash(s string, n int) int {
	for i := range len(s) {
		if s[i] == '/' {
			if n--; n == 0 {
				return i
			}
		}
	}
	return len(s)
}

// refresh reads a folder anew if it has changed, together with the watched file of that
// ID, or all watched ones with anyFile. One goroutine reads, others who come wait for it. It returns folders
// that were not known before.
func (a *Archive) refresh(f *folder, id string) (found []*folder) {
	a.mu.Lock()
	if reading := f.reading; reading != nil {
		a.mu.Unlock()
		<-reading
		return nil
	}
	reading := make(chan struct{})
	f.reading = reading
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		f.reading = nil
		a.mu.Unlock()
		close(reading)
	}()
	for range scanAttempts {
		more, done := a.readFolder(f, id, false)
		found = append(found, more...)
		if done {
			return found
		}
	}
	return found // what was missed is found when it is looked at again
}

// readFolder is one attempt of refresh; done is false if this process has worked in the
// folder meanwhile, so that what was read does not count.
func (a *Archive) readFolder(f *folder, id string, loading bool) (found []*folder, done bool) {
	info, err := a.root.Lstat(f.path)
	gone := errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir()
	a.mu.Lock()
	version, again := f.version, f.watchedLocked(id)
	same := !gone && err == nil && f.sameLocked(info.ModTime().UnixNano(), id == anyFile)
	a.mu.Unlock()
	if same && len(again) == 0 {
		return nil, true
	}
	if same {
		return nil, a.applyFiles(f, version, a.readFiles(f, again))
	}
	var l listing
	if err == nil && !gone {
		l, err = a.list(f.path)
	}
	if err != nil && !gone {
		a.fail(f, err)
		return nil, !errors.Is(err, fs.ErrNotExist)
	}
	if loading {
		a.mend(f, &l)
	}
	a.mu.Lock()
	fresh := f.missingLocked(l.files)
	a.mu.Unlock()
	for name, w := range again {
		fresh[name] = w
	}
	return a.apply(f, version, l, a.readFiles(f, fresh))
}

// fail writes a line about a folder that cannot be read, one until it can.
func (a *Archive) fail(f *folder, err error) {
	a.mu.Lock()
	told := f.failed
	f.failed = true
	a.mu.Unlock()
	if !told {
		a.log.Warn("folder of recordings cannot be read", "folder", f.path, "error", err)
	}
}

// sameLocked reports whether a folder of that time need not be read anew. One that may have
// changed once more since it was read is read by each scan, and by lookups; these must not
// keep a core busy if it is large.
func (f *folder) sameLocked(changed int64, scanning bool) bool {
	if f.changed == 0 || f.changed != changed {
		return false
	}
	pause := lookupPause * f.took
	return f.read-changed >= int64(coarsest) ||
		!scanning && pause > 100*time.Millisecond && time.Now().UnixNano()-f.read < int64(pause)
}

// lookupPause is how many times as long as it takes to read a folder lookups wait before
// they read it again.
const lookupPause = 10

// watchedLocked returns which files are to be looked at again, with what is known of them.
func (f *folder) watchedLocked(id string) map[string]watched {
	again := map[string]watched{}
	if id != anyFile {
		if w, ok := f.watched[id]; ok {
			again[id] = w
		}
		return again
	}
	now := time.Now().UnixNano()
	for id, w := range f.watched {
		if now-w.changed < int64(settleTime) {
			again[id] = w
		} else if !w.left {
			delete(f.watched, id)
		}
	}
	return again
}

// missingLocked returns which files of a folder, in order, the catalogue lacks.
func (f *folder) missingLocked(ids []string) map[string]watched {
	fresh := map[string]watched{}
	known := f.files
	for _, id := range ids {
		for len(known) > 0 && known[0].id < id {
			known = known[1:]
		}
		if len(known) == 0 || known[0].id != id {
			fresh[id] = f.watched[id]
		}
	}
	return fresh
}

// goneLocked returns which entries of a folder have no file any more. Those that this process is
// at work on do not count.
func (f *folder) goneLocked(ids []string) (gone []*entry) {
	for _, e := range f.files {
		for len(ids) > 0 && ids[0] < e.id {
			ids = ids[1:]
		}
		if e.writer == nil && e.claim == nil && (len(ids) == 0 || ids[0] != e.id) {
			gone = append(gone, e)
		}
	}
	return gone
}

// apply takes over what was read in a folder: which files there are, and what is in those that
// were read.
func (a *Archive) apply(f *folder, version uint64, l listing, files []file) (found []*folder, done bool) {
	a.mu.Lock()
	if current, gone := f.version == version, a.folders[f.path] != f; !current || gone {
		a.mu.Unlock()
		return nil, current
	}
	gone := f.goneLocked(l.files)
	if len(l.pinned) > 0 || f.pins {
		f.pins = len(l.pinned) > 0
		for _, e := range f.files {
			e.pinned = l.pinned[e.id]
		}
	}
	a.removeLocked(f, gone)
	for id := range f.watched {
		if _, there := slices.BinarySearch(l.files, id); !there {
			delete(f.watched, id)
		}
	}
	for i := range files {
		files[i].pinned = l.pinned[files[i].id]
	}
	left := a.takeLocked(f, files)
	f.changed, f.read, f.failed = l.changed, l.read, false
	f.took = time.Since(time.Unix(0, l.read))
	if l.changed == 0 && len(f.files) == 0 && f.path != "." {
		delete(a.folders, f.path)
	}
	for _, name := range l.folders {
		at := path.Join(f.path, name)
		if a.folders[at] == nil && strings.Count(at, "/") < maxDepth {
			sub := newFolder(at)
			a.folders[at] = sub
			found = append(found, sub)
		}
	}
	a.mu.Unlock()
	a.tell(f, left)
	return found, true
}

// applyFiles takes over what was read of single files in a folder that has not changed.
func (a *Archive) applyFiles(f *folder, version uint64, files []file) bool {
	a.mu.Lock()
	if current, gone := f.version == version, a.folders[f.path] != f; !current || gone {
		a.mu.Unlock()
		return current
	}
	for i := range files {
		if e := findID(f.files, files[i].id); e != nil {
			files[i].pinned = e.pinned
		}
	}
	left := a.takeLocked(f, files)
	a.mu.Unlock()
	a.tell(f, left)
	return true
}

// maxLines bounds the lines about files that are left out of one folder at a time.
const maxLines = 20

// tell writes a line for each file that is left out.
func (a *Archive) tell(f *folder, left []file) {
	for i, l := range left {
		if i == maxLines {
			a.log.Warn("more files are no recordings", "folder", f.path, "files", len(left)-i)
			return
		}
		a.log.Warn("file is no recording", "folder", f.path, "file", l.id, "reason", l.err)
	}
}
