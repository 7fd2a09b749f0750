//go:build unix

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv/amf"
	"sluice/hub"
)

// issuer signs tokens, with a key of each kind.
type issuer struct {
	rsa   *rsa.PrivateKey
	ecdsa *ecdsa.PrivateKey
}

func newIssuer(t *testing.T) *issuer {
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return &issuer{r, e}
}

func base64Int(i *big.Int) string { return base64.RawURLEncoding.EncodeToString(i.Bytes()) }

// document is its key set.
func (i *issuer) document() string {
	point, _ := i.ecdsa.PublicKey.Bytes()
	b64 := base64.RawURLEncoding.EncodeToString
	return fmt.Sprintf(`{"keys":[{"kty":"RSA","kid":"r","alg":"RS256","n":%q,"e":%q},{"kty":"EC","kid":"e","alg":"ES256","crv":"P-256","x":%q,"y":%q},`+
		`{"kty":"oct","kid":"o","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}`,
		base64Int(i.rsa.N), base64Int(big.NewInt(int64(i.rsa.E))), b64(point[1:33]), b64(point[33:]))
}

// sign returns a token.
func (i *issuer) sign(t *testing.T, kid string, claims jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	token.Header["kid"] = kid
	text, err := token.SignedString(i.ecdsa)
	require.NoError(t, err)
	return text
}

// everything are claims for all streams.
func everything(exp any) jwt.MapClaims {
	return jwt.MapClaims{"exp": exp, "sub": "mallory", "publish": "**", "watch": "**"}
}

// forge returns a token with any header and any signature.
func forge(header, claims any, sign func(signed string) []byte) string {
	part := func(v any) string {
		text, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	signed := part(header) + "." + part(claims)
	return signed + "." + base64.RawURLEncoding.EncodeToString(sign(signed))
}

func hmacWith(key []byte) func(string) []byte {
	return func(signed string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(signed))
		return h.Sum(nil)
	}
}

// forgeries returns tokens that must not pass, by what is wrong with them.
func (i *issuer) forgeries(t *testing.T, attacker string) map[string]string {
	t.Helper()
	hour := time.Now().Add(time.Hour).Unix()
	claims := everything(hour)
	good := i.sign(t, "e", claims)
	der, err := x509.MarshalPKIXPublicKey(&i.rsa.PublicKey)
	require.NoError(t, err)
	forged := map[string]string{
		"signature cut off": good[:strings.LastIndexByte(good, '.')+1],
		"signature changed": good[:len(good)-4] + "AAAA",
		"five parts":        good + ".x.y",
		"two parts":         good[:strings.LastIndexByte(good, '.')],
		"padded":            good + "==",
		"no exp":            i.sign(t, "e", jwt.MapClaims{"publish": "**", "watch": "**"}),
		"exp is text":       i.sign(t, "e", everything("9999999999")),
		"exp is too large":  i.sign(t, "e", everything(1e300)),
		"expired":           i.sign(t, "e", everything(time.Now().Add(-time.Hour).Unix())),
		"not yet":           i.sign(t, "e", jwt.MapClaims{"exp": hour, "nbf": hour - 60, "publish": "**", "watch": "**"}),
		"another stream":    i.sign(t, "e", jwt.MapClaims{"exp": hour, "publish": "live/x", "watch": "live/x"}),
		"no stream":         i.sign(t, "e", jwt.MapClaims{"exp": hour}),
		"claims of no form": i.sign(t, "e", jwt.MapClaims{"exp": hour, "publish": map[string]any{"x": 1}, "watch": []any{[]any{"**"}}}),
		"another issuer's":  newIssuer(t).sign(t, "e", claims),
		"HMAC, empty key":   forge(map[string]any{"alg": "HS256", "kid": "o"}, claims, hmacWith(nil)),
		"HMAC, oct":         forge(map[string]any{"alg": "HS256", "kid": "o"}, claims, hmacWith(make([]byte, 32))),
		"kid is a number":   forge(map[string]any{"alg": "ES256", "kid": 1}, claims, hmacWith(nil)),
		"kid is a path":     forge(map[string]any{"alg": "HS256", "kid": "../../../../dev/null"}, claims, hmacWith(nil)),
		"kid is long":       forge(map[string]any{"alg": "ES256", "kid": strings.Repeat("k", 1500)}, claims, hmacWith(nil)),
		"critical":          forge(map[string]any{"alg": "ES256", "kid": "e", "crit": []string{"x"}}, claims, hmacWith(nil)),
		"keys elsewhere": forge(map[string]any{"alg": "RS256", "kid": "mine", "jku": attacker, "x5u": attacker}, claims,
			func(string) []byte { return make([]byte, 256) }),
		"key in the token": forge(map[string]any{"alg": "HS256", "jwk": map[string]any{"kty": "oct", "k": "AAAA"}}, claims, hmacWith(make([]byte, 3))),
	}
	for _, none := range []string{"none", "None", "NONE", "nOnE", ""} {
		for _, kid := range []string{"", "e", "r"} {
			forged["alg "+none+kid] = forge(map[string]any{"alg": none, "kid": kid}, claims, func(string) []byte { return nil })
		}
	}
	for name, key := range map[string][]byte{ // RS256 for HS256, in each form that the key is known in
		"PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "DER": der, "modulus": i.rsa.N.Bytes(),
		"base64": []byte(base64Int(i.rsa.N)), "PKCS 1": x509.MarshalPKCS1PublicKey(&i.rsa.PublicKey), "set": []byte(i.document()),
	} {
		for _, alg := range []string{"HS256", "HS384", "RS256"} {
			forged[alg+" with the public key as "+name] = forge(map[string]any{"alg": alg, "kid": "r"}, claims, hmacWith(key))
		}
	}
	return forged
}

