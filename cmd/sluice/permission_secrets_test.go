//go:build unix

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
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

	"sluice/flv/amf"
	"sluice/hub"
)

// secretsServer is the program with every secret that it may have, those who are told what
// happens, and all that they were told.
type secretsServer struct {
	process
	admin          string
	stdout, stderr *output
	told           *syncBuffer // bodies of events
	ranFile        string      // what programs are given: input and environment
	state, recs    string      // folders
}

// startSecrets starts the program at debug level.
func startSecrets(t *testing.T) *secretsServer {
	s := &secretsServer{
		stdout: newOutput(), stderr: newOutput(), told: new(syncBuffer), state: filepath.Join(t.TempDir(), "state"), recs: t.TempDir(),
	}
	var failed sync.Map
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.told.Write(append(body, '\n'))
		fmt.Fprintf(s.told, "%s %s\n", r.Header.Get("webhook-id"), r.Header.Get("webhook-signature"))
		if _, again := failed.LoadOrStore(r.Header.Get("webhook-id"), true); !again && bytes.Contains(body, []byte(`"denied"`)) {
			http.Error(w, "S3CRETanswer", http.StatusInternalServerError) // so that it is told again
		}
	}))
	t.Cleanup(endpoint.Close)
	asked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Query   map[string][]string
			Session struct{ Role string }
		}
		body, _ := io.ReadAll(r.Body)
		json.Unmarshal(body, &q)
		switch who := strings.Join(q.Query["who"], ""); who {
		case "S3CRETgranted":
			io.WriteString(w, `{"allow": true, "identity": "S3CRETidentity", "subject": "anna"}`)
		case "S3CRETbroken":
			io.WriteString(w, "<html>"+who)
		default:
			fmt.Fprintf(w, `{"allow": false, "reason": %q}`, "no, "+who+" may not")
		}
	}))
	t.Cleanup(asked.Close)
	keys := newBadServer(t, says("HTTP/1.1 200 OK\r\n\r\nS3CRET is no key set"))
	folder := t.TempDir()
	s.ranFile = filepath.Join(folder, "ran")
	script := filepath.Join(folder, "script")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\n{ cat; env; } >>"+s.ranFile+"\n"), 0o700))
	secretURL := func(u string) string {
		return strings.Replace(u, "http://", "http://S3CRETuser:S3CRETpassword@", 1) + "/S3CRETpath?t=S3CRETq"
	}
	watchFile := filepath.Join(folder, "watch-keys")
	require.NoError(t, os.WriteFile(watchFile, []byte("** "+watchKey), 0o600))
	cmd := command(t, "SLUICE_LOG_LEVEL=debug", "SLUICE_STATE_DIR="+s.state, "SLUICE_RECORD_DIR="+s.recs, "SLUICE_RECORD_MIN_FREE=0",
		"SLUICE_PUBLISH_AUTH=key streamkey sign jwt url", "SLUICE_WATCH_AUTH=key sign jwt url", "SLUICE_PUBLISH_KEYS=** "+publishKey,
		"SLUICE_WATCH_KEYS_FILE="+watchFile, "SLUICE_STREAM_KEYS="+typedKey+" studio/cam", "SLUICE_PUBLISH_SECRETS=** "+publishSecret,
		"SLUICE_WATCH_SECRETS=** "+watchSecret, "SLUICE_SIGN_FORMATS=sluice tencent aliyun", "SLUICE_JWT_JWKS_URL="+keys.url(),
		"SLUICE_AUTH_URL="+secretURL(asked.URL), "SLUICE_EVENT_URL="+secretURL(endpoint.URL), "SLUICE_EVENT_SECRET=S3CRETevents S3CRETevents2",
		"SLUICE_EVENT_EXEC="+script, "SLUICE_EVENT_UPDATE=100ms", "SLUICE_ADMIN_ADDR=127.0.0.1:0", "SLUICE_ADMIN_TOKEN="+adminToken,
		"SLUICE_METRICS_TOKEN="+scraperToken, "SLUICE_METRICS_STREAMS=1000", "SLUICE_PUBLIC_LIST=true", "SLUICE_VIEWER_WAIT=200ms", "SLUICE_PUBLISHER_GRACE=200ms", "SLUICE_AUTH_FAILURES=1000/1s")
	cmd.Stdout, cmd.Stderr = s.stdout, s.stderr
	require.NoError(t, cmd.Start())
	s.cmd = cmd
	t.Cleanup(func() { cmd.Process.Kill() })
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.stderr.String())
		}
	})
	s.rtmp = s.stdout.find(t, `rtmp://[^:\s]+(:\d+)`)[1]
	s.http = s.stdout.find(t, `http://[^:\s]+(:\d+)/`)[1]
	s.rtmp, s.http = "127.0.0.1"+s.rtmp, "127.0.0.1"+s.http
	s.admin = s.stdout.find(t, `Operators http://(127\.0\.0\.1:\d+)/`)[1]
	return s
}

