package archive

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"sluice/hub"
	"sluice/hub/archive/flvfile"
)

// load reads the whole folder, level by level.
func (a *Archive) load() error {
	if _, err := a.root.Stat("."); err != nil {
		return reason(err)
	}
	top := newFolder(".")
	a.folders["."] = top
	for level := []*folder{top}; len(level) > 0; {
		var mu sync.Mutex
		var next []*folder
		var group errgroup.Group
		group.SetLimit(readFolders)
		for _, f := range level {
			group.Go(func() error {
				found, _ := a.readFolder(f, anyFile, true)
				mu.Lock()
				defer mu.Unlock()
				next = append(next, found...)
				return nil
			})
		}
		group.Wait()
		level = next
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.loadedLocked()
	return nil
}

// mend finishes what a process that died has left in a folder: files that were being
// written, and what belongs to files that are not there any more.
func (a *Archive) mend(f *folder, l *listing) {
	for _, id := range l.parts {
		if _, _, ours := parseID(id); ours && a.recover(f, id) { // others may be downloading
			l.files = append(l.files, id)
		}
	}
	slices.Sort(l.files)
	l.files = slices.Compact(l.files) // an empty file may have had the name
	for _, id := range l.indexes {
		if _, _, ours := parseID(id); ours {
			a.removeStale(f, l, id, flvfile.IndexSuffix)
		}
	}
	for id := range l.pinned {
		if _, _, ours := parseID(id); ours {
			a.removeStale(f, l, id, pinSuffix)
		}
	}
}

// recover finishes ID.flv.part, and reports whether ID.flv is there now.
func (a *Archive) recover(f *folder, id string) bool {
	log := a.log.With("folder", f.path, "id", id)
	info, err := flvfile.Recover(a.fs, path.Join(f.path, id))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		log.Info("recording that was not finished was empty")
		return false
	case err != nil: // also where there is a finished one of its name
		log.Error("recording that was not finished stays so", "error", err)
		return false
	}
	log.Info("recording that was not finished is now",
		"duration", info.Duration, "bytes", info.Size)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.finished = append(a.finished, placed{hub.Key{App: info.App, Name: info.Name}, id})
	return true
}

// Recovered returns the recordings that Open has finished, since the process that wrote them
// had died, as far as they are still there.
func (a *Archive) Recovered() []Recording {
	a.mu.Lock()
	defer a.mu.Unlock()
	var recovered []Recording
	for _, p := range a.finished {
		if e := a.findLocked(p.key, p.id); e != nil {
			recovered = append(recovered, e.recordingLocked())
		}
	}
	return recovered
}

func (a *Archive) removeStale(f *folder, l *listing, id, suffix string) {
	if _, there := slices.BinarySearch(l.files, id); there || slices.Contains(l.parts, id) {
		return
	}
	at := path.Join(f.path, id) + suffix
	if err := a.fs.Remove(at); err != nil {
		a.log.Warn("file without its recording stays", "file", at, "error", err)
		return
	}
	a.log.Info("file without its recording removed", "file", at)
}
