package access

import (
	"iter"

	"sluice/hub"
	"sluice/hub/pattern"
)

// Secrets is a list of secrets for streams, in the grammar of package pattern: an entry is
// PATTERN SECRET. All that fit a stream count, so that one can be changed without an
// interruption; a pattern with a leading "!" takes a stream out of the entries before it.
// The zero Secrets has none. Secrets print as their number.
type Secrets struct{ entries []secretEntry }

type secretEntry struct {
	pattern pattern.Pattern
	secret  []byte
}

// For yields the secrets for a stream.
func (s *Secrets) For(key hub.Key) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {}
}
