package token

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/access"
)

var cam = hub.Key{App: "live", Name: "cam"}

// hmacKey is a secret of 32 bytes.
var hmacKey = []byte("0123456789abcdef0123456789abcdef")

// Keys of all families. They are made once: RSA takes its time.
var keysOf = sync.OnceValue(func() map[string]crypto.Signer {
	must := func(k crypto.Signer, err error) crypto.Signer {
		if err != nil {
			panic(err)
		}
		return k
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	ec := func(c elliptic.Curve) crypto.Signer {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		return must(k, err)
	}
	return map[string]crypto.Signer{
		"RS": must(rsaKey, err), "PS": rsaKey, "Ed": edKey,
		"ES256": ec(elliptic.P256()), "ES384": ec(elliptic.P384()), "ES512": ec(elliptic.P521()),
	}
})

// signerOf returns the key to sign with by an algorithm.
func signerOf(algorithm string) any {
	switch {
	case algorithm == "none":
		return jwt.UnsafeAllowNoneSignatureType
	case strings.HasPrefix(algorithm, "HS"):
		return hmacKey
	case strings.HasPrefix(algorithm, "ES"):
		return keysOf()[algorithm]
	}
	return keysOf()[algorithm[:2]]
}

// keyOf returns the key to verify with.
func keyOf(t testing.TB, id, algorithm string) Key {
	t.Helper()
	material := signerOf(algorithm)
	if s, ok := material.(crypto.Signer); ok {
		material = s.Public()
	}
	k, err := NewKey(id, algorithm, material)
	require.NoError(t, err)
	return k
}

type claims = jwt.MapClaims

// token signs claims, with further fields in the header.
func token(t testing.TB, algorithm string, c claims, header ...any) string {
	t.Helper()
	tok := jwt.NewWithClaims(jwt.GetSigningMethod(algorithm), c)
	for i := 0; i < len(header); i += 2 {
		if tok.Header[header[i].(string)] = header[i+1]; header[i+1] == nil {
			delete(tok.Header, header[i].(string))
		}
	}
	text, err := tok.SignedString(signerOf(algorithm))
	require.NoError(t, err)
	return text
}

// with returns claims of a good token for viewers, with others.
func with(other claims) claims {
	c := claims{"exp": time.Now().Add(time.Hour).Unix(), "watch": "live/*", "sub": "alice"}
	for name, v := range other {
		if c[name] = v; v == nil {
			delete(c, name)
		}
	}
	return c
}

// method returns one with keys of the configuration.
func method(t testing.TB, cfg Config, keys ...Key) *Method {
	t.Helper()
	cfg.Keys = func() []Key { return keys }
	m, err := New(cfg)
	require.NoError(t, err)
	return m
}

func decide(ctx context.Context, m *Method, role hub.Role, c hub.Client) (hub.Grant, error) {
	return m.Decide(ctx, new(hub.Hub).NewSession(role, cam, c))
}

// query is a client that shows a token behind the address.
func query(text string) hub.Client { return hub.Client{Query: url.Values{"token": {text}}} }

func TestEachAlgorithm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, algorithm := range Algorithms {
			text := token(t, algorithm, with(nil))
			g, err := decide(t.Context(), method(t, Config{}, keyOf(t, "", algorithm)), hub.RoleWatch, query(text))
			require.NoError(t, err, algorithm)
			assert.Equal(t, hub.Grant{Identity: `jwt:""alice`, Subject: "alice", Until: time.Now().Add(time.Hour)}, g)
			for _, other := range Algorithms {
				if other != algorithm {
					_, err = decide(t.Context(), method(t, Config{}, keyOf(t, "", other)), hub.RoleWatch, query(text))
					require.ErrorIs(t, err, access.ErrWrong, "a token of %s, a key for %s", algorithm, other)
					_, err = decide(t.Context(), method(t, Config{Algorithms: []string{other}}, keyOf(t, "", algorithm)), hub.RoleWatch, query(text))
					require.ErrorIs(t, err, access.ErrWrong, "a token of %s, while %s is allowed", algorithm, other)
				}
			}
		}
	})
}

func TestClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().Unix()
		strict := Config{Issuer: "me", Audience: "sluice", Leeway: 10 * time.Second}
		for _, tt := range []struct {
			name   string
			cfg    Config
			role   hub.Role
			claims claims
			want   error // nil for what no error of access is
			text   string
		}{
			{"right", Config{}, hub.RoleWatch, nil, nil, ""},
			{"array", Config{}, hub.RoleWatch, claims{"watch": []string{"x/y", "live/cam"}}, nil, ""},
			{"list", Config{}, hub.RoleWatch, claims{"watch": "x/y;**"}, nil, ""},
			{"publish", Config{}, hub.RolePublish, claims{"publish": "live/cam"}, nil, ""},
			{"issuer and audience", strict, hub.RoleWatch, claims{"iss": "me", "aud": []string{"x", "sluice"}}, nil, ""},
			{"within the leeway", strict, hub.RoleWatch, claims{"iss": "me", "aud": "sluice", "exp": now - 9, "nbf": now + 9}, nil, ""},
			{"a fraction", Config{}, hub.RoleWatch, claims{"exp": float64(now) + 1.5}, nil, ""},

			{"no publish", Config{}, hub.RolePublish, nil, nil, "does not allow to publish this stream"},
			{"no watch", Config{}, hub.RoleWatch, claims{"watch": nil}, nil, "does not allow to watch this stream"},
			{"empty", Config{}, hub.RoleWatch, claims{"watch": ""}, nil, "does not allow"},
			{"Watch", Config{}, hub.RoleWatch, claims{"watch": nil, "Watch": "**"}, nil, "does not allow"},
			{"taken out", Config{}, hub.RoleWatch, claims{"watch": []string{"**", "!live/cam"}}, nil, "does not allow"},
			{"other stream", Config{}, hub.RoleWatch, claims{"watch": "live/other"}, nil, "does not allow"},
			{"not a pattern", Config{}, hub.RoleWatch, claims{"watch": "live"}, nil, "not a pattern"},
			{"a number", Config{}, hub.RoleWatch, claims{"watch": 1}, nil, "not a pattern"},
			{"an array of numbers", Config{}, hub.RoleWatch, claims{"watch": []int{1}}, nil, "not a pattern"},
			{"true", Config{}, hub.RoleWatch, claims{"watch": true}, nil, "not a pattern"},
			{"not yet", Config{}, hub.RoleWatch, claims{"nbf": now + 1}, nil, "not valid yet"},

			{"expired", Config{}, hub.RoleWatch, claims{"exp": now}, access.ErrExpired, ""},
			{"after the leeway", strict, hub.RoleWatch, claims{"iss": "me", "aud": "sluice", "exp": now - 10}, access.ErrExpired, ""},
			{"expired, of another issuer", strict, hub.RoleWatch, claims{"iss": "you", "aud": "sluice", "exp": now - 10}, access.ErrWrong, ""},
			{"no exp", Config{}, hub.RoleWatch, claims{"exp": nil}, access.ErrWrong, "no exp"},
			{"exp 0", Config{}, hub.RoleWatch, claims{"exp": 0}, access.ErrWrong, "no exp"},
			{"exp in words", Config{}, hub.RoleWatch, claims{"exp": fmt.Sprint(now + 60)}, access.ErrWrong, ""},
			{"nbf in words", Config{}, hub.RoleWatch, claims{"nbf": "x"}, access.ErrWrong, ""},
			{"far away", Config{}, hub.RoleWatch, claims{"exp": int64(maxExpires + 1)}, access.ErrWrong, ""},
			{"another issuer", strict, hub.RoleWatch, claims{"iss": "you", "aud": "sluice"}, access.ErrWrong, ""},
			{"no issuer", strict, hub.RoleWatch, claims{"aud": "sluice"}, access.ErrWrong, ""},
			{"another audience", strict, hub.RoleWatch, claims{"iss": "me", "aud": "x"}, access.ErrWrong, ""},
			{"no audience", strict, hub.RoleWatch, claims{"iss": "me"}, access.ErrWrong, ""},
		} {
			g, err := decide(t.Context(), method(t, tt.cfg, keyOf(t, "", "HS256")), tt.role, query(token(t, "HS256", with(tt.claims))))
			switch {
			case tt.want != nil:
				require.ErrorIs(t, err, tt.want, tt.name)
				require.ErrorContains(t, err, tt.text, tt.name)
			case tt.text != "":
				require.ErrorContains(t, err, tt.text, tt.name)
				for _, e := range []error{access.ErrWrong, access.ErrExpired, access.ErrMissing} {
					require.NotErrorIs(t, err, e, tt.name)
				}
			default:
				require.NoError(t, err, tt.name)
				assert.True(t, g.Until.After(time.Now()), tt.name)
			}
		}
		for _, exp := range []string{"1e300", "-1e300", "9.3e18", "-1"} { // as Go writes no number
			text := forge(t, `{"alg":"HS256"}`, `{"watch":"**","exp":`+exp+`}`)
			_, err := decide(t.Context(), method(t, Config{}, keyOf(t, "", "HS256")), hub.RoleWatch, query(text))
			require.Error(t, err, exp)
		}
	})
}