// No forged token passes, over no protocol, and nobody is asked whom it names.
func TestPermissionForgedTokens(t *testing.T) {
	attacker := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("an address in a token was asked") }))
	defer attacker.Close()
	i, log := newIssuer(t), new(syncBuffer)
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, i.document()) }))
	defer keys.Close()
	svc, p := permitted(t, log, "SLUICE_PUBLISH_AUTH=jwt", "SLUICE_WATCH_AUTH=jwt", "SLUICE_JWT_JWKS_URL="+keys.URL+"/?token=S3CRETkeys",
		"SLUICE_AUTH_FAILURES=0")
	publishHere(t, svc, "cam")
	good := i.sign(t, "e", everything(time.Now().Add(time.Hour).Unix()))
	until(t, "the keys are there", func() bool { return svc.permission.remote.State().Keys == 2 })
	allAnswered(t, askAll(t, p, "token="+good), true)
	until(t, "the publisher has left", func() bool { return !svc.hub.Live(hub.Key{App: "live", Name: "new"}) })
	before := svc.hub.Totals()
	forged := i.forgeries(t, attacker.URL)
	for what, token := range forged {
		t.Run(what, func(t *testing.T) { allAnswered(t, askAll(t, p, "token="+token), false) })
	}
	for what, query := range map[string]string{
		"two": "token=" + good + "&token=" + good, "a good one and a forged one": "token=" + good + "&token=" + forged["no exp"],
		"another case": "TOKEN=" + good, "an array": "token[]=" + good,
	} {
		t.Run(what, func(t *testing.T) { allAnswered(t, askAll(t, p, query), false) })
	}
	t.Run("the query counts", func(t *testing.T) {
		status := statusOf(t, nil, p.http, "GET /live/cam.flv?token="+forged["no exp"]+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+good+"\r\n\r\n")
		assert.Equal(t, http.StatusForbidden, status)
	})
	t.Run("two headers", func(t *testing.T) {
		status := statusOf(t, nil, p.http, "GET /live/cam.flv HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+forged["no exp"]+
			"\r\nAuthorization: Bearer "+good+"\r\n\r\n")
		assert.Equal(t, http.StatusForbidden, status)
	})
	for n, sum := range svc.hub.Totals() {
		assert.Equal(t, before[n].Begun, sum.Begun)
	}
	svc.stop()
	noSecrets(t, "the log", log.bytes())
	assert.NotContains(t, string(log.bytes()), good)
	for what, token := range forged {
		assert.NotContains(t, string(log.bytes()), token, what)
	}
}

// A token of 1 MB is refused wherever it stands, before anything is kept of it.
func TestPermissionHugeTokens(t *testing.T) {
	log := new(syncBuffer)
	svc, p := permitted(t, log, "SLUICE_PUBLISH_AUTH=jwt", "SLUICE_WATCH_AUTH=jwt", "SLUICE_JWT_KEYS=- HS256 "+tokenKey)
	publishHere(t, svc, "cam")
	const part = "S3CRET0123456789"
	for _, size := range []int{5 << 10, 9 << 10, 40 << 10, 1 << 20} {
		huge := strings.Repeat(part, size/len(part))
		for where, request := range map[string]string{
			"query":         "GET /live/cam.flv?token=" + huge + " HTTP/1.1\r\nHost: x\r\n\r\n",
			"Authorization": "GET /live/cam.flv HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + huge + "\r\n\r\n",
			"path":          "GET /live/" + strings.Repeat("x", size) + ".flv HTTP/1.1\r\nHost: x\r\n\r\n",
			"WebSocket": "GET /live/cam.flv?token=" + huge + " HTTP/1.1\r\nHost: x\r\n" + upgradeLines +
				"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		} {
			// A reset may have taken the answer away. The upgrade comes before the refusal.
			status := statusOf(t, nil, p.http, request)
			assert.True(t, status == 0 || status/100 == 4 || where == "WebSocket" && status == 101, "%s of %d bytes: %d", where, size, status)
		}
		for where, connect := range map[string]amf.Object{
			"name":  {{Name: "app", Value: "live"}, {Name: "tcUrl", Value: "rtmp://x/live"}},
			"app":   {{Name: "app", Value: "live?token=" + huge}, {Name: "tcUrl", Value: "rtmp://x/live"}},
			"tcUrl": {{Name: "app", Value: "live"}, {Name: "tcUrl", Value: "rtmp://x/live?token=" + huge}},
		} {
			for _, command := range []string{"publish", "play"} {
				name := "cam"
				if where == "name" {
					name += "?token=" + huge
				}
				code := rtmpAnswer(t, p, connect, command, name)
				assert.NotContains(t, code, "Start", "%s of %d bytes in %s", command, size, where)
			}
		}
	}
	until(t, "nobody is left", func() bool { return svc.admission.Figures().Open == 0 })
	assert.Len(t, svc.hub.Sessions(), 1)
	svc.stop()
	noSecrets(t, "the log", log.bytes())
}

