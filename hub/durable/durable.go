// Package durable keeps files through crashes, and folders for one process.
package durable

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// mode is that of files, which may hold secrets.
const mode = 0o600

// Replace makes a file with a text, or puts it into the place of the one that is there: whole or
// not at all, whatever happens meanwhile, and still there after a crash when it returns. Its
// folder must exist. The text is written to path with ".new" behind it first, so that no two
// calls for one path may run at a time.
func Replace(path string, text []byte) error {
	next := path + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = errors.Join(f.Chmod(mode), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		os.Remove(next) // which the next call would replace
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	dir.Sync() // not every system can; the file is written all the same
	return nil
}

// ErrLocked says that another process has a folder.
var ErrLocked = errors.New("the folder is in use by another process")

// Lock keeps a folder, which must exist, for this process until it is closed or the process
// ends, by a file of a name in it. The error is ErrLocked if another one has it; systems other
// than Unix do not tell.
func Lock(dir, name string) (io.Closer, error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_RDWR, mode)
	if err != nil {
		return nil, err
	}
	if err := LockFile(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
