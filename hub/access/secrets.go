package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"

	"sluice/hub"
	"sluice/hub/pattern"
)

// Secrets is a list of secrets for streams, in the grammar of package pattern: an entry is
// PATTERN SECRET. All that fit a stream count, so that one can be changed without an
// interruption; a pattern with a leading "!", which stands alone, takes a stream out of the
// entries before it. The zero Secrets has none. Secrets print as their number.
type Secrets struct {
	// held returns the list, nil for none. It is a function so that no secret is printed with a
	// struct that has a field of this type which fmt cannot ask for its String: of a pointer fmt
	// prints, with some verbs, what it points to.
	held func() *secretList
}

func (s Secrets) list() *secretList {
	if s.held == nil {
		return nil
	}
	return s.held()
}

// secretList has each entry by what is known of the streams that it fits, so that a look
// takes as long with many entries as with few. The numbers are ascending.
type secretList struct {
	entries []secretEntry
	exact   map[string][]int // of entries for a single stream, by it
	first   map[string][]int // of others for streams with the same first segment, by that
	any     []int            // of the rest
}

type secretEntry struct {
	pattern pattern.Pattern
	secret  []byte            // nil in an entry that takes out
	sum     [sha256.Size]byte // of the secret, to compare it by
}

// Bounds of secrets, in bytes.
const (
	minSecret = 1
	maxSecret = 1 << 10
)

// UnmarshalText reads a list of secrets. Its errors quote none.
func (s *Secrets) UnmarshalText(text []byte) error {
	entries, err := pattern.Entries(string(text))
	if err != nil {
		return err
	}
	list := &secretList{exact: make(map[string][]int), first: make(map[string][]int)}
	for i, fields := range entries {
		e, err := parseSecret(fields)
		if err != nil {
			return fmt.Errorf("entry %d: %w", i+1, err)
		}
		list.add(e)
	}
	if len(entries) > 0 && list.entries[0].secret == nil {
		return fmt.Errorf("entry 1: %w", errSecretOut)
	}
	s.held = func() *secretList { return list }
	return nil
}

// Errors of lists of secrets.
var (
	errSecretEntry  = errors.New("must be PATTERN SECRET, or !PATTERN; there are no comments")
	errSecretSize   = fmt.Errorf("a secret has %d to %d bytes", minSecret, maxSecret)
	errSecretEscape = errors.New("the secret has a % that is not followed by two hexadecimal digits")
	errSecretFirst  = errors.New("the pattern is none: it is APP/NAME, and stands before the secret")
	errSecretOut    = errors.New("a ! takes out of what stands before it, and here is nothing")
)

func parseSecret(fields []string) (secretEntry, error) {
	if len(fields) > 2 {
		return secretEntry{}, errSecretEntry
	}
	p, err := pattern.Parse(fields[0])
	if err != nil {
		return secretEntry{}, errSecretFirst
	}
	if p.Out() != (len(fields) == 1) {
		return secretEntry{}, errSecretEntry
	}
	if p.Out() {
		return secretEntry{pattern: p}, nil
	}
	secret, err := decodeSecret(fields[1])
	return secretEntry{p, secret, sha256.Sum256(secret)}, err
}

func decodeSecret(field string) ([]byte, error) {
	secret, err := pattern.Decode(field)
	switch {
	case err != nil:
		return nil, errSecretEscape
	case len(secret) < minSecret || len(secret) > maxSecret:
		return nil, errSecretSize
	}
	return []byte(secret), nil
}

// add appends an entry.
func (l *secretList) add(e secretEntry) {
	n := len(l.entries)
	l.entries = append(l.entries, e)
	if stream, ok := e.pattern.Exact(); ok {
		l.exact[stream] = append(l.exact[stream], n)
	} else if segment, ok := e.pattern.First(); ok {
		l.first[segment] = append(l.first[segment], n)
	} else {
		l.any = append(l.any, n)
	}
}

// of yields the entries for a stream that have a secret, in the order of the list.
func (l *secretList) of(stream string) iter.Seq[*secretEntry] {
	return func(yield func(*secretEntry) bool) {
		if l == nil {
			return
		}
		segment, _, _ := strings.Cut(stream, "/")
		numbers := slices.Concat(l.exact[stream], l.first[segment], l.any)
		numbers = slices.DeleteFunc(numbers, func(n int) bool { return !l.entries[n].pattern.Matches(stream) })
		slices.Sort(numbers)
		begin := 0 // behind the last that takes out
		for i, n := range numbers {
			if l.entries[n].secret == nil {
				begin = i + 1
			}
		}
		for _, n := range numbers[begin:] {
			if !yield(&l.entries[n]) {
				return
			}
		}
	}
}

// For yields the secrets for a stream, in their order. They must not be changed.
func (s *Secrets) For(key hub.Key) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for e := range s.list().of(key.String()) {
			if !yield(e.secret) {
				return
			}
		}
	}
}

// have reports whether what a client shows is one of the secrets of a stream. How long that
// takes tells nothing of them, not even how long they are.
func (s *Secrets) have(key hub.Key, shown string) bool {
	if len(shown) > maxSecret {
		return false
	}
	sum, equal := sha256.Sum256([]byte(shown)), 0
	for e := range s.list().of(key.String()) {
		equal |= subtle.ConstantTimeCompare(e.sum[:], sum[:])
	}
	return equal == 1
}

// Len returns how many entries there are.
func (s Secrets) Len() int {
	if list := s.list(); list != nil {
		return len(list.entries)
	}
	return 0
}

// String returns the number of entries, as GoString and LogValue do.
func (s Secrets) String() string { return fmt.Sprintf("%d entries", s.Len()) }

// GoString keeps %#v from printing secrets.
func (s Secrets) GoString() string { return s.String() }

// LogValue keeps secrets out of logs.
func (s Secrets) LogValue() slog.Value { return slog.StringValue(s.String()) }
