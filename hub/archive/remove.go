package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path"

	"sluice/hub"
	"sluice/hub/archive/flvfile"
)

var errFinished = fmt.Errorf("archive: the recording is finished: %w", net.ErrClosed)

// Delete removes a finished recording, pinned or not. Who plays it goes on to its end. The
// error is ErrNotFound, ErrInUse, or why the file cannot be removed; it stays in the list
// then.
func (a *Archive) Delete(key hub.Key, id string) error {
	e, err := a.claim(key, id)
	if err != nil {
		return err
	}
	return a.remove(e, "on demand")
}

// claim takes a finished recording out of the lists, for the one who removes it.
func (a *Archive) claim(key hub.Key, id string) (*entry, error) {
	if id == Latest {
		return nil, ErrNotFound
	}
	if _, err := a.Recording(key, id); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.findLocked(key, id)
	switch {
	case e == nil:
		return nil, ErrNotFound
	case !e.claimLocked():
		return nil, ErrInUse
	}
	return e, nil
}

// claimLocked takes an entry out of the lists, unless it is in use.
func (e *entry) claimLocked() bool {
	if e.writer != nil || e.claim != nil {
		return false
	}
	e.claim, e.deleting = make(chan struct{}), true
	return true
}

// remove removes the files of a recording that is claimed: that of the recording comes
// last, so that no new one can get its name before.
func (a *Archive) remove(e *entry, why string) error {
	a.mu.Lock()
	at, r := e.path(), e.recordingLocked()
	a.mu.Unlock()
	a.removeMarker(at)
	a.fs.Remove(at + flvfile.IndexSuffix)
	err := a.fs.Remove(at + flvfile.Suffix)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	a.mu.Lock()
	e.settleLocked()
	if err == nil {
		a.removeLocked(e.folder, []*entry{e})
	} else {
		e.deleting, e.pinned = false, false
	}
	a.mu.Unlock()
	if err != nil {
		return fmt.Errorf("archive: deleting a recording: %w", err)
	}
	a.removeFolders(path.Dir(at))
	a.log.Info("recording deleted", "stream", r.Key.String(), "id", r.ID,
		"begin", r.Begin, "duration", r.Duration, "bytes", r.Size, "reason", why)
	return nil
}

// removeFolders removes a folder and those above, as long as they are empty.
func (a *Archive) removeFolders(at string) {
	for ; at != "."; at = path.Dir(at) {
		if a.fs.Remove(at) != nil {
			return
		}
		a.mu.Lock()
		if f := a.folders[at]; f != nil && len(f.files) == 0 {
			delete(a.folders, at)
		}
		a.mu.Unlock()
	}
}

func (a *Archive) removeMarker(at string) error {
	err := a.fs.Remove(at + pinSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Pin keeps a recording, finished or not, from being deleted to make room, or no longer.
// It outlasts the process.
func (a *Archive) Pin(key hub.Key, id string, on bool) error {
	if _, err := a.Recording(key, id); err != nil || id == Latest {
		return ErrNotFound
	}
	a.pinning <- struct{}{} // so that the file and the catalogue say the same
	defer func() { <-a.pinning }()
	a.mu.Lock()
	e := a.findLocked(key, id)
	if e == nil {
		a.mu.Unlock()
		return ErrNotFound
	}
	at := e.path()
	a.mu.Unlock()
	if err := a.mark(at, on); err != nil {
		return fmt.Errorf("archive: pinning a recording: %w", err)
	}
	a.mu.Lock()
	there := a.findLocked(key, id) == e
	if there {
		e.pinned, e.folder.pins = on, true
		e.folder.version++
	}
	a.mu.Unlock()
	if !there {
		a.removeMarker(at)
		return ErrNotFound
	}
	return nil
}

// mark makes or removes the file that says that a recording is pinned.
func (a *Archive) mark(at string, on bool) error {
	if !on {
		return a.removeMarker(at)
	}
	h, err := a.fs.OpenFile(at+pinSuffix, os.O_CREATE|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	return h.Close()
}
