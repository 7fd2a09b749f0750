package token

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub/pattern"
)

func derOf(t testing.TB, public any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	return der
}

func TestParseKeys(t *testing.T) {
	list, asPEM := "", ""
	for _, algorithm := range Algorithms {
		if s, ok := signerOf(algorithm).(crypto.Signer); ok {
			der := derOf(t, s.Public())
			list += fmt.Sprintf("%s %[1]s %s\n", algorithm, base64.StdEncoding.EncodeToString(der))
			asPEM += string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})) + "\n"
		}
	}
	keys, err := ParseKeys(list)
	require.NoError(t, err)
	require.Len(t, keys, len(Algorithms)-3)
	for i, k := range keys {
		assert.Equal(t, Algorithms[i+3], k.ID())
		assert.Equal(t, []string{k.ID()}, k.algorithms)
	}
	keys, err = ParseKeys("\n" + asPEM)
	require.NoError(t, err)
	require.Len(t, keys, len(Algorithms)-3)
	assert.Empty(t, keys[0].ID())
	assert.Len(t, keys[0].algorithms, 6, "an RSA key is for all of its family")

	raw := "p%20ss%3B" + strings.Repeat("x", 32)
	keys, err = ParseKeys("- HS256 " + raw + " ; a%20b HS512 base64:" + base64.RawURLEncoding.EncodeToString(hmacKey) + ";c HS384 base64:" + base64.StdEncoding.EncodeToString(hmacKey))
	require.NoError(t, err)
	require.Len(t, keys, 3)
	assert.Equal(t, "p ss;"+strings.Repeat("x", 32), string(keys[0].material.([]byte)))
	assert.Empty(t, keys[0].ID())
	assert.Equal(t, "a b", keys[1].ID())
	assert.Equal(t, hmacKey, keys[1].material)
	assert.Equal(t, hmacKey, keys[2].material)
	keys, err = ParseKeys(" \n")
	require.NoError(t, err)
	assert.Empty(t, keys)

	small, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	ecdhKey, err := ecdh.X25519().GenerateKey(rand.Reader)
	require.NoError(t, err)
	encode := base64.StdEncoding.EncodeToString
	rs := encode(derOf(t, keysOf()["RS"].Public()))
	const hidden = "hunter2"
	for text, want := range map[string]string{
		"a HS256":                   "2 fields",
		"a HS256 x y":               "4 fields",
		"a none x":                  "algorithm is one of",
		"a HS1 " + hidden:           "algorithm is one of",
		"a HS256 " + hidden:         "at least 32 bytes",
		"a HS256 base64:!" + hidden: "not in base64",
		"a HS256 base64:AAAA":       "at least 32 bytes",
		"a HS256 " + hidden + "%zz": "hexadecimal",
		"%zz HS256 " + hidden:       "hexadecimal",
		"a RS256 !":                 "not in base64",
		"a RS256 AAAA":              "SubjectPublicKeyInfo",
		"a ES256 " + rs:             "not an algorithm of such a key",
		"a RS256 " + rs + "AAAA":    "SubjectPublicKeyInfo",
		"a RS256 " + encode(derOf(t, &small.PublicKey)):                                    "2048 to 8192 bits",
		"a ES256 " + encode(derOf(t, &p224.PublicKey)):                                     "curve P-224",
		"a EdDSA " + encode(derOf(t, ecdhKey.PublicKey())):                                 "not signed with",
		strings.Repeat("k", maxID+1) + " HS256 " + strings.Repeat("x", 32):                 "longer than 256",
		strings.Repeat("a HS256 "+strings.Repeat("x", 32)+"\n", MaxKeys+1):                 "more than 100",
		"-----BEGIN PUBLIC KEY-----\nAAAA":                                                 "not PEM",
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte(hidden)})): "another type",
		string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte(hidden)})):  "SubjectPublicKeyInfo",
		asPEM + hidden:            "not PEM",
		strings.Repeat(asPEM, 12): "more than 100",
	} {
		keys, err := ParseKeys(text)
		require.ErrorIs(t, err, ErrKey, text)
		require.ErrorContains(t, err, want, text)
		assert.NotContains(t, err.Error(), hidden)
		assert.Nil(t, keys)
	}
	_, err = ParseKeys(strings.Repeat("x", pattern.MaxText+1))
	require.ErrorIs(t, err, pattern.ErrTooLong)
}

func TestNewKey(t *testing.T) {
	good := keysOf()["RS"].Public().(*rsa.PublicKey)
	for _, e := range []int{-3, 0, 1, 2, 65536, 1 << 31} {
		_, err := NewKey("", "", &rsa.PublicKey{N: good.N, E: e})
		require.ErrorIs(t, err, ErrKey, e)
	}
	for _, bits := range []uint{0, 2046, 8192} {
		_, err := NewKey("", "", &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), bits), E: 65537})
		require.ErrorIs(t, err, ErrKey, bits)
	}
	_, err := NewKey("", "", ed25519.PublicKey("short"))
	require.ErrorIs(t, err, ErrKey)
	_, err = NewKey("", "", keysOf()["Ed"])
	require.ErrorIs(t, err, ErrKey, "a private key")
	_, err = NewKey("", "", nil)
	require.ErrorIs(t, err, ErrKey)
}

func TestKeysPrintWithoutTheirSecret(t *testing.T) {
	k := keyOf(t, "id", "HS256")
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", k)
	for _, text := range []string{fmt.Sprint(k), fmt.Sprintf("%v %+v %#v %s %q", k, k, k, k, []Key{k}), fmt.Sprintf("%x", k), log.String()} {
		assert.NotContains(t, text, string(hmacKey[:8]))
		assert.NotContains(t, text, fmt.Sprintf("%x", hmacKey[:8]))
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add("- HS256 " + strings.Repeat("x", 32))
	f.Add("a RS256 " + base64.StdEncoding.EncodeToString(derOf(f, keysOf()["ES256"].Public())))
	f.Add(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: derOf(f, keysOf()["Ed"].Public())})))
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := ParseKeys(text)
		require.LessOrEqual(t, len(keys), MaxKeys)
		if err != nil {
			require.Nil(t, keys)
		}
		for _, k := range keys {
			require.NotEmpty(t, k.algorithms)
		}
	})
}