// queries are what clients show, granted and refused.
func secretQueries() []string {
	hour, past := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	cam := hub.Key{App: "live", Name: "cam"}
	token, _ := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"exp": hour.Unix(), "sub": "S3CRETsubject"}).SignedString([]byte(tokenKey))
	return []string{
		"key=" + publishKey, "key=" + watchKey, "key=S3CRETwrong", "key=S3CRETtwice&key=S3CRETtwice", "S3CRETbare", "token=S3CRETtoken", "token=" + token,
		signed(hub.RolePublish, cam, publishSecret, hour), signed(hub.RoleWatch, cam, watchSecret, hour), signed(hub.RoleWatch, cam, watchSecret, past),
		"txSecret=S3CRET&txTime=S3CRET", "auth_key=S3CRET-0-0-S3CRET", "who=S3CRETgranted", "who=S3CRETbroken", "who=S3CRETrefused",
		"key=%zzS3CRET", "key=S3CRET;S3CRET", "track=S3CRET", "start=S3CRET&key=" + watchKey, "back=S3CRET&who=S3CRETgranted", strings.Repeat("S3CRET", 800),
	}
}

// rtmpClients ask over RTMP with secrets in each place where clients put them.
func (s *secretsServer) rtmpClients(t *testing.T) {
	ask := func(commands []string, app, tcURL, name string, more ...string) {
		for _, command := range commands {
			conn := dialFrom(t, nil, s.rtmp)
			conn.SetDeadline(time.Now().Add(patience))
			c, err := connectRawWith(conn, true, amf.Object{
				{Name: "app", Value: app}, {Name: "tcUrl", Value: tcURL}, {Name: "pageUrl", Value: "http://x/p?S3CRETpage#S3CRET"},
				{Name: "swfUrl", Value: "http://S3CRETu:S3CRETp@x/s.swf?S3CRETswf"}, {Name: "S3CRETproperty", Value: "S3CRET"},
			})
			if err != nil {
				conn.Close() // it may well be refused
				continue
			}
			for _, before := range more { // as OBS and ffmpeg send the key before
				c.command(0, before, 5.0, nil, name)
			}
			c.command(1, command, 0.0, nil, name, "live")
			for code := ""; code == ""; {
				m, err := c.next()
				if err != nil {
					break
				}
				code = m.code()
			}
			if command == "publish" {
				for _, tag := range madeHeader() {
					c.sendTag(1, tag)
				}
			}
			c.command(1, "unknown", 9.0, nil, "S3CRET")
			conn.Close()
		}
	}
	both := []string{"publish", "play"}
	for _, query := range secretQueries() {
		ask(both, "live", "rtmp://S3CRETu:S3CRETp@x/live?"+query, "cam")
		ask(both, "live?"+query, "rtmp://x/live?"+query, "cam")
		ask(both, "live", "rtmp://x/live", "cam?"+query, "releaseStream", "FCPublish", "getStreamLength", "FCSubscribe")
	}
	for _, name := range []string{ // of which the first is a stream key, and others may be mistyped ones
		typedKey, "S3CRETmistyped", "S3CRET mistyped;\x01", "S3CRET/../x", "rtmp://S3CRETu:S3CRETp@x/live/S3CRETname?S3CRET", "S3CRET%zz", "S3CRET%00", strings.Repeat("S3CRET", 60),
	} {
		ask(both[:1], "live", "rtmp://x/live", name, "releaseStream", "FCPublish")
	}
	for _, garbage := range []string{"S3CRET", "\x03" + strings.Repeat("S3CRET", 600), "PROXY TCP4 S3CRET\r\n", "GET /S3CRET HTTP/1.1\r\n\r\n"} {
		conn := dialFrom(t, nil, s.rtmp)
		io.WriteString(conn, garbage)
		conn.Close()
	}
}

