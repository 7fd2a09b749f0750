//go:build unix

package main

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv/amf"
	"sluice/hub"
	"sluice/hub/access/sign"
)

// attempt is something that a client tries over RTMP: app, tcUrl and name as it sends them.
type attempt struct{ app, tcURL, name string }

// make returns the code that it is told. Whoever gets in leaves.
func (a attempt) make(t *testing.T, p *process, command string) string {
	t.Helper()
	tcURL := a.tcURL
	if tcURL == "" {
		tcURL = "rtmp://x/" + a.app
	}
	return rtmpAnswer(t, p, amf.Object{{Name: "app", Value: a.app}, {Name: "tcUrl", Value: tcURL}}, command, a.name)
}

// get returns the status of a request for a path.
func get(t *testing.T, p *process, path string) int {
	t.Helper()
	return statusOf(t, nil, p.http, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
}

// begun counts the sessions that begin, by stream.
type begun struct {
	mu   sync.Mutex
	keys map[string]int
}

func (b *begun) observe(e hub.Event) {
	if e.Kind == hub.EventPublished || e.Kind == hub.EventJoined {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.keys[e.Key.String()]++
	}
}

// attacked starts a service with permission, and has live/cam and its neighbours published. What
// begins later is noted.
func attacked(t *testing.T, log io.Writer, environ ...string) (*runningService, *process, *begun) {
	t.Helper()
	b := &begun{keys: make(map[string]int)}
	cfg, err := loadConfig(append([]string{
		"SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0", "SLUICE_PUBLISHER_GRACE=0", "SLUICE_LOG_LEVEL=debug",
		"SLUICE_VIEWER_WAIT=0", "SLUICE_AUTH_FAILURES=0",
	}, environ...))
	require.NoError(t, err)
	require.NoError(t, cfg.open(newLogger(log, "text", -4)))
	cfg.observe = b.observe
	svc, p := startConfigured(t, floodTimeout, log, cfg)
	for _, name := range []string{"cam", "CAM", "cam.flv", "other"} {
		publishHere(t, svc, name)
	}
	until(t, "all is told", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.keys) == 4
	})
	b.mu.Lock()
	clear(b.keys)
	b.mu.Unlock()
	return svc, p, b
}

