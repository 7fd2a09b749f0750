package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes of all algorithms
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"

	"sluice/hub/pattern"
)

// Bounds on keys.
const (
	// MaxKeys is how many keys there may be, of the configuration and of a server each.
	MaxKeys = 100
	// maxID bounds a key id, in bytes.
	maxID = 256
	// minSecret is the least size of a secret, in bytes: as much as SHA-256 has, so that it
	// cannot be found by trying (RFC 7518 §3.2).
	minSecret = 32
	// RSA keys have at least so many bits (RFC 7518 §3.3), and no more than that, so that a
	// signature is verified in time.
	minRSA, maxRSA = 2048, 8192
)

// ErrKey is wrapped by all that can be wrong with a key. Such errors do not repeat keys.
var ErrKey = errors.New("not a key for tokens")

// Key verifies tokens. It is for algorithms of one family: a public key is never taken for a
// secret. It prints without its secret.
type Key struct {
	id         string // kid; empty for any
	algorithms []string
	material   any // []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// NewKey makes a key from a secret ([]byte, at least 32 of them, which the key keeps) or a
// public key (*rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey). The id may be empty: such
// a key is for tokens that name none, or none that is known. With an empty algorithm it is
// for all of its family. The error wraps ErrKey.
func NewKey(id, algorithm string, material any) (Key, error) {
	k := Key{id: id, material: material}
	if len(id) > maxID {
		return Key{}, fmt.Errorf("%w: its id is longer than %d bytes", ErrKey, maxID)
	}
	var err error
	if k.algorithms, err = family(material); err != nil {
		return Key{}, err
	}
	if algorithm != "" {
		if !slices.Contains(k.algorithms, algorithm) {
			return Key{}, fmt.Errorf("%w: %q is not an algorithm of such a key; those are %s", ErrKey, algorithm, strings.Join(k.algorithms, ", "))
		}
		k.algorithms = []string{algorithm}
	}
	return k, nil
}

// family returns the algorithms that a key can be used with (RFC 7518 §3.1, RFC 8037 §3.1).
func family(material any) ([]string, error) {
	switch m := material.(type) {
	case []byte:
		if len(m) < minSecret {
			return nil, fmt.Errorf("%w: a secret has at least %d bytes, this one has %d", ErrKey, minSecret, len(m))
		}
		return []string{"HS256", "HS384", "HS512"}, nil
	case *rsa.PublicKey:
		if bits := m.N.BitLen(); bits < minRSA || bits > maxRSA {
			return nil, fmt.Errorf("%w: an RSA key has %d to %d bits, this one has %d", ErrKey, minRSA, maxRSA, bits)
		}
		if m.E < 3 || m.E > math.MaxInt32 || m.E%2 == 0 {
			return nil, fmt.Errorf("%w: the exponent of the RSA key is not a possible one", ErrKey)
		}
		return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}, nil
	case *ecdsa.PublicKey:
		switch name := m.Params().Name; name {
		case "P-256":
			return []string{"ES256"}, nil
		case "P-384":
			return []string{"ES384"}, nil
		case "P-521":
			return []string{"ES512"}, nil
		default:
			return nil, fmt.Errorf("%w: there is no algorithm for the curve %s", ErrKey, name)
		}
	case ed25519.PublicKey:
		if len(m) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("%w: an Ed25519 key has %d bytes", ErrKey, ed25519.PublicKeySize)
		}
		return []string{"EdDSA"}, nil
	}
	return nil, fmt.Errorf("%w: tokens are not signed with a %T", ErrKey, material)
}

// Algorithms are all that can be allowed. "none" is not among them.
var Algorithms = []string{
	"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
}

// ID returns the id of the key, empty if it has none.
func (k Key) ID() string { return k.id }

// String returns what may be printed.
func (k Key) String() string {
	return fmt.Sprintf("key %q for %s", k.id, strings.Join(k.algorithms, ", "))
}

// GoString keeps %#v from printing a secret.
func (k Key) GoString() string { return k.String() }

