package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sync"

	"sluice/hub"
	"sluice/hub/archive/flvfile"
)

// File is a recording that is open for reading. Close must be called, once or more often.
// Nothing but Close may be called after it.
type File struct {
	*flvfile.File
	shared *shared
	once   sync.Once
}

// shared is an open file, shared by all who read it.
type shared struct {
	archive *Archive
	entry   *entry
	version uint64        // of the folder when it was to be opened
	refs    int           // guarded by Archive.mu
	ready   chan struct{} // closed when what follows is set
	file    *flvfile.File
	err     error
}

// Close lets go of the file, which is closed when nobody reads it any more.
func (f *File) Close() (err error) {
	f.once.Do(func() { err = f.shared.release() })
	return err
}

func (s *shared) release() error {
	a := s.archive
	a.mu.Lock()
	s.refs--
	last := s.refs == 0
	if last && s.entry.shared == s {
		s.entry.shared = nil
	}
	a.mu.Unlock()
	if !last {
		return nil
	}
	return s.file.Close()
}

// openAttempts is how often a file is opened that is renamed or replaced meanwhile.
const openAttempts = 8

// Open opens a recording, finished or not, for reading; id may be Latest. Players of one
// file share what is known of it. The error is ErrNotFound, or why the file cannot be read.
func (a *Archive) Open(key hub.Key, id string) (*File, Recording, error) {
	var err error
	for range openAttempts {
		a.renew(key, id)
		s, r, wait := a.share(key, id)
		switch {
		case wait != nil:
			<-wait // its file is being renamed
			continue
		case s == nil:
			return nil, Recording{}, ErrNotFound
		}
		if <-s.ready; s.err == nil {
			return &File{File: s.file, shared: s}, r, nil
		}
		if err = s.err; errors.Is(err, fs.ErrNotExist) {
			a.lookFor(key, id)
		} else if !a.isOutdated(s) {
			break
		}
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil, Recording{}, ErrNotFound
	}
	return nil, Recording{}, fmt.Errorf("archive: %s/%s: %w", key, id, err)
}

// isOutdated reports whether this process has worked in a file's folder since it was to be
// opened: what was opened may have been the empty file that takes a name before another one is
// renamed to it.
func (a *Archive) isOutdated(s *shared) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return s.entry.folder.version != s.version
}

// share returns the shared file of a recording, which it opens if nobody has; nil if there
// is no such recording. Where its file is being renamed it returns what to wait for.
func (a *Archive) share(key hub.Key, id string) (s *shared, r Recording, wait <-chan struct{}) {
	a.mu.Lock()
	e := a.findLocked(key, id)
	if e == nil {
		a.mu.Unlock()
		return nil, Recording{}, nil
	}
	if s = e.shared; s == nil && e.claim != nil {
		defer a.mu.Unlock()
		return nil, Recording{}, e.claim
	}
	first := s == nil
	if first {
		s = &shared{archive: a, entry: e, version: e.folder.version, ready: make(chan struct{})}
		e.shared = s
		if e.writer != nil {
			s.file, s.err = e.writer.Writer.Open() // which reads nothing
		}
	}
	s.refs++
	r, w, at := e.recordingLocked(), e.writer, e.path()
	a.mu.Unlock()
	if first {
		a.openShared(s, w, at)
	}
	return s, r.live(w), nil
}

// openShared opens the file of the first who reads it, unless its writer gave it.
func (a *Archive) openShared(s *shared, w *Writer, at string) {
	defer close(s.ready)
	if w == nil {
		s.file, s.err = flvfile.Open(a.fs, at)
	}
	if s.err == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.entry.shared == s {
		s.entry.shared = nil
	}
}

// renew looks for a recording that the catalogue lacks, and whether one from elsewhere is
// still what it was, before it is opened.
func (a *Archive) renew(key hub.Key, id string) {
	a.mu.Lock()
	e := a.findLocked(key, id)
	if e == nil {
		a.mu.Unlock()
		a.lookFor(key, id)
		return
	}
	if !e.foreign || e.shared != nil {
		a.mu.Unlock()
		return
	}
	f, before, at := e.folder, stamp{size: e.size, changed: e.changed}, e.path()
	a.mu.Unlock()
	info, err := a.root.Stat(at + flvfile.Suffix)
	if err == nil && stampOf(info) == before {
		return
	}
	a.mu.Lock()
	if f.watched == nil {
		f.watched = map[string]watched{}
	}
	f.watched[e.id] = watched{stamp: before}
	a.mu.Unlock()
	a.refresh(f, e.id)
}

// path returns where the file stands, without its ending.
func (e *entry) path() string { return path.Join(e.folder.path, e.id) }
