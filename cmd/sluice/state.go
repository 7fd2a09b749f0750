package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"sluice/hub/durable"
)

// stateLock is the file by which the folder is one process's. It is another than that of the
// folder for recordings, so that both may be the same.
const stateLock = ".sluice"

// openState makes the folder for what outlasts a restart, if one is configured, and keeps it
// for this process until what it returns is closed; nil without a folder.
func openState(cfg config) (io.Closer, error) {
	if cfg.StateDir == "" {
		return nil, nil
	}
	err := os.MkdirAll(cfg.StateDir, 0o700)
	if err == nil {
		var lock io.Closer
		if lock, err = durable.Lock(cfg.StateDir, stateLock); err == nil {
			return lock, nil
		}
	}
	return nil, fmt.Errorf("%sSTATE_DIR=%q: %w", envPrefix, cfg.StateDir, err)
}

// saltSize is the size of the salt of marks, in bytes.
const saltSize = 32

// loadSalt returns what secrets are marked with (access.Mark): the same after a restart where
// there is a folder of state, since bans may be of a mark.
func loadSalt(dir string) ([]byte, error) {
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails
	if dir == "" {
		return salt, nil
	}
	path := filepath.Join(dir, "salt")
	kept, err := os.ReadFile(path)
	switch {
	case err == nil && len(kept) == saltSize:
		return kept, nil
	case err == nil:
		return nil, fmt.Errorf("%s is damaged: it has %d bytes and not %d", path, len(kept), saltSize)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return salt, durable.Replace(path, salt)
}
