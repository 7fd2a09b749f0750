package access

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"sluice/hub"
	"sluice/hub/pattern"
)

// StreamKeys are secrets that are typed into an encoder as the name of the stream, each with
// the stream that is published with it: entries SECRET APP/NAME. The zero StreamKeys has none.
// They print as their number.
type StreamKeys struct {
	// held returns the streams by the SHA-256 of their secrets, so that how long a look takes
	// tells nothing of them; nil for none. It is a function for the same reason as in Secrets.
	held func() map[[sha256.Size]byte]hub.Key
}

func (k StreamKeys) streams() map[[sha256.Size]byte]hub.Key {
	if k.held == nil {
		return nil
	}
	return k.held()
}

// Errors of lists of stream keys.
var (
	errStreamKeyEntry  = errors.New("must be SECRET APP/NAME; there are no comments")
	errStreamKeySecret = errors.New("the secret, which stands first, cannot be a stream key: it may have letters, digits, spaces and -_.~+=@,:!()&, at most 250")
	errStreamKeyForm   = errors.New("the secret cannot be a stream key: clients write flv:, mp4: or mp3: before a name, .flv behind it, and spaces around it, and mean the name without")
	errStreamKeyStream = errors.New("behind the secret stands the stream, APP/NAME, and that is none")
	errStreamKeyTwice  = errors.New("the secret is in an entry before")
	errStreamKeyName   = errors.New("the secret is the name of a stream, which every viewer sees")
)

// UnmarshalText reads a list of stream keys. Its errors quote nothing of it.
func (k *StreamKeys) UnmarshalText(text []byte) error {
	entries, err := pattern.Entries(string(text))
	if err != nil {
		return err
	}
	streams := make(map[[sha256.Size]byte]hub.Key, len(entries))
	places := make(map[string]int, len(entries)) // of secrets
	for i, fields := range entries {
		secret, key, err := parseStreamKey(fields)
		if err != nil {
			return fmt.Errorf("entry %d: %w", i+1, err)
		}
		if places[secret] > 0 {
			return fmt.Errorf("entry %d: %w", i+1, errStreamKeyTwice)
		}
		places[secret] = i + 1
		streams[sha256.Sum256([]byte(secret))] = key
	}
	for _, key := range streams {
		if i := places[key.Name]; i > 0 {
			return fmt.Errorf("entry %d: %w", i, errStreamKeyName)
		}
	}
	k.held = func() map[[sha256.Size]byte]hub.Key { return streams }
	return nil
}

func parseStreamKey(fields []string) (secret string, key hub.Key, err error) {
	if len(fields) != 2 {
		return "", hub.Key{}, errStreamKeyEntry
	}
	decoded, err := decodeSecret(fields[0])
	if err != nil {
		return "", hub.Key{}, err
	}
	if secret, err = string(decoded), checkStreamKey(string(decoded)); err != nil {
		return "", hub.Key{}, err
	}
	// What is said of the stream may be the secret, where the two were confused.
	stream, err := pattern.Decode(fields[1])
	if err != nil {
		return "", hub.Key{}, errStreamKeyStream
	}
	if key, err = hub.NewKey("", stream); err != nil {
		return "", hub.Key{}, errStreamKeyStream
	}
	return secret, key, nil
}

// checkStreamKey says why a secret would not arrive as the name that a client publishes.
func checkStreamKey(secret string) error {
	shown, err := hub.NewKey("a", secret)
	if err != nil || shown.Name != secret {
		return errStreamKeySecret
	}
	container := func(prefix string) bool { return strings.HasPrefix(secret, prefix) }
	if strings.HasSuffix(secret, ".flv") || strings.TrimSpace(secret) != secret || secret == "_definst_" ||
		slices.ContainsFunc([]string{"flv:", "mp4:", "mp3:"}, container) {
		return errStreamKeyForm
	}
	return nil
}

// Stream returns the stream that is published with a secret.
func (k *StreamKeys) Stream(secret string) (key hub.Key, ok bool) {
	key, ok = k.streams()[sha256.Sum256([]byte(secret))]
	return key, ok
}

// Streams returns the streams that can be published, in no order.
func (k *StreamKeys) Streams() []hub.Key {
	all := make(map[hub.Key]struct{})
	for _, key := range k.streams() {
		all[key] = struct{}{}
	}
	return slices.Collect(maps.Keys(all))
}

// String returns the number of entries, as GoString and LogValue do.
func (k StreamKeys) String() string { return fmt.Sprintf("%d entries", len(k.streams())) }

// GoString keeps %#v from printing anything else.
func (k StreamKeys) GoString() string { return k.String() }

// LogValue keeps all else out of logs.
func (k StreamKeys) LogValue() slog.Value { return slog.StringValue(k.String()) }
