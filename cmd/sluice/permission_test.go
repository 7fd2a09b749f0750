//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/access/sign"
)

// The secrets of the tests, of which none may be printed anywhere.
const (
	publishKey, watchKey       = "S3CRETpublish", "S3CRETwatch"
	publishSecret, watchSecret = "S3CRETsignpublish", "S3CRETsignwatch"
	typedKey                   = "S3CRETtyped"
	tokenKey                   = "S3CRETtoken-0123456789-0123456789"
)

// permitted starts a service with permission, all that it prints at debug level in log.
func permitted(t *testing.T, log io.Writer, environ ...string) (*runningService, *process) {
	t.Helper()
	cfg, err := loadConfig(append([]string{
		"SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0", "SLUICE_PUBLISHER_GRACE=0", "SLUICE_LOG_LEVEL=debug",
	}, environ...))
	require.NoError(t, err)
	require.NoError(t, cfg.open(newLogger(log, "text", -4)))
	return startConfigured(t, floodTimeout, log, cfg)
}

// noSecrets fails if a secret was printed.
func noSecrets(t *testing.T, what string, printed []byte) {
	t.Helper()
	for line := range bytes.Lines(printed) {
		assert.NotContains(t, string(line), "S3CRET", what)
	}
}

// syncBuffer is a buffer for many writers.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// bytes returns what was written so far.
func (b *syncBuffer) bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.buf.Bytes())
}

// signed returns the query of a signed address.
func signed(role hub.Role, key hub.Key, secret string, expires time.Time) string {
	return fmt.Sprintf("expires=%d&sign=%s", expires.Unix(), sign.Sign(role, key, []byte(secret), expires.Unix(), netip.Addr{}))
}

// token returns a token with claims.
func tokenWith(t *testing.T, claims jwt.MapClaims) string {
	t.Helper()
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(tokenKey))
	require.NoError(t, err)
	return text
}

// Every method over every protocol: granted, missing, wrong, expired, of another role, of
// another stream. What is refused never begins, and no secret is printed.
func TestPermissionMethods(t *testing.T) {
	hour, past := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	cam := hub.Key{App: "live", Name: "cam"}
	other := hub.Key{App: "live", Name: "other"}
	good := tokenWith(t, jwt.MapClaims{"exp": hour.Unix(), "sub": "anna", "publish": "live/*", "watch": "live/cam"})
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"exp": hour.Unix(), "publish": "**", "watch": "**"}).
		SignedString(jwt.UnsafeAllowNoneSignatureType)
	require.NoError(t, err)
	for _, m := range []struct {
		name           string
		environ        []string
		publish, watch string   // queries that are granted
		bad            []string // and others that are not
	}{
		{
			"key", []string{
				"SLUICE_PUBLISH_AUTH=key", "SLUICE_PUBLISH_KEYS=live/* " + publishKey,
				"SLUICE_WATCH_AUTH=key", "SLUICE_WATCH_KEYS=live/cam " + watchKey + "; live/other x",
			},
			"key=" + publishKey, "key=" + watchKey,
			[]string{"", "key=wrong", "key=" + publishKey + "&key=" + watchKey, "key=S3CRET"},
		},
		{
			"sign", []string{
				"SLUICE_PUBLISH_AUTH=sign", "SLUICE_PUBLISH_SECRETS=** " + publishSecret,
				"SLUICE_WATCH_AUTH=sign", "SLUICE_WATCH_SECRETS=** old; ** " + watchSecret,
			},
			signed(hub.RolePublish, cam, publishSecret, hour), signed(hub.RoleWatch, cam, watchSecret, hour),
			[]string{
				"", "expires=1&sign=0", signed(hub.RoleWatch, cam, watchSecret, past), signed(hub.RolePublish, cam, publishSecret, past),
				signed(hub.RoleWatch, other, watchSecret, hour), signed(hub.RoleWatch, cam, watchSecret, hour) + "&bind=1",
			},
		},
		{
			"jwt", []string{"SLUICE_PUBLISH_AUTH=jwt", "SLUICE_WATCH_AUTH=jwt", "SLUICE_JWT_KEYS=- HS256 " + tokenKey},
			"token=" + good, "token=" + good,
			[]string{
				"", "token=x", "token=" + none,
				"token=" + tokenWith(t, jwt.MapClaims{"exp": past.Unix(), "publish": "**", "watch": "**"}),
				"token=" + tokenWith(t, jwt.MapClaims{"publish": "**", "watch": "**"}),
				"token=" + tokenWith(t, jwt.MapClaims{"exp": hour.Unix(), "publish": "live/x", "watch": "live/x"}),
			},
		},
		{
			"url", []string{"SLUICE_PUBLISH_AUTH=url", "SLUICE_WATCH_AUTH=url", "SLUICE_AUTH_URL=" + knowsKeys(t)},
			"key=" + publishKey, "key=" + watchKey,
			[]string{"", "key=wrong", "key=" + publishKey + "&key=" + watchKey},
		},
		{"none", []string{"SLUICE_PUBLISH_AUTH=none", "SLUICE_WATCH_AUTH=none"}, "-", "-", []string{"", "key=x"}},
	} {
		t.Run(m.name, func(t *testing.T) {
			log := new(syncBuffer)
			svc, p := permitted(t, log, append(m.environ, "SLUICE_AUTH_FAILURES=0")...)
			held := publishHere(t, svc, "cam")
			for _, a := range askers {
				queries := append([]string(nil), m.bad...)
				if a.role == hub.RolePublish {
					queries = append(queries, m.watch)
					if m.name == "jwt" { // whose token is for both
						queries = m.bad
					}
				} else if m.name != "jwt" {
					queries = append(queries, m.publish)
				}
				for _, query := range queries {
					client := a.ask(t, p, nil, "cam?"+query)
					answer, err := client.answer()
					require.NoError(t, err)
					assert.Contains(t, answer, a.denied, "%s with %q", a.protocol, query)
					client.Close()
				}
			}
			assert.Zero(t, svc.hub.Streams()[0].Viewers)
			for _, a := range askers {
				query := m.watch
				if query == "-" {
					continue
				}
				held.Close()
				until(t, "nobody is there", func() bool { return len(svc.hub.Sessions()) == 0 })
				if a.role == hub.RolePublish {
					query = m.publish
				} else {
					held = publishHere(t, svc, "cam")
				}
				client := a.ask(t, p, nil, "cam?"+query)
				answer, err := client.answer()
				require.NoError(t, err)
				assert.Equal(t, in, answer, a.protocol)
				client.Close()
			}
			svc.stop()
			noSecrets(t, "the log", log.bytes())
			assert.NotContains(t, string(log.bytes()), good)
		})
	}
}

