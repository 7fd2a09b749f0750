package access

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"

	"sluice/hub"
	"sluice/hub/pattern"
)

// Secrets is a list of secrets for streams, in the grammar of package pattern: an entry is
// PATTERN SECRET. All that fit a stream count, so that one can be changed without an
// interruption; a pattern with a leading "!", which stands alone, takes a stream out of the
// entries before it. The zero Secrets has none. Secrets print as their number.
type Secrets struct {
	entries []secretEntry
	exact   map[string][]int // the entries whose pattern is one stream, by it
	general []int            // the others
}

type secretEntry struct {
	pattern pattern.Pattern
	secret  []byte // nil in an entry that takes out
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
	read := Secrets{exact: make(map[string][]int)}
	for i, fields := range entries {
		e, err := parseSecret(fields)
		if err != nil {
			return fmt.Errorf("entry %d: %w", i+1, err)
		}
		if stream, ok := e.pattern.Exact(); ok {
			read.exact[stream] = append(read.exact[stream], i)
		} else {
			read.general = append(read.general, i)
		}
		read.entries = append(read.entries, e)
	}
	*s = read
	return nil
}

// Errors of lists of secrets.
var (
	errSecretEntry  = errors.New("must be PATTERN SECRET, or !PATTERN")
	errSecretSize   = fmt.Errorf("a secret has %d to %d bytes", minSecret, maxSecret)
	errSecretEscape = errors.New("the secret has a % that is not followed by two hexadecimal digits")
	errSecretFirst  = errors.New("the pattern is none: it is APP/NAME, and stands before the secret")
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
	return secretEntry{p, secret}, err
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

// For yields the secrets for a stream, in their order.
func (s *Secrets) For(key hub.Key) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, secret := range s.of(key.String()) {
			if !yield(secret) {
				return
			}
		}
	}
}

// of returns the secrets for a stream. It looks at the entries for this stream and at those for
// many, in the order of the list.
func (s *Secrets) of(stream string) (secrets [][]byte) {
	exact := s.exact[stream]
	for i := 0; i < len(s.general) || len(exact) > 0; {
		var n int
		if i == len(s.general) || len(exact) > 0 && exact[0] < s.general[i] {
			n, exact = exact[0], exact[1:]
		} else {
			n = s.general[i]
			i++
		}
		switch e := &s.entries[n]; {
		case !e.pattern.Matches(stream):
		case e.secret == nil:
			secrets = secrets[:0]
		default:
			secrets = append(secrets, e.secret)
		}
	}
	return secrets
}

// Len returns how many entries there are.
func (s *Secrets) Len() int { return len(s.entries) }

// String returns the number of entries, as GoString and LogValue do.
func (s Secrets) String() string { return fmt.Sprintf("%d entries", len(s.entries)) }

// GoString keeps %#v from printing secrets.
func (s Secrets) GoString() string { return s.String() }

// LogValue keeps secrets out of logs.
func (s Secrets) LogValue() slog.Value { return slog.StringValue(s.String()) }

// StreamKeys are secrets that are typed into an encoder as the name of the stream, each with
// the stream that is published with it: entries SECRET APP/NAME. The zero StreamKeys has none.
// They print as their number.
type StreamKeys struct {
	// streams are by the SHA-256 of their secrets: how long a look takes tells nothing of them.
	streams map[[sha256.Size]byte]hub.Key
}

// Errors of lists of stream keys.
var (
	errStreamKeyEntry = errors.New("must be SECRET APP/NAME")
	errStreamKeyName  = errors.New("the secret cannot be a stream key: it may have letters, digits, spaces and -_.~+=@,:!()&, at most 250")
	errStreamKeyTwice = errors.New("the secret is in an entry before")
)

// UnmarshalText reads a list of stream keys. Its errors quote no secret.
func (k *StreamKeys) UnmarshalText(text []byte) error {
	entries, err := pattern.Entries(string(text))
	if err != nil {
		return err
	}
	streams := make(map[[sha256.Size]byte]hub.Key, len(entries))
	for i, fields := range entries {
		secret, key, err := parseStreamKey(fields)
		if err != nil {
			return fmt.Errorf("entry %d: %w", i+1, err)
		}
		sum := sha256.Sum256(secret)
		if _, twice := streams[sum]; twice {
			return fmt.Errorf("entry %d: %w", i+1, errStreamKeyTwice)
		}
		streams[sum] = key
	}
	k.streams = streams
	return nil
}

func parseStreamKey(fields []string) (secret []byte, key hub.Key, err error) {
	if len(fields) != 2 {
		return nil, hub.Key{}, errStreamKeyEntry
	}
	if secret, err = decodeSecret(fields[0]); err != nil {
		return nil, hub.Key{}, err
	}
	if shown, err := hub.NewKey("a", string(secret)); err != nil || shown.Name != string(secret) {
		return nil, hub.Key{}, errStreamKeyName
	}
	stream, err := pattern.Decode(fields[1])
	if err != nil {
		return nil, hub.Key{}, err
	}
	if key, err = hub.NewKey("", stream); err != nil {
		return nil, hub.Key{}, err
	}
	return secret, key, nil
}

// Stream returns the stream that is published with a secret.
func (k *StreamKeys) Stream(secret string) (key hub.Key, ok bool) {
	key, ok = k.streams[sha256.Sum256([]byte(secret))]
	return key, ok
}

// Streams returns the streams that can be published, in no order.
func (k *StreamKeys) Streams() []hub.Key {
	var all []hub.Key
	for _, key := range k.streams {
		if !slices.Contains(all, key) {
			all = append(all, key)
		}
	}
	return all
}

// String returns the number of entries, as GoString and LogValue do.
func (k StreamKeys) String() string { return fmt.Sprintf("%d entries", len(k.streams)) }

// GoString keeps %#v from printing anything else.
func (k StreamKeys) GoString() string { return k.String() }

// LogValue keeps all else out of logs.
func (k StreamKeys) LogValue() slog.Value { return slog.StringValue(k.String()) }