// LogValue keeps logs from printing a secret.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// symmetric reports whether the key is a secret.
func (k Key) symmetric() bool { _, is := k.material.([]byte); return is }

// ParseKeys reads keys as they stand in the configuration: public keys as PEM, or a list in
// the grammar of package pattern, whose entries are ID ALGORITHM KEY. An ID of "-" is none. KEY
// is, for HS256 to HS512, the secret itself, or "base64:" and the secret in base64; for other
// algorithms the public key in base64, as it stands in PEM between the first line and the last,
// joined. The error wraps ErrKey or one of package pattern.
func ParseKeys(text string) ([]Key, error) {
	var keys []Key
	var err error
	if strings.HasPrefix(strings.TrimSpace(text), "-----BEGIN") {
		keys, err = parsePEM(text)
	} else {
		keys, err = parseList(text)
	}
	if err == nil && len(keys) > MaxKeys {
		err = fmt.Errorf("%w: there are more than %d", ErrKey, MaxKeys)
	}
	if err != nil {
		return nil, err
	}
	return keys, nil
}

func parseList(text string) (keys []Key, _ error) {
	entries, err := pattern.Entries(text)
	if err != nil {
		return nil, err
	}
	for i, fields := range entries {
		if len(fields) != 3 {
			return nil, fmt.Errorf("%w: entry %d has %d fields; it is ID ALGORITHM KEY, odd characters percent-encoded", ErrKey, i+1, len(fields))
		}
		key, err := parseEntry(fields)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", i+1, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func parseEntry(fields []string) (Key, error) {
	id, err := pattern.Decode(fields[0])
	text, textErr := pattern.Decode(fields[2])
	if err != nil || textErr != nil { // the errors repeat the field
		return Key{}, fmt.Errorf("%w: a %% is followed by two hexadecimal digits", ErrKey)
	}
	if id == "-" {
		id = ""
	}
	algorithm := fields[1]
	if !slices.Contains(Algorithms, algorithm) {
		return Key{}, fmt.Errorf("%w: the algorithm is one of %s", ErrKey, strings.Join(Algorithms, ", "))
	}
	if !strings.HasPrefix(algorithm, "HS") {
		der, err := decode64(text)
		if err != nil {
			return Key{}, fmt.Errorf("%w: the public key is not in base64", ErrKey)
		}
		return parseDER(id, algorithm, der)
	}
	secret := []byte(text)
	if encoded, ok := strings.CutPrefix(text, "base64:"); ok {
		if secret, err = decode64(encoded); err != nil {
			return Key{}, fmt.Errorf("%w: the secret after base64: is not in base64", ErrKey)
		}
	}
	return NewKey(id, algorithm, secret)
}

// decode64 reads base64 of either alphabet, padded or not.
func decode64(text string) ([]byte, error) {
	text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	return base64.RawStdEncoding.DecodeString(text)
}

func parsePEM(text string) (keys []Key, _ error) {
	if len(text) > pattern.MaxText {
		return nil, pattern.ErrTooLong
	}
	rest := []byte(text)
	for len(strings.TrimSpace(string(rest))) > 0 {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, fmt.Errorf("%w: there is something in it that is not PEM", ErrKey)
		}
		if block.Type != "PUBLIC KEY" {
			return nil, fmt.Errorf("%w: there is PEM of another type in it than PUBLIC KEY", ErrKey)
		}
		key, err := parseDER("", "", block.Bytes)
		if err != nil {
			return nil, err
		}
		if keys = append(keys, key); len(keys) > MaxKeys {
			break
		}
	}
	return keys, nil
}

// parseDER makes a key from a SubjectPublicKeyInfo (RFC 5280 §4.1).
func parseDER(id, algorithm string, der []byte) (Key, error) {
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return Key{}, fmt.Errorf("%w: it is not a public key (SubjectPublicKeyInfo)", ErrKey)
	}
	return NewKey(id, algorithm, public)
}