// A stream key is typed as the name; what is published has the stream's name, and neither the
// key nor a mistyped one is seen by anybody.
func TestPermissionStreamKey(t *testing.T) {
	log := new(syncBuffer)
	svc, p := permitted(t, log, "SLUICE_PUBLISH_AUTH=streamkey", "SLUICE_STREAM_KEYS="+typedKey+" studio/cam")
	publish := askers[0]
	for name, want := range map[string]string{"S3CRETmistyped": publish.denied, "cam": publish.denied, typedKey: in} {
		client := publish.ask(t, p, nil, name)
		defer client.Close()
		answer, err := client.answer()
		require.NoError(t, err)
		assert.Contains(t, answer, want, name)
	}
	streams := svc.hub.Streams()
	require.Len(t, streams, 1)
	assert.Equal(t, "studio/cam", streams[0].App+"/"+streams[0].Name)
	_, list := p.get(t, "/api/v1/streams")
	noSecrets(t, "the list", list)
	svc.stop()
	noSecrets(t, "the log", log.bytes())
	assert.Contains(t, string(log.bytes()), "live/#")
}

// Secrets in files are read again when that is asked for; sessions that run go on.
func TestSecretsAreReadAgain(t *testing.T) {
	log := new(syncBuffer)
	file := filepath.Join(t.TempDir(), "keys")
	require.NoError(t, os.WriteFile(file, []byte("live/* "+watchKey+"1"), 0o600))
	environ := []string{
		"SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0", "SLUICE_WATCH_AUTH=key", "SLUICE_WATCH_KEYS_FILE=" + file,
	}
	svc, p := permitted(t, log, environ...)
	publishHere(t, svc, "cam")
	ask := func(key string) (*asked, string) {
		client := askers[2].ask(t, p, nil, "cam?key="+key)
		t.Cleanup(func() { client.Close() })
		answer, err := client.answer()
		require.NoError(t, err)
		return client, answer
	}
	_, answer := ask(watchKey + "1")
	assert.Equal(t, in, answer)
	require.NoError(t, os.WriteFile(file, []byte("live/* "+watchKey+"2"), 0o600))
	svc.reload(environ)
	_, answer = ask(watchKey + "1")
	assert.Contains(t, answer, "403")
	_, answer = ask(watchKey + "2")
	assert.Equal(t, in, answer)
	require.NoError(t, os.WriteFile(file, []byte("S3CRET broken entry"), 0o600))
	svc.reload(environ)
	_, answer = ask(watchKey + "2")
	assert.Equal(t, in, answer, "a broken file changes nothing")
	assert.Len(t, svc.hub.Sessions(), 4)
	svc.stop()
	noSecrets(t, "the log", log.bytes())
}