// httpClients do the same over HTTP and WebSocket.
func (s *secretsServer) httpClients(t *testing.T) {
	const secrets = "Authorization: Bearer S3CRETbearer\r\nReferer: http://S3CRETu:S3CRETp@x/?S3CRETreferer\r\nCookie: S3CRETcookie\r\n" +
		"Origin: http://S3CRETorigin.example\r\nX-Forwarded-For: S3CRET\r\nProxy-Authorization: S3CRET\r\n"
	socket := upgradeLines + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: S3CRETprotocol\r\n"
	for _, query := range secretQueries() {
		for _, target := range []string{"/live/cam.flv", "/rec/live/cam/latest.flv", "/rec/live/cam/latest.mp4", "/api/v1/recordings", "/api/v1/streams", "/", "/nothing"} {
			statusOf(t, nil, s.http, "GET "+target+"?"+query+" HTTP/1.1\r\nHost: x\r\n"+secrets+"\r\n")
		}
		statusOf(t, nil, s.http, "HEAD /live/cam.flv?"+query+" HTTP/1.1\r\nHost: S3CREThost\r\n"+secrets+"\r\n")
		statusOf(t, nil, s.http, "GET http://S3CRETu:S3CRETp@x/live/cam.flv?"+query+" HTTP/1.1\r\nHost: x\r\n\r\n")
		statusOf(t, nil, s.http, "GET /live/cam.flv?"+query+" HTTP/1.1\r\nHost: x\r\n"+secrets+socket+"\r\n")
		statusOf(t, nil, s.http, "GET /live/cam%3F"+query+".flv HTTP/1.1\r\nHost: x\r\n\r\n")
		conn := dialFrom(t, nil, s.http)
		conn.SetDeadline(time.Now().Add(patience))
		fmt.Fprintf(conn, "GET /live/cam.flv?%s HTTP/1.1\r\nHost: x\r\n%s\r\n\x81\x86\x00\x00\x00\x00S3CRET\x88\x88\x00\x00\x00\x00\x03\xe8S3CRET", query, socket)
		http.ReadResponse(bufio.NewReader(conn), nil)
		conn.Close()
	}
	for _, garbage := range []string{
		"S3CRET\r\n\r\n", "GET /S3CRET\r\n\r\n", "GET /live/cam.flv?S3CRET HTTP/9.9\r\n\r\n", "GET /live/cam.flv?S3CRET HTTP/1.1\r\nS3CRET\r\n\r\n",
		"GET /live/cam.flv?S3CRET HTTP/1.1\r\nHost: x\r\nContent-Length: S3CRET\r\n\r\n", "POST /live/cam.flv?S3CRET HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nS3CRET",
		"GET /live/cam.flv?S3CRET HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: S3CRET\r\n\r\n", "\x16\x03\x01S3CRET\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nS3CRET",
		"CONNECT S3CRET:443 HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS /live/cam.flv?S3CRET HTTP/1.1\r\nHost: x\r\n" + secrets + "\r\n",
	} {
		for _, addr := range []string{s.http, s.admin} {
			statusOf(t, nil, addr, garbage)
		}
	}
}

