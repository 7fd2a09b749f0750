package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"sluice/flv/amf"
	"sluice/hub"
	"sluice/hub/archive/flvfile"
)

// Writer is a recording that is written. It ends with Finish or Close. Recording may be called from any
// goroutine, the rest by one at a time.
type Writer struct {
	*flvfile.Writer
	archive *Archive
	entry   *entry
}

const (
	maxNumber      = 1000 // recordings of one stream that begin in one millisecond
	createAttempts = 8    // while others remove the folder as empty
)

// Create begins a recording. begin is rounded down to a millisecond, and is part of its ID.
func (a *Archive) Create(key hub.Key, begin time.Time, metadata amf.ECMAArray) (*Writer, error) {
	at, err := folderOf(key)
	if err != nil {
		return nil, err
	}
	begin = begin.UTC().Truncate(time.Millisecond)
	if begin.UnixMilli() < 0 || begin.UnixMilli() > maxBegin {
		return nil, fmt.Errorf("archive: no recording begins at %v", begin)
	}
	properties := flvfile.Properties{App: key.App, Name: key.Name, Begin: begin, Metadata: metadata}
	for n := 1; n <= maxNumber; n++ {
		id := newID(begin, n)
		if !a.reserve(key, path.Join(at, id)) {
			continue
		}
		w, err := a.createFile(at, id, properties)
		if err == nil {
			return a.begun(key, at, id, begin, w), nil
		}
		a.mu.Lock()
		delete(a.reserved, path.Join(at, id))
		a.mu.Unlock()
		if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("archive: %w", err)
		}
	}
	return nil, fmt.Errorf("archive: %d recordings of %s began at %v", maxNumber, key, begin)
}

// reserve keeps a name for a new recording, until begun; it reports false if there is a
// recording of that name, be it one that is being deleted, or is about to be one.
func (a *Archive) reserve(key hub.Key, at string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.streams[key]; a.reserved[at] || s != nil && findID(s.byID, path.Base(at)) != nil {
		return false
	}
	a.reserved[at] = true
	return true
}

// createFile begins a file in a folder that it makes. Who deletes the last recording of
// it may remove it at the same time.
func (a *Archive) createFile(at, id string, p flvfile.Properties) (w *flvfile.Writer, err error) {
	for range createAttempts {
		if err = a.root.MkdirAll(at, folderMode); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return nil, err
		}
		w, err = flvfile.Create(a.fs, path.Join(at, id), p)
		if !errors.Is(err, fs.ErrNotExist) {
			return w, err
		}
	}
	return nil, err
}

// begun enters a recording that is written from now on.
func (a *Archive) begun(key hub.Key, at, id string, begin time.Time, fw *flvfile.Writer) *Writer {
	w := &Writer{Writer: fw, archive: a}
	w.entry = &entry{id: id, begin: begin.UnixMilli(), changed: begin.UnixNano(), writer: w}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.reserved, path.Join(at, id))
	f := a.folderLocked(at)
	f.key, f.known = key, true
	f.version++
	a.addLocked(f, key, []*entry{w.entry})
	a.writers[w] = struct{}{}
	return w
}

// folderLocked returns a folder that exists, and sees to it that those above are known.
func (a *Archive) folderLocked(at string) *folder {
	for i := range len(at) {
		if at[i] == '/' && a.folders[at[:i]] == nil {
			a.folders[strings.Clone(at[:i])] = newFolder(at[:i])
		}
	}
	f := a.folders[at]
	if f == nil {
		f = newFolder(at)
		a.folders[at] = f
	}
	return f
}

// Append goes on with the newest recording of a stream. The error is ErrNotFound if there
// is none or it is none of ours, ErrInUse if it is being written.
func (a *Archive) Append(key hub.Key) (*Writer, error) {
	a.lookFor(key, Latest)
	a.mu.Lock()
	e := a.findLocked(key, Latest)
	switch {
	case e == nil || e.foreign:
		a.mu.Unlock()
		return nil, ErrNotFound
	case e.writer != nil || e.claim != nil:
		a.mu.Unlock()
		return nil, ErrInUse
	}
	e.claim = make(chan struct{})
	at := e.path()
	a.mu.Unlock()
	fw, err := flvfile.Append(a.fs, at)
	w := &Writer{Writer: fw, archive: a, entry: e}
	a.mu.Lock()
	defer a.mu.Unlock()
	e.settleLocked()
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	a.countLocked(e, -e.size)
	e.writer, e.full = w, false
	e.shared = nil // those who have it open read to the old end
	a.writers[w] = struct{}{}
	return w, nil
}

// settleLocked ends a claim.
func (e *entry) settleLocked() {
	close(e.claim)
	e.claim = nil
	e.folder.version++
}

// Recording returns what is known of it by now.
func (w *Writer) Recording() Recording {
	a := w.archive
	a.mu.Lock()
	r, writer := w.entry.recordingLocked(), w.entry.writer
	a.mu.Unlock()
	return r.live(writer)
}

// Finish finishes the file with the given state, StateFinished or StateDiskFull. A
// recording without a single packet is removed, and the error is fs.ErrNotExist; so it is
// where somebody else has removed the file. After another error it is still being written, as
// its state says: Finish can be called again, or Close. When it has ended already, the error is
// net.ErrClosed.
func (w *Writer) Finish(state State) (Recording, error) {
	at, err := w.claim()
	if err != nil {
		return Recording{}, err
	}
	info, err := w.Writer.Finish()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		w.Writer.Close()
		w.archive.removeMarker(at)
		w.drop()
		w.archive.removeFolders(path.Dir(at))
		return w.Recording(), err
	case err != nil && info.Size == 0:
		w.archive.mu.Lock()
		defer w.archive.mu.Unlock()
		w.entry.settleLocked()
		return w.entry.recordingLocked(), err
	}
	return w.finished(info, w.archive.stampOf(at, info), state), err
}

// Close gives the recording up without finishing it, as after an error of Finish: it is not in
// the list until the folder is opened again, which finishes it. After Finish it does nothing.
func (w *Writer) Close() error {
	if _, err := w.claim(); err != nil {
		return nil
	}
	err := w.Writer.Close()
	w.drop()
	return err
}

// claim is for the one who ends the recording; it returns where its file stands.
func (w *Writer) claim() (at string, err error) {
	a, e := w.archive, w.entry
	a.mu.Lock()
	defer a.mu.Unlock()
	if e.writer != w || e.claim != nil {
		return "", errFinished
	}
	e.claim = make(chan struct{})
	return e.path(), nil
}

// finished enters what has become of a recording that is claimed.
func (w *Writer) finished(info flvfile.Info, file stamp, state State) Recording {
	a, e := w.archive, w.entry
	a.mu.Lock()
	defer a.mu.Unlock()
	e.settleLocked()
	e.writer = nil
	e.fill(info)
	e.size, e.changed = file.size, file.changed
	e.full = state == StateDiskFull
	a.countLocked(e, e.size)
	delete(a.writers, w)
	return e.recordingLocked()
}

// drop takes a recording that is claimed out of the catalogue.
func (w *Writer) drop() {
	a, e := w.archive, w.entry
	a.mu.Lock()
	defer a.mu.Unlock()
	e.settleLocked()
	a.removeLocked(e.folder, []*entry{e})
	delete(a.writers, w)
}

// stampOf returns what the file looks like on disk.
func (a *Archive) stampOf(at string, info flvfile.Info) stamp {
	if found, err := a.root.Stat(at + flvfile.Suffix); err == nil {
		return stampOf(found)
	}
	return stamp{size: info.Size, changed: time.Now().UnixNano()}
}