// operator is a client of the operators' API.
type operator struct {
	t    *testing.T
	addr string
}

func (o operator) do(method, path, body string) (int, map[string]any) {
	o.t.Helper()
	r, err := http.NewRequestWithContext(o.t.Context(), method, "http://"+o.addr+path, strings.NewReader(body))
	require.NoError(o.t, err)
	r.Header.Set("Authorization", "Bearer "+adminToken)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(r)
	require.NoError(o.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(o.t, err)
	noSecrets(o.t, "the API", text)
	answer := map[string]any{}
	if len(text) > 0 {
		require.NoError(o.t, json.Unmarshal(text, &answer), string(text))
	}
	return resp.StatusCode, answer
}

// An operator ends a publisher and a viewer, who may not come back at once; whoever is told of
// events learns of everything, in its order.
func TestOperatorKicks(t *testing.T) {
	var mu sync.Mutex
	var told []string
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var e struct{ Type, Stream string }
		assert.NoError(t, json.Unmarshal(body, &e))
		assert.NotContains(t, string(body), "S3CRET")
		assert.NotEmpty(t, r.Header.Get("webhook-signature"))
		mu.Lock()
		defer mu.Unlock()
		if e.Stream == "live/cam" {
			told = append(told, e.Type)
		}
	}))
	defer receiver.Close()
	log := new(syncBuffer)
	svc, p := permitted(t, log,
		"SLUICE_ADMIN_ADDR=127.0.0.1:0", "SLUICE_ADMIN_TOKEN="+adminToken, "SLUICE_STATE_DIR="+t.TempDir(),
		"SLUICE_PUBLISH_AUTH=key", "SLUICE_PUBLISH_KEYS=** "+publishKey, "SLUICE_WATCH_AUTH=key", "SLUICE_WATCH_KEYS=** "+watchKey,
		"SLUICE_EVENT_URL="+receiver.URL+"/?token=S3CRET", "SLUICE_EVENT_SECRET=S3CRETevent", "SLUICE_PUBLISHER_GRACE=1m")
	o := operator{t, svc.listeners.addr("admin")}
	join := func(a asker, want string) *asked {
		query := "cam?key=" + watchKey
		if a.role == hub.RolePublish {
			query = "cam?key=" + publishKey
		}
		client := a.ask(t, p, net.IPv4(127, 0, 0, 2), query)
		t.Cleanup(func() { client.Close() })
		answer, err := client.answer()
		require.NoError(t, err)
		assert.Contains(t, answer, want, a.protocol)
		return client
	}
	publisher := join(askers[0], in)
	status, answer := o.do(http.MethodGet, "/api/v1/sessions?role=publish", "")
	require.Equal(t, http.StatusOK, status)
	sessions := answer["sessions"].([]any)
	require.Len(t, sessions, 1)
	session := sessions[0].(map[string]any)
	assert.Equal(t, "live/cam", session["stream"])
	assert.Contains(t, session["subject"], "key:")
	status, answer = o.do(http.MethodDelete, fmt.Sprintf("/api/v1/sessions/%v", session["id"]), "")
	require.Equal(t, http.StatusOK, status, answer)
	publisher.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, err := io.Copy(io.Discard, publisher.reader)
	assert.NoError(t, err, "the connection is closed")
	join(askers[0], askers[0].denied) // it is back at once, as OBS is
	status, answer = o.do(http.MethodGet, "/api/v1/bans", "")
	require.Equal(t, http.StatusOK, status)
	require.Len(t, answer["bans"], 1)
	ban := answer["bans"].([]any)[0].(map[string]any)
	status, _ = o.do(http.MethodDelete, fmt.Sprintf("/api/v1/bans/%v", ban["id"]), "")
	assert.Less(t, status, 300)
	again := join(askers[0], in)
	defer again.Close()
	status, answer = o.do(http.MethodPost, "/api/v1/bans", `{"network":"127.0.0.2/32","role":"watch","reason":"spam"}`)
	require.Less(t, status, 300, answer)
	for _, a := range askers[1:] {
		join(a, a.denied)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		status, _ := p.get(t, path)
		assert.Equal(t, http.StatusOK, status)
	}
	status, answer = o.do(http.MethodGet, "/api/v1/info", "")
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, true, answer["ready"])
	until(t, "events are told", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(told) >= 5
	})
	mu.Lock()
	assert.Equal(t, []string{"publish", "kicked", "unpublish", "denied", "publish"}, told[:5])
	mu.Unlock()
	svc.stop()
	noSecrets(t, "the log", log.bytes())
}

