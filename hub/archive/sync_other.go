//go:build !linux

package archive

import (
	"errors"
	"maps"
	"slices"
)

// Sync has the system bring to the disk what was written of recordings. It takes as long as
// the disk does.
func (a *Archive) Sync() error {
	a.mu.Lock()
	writers := slices.Collect(maps.Keys(a.writers))
	a.mu.Unlock()
	var errs []error
	for _, w := range writers {
		errs = append(errs, w.Sync())
	}
	return errors.Join(errs...)
}
