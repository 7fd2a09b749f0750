package jwks

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/access/token"
)

var encode = base64.RawURLEncoding.EncodeToString

type fields = map[string]any

// jwk describes a public key (RFC 7518 §6, RFC 8037 §2), with further fields.
func jwk(t testing.TB, public crypto.PublicKey, more fields) fields {
	t.Helper()
	var key fields
	switch k := public.(type) {
	case *rsa.PublicKey:
		key = fields{"kty": "RSA", "n": encode(k.N.Bytes()), "e": "AQAB"}
	case *ecdsa.PublicKey:
		point, err := k.Bytes() // 4, x, y
		require.NoError(t, err)
		half := (len(point) + 1) / 2
		key = fields{"kty": "EC", "crv": k.Params().Name, "x": encode(point[1:half]), "y": encode(point[half:])}
	case ed25519.PublicKey:
		key = fields{"kty": "OKP", "crv": "Ed25519", "x": encode(k)}
	case []byte:
		key = fields{"kty": "oct", "k": encode(k)}
	}
	for name, v := range more {
		key[name] = v
	}
	return key
}

func set(t testing.TB, keys ...any) []byte {
	t.Helper()
	text, err := json.Marshal(fields{"keys": keys})
	require.NoError(t, err)
	return text
}

func signers(t testing.TB) map[string]crypto.Signer {
	t.Helper()
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	es, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return map[string]crypto.Signer{"PS256": rs, "ES384": es, "EdDSA": ed}
}

// What is read verifies what was signed, by each kind of key.
func TestParse(t *testing.T) {
	all := signers(t)
	secret := []byte(strings.Repeat("s", 32))
	rs := all["PS256"].Public()
	document := set(t,
		jwk(t, rs, fields{"kid": "PS256", "use": "sig", "x5c": []string{"certificates are not looked at"}, "x5u": "http://192.0.2.1"}),
		jwk(t, all["ES384"].Public(), fields{"kid": "ES384", "alg": "ES384", "key_ops": []string{"verify"}, "d": "AAAA"}),
		jwk(t, all["EdDSA"].Public(), fields{"kid": "EdDSA", "unknown": fields{}}),
		jwk(t, secret, fields{"kid": "HS256"}),
		// Those that are left out:
		jwk(t, rs, fields{"use": "enc"}), jwk(t, rs, fields{"key_ops": []string{"encrypt"}}), jwk(t, rs, fields{"alg": "RSA-OAEP"}),
		jwk(t, rs, fields{"alg": "ES384"}), jwk(t, rs, fields{"alg": "none"}), jwk(t, rs, fields{"e": "AA"}), jwk(t, rs, fields{"n": "AQAB"}),
		jwk(t, rs, fields{"kty": "XYZ"}), jwk(t, rs, fields{"kid": 7}), jwk(t, rs, fields{"n": "!"}),
		jwk(t, all["ES384"].Public(), fields{"crv": "P-256"}), jwk(t, all["ES384"].Public(), fields{"x": "AA", "y": "AA"}),
		jwk(t, all["ES384"].Public(), fields{"x": encode([]byte(strings.Repeat("\xff", 5000)))}),
		jwk(t, all["EdDSA"].Public(), fields{"crv": "X25519"}), jwk(t, all["EdDSA"].Public(), fields{"x": "AA"}),
		jwk(t, []byte("short"), nil), nil, 7, fields{},
	)
	keys, skipped, err := Parse(document, false)
	require.NoError(t, err)
	require.Len(t, keys, 3, "a secret that a server shows is none")
	assert.Equal(t, 20, skipped)
	keys, skipped, err = Parse(document, true)
	require.NoError(t, err)
	require.Len(t, keys, 4)
	assert.Equal(t, 19, skipped)

	m, err := token.New(token.Config{Keys: func() []token.Key { return keys }})
	require.NoError(t, err)
	for _, key := range keys {
		signer, ok := any(secret), true
		if key.ID() != "HS256" {
			signer, ok = all[key.ID()]
		}
		require.True(t, ok)
		tok := jwt.NewWithClaims(jwt.GetSigningMethod(key.ID()), jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix(), "watch": "**"})
		tok.Header["kid"] = key.ID()
		text, err := tok.SignedString(signer)
		require.NoError(t, err)
		s := new(hub.Hub).NewSession(hub.RoleWatch, hub.Key{App: "live", Name: "cam"}, hub.Client{Query: url.Values{"token": {text}}})
		_, err = m.Decide(t.Context(), s)
		require.NoError(t, err, key)
	}
}

func TestBadSets(t *testing.T) {
	ed := jwk(t, signers(t)["EdDSA"].Public(), nil)
	many := make([]any, token.MaxKeys+1)
	for i := range many {
		many[i] = ed
	}
	for name, document := range map[string][]byte{
		"not JSON":     []byte("<html>hunter2</html>"),
		"an array":     []byte("[]"),
		"no keys":      []byte("{}"),
		"keys is text": []byte(`{"keys":"hunter2"}`),
		"none":         set(t),
		"none usable":  set(t, jwk(t, []byte(strings.Repeat("s", 32)), nil)),
		"many":         set(t, many...),
		"large":        []byte(`{"keys":[],"x":"` + strings.Repeat("x", MaxSize) + `"}`),
	} {
		keys, _, err := Parse(document, false)
		require.ErrorIs(t, err, ErrSet, name)
		assert.Empty(t, keys)
		assert.NotContains(t, err.Error(), "hunter2")
	}
}

func TestParseKeys(t *testing.T) {
	ed := jwk(t, signers(t)["EdDSA"].Public(), fields{"kid": "a"})
	keys, err := ParseKeys(" \n" + string(set(t, ed)))
	require.NoError(t, err)
	require.Len(t, keys, 1)
	keys, err = ParseKeys("b HS256 " + strings.Repeat("s", 32))
	require.NoError(t, err)
	assert.Equal(t, `[key "b" for HS256]`, fmt.Sprint(keys))
	_, err = ParseKeys(string(set(t, ed, fields{"kty": "RSA"})))
	require.ErrorContains(t, err, "1 of its keys")
	_, err = ParseKeys("x")
	require.ErrorIs(t, err, token.ErrKey)
}

func FuzzParse(f *testing.F) {
	for _, s := range signers(f) {
		f.Add(set(f, jwk(f, s.Public(), fields{"kid": "a"})))
	}
	f.Add(set(f, jwk(f, []byte(strings.Repeat("s", 32)), nil), 7))
	f.Fuzz(func(t *testing.T, document []byte) {
		keys, skipped, err := Parse(document, true)
		require.LessOrEqual(t, len(keys)+skipped, token.MaxKeys)
		require.Equal(t, err == nil, len(keys) > 0)
	})
}