// A key counts as it stands in the one place that counts, whole and once; whatever else is written
// around it opens no other stream.
func TestPermissionKeyAttacks(t *testing.T) {
	log := new(syncBuffer)
	svc, p, begun := attacked(t, log, "SLUICE_PUBLISH_AUTH=key", "SLUICE_PUBLISH_KEYS=live/mine "+publishKey,
		"SLUICE_WATCH_AUTH=key", "SLUICE_WATCH_KEYS=live/cam "+watchKey+"; live/other S3CRETother")
	const good, bad = "key=" + watchKey, "key=S3CRETother"
	for _, a := range []attempt{ // name before app before tcUrl
		{"live", "", "cam?" + good},
		{"live?" + good, "", "cam"},
		{"live", "rtmp://x/live?" + good, "cam"},
		{"live?" + bad, "rtmp://x/live?" + bad, "cam?" + good},
		{"live", "", "cam?key=%5" + "3" + watchKey[1:]},
		{"live", "", "flv:cam?" + good}, {"live", "", "live/cam?" + good}, {"live", "", "rtmp://y/live/cam?" + good},
		{"", "rtmp://x/live?" + good, "cam"}, {"live/_definst_", "", "cam.flv?" + good}, {"/live/", "", "/cam/?" + good},
	} {
		assert.Equal(t, "NetStream.Play.Start", a.make(t, p, "play"), "%+v", a)
	}
	var many strings.Builder // what comes after the 64th parameter is not read
	for n := range 70 {
		fmt.Fprintf(&many, "a%d=b&", n)
	}
	refused := []attempt{
		{"live?" + good, "rtmp://x/live?" + good, "cam?" + bad},
		{"live?" + good, "", "cam?key="}, {"live?" + good, "", "cam?key"}, {"live?" + bad, "rtmp://x/live?" + good, "cam"},
		{"live", "", "cam?" + good + "&" + good}, {"live", "", "cam?" + good + "&" + bad}, {"live?" + good + "&" + good, "", "cam"},
		{"live", "", "cam?KEY=" + watchKey}, {"live", "", "cam?key[]=" + watchKey}, {"live", "", "cam? " + good},
		{"live", "", "cam?key=" + watchKey[:len(watchKey)-1]}, {"live", "", "cam?" + good + "x"}, {"live", "", "cam?" + good + "%00"},
		{"live", "", "cam?key=" + strings.ToLower(watchKey)}, {"live", "", "cam?" + good + ";x"}, {"live", "", "cam?key=%20" + watchKey},
		{"live", "", "CAM?" + good}, {"Live", "", "cam?" + good}, {"live", "", "cam.flv.flv?" + good}, {"live", "", "other?" + good},
		{"live", "", "cam%3F" + good}, {"live%3F" + good, "", "cam"}, {"live", "", "..%2Flive%2Fcam?" + good}, {"live", "", "../live/cam?" + good},
		{"live/..", "", "cam?" + good}, {"live", "", "./cam?" + good}, {"live", "", "cam%00?" + good}, {"live", "", "cam\n?" + good},
		{"live", "", "?" + good}, {"", "", "cam?" + good}, {"live", "", "cam?key=" + publishKey}, {"live?key=" + publishKey, "", "cam"},
		{"live", "", "cam?" + many.String() + good}, {"other", "", "live/cam?" + good},
	}
	for _, a := range refused {
		assert.NotContains(t, a.make(t, p, "play"), "Start", "%+v", a)
	}
	for path, want := range map[string]int{
		"/live/cam.flv?" + good: 200, "/live%2Fcam.flv?" + good: 200, "//live//cam.flv?" + good: 200, "/live/c%61m.flv?" + good: 200,
		"/live/cam.flv?" + good + "&" + good: 403, "/live/cam.flv?" + bad + "&" + good: 403, "/live/cam.flv?" + bad: 403,
		"/live/CAM.flv?" + good: 403, "/live/cam.flv.flv?" + good: 403, "/LIVE/cam.flv?" + good: 403, "/live/other.flv?" + good: 403,
		"/live/../live/cam.flv?" + good: 400, "/live/%2e%2e/live/cam.flv?" + good: 400, "/live/cam%3F" + good + ".flv": 400,
		"/live/cam.flv?key=" + publishKey: 403, "/live/cam.flv?" + good + ";x=1": 403, "/live/cam.flv?" + good + "%00": 403,
		"/live/cam.flv?KEY=" + watchKey: 403, "/live/cam.flv?key=" + watchKey[:4]: 403,
	} {
		assert.Equal(t, want, get(t, p, path), path)
	}
	for _, a := range []attempt{
		{"live", "", "mine?key=" + watchKey}, {"live", "", "mine"}, {"live", "", "Mine?key=" + publishKey},
		{"live", "", "mine?key=" + publishKey + "&key=" + publishKey}, {"live?key=" + publishKey, "", "mine?key=x"},
	} {
		assert.Contains(t, a.make(t, p, "publish"), "NetStream.Publish.", "%+v", a)
	}
	assert.Equal(t, "NetStream.Publish.Start", attempt{"live", "", "mine?key=" + publishKey}.make(t, p, "publish"))
	svc.stop()
	assert.ElementsMatch(t, []string{"live/cam", "live/mine"}, slices.Collect(maps.Keys(begun.keys)))
	noSecrets(t, "the log", log.bytes())
}

