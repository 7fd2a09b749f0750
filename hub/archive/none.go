package archive

import "sluice/hub"

// None is the archive of a server that records nothing itself. It has no recordings, in the place of an *Archive
// where those of other servers are served too.
type None struct{}

// Recordings returns an empty page. The error is ErrPlace.
func (None) Recordings(_ hub.Key, after string, _ int) (page []Recording, next string, err error) {
	if after != "" {
		_, _, err = ParsePlace(after)
	}
	return nil, "", err
}

// Recording returns ErrNotFound.
func (None) Recording(hub.Key, string) (Recording, error) { return Recording{}, ErrNotFound }

// Open returns ErrNotFound.
func (None) Open(hub.Key, string) (*File, Recording, error) { return nil, Recording{}, ErrNotFound }

// Delete returns ErrNotFound.
func (None) Delete(hub.Key, string) error { return ErrNotFound }

// Pin returns ErrNotFound.
func (None) Pin(hub.Key, string, bool) error { return ErrNotFound }