// rtmpAnswer returns the first code that an RTMP client is told which connects and then
// publishes or plays, or what else becomes of it.
func rtmpAnswer(t *testing.T, p *process, connect amf.Object, command, name string) string {
	t.Helper()
	conn := dialFrom(t, nil, p.rtmp)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	c, err := connectRawWith(conn, true, connect)
	if err != nil {
		return err.Error()
	}
	c.command(1, command, 0.0, nil, name, "live")
	for {
		m, err := c.next()
		if err != nil {
			return err.Error()
		}
		if code := m.code(); code != "" && code != "NetStream.Play.Reset" {
			return code
		}
	}
}

// A server of keys that is flooded for is asked once in ten seconds, and one that hangs, or sends
// without an end, holds up only who needs it.
func TestPermissionKeyFloods(t *testing.T) {
	i := newIssuer(t)
	hour := time.Now().Add(time.Hour).Unix()
	var poured atomic.Int64
	length := func(text string) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	}
	for _, test := range []struct {
		name  string
		serve func(net.Conn)
		known bool // a token with a known key passes
	}{
		{"well", says(length(i.document())), true},
		{"hangs", hangs, false},
		{"drips", drips("HTTP/1.1 200 OK\r\n\r\n", " "), false},
		{"huge", pours("HTTP/1.1 200 OK\r\n\r\n", 1<<30, poured.Store), false},
		{"too many keys", says(length(`{"keys":[` + strings.Repeat(`{},`, 20_000) + `{}]}`)), false},
		{"deep", says(length(`{"keys":` + strings.Repeat("[", 500_000))), false},
		{"redirects", says("HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:1/\r\n\r\n"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // two of them take five seconds
			server, log := newBadServer(t, test.serve), new(syncBuffer)
			began := time.Now()
			svc, p := permitted(t, log, "SLUICE_PUBLISH_AUTH=jwt key", "SLUICE_WATCH_AUTH=jwt key", "SLUICE_JWT_JWKS_URL="+server.url(),
				"SLUICE_PUBLISH_KEYS=** "+publishKey, "SLUICE_WATCH_KEYS=** "+watchKey)
			publishHere(t, svc, "cam")
			if test.known {
				until(t, "the keys are there", func() bool { return svc.permission.remote.State().Keys > 0 })
			}
			var flooding sync.WaitGroup
			for n := range 200 {
				flooding.Go(func() {
					a, token := askers[n%len(askers)], i.sign(t, fmt.Sprint("unknown", n), everything(hour))
					client := a.ask(t, p, net.IPv4(127, 0, 1, byte(n+1)), fmt.Sprintf("%s?token=%s", map[hub.Role]string{
						hub.RolePublish: fmt.Sprint("new", n), hub.RoleWatch: "cam"}[a.role], token))
					defer client.Close()
					answer, err := client.answer()
					assert.NoError(t, err)
					assert.Contains(t, answer, a.denied, a.protocol)
				})
			}
			client := askers[2].ask(t, p, nil, "cam?key="+watchKey+"&token="+i.sign(t, "e", everything(hour)))
			defer client.Close()
			answer, err := client.answer() // amid the flood, by the other method if need be
			require.NoError(t, err)
			assert.Equal(t, in, answer)
			flooding.Wait()
			if test.known {
				client := askers[2].ask(t, p, nil, "cam?token="+i.sign(t, "e", everything(hour)))
				defer client.Close()
				answer, err := client.answer()
				require.NoError(t, err)
				assert.Equal(t, in, answer)
			}
			took := time.Since(began)
			total := server.connections()
			assert.LessOrEqual(t, total, 1+int(took/(10*time.Second)), "the server of keys was asked too often")
			svc.stop()
			server.close()
			assert.Less(t, poured.Load(), int64(32<<20))
			noSecrets(t, "the log", log.bytes())
			t.Logf("%d times asked in %v", total, took.Round(time.Millisecond))
		})
	}
}