// A signature is for one stream, one role, one time and maybe one address: nothing that reads
// similar passes.
func TestPermissionSignAttacks(t *testing.T) {
	log := new(syncBuffer)
	svc, p, begun := attacked(t, log, "SLUICE_PUBLISH_AUTH=sign", "SLUICE_PUBLISH_SECRETS=** "+publishSecret,
		"SLUICE_WATCH_AUTH=sign", "SLUICE_WATCH_SECRETS=** "+watchSecret)
	hour := time.Now().Add(time.Hour)
	cam := hub.Key{App: "live", Name: "cam"}
	good := signed(hub.RoleWatch, cam, watchSecret, hour)
	expires, signature, _ := strings.Cut(good, "&")
	bind := func(addr string) string {
		return fmt.Sprintf("expires=%d&sign=%s", hour.Unix(), sign.Sign(hub.RoleWatch, cam, []byte(watchSecret), hour.Unix(), netip.MustParseAddr(addr)))
	}
	here := bind("127.0.0.1")
	unix := strings.TrimPrefix(expires, "expires=")
	wrong := map[string]string{
		"none": "", "no time": signature, "no signature": expires, "later": fmt.Sprintf("expires=%d&%s", hour.Unix()+1, signature),
		"a zero before": "expires=0" + unix + "&" + signature, "a plus": "expires=%2B" + unix + "&" + signature,
		"a space": "expires=%20" + unix + "&" + signature, "a point": "expires=" + unix + ".0&" + signature, "exponent": "expires=1e11&" + signature,
		"capitals": expires + "&sign=" + strings.ToUpper(strings.TrimPrefix(signature, "sign=")), "cut": good[:len(good)-1], "longer": good + "0",
		"twice": good + "&" + signature, "time twice": good + "&" + expires, "both twice": good + "&" + good, "an empty one too": good + "&sign=",
		"bound by hand": good + "&bind=1", "bind 0": good + "&bind=0", "bind empty": good + "&bind=", "bind taken off": here,
		"bind twice": here + "&bind=1&bind=1", "bound to another": bind("127.0.0.2") + "&bind=1", "bind in capitals": here + "&BIND=1",
		"of a publisher":     signed(hub.RolePublish, cam, publishSecret, hour),
		"the other's secret": signed(hub.RoleWatch, cam, publishSecret, hour), "no secret": signed(hub.RoleWatch, cam, "", hour),
		"another app":  signed(hub.RoleWatch, hub.Key{App: "other", Name: "cam"}, watchSecret, hour),
		"an app in it": signed(hub.RoleWatch, hub.Key{App: "live/live", Name: "cam"}, watchSecret, hour),
		"another name": signed(hub.RoleWatch, hub.Key{App: "live", Name: "CAM"}, watchSecret, hour), "the name with .flv": signed(hub.RoleWatch, hub.Key{App: "live", Name: "cam.flv"}, watchSecret, hour),
		"cut elsewhere": signed(hub.RoleWatch, hub.Key{App: "liv", Name: "e/cam"}, watchSecret, hour), "expired": signed(hub.RoleWatch, cam, watchSecret, time.Now().Add(-time.Hour)),
		"parameters in capitals": strings.ToUpper(good), "Tencent's": "txSecret=" + strings.Repeat("0", 32) + "&txTime=7FFFFFFF",
	}
	for what, query := range wrong {
		assert.Equal(t, http.StatusForbidden, get(t, p, "/live/cam.flv?"+query), what)
		assert.Equal(t, "NetStream.Play.Failed", attempt{"live", "", "cam?" + query}.make(t, p, "play"), what)
		assert.Equal(t, "NetStream.Play.Failed", attempt{"live", "rtmp://x/live?" + query, "cam"}.make(t, p, "play"), what)
	}
	for path, want := range map[string]int{
		"/live/cam.flv?" + good: 200, "/live%2Fcam.flv?" + good: 200, "/live/cam%2F.flv?" + good: 200, // these are that stream
		"/live/CAM.flv?" + good: 403, "/Live/cam.flv?" + good: 403, "/live/cam.flv.flv?" + good: 403, "/live/other.flv?" + good: 403,
		"/live/cam%2F..%2Fother.flv?" + good: 400, "/live%2F..%2Fother%2Fcam.flv?" + good: 400, "/live/cam%00.flv?" + good: 400,
		"/live/cam%20.flv?" + good: 403, "/live/%EF%BD%83am.flv?" + good: 403, "/live%252Fcam.flv?" + good: 400, "/live/live/cam.flv?" + good: 403,
		"/live/cam.flv?" + here + "&bind=1": 200,
	} {
		assert.Equal(t, want, get(t, p, path), path)
	}
	assert.Equal(t, http.StatusForbidden, statusOf(t, net.IPv4(127, 0, 0, 3), p.http,
		"GET /live/cam.flv?"+here+"&bind=1 HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"), "a header that nobody trusts")
	for _, name := range []string{"CAM?" + good, "cam.flv.flv?" + good, "other?" + good, "cam/../cam?" + good, "live/live/cam?" + good} {
		assert.NotContains(t, attempt{"live", "", name}.make(t, p, "play"), "Start", name)
	}
	assert.Contains(t, attempt{"live", "", "mine?" + signed(hub.RoleWatch, hub.Key{App: "live", Name: "mine"}, watchSecret, hour)}.make(t, p, "publish"), "Denied")
	svc.stop()
	assert.Equal(t, []string{"live/cam"}, slices.Collect(maps.Keys(begun.keys)))
	noSecrets(t, "the log", log.bytes())
	assert.NotContains(t, string(log.bytes()), strings.TrimPrefix(signature, "sign="))
}