// forge signs anything with HS256.
func forge(t testing.TB, header, payload string) string {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(header)) + "." + encode([]byte(payload))
	sum, err := jwt.SigningMethodHS256.Sign(text, hmacKey)
	require.NoError(t, err)
	return text + "." + encode(sum)
}

func TestIdentity(t *testing.T) {
	m := method(t, Config{}, keyOf(t, "", "ES256"), keyOf(t, "", "HS256"))
	of := func(text string) hub.Grant {
		g, err := decide(t.Context(), m, hub.RoleWatch, query(text))
		require.NoError(t, err)
		return g
	}
	a, b := of(token(t, "HS256", with(claims{"iss": "a"}))), of(token(t, "ES256", with(claims{"iss": "a", "exp": 4e9})))
	assert.Equal(t, a.Identity, b.Identity, "the same subject")
	assert.NotEqual(t, a.Identity, of(token(t, "HS256", with(claims{"iss": "aa", "sub": "lice"}))).Identity)
	long := of(token(t, "HS256", with(claims{"sub": strings.Repeat("ä", 999)})))
	assert.Equal(t, strings.Repeat("ä", maxSubject/2)+"…", long.Subject)

	for _, sub := range []string{"key:0123456789", "streamkey:x", "sign:x", "jwt:0123456789", "url:alice"} {
		assert.Equal(t, "jwt:"+sub, of(token(t, "HS256", with(claims{"sub": sub}))).Subject, "the subject of another method")
	}
	for _, sub := range []string{"key", "Key:x", "user:42", "auth0|x", "https://example.com/alice"} {
		assert.Equal(t, sub, of(token(t, "HS256", with(claims{"sub": sub}))).Subject)
	}

	nameless := with(claims{"sub": nil})
	one, other := of(token(t, "ES256", nameless)), of(token(t, "ES256", nameless))
	assert.Equal(t, one.Identity, other.Identity, "another signature of the same token")
	assert.Regexp(t, "^jwt:[0-9a-f]{64}$", one.Identity)
	assert.Regexp(t, "^jwt:[0-9a-f]{10}$", one.Subject)
	assert.NotEqual(t, one.Identity, of(token(t, "ES256", with(claims{"sub": nil, "x": 1}))).Identity)
}

func TestWhereATokenIsShown(t *testing.T) {
	good, bad := token(t, "HS256", with(nil)), token(t, "HS256", with(nil))+"A"
	m := method(t, Config{}, keyOf(t, "", "HS256"))
	for _, tt := range []struct {
		name   string
		client hub.Client
		want   error
	}{
		{"query", query(good), nil},
		{"header", hub.Client{Authorization: "Bearer " + good}, nil},
		{"header, another case", hub.Client{Authorization: "bearer  " + good}, nil},
		{"both: the query counts", hub.Client{Query: url.Values{"token": {good}}, Authorization: "Bearer x"}, nil},
		{"both: the query counts, wrong", hub.Client{Query: url.Values{"token": {bad}}, Authorization: "Bearer " + good}, access.ErrWrong},
		{"an empty query", hub.Client{Query: url.Values{"token": {""}}, Authorization: "Bearer " + good}, nil},
		{"nothing", hub.Client{}, access.ErrMissing},
		{"Basic", hub.Client{Authorization: "Basic " + good}, access.ErrMissing},
		{"no scheme", hub.Client{Authorization: good}, access.ErrMissing},
		{"Bearer alone", hub.Client{Authorization: "Bearer "}, access.ErrMissing},
		{"twice", hub.Client{Query: url.Values{"token": {good, good}}}, access.ErrWrong},
		{"too long", query(token(t, "HS256", with(claims{"x": strings.Repeat("x", MaxToken)}))), access.ErrWrong},
		{"1 MB", query(strings.Repeat("e", 1<<20)), access.ErrWrong},
		{"cut in the header", hub.Client{Authorization: "Bearer " + token(t, "HS256", with(claims{"x": strings.Repeat("x", maxHeader)}))}, access.ErrWrong},
	} {
		_, err := decide(t.Context(), m, hub.RoleWatch, tt.client)
		require.ErrorIs(t, err, tt.want, tt.name)
	}
}

