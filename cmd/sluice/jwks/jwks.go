// Package jwks reads JSON Web Key Sets (RFC 7517) for package token. It is no part of that
// because the module that parses keys brings net/http along, which nothing below hub may know.
package jwks

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/MicahParks/jwkset"

	"sluice/hub/access/token"
)

// MaxSize bounds a key set, in bytes.
const MaxSize = 1 << 20

// ErrSet is wrapped by all that can be wrong with a key set. Such errors do not repeat keys.
var ErrSet = errors.New("not a JSON Web Key Set")

// Parse reads a key set. Keys that are for something else than to verify tokens, or of a kind
// that is not known, are left out, as RFC 7517 §5 wants it; skipped says how many. With secrets
// they count too ("oct"); without, they are left out, since what a server shows to everybody is
// none. Of a private key the public half is taken. The error wraps ErrSet.
func Parse(document []byte, secrets bool) (keys []token.Key, skipped int, err error) {
	if len(document) > MaxSize {
		return nil, 0, fmt.Errorf("%w: it is longer than %d bytes", ErrSet, MaxSize)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(document, &set); err != nil {
		return nil, 0, fmt.Errorf("%w: it is not JSON of that form", ErrSet)
	}
	if len(set.Keys) > token.MaxKeys {
		return nil, 0, fmt.Errorf("%w: it has more than %d keys", ErrSet, token.MaxKeys)
	}
	for _, raw := range set.Keys {
		if key, ok := parseKey(raw, secrets); ok {
			keys = append(keys, key)
		} else {
			skipped++
		}
	}
	if len(keys) == 0 {
		return nil, skipped, fmt.Errorf("%w: none of its %d keys is one to verify tokens with", ErrSet, skipped)
	}
	return keys, skipped, nil
}

func parseKey(raw json.RawMessage, secrets bool) (token.Key, bool) {
	var m jwkset.JWKMarshal
	if json.Unmarshal(raw, &m) != nil || m.USE != "" && m.USE != jwkset.UseSig || !verifies(m.KEYOPS) {
		return token.Key{}, false
	}
	secret := m.KTY == jwkset.KtyOct
	if secret && !secrets {
		return token.Key{}, false
	}
	// Certificates are not looked at: nobody would fetch them, or judge who has issued them.
	m.X5U, m.X5C, m.X5T, m.X5TS256 = "", nil, "", ""
	jwk, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{Private: secret}, jwkset.JWKValidateOptions{SkipAll: true})
	if err != nil {
		return token.Key{}, false
	}
	key, err := token.NewKey(m.KID, string(m.ALG), jwk.Key())
	return key, err == nil
}

// verifies reports whether a key with such operations verifies signatures (RFC 7517 §4.3).
func verifies(operations []jwkset.KEYOPS) bool {
	for _, o := range operations {
		if o == jwkset.KeyOpsVerify {
			return true
		}
	}
	return len(operations) == 0
}

// ParseKeys reads keys as they stand in the configuration: a key set, or what token.ParseKeys
// reads. In a key set of one's own each key must be usable.
func ParseKeys(text string) ([]token.Key, error) {
	if !strings.HasPrefix(strings.TrimSpace(text), "{") {
		return token.ParseKeys(text)
	}
	keys, skipped, err := Parse([]byte(text), true)
	if err == nil && skipped > 0 {
		err = fmt.Errorf("%w: %d of its keys are not ones to verify tokens with", ErrSet, skipped)
	}
	if err != nil {
		return nil, err
	}
	return keys, nil
}