// Nothing that a client writes into its query reaches a server of nginx-rtmp's form as one of the
// server's own arguments.
func TestPermissionNginxArguments(t *testing.T) {
	own := []string{"app", "flashver", "swfurl", "tcurl", "pageurl", "addr", "clientid", "call", "name", "type", "start", "duration", "reset"}
	var asked int
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form, err := url.ParseQuery(string(body))
		assert.NoError(t, err)
		seen := map[string]int{}
		for name, values := range form { // as PHP and those who ignore case read it
			plain, _, _ := strings.Cut(strings.ToLower(strings.Trim(name, " \x00\t")), "[")
			seen[plain] += len(values)
		}
		for _, name := range own {
			assert.LessOrEqual(t, seen[name], 1, "%s in %s", name, body)
		}
		assert.Contains(t, []string{"cam", "mine"}, form.Get("name"))
		assert.Equal(t, "live", form.Get("app"))
		assert.Equal(t, "127.0.0.1", form.Get("addr"))
		assert.Contains(t, []string{"play", "publish"}, form.Get("call"))
		assert.Equal(t, watchKey, form.Get("key"))
		mu.Lock()
		defer mu.Unlock()
		asked++
	}))
	defer server.Close()
	svc, p, _ := attacked(t, io.Discard, "SLUICE_PUBLISH_AUTH=url", "SLUICE_WATCH_AUTH=url", "SLUICE_AUTH_URL="+server.URL, "SLUICE_AUTH_FORMAT=nginx")
	query := "key=" + watchKey
	for _, name := range own {
		if name == "start" {
			continue // which is for a viewer to say, and evil makes no sense
		}
		for _, form := range []string{"%s=evil", "%s[]=evil", "%s[0]=evil", "%%20%s=evil", "%s%%00=evil", "%s=evil&%[1]s=evil"} {
			query += "&" + fmt.Sprintf(form, name) + "&" + fmt.Sprintf(form, strings.ToUpper(name))
		}
		assert.Equal(t, http.StatusOK, get(t, p, "/live/cam.flv?"+query), name)
		assert.Equal(t, "NetStream.Play.Start", attempt{"live", "rtmp://x/live?name=evil&addr=evil", "cam?" + query}.make(t, p, "play"), name)
		assert.Equal(t, "NetStream.Publish.Start", attempt{"live?" + query, "", "mine?key=" + watchKey}.make(t, p, "publish"), name)
		until(t, "the publisher has left", func() bool { return !svc.hub.Live(hub.Key{App: "live", Name: "mine"}) })
		query = "key=" + watchKey
	}
	assert.Equal(t, 3*(len(own)-1), asked)
}

// A server cannot give a client a stream that cannot be, nor send it elsewhere.
func TestPermissionRenames(t *testing.T) {
	var to atomic.Pointer[string]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := *to.Load()
		if r.Header.Get("Content-Type") == "application/json" {
			fmt.Fprintf(w, `{"allow": true, "name": %q}`, name)
			return
		}
		w.Header()["Location"] = []string{name}
		w.WriteHeader(http.StatusFound)
	}))
	defer server.Close()
	for _, format := range []string{"json", "nginx"} {
		svc, p, begun := attacked(t, io.Discard, "SLUICE_PUBLISH_AUTH=url", "SLUICE_WATCH_AUTH=url", "SLUICE_AUTH_URL="+server.URL,
			"SLUICE_AUTH_FORMAT="+format, "SLUICE_RECORD_DIR="+t.TempDir())
		names := []string{
			"../secret", "..", "../../etc/passwd", "live/..", "live/../x", "./x", "a/./b", "rtmp://other.example/live/x", "http://x/y",
			"//other.example/x", "rtmps://x/y", "x?key=1", "x#y", "x\\y", "x;y", "x\ty", strings.Repeat("x", 300), strings.Repeat("x/", 130) + "x",
			"rec/live/cam", "rec/x",
		}
		if format == "nginx" {
			for _, name := range names[:9] {
				names = append(names, url.PathEscape(name), strings.ReplaceAll(url.PathEscape(name), ".", "%2E"))
			}
			names = append(names, "%", "%zz", "x%00", "x%3Fy", "rtmp:%2F%2Fother%2Fx", "%2F%2Fother%2Fx%2Fy")
		}
		for _, name := range names {
			publish, status, play := "NetStream.Publish.Denied", http.StatusForbidden, "NetStream.Play.Failed"
			if strings.HasPrefix(name, "rec/") { // there can be no such stream, as nobody can publish it
				publish, status, play = "NetStream.Publish.BadName", http.StatusNotFound, "NetStream.Play.StreamNotFound"
			}
			to.Store(&name)
			assert.Equal(t, publish, attempt{"live", "", "typed"}.make(t, p, "publish"), "%s: %q", format, name)
			assert.Equal(t, status, get(t, p, "/live/cam.flv"), "%s: %q", format, name)
			assert.Equal(t, play, attempt{"live", "", "cam"}.make(t, p, "play"), "%s: %q", format, name)
		}
		for name, want := range map[string]string{"mine": "live/mine", "12:30": "live/12:30", "a/b": "a/b", "a/b/c": "a/b/c", "/x": "live/x"} {
			to.Store(&name)
			assert.Equal(t, "NetStream.Publish.Start", attempt{"live", "", "typed"}.make(t, p, "publish"), "%s: %q", format, name)
			until(t, want, func() bool {
				begun.mu.Lock()
				defer begun.mu.Unlock()
				return begun.keys[want] == 1
			})
			begun.mu.Lock()
			delete(begun.keys, want)
			begun.mu.Unlock()
		}
		svc.stop()
		assert.Empty(t, begun.keys, format)
	}
}