// operators act, with the token and with wrong ones. It returns everything that they were told.
func (s *secretsServer) operators(t *testing.T) []byte {
	var told bytes.Buffer
	ask := func(from net.IP, method, path, header, body string) {
		conn := dialFrom(t, from, s.admin)
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s", method, path, len(body), header, body)
		answer, _ := io.ReadAll(conn)
		told.Write(answer)
	}
	const authorized = "Authorization: Bearer " + adminToken + "\r\n"
	for _, path := range []string{"streams", "sessions", "bans", "events", "info", "openapi.json"} {
		ask(nil, "GET", "/api/v1/"+path, authorized, "")
		ask(net.IPv4(127, 0, 0, 8), "GET", "/api/v1/"+path+"?token="+adminToken, "Authorization: Bearer S3CRETguess\r\n", "")
	}
	scrape := func() string {
		before := told.Len()
		ask(nil, "GET", "/metrics?token=S3CRETquery", "Authorization: Bearer "+scraperToken+"\r\n", "")
		return told.String()[before:]
	}
	said := scrape()
	for _, there := range []string{
		`sluice_permission_decisions_total{method="url",result="granted",role="publish"} `, "sluice_jwks_failed_fetches_total ", "sluice_recordings_begun_total ",
		`sluice_events_sent_total{receiver="webhook"} `, `sluice_events_sent_total{receiver="exec"} `, "sluice_bans ", `sluice_stream_viewers{stream="live/here"} `,
	} {
		assert.Contains(t, said, "\n"+there)
	}
	ask(nil, "POST", "/api/v1/streams/kick", authorized, `{"stream":"live/here","reason":"over"}`)
	ask(nil, "POST", "/api/v1/bans", authorized, `{"address":"192.0.2.1"}`)
	ask(nil, "POST", "/api/v1/streams/kick?token=S3CRETquery", authorized+"Cookie: S3CRETcookie\r\n", `{"stream":"live/cam","ban":"0"}`)
	ask(nil, "GET", "/api/v1/bans", authorized, "")
	ask(nil, "GET", "/api/v1/events?limit=1000", authorized, "")
	ask(net.IPv4(127, 0, 0, 8), "GET", "/metrics?token="+scraperToken, "Authorization: Bearer S3CRETguess\r\n", "")
	ask(nil, "GET", "/debug/pprof/goroutine?debug=2", authorized, "")
	for line := range strings.Lines(scrape()) {
		assert.NotContains(t, line, `="other"`, "each decision, refusal and end has its label")
	}
	return told.Bytes()
}

// The one place where a secret may be is where it is asked for: no output, event, answer or file
// has one, whatever clients, servers and operators do, at debug level.
func TestPermissionSecretsStayInside(t *testing.T) {
	t.Parallel()
	s := startSecrets(t)
	here := dialFrom(t, nil, s.rtmp) // who is there when sessions are listed and kicked
	c, err := connectRawWith(here, true, amf.Object{{Name: "app", Value: "live"}, {Name: "tcUrl", Value: "rtmp://S3CRETu:S3CRETp@x/live?S3CRET"}})
	require.NoError(t, err)
	c.command(1, "publish", 0.0, nil, "here?who=S3CRETgranted", "live")
	for _, tag := range append(madeHeader(), stream200k.frames(time.Second)...) {
		require.NoError(t, c.sendTag(1, tag))
	}
	watcher := dialFrom(t, nil, s.http)
	fmt.Fprintf(watcher, "GET /live/here.flv?key=%s HTTP/1.1\r\nHost: x\r\nReferer: http://x/?S3CRET\r\n\r\n", watchKey)
	until(t, "it is watched", func() bool { return bytes.Contains(s.told.bytes(), []byte(`"play"`)) })
	var answers bytes.Buffer
	public := func() {
		for _, path := range []string{"/api/v1/streams", "/api/v1/recordings", "/healthz", "/readyz", "/", "/api/v1/nothing?S3CRET"} {
			_, body := s.get(t, path)
			answers.Write(body)
		}
	}
	s.httpClients(t)
	s.rtmpClients(t)
	public()
	answers.Write(s.operators(t))
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGHUP))
	s.stdout.find(t, "the secrets were read again")
	public()
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, s.cmd.Wait())

	ran, err := os.ReadFile(s.ranFile)
	require.NoError(t, err)
	for what, text := range map[string][]byte{
		"standard output": []byte(s.stdout.String()), "standard error": []byte(s.stderr.String()), "an event": s.told.bytes(),
		"what a program is given": ran, "an answer": answers.Bytes(),
	} {
		t.Logf("%s: %d bytes", what, len(text))
		noSecretText(t, what, text)
	}
	for _, folder := range []string{s.state, s.recs} {
		files := 0
		require.NoError(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			files++
			text, err := os.ReadFile(path)
			noSecretText(t, path, append(text, path...))
			return err
		}))
		assert.NotZero(t, files, folder)
	}
	for _, word := range []string{`"publish"`, `"play"`, `"kicked"`, `"denied"`, `"record.finished"`, `"update"`} {
		assert.Contains(t, s.told.String(), word)
		assert.Contains(t, string(ran), word)
	}
}