// The public list shows nothing where watching needs permission.
func TestPublicList(t *testing.T) {
	for _, test := range []struct {
		environ []string
		private bool
	}{
		{nil, false},
		{[]string{"SLUICE_PUBLIC_LIST=false"}, true},
		{[]string{"SLUICE_WATCH_AUTH=key", "SLUICE_WATCH_KEYS=** x"}, true},
		{[]string{"SLUICE_WATCH_AUTH=key", "SLUICE_WATCH_KEYS=** x", "SLUICE_PUBLIC_LIST=true"}, false},
		{[]string{"SLUICE_DENY_WATCH=10.0.0.0/8"}, true},
	} {
		svc, p := permitted(t, io.Discard, test.environ...)
		publishHere(t, svc, "cam")
		_, list := p.get(t, "/api/v1/streams")
		assert.Equal(t, test.private, !bytes.Contains(list, []byte("live/cam")), "%v", test.environ)
		svc.stop()
	}
}

// Where the public is shown no recordings, operators are, and can keep and delete them.
func TestOperatorsListRecordings(t *testing.T) {
	dir := t.TempDir()
	svc, p := permitted(t, io.Discard, "SLUICE_PUBLIC_LIST=false", "SLUICE_RECORD_DIR="+dir,
		"SLUICE_ADMIN_ADDR=127.0.0.1:0", "SLUICE_ADMIN_TOKEN="+adminToken)
	o := operator{t, svc.listeners.addr("admin")}
	list := func() (recordings []any) {
		status, answer := o.do(http.MethodGet, "/api/v1/recordings?stream=live/*", "")
		require.Equal(t, http.StatusOK, status, answer)
		return answer["recordings"].([]any)
	}
	publisher := publishHere(t, svc, "cam")
	until(t, "it is recorded", func() bool { return len(list()) == 1 })
	publisher.Close()
	state := func() any { return list()[0].(map[string]any)["state"] }
	until(t, "it is finished", func() bool { return state() == "finished" })
	_, public := p.get(t, "/api/v1/recordings")
	assert.JSONEq(t, `{"recordings":[],"private":true}`, string(public))
	path := "/api/v1/recordings/live/cam/" + list()[0].(map[string]any)["id"].(string)
	status, _ := o.do(http.MethodPost, path+"/pin", "")
	assert.Equal(t, http.StatusNoContent, status)
	assert.Equal(t, true, list()[0].(map[string]any)["pinned"])
	status, _ = o.do(http.MethodDelete, path, "")
	assert.Equal(t, http.StatusNoContent, status)
	assert.Empty(t, list())
}

// That anybody may publish is told in one line, which is a warning on an address that others
// reach, also where a few are denied.
func TestOpenPublishingIsTold(t *testing.T) {
	const both = "SLUICE_PUBLISH_AUTH and SLUICE_WATCH_AUTH say who may"
	for _, c := range []struct {
		set  []string
		want string // "" for no line
	}{
		{nil, `level=WARN msg="anybody who reaches this server may publish and watch, until ` + both},
		{[]string{"SLUICE_DENY_PUBLISH=192.0.2.7"}, "level=WARN"},
		{[]string{"SLUICE_PUBLISH_AUTH=key open", "SLUICE_PUBLISH_KEYS=** " + publishKey}, "level=WARN"},
		{[]string{"SLUICE_WATCH_AUTH=none"}, `reaches this server may publish, until SLUICE_PUBLISH_AUTH says who may"`},
		{[]string{"SLUICE_ALLOW_PUBLISH=10.0.0.0/8"}, ""},
		{[]string{"SLUICE_PUBLISH_AUTH=none"}, ""},
		{[]string{"SLUICE_RTMP_ADDR=127.0.0.1:0"}, `level=INFO msg="anybody on this machine may publish and watch, until ` + both},
		{[]string{"SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_TRUSTED_PROXIES=127.0.0.1"}, "level=WARN"},
	} {
		cfg, err := loadConfig(c.set)
		require.NoError(t, err)
		log := new(syncBuffer)
		p, err := openPermission(&cfg, newLogger(log, "text", 0))
		require.NoError(t, err)
		p.tellOpen(&cfg, newLogger(log, "text", 0))
		if c.want == "" {
			assert.Empty(t, log.String(), "%v", c.set)
			continue
		}
		assert.Contains(t, log.String(), c.want, "%v", c.set)
		assert.Contains(t, log.String(), "SLUICE_PUBLISH_KEYS='** SECRET'")
		assert.Equal(t, 1, strings.Count(log.String(), "\n"))
	}
}

// A named pipe in place of a file of secrets is a mistake like others, and nothing waits for it.
func TestSecretFileIsNoPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	_, err := loadConfig([]string{"SLUICE_PUBLISH_AUTH=key", "SLUICE_PUBLISH_KEYS_FILE=" + path})
	assert.ErrorContains(t, err, "is not a file")
}
