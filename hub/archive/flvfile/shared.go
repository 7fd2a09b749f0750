package flvfile

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"
)

// shared is what the writer of a file and all who read it have in common. It is closed
// when the last of them lets go of it.
type shared struct {
	fsys FS
	name string // without its ending
	file Handle

	mu      sync.Mutex
	users   int
	growing bool
	head    head // as it is now; what it points at never changes
	// index is what is known of the index, once loaded: at once for a writer, otherwise when
	// somebody first needs it.
	index     index
	indexFile Handle
	replaced  Handle        // what indexFile was before it was made anew: somebody may still read it
	loading   chan struct{} // somebody loads the index; closed when that is done
	loaded    bool
	loadErr   error
	remade    chan struct{} // somebody makes the index anew, once; closed when that is done
	remadeErr error
	wake      chan struct{} // somebody waits; closed when there is news
}

// acquire adds a user, unless the last one has gone.
func (s *shared) acquire() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users == 0 {
		return false
	}
	s.users++
	return true
}

// release takes a user off, and closes the files behind the last one.
func (s *shared) release() error {
	s.mu.Lock()
	s.users--
	last, indexes := s.users == 0, []Handle{s.indexFile, s.replaced}
	s.mu.Unlock()
	if !last {
		return nil
	}
	err := s.file.Close()
	for _, f := range indexes {
		if f != nil {
			err = cmp.Or(err, f.Close())
		}
	}
	return err
}

// now returns the file as it is.
func (s *shared) now() (h head, growing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head, s.growing
}

// update changes the state and wakes who waits.
func (s *shared) update(change func()) {
	s.mu.Lock()
	change()
	wake := s.wake
	s.wake = nil
	s.mu.Unlock()
	if wake != nil {
		close(wake)
	}
}

// wait waits until the file has more than size bytes, or grows no more.
func (s *shared) wait(ctx context.Context, size int64) error {
	for {
		s.mu.Lock()
		if s.head.Size > size || !s.growing {
			s.mu.Unlock()
			return nil
		}
		if s.wake == nil {
			s.wake = make(chan struct{})
		}
		wake := s.wake
		s.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// snapshot returns the index and the file that it belongs to, both as they are now. Where
// the index is not known it is loaded, or made, while others wait.
func (s *shared) snapshot() (index, head, error) {
	for {
		s.mu.Lock()
		switch {
		case s.loaded:
			defer s.mu.Unlock()
			return s.index, s.head, s.loadErr
		case s.loading == nil:
			s.loading = make(chan struct{})
			h := s.head
			s.mu.Unlock()
			s.load(h)
			continue
		}
		loading := s.loading
		s.mu.Unlock()
		<-loading
	}
}

// load loads the index of a finished file, for all.
func (s *shared) load(h head) {
	l, err := loadIndex(s.fsys, s.name, s.file, h)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loaded, s.loadErr = true, err; err == nil {
		s.index, s.indexFile = l.index, l.file
		s.head = l.head
	}
	close(s.loading)
}

// reload makes the index of a finished file anew, since it has turned out to be wrong, while
// others wait; once.
func (s *shared) reload() (index, head, error) {
	s.mu.Lock()
	h, remade, first := s.head, s.remade, s.remade == nil && !s.growing
	if first {
		s.remade = make(chan struct{})
	}
	s.mu.Unlock()
	switch {
	case first:
		s.remake(h)
	case remade == nil:
		return index{}, h, errIndex // it grows
	default:
		<-remade
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.index, s.head, s.remadeErr
}

func (s *shared) remake(h head) {
	l, err := rebuildIndex(s.fsys, s.name, s.file, h)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.remadeErr = err; err == nil {
		s.replaced = s.indexFile
		s.index, s.indexFile, s.head = l.index, l.file, l.head
	}
	close(s.remade)
}

// moveExclusively renames a file, unless there is one of the new name, which is fs.ErrExist.
//
// No call that all file systems have does that. So an empty file takes the name, and is
// renamed over. A process that dies in between leaves an empty file, which counts as none.
func moveExclusively(fsys FS, from, to string) error {
	if err := reserve(fsys, to); err != nil {
		return err
	}
	err := fsys.Rename(from, to)
	if err != nil {
		return errors.Join(err, fsys.Remove(to))
	}
	return nil
}

// exists reports whether there is a file of that name, and not an empty one.
func exists(fsys FS, name string) bool {
	size, err := sizeOf(fsys, name)
	return err == nil && size > 0 || err != nil && !errors.Is(err, fs.ErrNotExist)
}

// reserve makes an empty file, or finds one.
func reserve(fsys FS, name string) error {
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, filePerm)
	if err == nil {
		return f.Close()
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if exists(fsys, name) {
		return err
	}
	return nil
}

// filePerm is the mode of new files.
const filePerm = 0o644

// sizeOf returns the size of a file, in bytes.
func sizeOf(fsys FS, name string) (int64, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	i, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !i.Mode().IsRegular() {
		return 0, &fs.PathError{Op: "open", Path: name, Err: errNotRegular}
	}
	return i.Size(), nil
}

var errNotRegular = errors.New("not a regular file")