// String returns what was written so far.
func (b *syncBuffer) String() string { return string(b.bytes()) }

// noSecretText is noSecrets for the signatures and tokens of secretQueries too.
func noSecretText(t *testing.T, what string, text []byte) {
	t.Helper()
	noSecrets(t, what, text)
	for _, query := range secretQueries() {
		for value := range strings.SplitSeq(query, "&") {
			if name, secret, _ := strings.Cut(value, "="); name == "sign" || name == "token" && len(secret) > 20 {
				assert.NotContains(t, string(text), secret, what)
			}
		}
	}
}

// Mistakes in secrets are told without them.
func TestPermissionMistakesKeepSecrets(t *testing.T) {
	for _, environ := range [][]string{
		{"SLUICE_PUBLISH_AUTH=key", "SLUICE_PUBLISH_KEYS=S3CRET"}, {"SLUICE_WATCH_AUTH=key", "SLUICE_WATCH_KEYS=** S3CRET x S3CRET"},
		{"SLUICE_PUBLISH_AUTH=streamkey", "SLUICE_STREAM_KEYS=live/x S3CRET/S3CRET"}, {"SLUICE_PUBLISH_AUTH=streamkey", "SLUICE_STREAM_KEYS=S3CRET/x S3CRET"},
		{"SLUICE_WATCH_AUTH=sign", "SLUICE_WATCH_SECRETS=[ S3CRET"}, {"SLUICE_WATCH_AUTH=sign", "SLUICE_WATCH_SECRETS=** S3CRET%zz"},
		{"SLUICE_WATCH_AUTH=jwt", "SLUICE_JWT_KEYS=- HS999 S3CRET"}, {"SLUICE_WATCH_AUTH=jwt", `SLUICE_JWT_KEYS={"keys":[{"kty":"oct","k":"S3CRET!"}]}`},
		{"SLUICE_WATCH_AUTH=jwt", "SLUICE_JWT_KEYS=S3CRET RS256 S3CRET"}, {"SLUICE_WATCH_AUTH=jwt", "SLUICE_JWT_JWKS_URL=ftp://S3CRET:S3CRET@x/S3CRET"},
		{"SLUICE_WATCH_AUTH=url", "SLUICE_AUTH_URL=http://u:S3CRET@x:port/S3CRET"}, {"SLUICE_WATCH_AUTH=url", "SLUICE_AUTH_URL=S3CRET"},
		{"SLUICE_EVENT_URL=http://S3CRET@/%zz"}, {"SLUICE_EVENT_URL=S3CRET://x"}, {"SLUICE_EVENT_SECRET=S3CRET"},
		{"SLUICE_ADMIN_TOKEN=S3CRETadmintokenlong"}, {"SLUICE_METRICS_TOKEN=S3CRETmetricstokenlong"}, {"SLUICE_METRICS_TOKEN=S3CRET"},
		{"SLUICE_ADMIN_ADDR=127.0.0.1:0", "SLUICE_ADMIN_TOKEN=S3CRET"}, {"SLUICE_PUBLISH_AUTH=key", "SLUICE_WATCH_AUTH=key", "SLUICE_PUBLISH_KEYS=** S3CRET", "SLUICE_WATCH_KEYS=** S3CRET"},
		{"SLUICE_EVENT_URL=http://x/", "SLUICE_EVENT_SECRET=whsec_S3CRET!!"}, {"SLUICE_ADMIN_TOKEN_FILE=/nowhere", "SLUICE_ADMIN_TOKEN=S3CRETadmintokenlong"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), nil, append(environ, "SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0"), &stdout, &stderr)
		assert.Equal(t, exitUsage, code, environ)
		said := stdout.String() + stderr.String()
		noSecrets(t, environ[len(environ)-1], []byte(said))
		assert.Contains(t, said, strings.SplitN(environ[len(environ)-1], "=", 2)[0], "it is not told which")
	}
}