// What somebody sends who has no key.
func TestForgeries(t *testing.T) {
	public := keysOf()["RS"].Public()
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	confused := func(secret []byte) string {
		text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, with(nil)).SignedString(secret)
		require.NoError(t, err)
		return text
	}
	good := token(t, "HS256", with(nil))
	parts := strings.Split(good, ".")
	m := method(t, Config{}, keyOf(t, "r", "RS256"), keyOf(t, "", "HS256"))
	encode := base64.RawURLEncoding.EncodeToString
	for name, text := range map[string]string{
		"none":                       token(t, "none", with(nil)),
		"None":                       encode([]byte(`{"alg":"None"}`)) + "." + parts[1] + ".",
		"no signature":               parts[0] + "." + parts[1] + ".",
		"the public key as a secret": confused(der),
		"its PEM as a secret":        confused(asPEM),
		"an empty secret":            confused([]byte{}),
		"the secret for a public id": token(t, "HS256", with(nil), "kid", "r"),
		"crit":                       token(t, "HS256", with(nil), "crit", []string{"exp"}, "exp", 1),
		"crit, empty":                token(t, "HS256", with(nil), "crit", nil, "crit", []string{}),
		"kid is a number":            token(t, "HS256", with(nil), "kid", 1),
		"kid is long":                token(t, "HS256", with(nil), "kid", strings.Repeat("k", maxID+1)),
		"alg is missing":             token(t, "HS256", with(nil), "alg", nil),
		"alg is a number":            token(t, "HS256", with(nil), "alg", 1),
		"alg is unknown":             token(t, "HS256", with(nil), "alg", "HS1"),
		"another payload":            parts[0] + "." + encode([]byte(`{"watch":"**","exp":9999999999}`)) + "." + parts[2],
		"padding":                    good + "=",
		"a space":                    good + " ",
		"four parts":                 good + ".x",
		"two parts":                  parts[0] + "." + parts[1],
		"JWE":                        good + ".a.b",
		"no JSON":                    forge(t, `{"alg":"HS256"`, `{}`),
		"an array":                   forge(t, `{"alg":"HS256"}`, `[]`),
		"null":                       forge(t, `{"alg":"HS256"}`, `null`),
		"null header":                forge(t, `null`, `{}`),
		"deep":                       forge(t, `{"alg":"HS256"}`, `{"watch":`+strings.Repeat("[", 5000)),
	} {
		_, err := decide(t.Context(), m, hub.RoleWatch, query(text))
		require.ErrorIs(t, err, access.ErrWrong, name)
	}
	_, err = decide(t.Context(), m, hub.RoleWatch, query(token(t, "HS256", with(nil), "jwk", "x", "jku", "https://evil", "x5u", "https://evil")))
	require.NoError(t, err, "keys that a token brings along are not looked at")
	_, err = decide(t.Context(), m, hub.RoleWatch, query(good[:len(good)-1]+string(good[len(good)-1]+1)))
	require.ErrorIs(t, err, access.ErrWrong, "bits that mean nothing are not changed")
	_, err = New(Config{Algorithms: []string{"RS256", "none"}})
	require.ErrorContains(t, err, `"none" is not an algorithm`)
}

// One of several keys is found by its id, and rotated.
func TestRotation(t *testing.T) {
	other, err := NewKey("new", "", []byte("fedcba9876543210fedcba9876543210"))
	require.NoError(t, err)
	m := method(t, Config{}, keyOf(t, "old", "HS256"), other)
	for id, want := range map[any]error{"old": nil, "new": access.ErrWrong, "x": access.ErrWrong, "": nil} {
		_, err := decide(t.Context(), m, hub.RoleWatch, query(token(t, "HS256", with(nil), "kid", id)))
		require.ErrorIs(t, err, want, "kid %q", id)
	}
	many := make([]Key, maxTried, maxTried+1)
	for i := range many {
		many[i] = other
	}
	_, err = decide(t.Context(), method(t, Config{}, append(many, keyOf(t, "", "HS256"))...), hub.RoleWatch, query(token(t, "HS256", with(nil))))
	require.ErrorIs(t, err, access.ErrWrong, "only so many are tried")
}

func FuzzDecide(f *testing.F) {
	m := method(f, Config{}, keyOf(f, "", "HS256"), keyOf(f, "e", "ES256"))
	good := forge(f, `{"alg":"HS256"}`, `{"watch":"**","exp":4000000000}`)
	for _, seed := range []string{good, good + "A", token(f, "ES256", claims{"exp": 4e9}, "kid", "e"), token(f, "none", claims{}), "..", "e30.e30."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		g, err := decide(t.Context(), m, hub.RoleWatch, query(text))
		if err == nil {
			require.Equal(t, good, text, "nobody guesses a signature, and a token has one way to be written")
		} else {
			require.Zero(t, g)
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	for _, algorithm := range []string{"HS256", "RS256", "ES256", "EdDSA"} {
		b.Run(algorithm, func(b *testing.B) {
			m := method(b, Config{Issuer: "me", Audience: "sluice"}, keyOf(b, "k", algorithm))
			s := new(hub.Hub).NewSession(hub.RoleWatch, cam, query(token(b, algorithm, with(claims{"iss": "me", "aud": "sluice"}), "kid", "k")))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.Decide(b.Context(), s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
