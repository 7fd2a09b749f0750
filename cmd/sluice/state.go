package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// openState makes the folder for what outlasts a restart, if one is configured.
func openState(cfg config) error {
	if cfg.StateDir == "" {
		return nil
	}
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return fmt.Errorf("%sSTATE_DIR=%q: %w", envPrefix, cfg.StateDir, err)
	}
	return nil
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
	return salt, os.WriteFile(path, salt, 0o600)
}
