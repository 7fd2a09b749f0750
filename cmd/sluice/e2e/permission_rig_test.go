package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/access/sign"
	"sluice/rtmp"
)

// The secrets of the tests, of which the server prints none. The key of viewers has to be escaped
// in a query: rtmpdump, and OBS in its stream key, undo that, so with + & or % in it they would
// show another one.
const (
	publishKey, watchKey       = "S3CRET-publish", "S3CRET/watch:=@"
	publishSecret, watchSecret = "S3CRET-sign-publish", "S3CRET-sign-watch"
	typedKey                   = "S3CRET-typed"
	tokenKey                   = "S3CRET-token-0123456789-0123456789"
)

// guarded is a server with permission, and who is told of its events.
type guarded struct {
	*server
	told *told
}

// guard is serve with permission; what it prints at debug level is searched for secrets when it
// has ended.
func guard(t *testing.T, variables ...string) *guarded {
	t.Helper()
	g := &guarded{told: listen(t)}
	t.Cleanup(func() {
		if g.server != nil {
			assert.NotRegexp(t, "S3CRET|eyJ", g.said.String()) // which tokens begin with
		}
	})
	g.server = serve(t, append([]string{
		"SLUICE_PUBLISHER_GRACE=0", "SLUICE_LOG_LEVEL=debug", "SLUICE_AUTH_FAILURES=0", "SLUICE_EVENT_URL=" + g.told.URL,
	}, variables...)...)
	return g
}

// told is who is told of events.
type told struct {
	*httptest.Server
	mu     sync.Mutex
	events []string // TYPE STREAM
}

func listen(t *testing.T) *told {
	e := new(told)
	e.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body struct{ Type, Stream string }
		if assert.NoError(t, json.NewDecoder(r.Body).Decode(&body)) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.events = append(e.events, body.Type+" "+body.Stream)
		}
	}))
	t.Cleanup(e.Close)
	return e
}

// count returns how many events begin so.
func (e *told) count(prefix string) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, event := range e.events {
		if strings.HasPrefix(event, prefix) {
			n++
		}
	}
	return n
}

// has waits until so many events begin so, of which there must be no more.
func (e *told) has(t *testing.T, n int, prefix string) {
	t.Helper()
	until(t, fmt.Sprintf("%d events are %s", n, prefix), func() bool { return e.count(prefix) >= n })
	assert.Equal(t, n, e.count(prefix), "events %s", prefix)
}

// signed returns the query of a signed address.
func signed(role hub.Role, stream, secret string, in time.Duration, address string) string {
	app, name, _ := strings.Cut(stream, "/")
	addr, _ := netip.ParseAddr(address)
	expires := time.Now().Add(in).Unix()
	query := fmt.Sprintf("expires=%d&sign=%s", expires, sign.Sign(role, hub.Key{App: app, Name: name}, []byte(secret), expires, addr))
	if addr.IsValid() {
		query += "&bind=1"
	}
	return query
}

// token returns the query with a token that ends some time from now.
func token(t *testing.T, in time.Duration, claims jwt.MapClaims) string {
	t.Helper()
	claims["exp"] = time.Now().Add(in).Unix()
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(tokenKey))
	require.NoError(t, err)
	return "token=" + text
}

// validities are for how long permissions hold that are to end, the longer ones for a machine that
// is busy.
var validities = []time.Duration{6 * time.Second, 20 * time.Second, time.Minute}

// asked is a place where a stream is asked for: live/cam?key=X.
type asked string

func (a asked) split() (app, name, query string) {
	path, query, _ := strings.Cut(string(a), "?")
	i := strings.LastIndexByte(path, '/')
	return path[:i], path[i+1:], query
}

// httpURL returns where it is asked for over HTTP or WebSocket.
func (s *server) httpURL(scheme string, a asked) string {
	app, name, query := a.split()
	return s.flvURL(scheme, app+"/"+name) + "?" + query
}

// watcher is a program that watches in one of the ways in which it can show permission.
type watcher struct {
	name    string
	refused string // what it says when it is
	command func(s *server, a asked, path string) []string
}

// Of the URL of RTMP, ffmpeg and rtmpdump make an app and a name by rules of their own; a query
// may be in either of them.
var watchers = []watcher{
	{"ffmpeg over RTMP", "Server error: ", func(s *server, a asked, path string) []string {
		return ffmpegPull(s.rtmpURL(string(a)), path)
	}},
	{"ffmpeg, query of the app", "Server error: ", func(s *server, a asked, path string) []string {
		app, name, query := a.split()
		return ffmpegPull(s.rtmpURL(app+"?"+query+"/"+name), path)
	}},
	{"ffmpeg over HTTP", "403 Forbidden", func(s *server, a asked, path string) []string {
		return ffmpegPull(s.httpURL("http", a), path)
	}},
	{"rtmpdump", "NetStream.Play.Failed", func(s *server, a asked, path string) []string {
		return []string{"rtmpdump", "-r", s.rtmpURL(string(a)), "-o", path}
	}},
	{"rtmpdump -y", "NetStream.Play.Failed", func(s *server, a asked, path string) []string {
		app, name, query := a.split()
		return []string{"rtmpdump", "-v", "-r", s.rtmpURL(app), "-y", name + "?" + query, "-o", path}
	}},
	{"rtmpdump, query of tcUrl", "NetStream.Play.Failed", func(s *server, a asked, path string) []string {
		app, name, query := a.split()
		return []string{"rtmpdump", "-r", s.rtmpURL(app), "-t", s.rtmpURL(app + "?" + query), "-a", app, "-y", name, "-o", path}
	}},
	{"curl", "error: 403", func(s *server, a asked, path string) []string {
		return []string{"curl", "-sS", "-f", "-N", "-o", path, s.httpURL("http", a)}
	}},
}

// bearers show a token in a header, where the programs let people set one.
var bearers = []watcher{
	{"curl, Authorization", "error: 403", func(s *server, a asked, path string) []string {
		app, name, query := a.split()
		return []string{"curl", "-sS", "-f", "-N", "-o", path, "-H", bearer(query), s.flvURL("http", app+"/"+name)}
	}},
	{"ffmpeg, Authorization", "403 Forbidden", func(s *server, a asked, path string) []string {
		app, name, query := a.split()
		args := ffmpegPull(s.flvURL("http", app+"/"+name), path)
		return append([]string{args[0], "-headers", bearer(query) + "\r\n"}, args[1:]...)
	}},
}

func bearer(query string) string {
	return "Authorization: Bearer " + strings.TrimPrefix(query, "token=")
}

// watch starts a program that watches; quiet is for one that has nothing to complain of.
func (s *server) watch(w watcher, a asked, quiet bool) *pull {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "watched.flv")
	args := w.command(s, a, path)
	if quiet && args[0] == "rtmpdump" {
		args = append(args, "-q")
	}
	return &pull{start(s.t, args[0], args[1:]...), path}
}

// clip is what OBS publishes, without script data.
var clip = sync.OnceValue(func() []flv.Tag { return readClip("../../../testdata/clips/h264-bframes-aac.flv") })

// likeOBS is a publisher that says what OBS says, and sends a clip over and over at its pace.
type likeOBS struct {
	*rtmp.Publisher
	ended chan struct{}
	err   error // once ended
}

// likeOBS publishes as OBS does with the server rtmp://HOST/APP and the stream key NAME?QUERY.
func (s *server) likeOBS(a asked) (*likeOBS, error) {
	s.t.Helper()
	return s.likeOBSSince(a, time.Now())
}

// likeOBSSince is likeOBS of one that should have begun a while ago: it sends what it owes as fast as it can, and
// then keeps its pace.
func (s *server) likeOBSSince(a asked, began time.Time) (*likeOBS, error) {
	s.t.Helper()
	client := rtmp.Client{FlashVer: "FMLE/3.0 (compatible; FMSc/1.0)", ChunkSize: 4096}
	p, err := client.Publish(s.t.Context(), s.rtmpURL(string(a)))
	if err != nil {
		return nil, err
	}
	o := &likeOBS{Publisher: p, ended: make(chan struct{})}
	go o.send(began)
	s.t.Cleanup(func() { o.stop() })
	return o, nil
}

// send sends until an error ends it.
func (o *likeOBS) send(began time.Time) {
	defer close(o.ended)
	offset := uint32(0)
	for round := 0; ; round++ {
		var last uint32
		for _, tag := range clip() {
			if p, err := tag.Packet(); err != nil || p.Kind == flv.KindConfig && round > 0 {
				continue
			}
			last = max(last, tag.Timestamp)
			tag.Timestamp += offset
			time.Sleep(time.Until(began.Add(time.Duration(tag.Timestamp) * time.Millisecond)))
			if o.err = o.WriteTag(tag); o.err != nil {
				return
			}
		}
		offset += last + 40
	}
}

// stop ends it as the button in OBS does.
func (o *likeOBS) stop() {
	o.Close()
	<-o.ended
}

// code returns what the server said to a publisher that it refused or ended.
func code(err error) string {
	if status, ok := errors.AsType[*rtmp.StatusError](err); ok {
		return status.Code
	}
	return fmt.Sprint(err)
}

// knows is a server that is asked in one of three forms, and knows the keys of the tests: of
// whoever names alias-NAME it says, in the forms that can, that NAME is meant.
func knows(t *testing.T, format string) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var role, name string
		var query url.Values
		switch format {
		case "json":
			var q struct {
				Name    string
				Session struct{ Role string }
				Query   url.Values
			}
			assert.NoError(t, json.NewDecoder(r.Body).Decode(&q))
			role, name, query = q.Session.Role, q.Name, q.Query
		case "srs":
			var q struct{ Action, Stream, Param string }
			assert.NoError(t, json.NewDecoder(r.Body).Decode(&q))
			role, name = map[string]string{"on_publish": "publish", "on_play": "watch"}[q.Action], q.Stream
			query, _ = url.ParseQuery(strings.TrimPrefix(q.Param, "?"))
		case "nginx":
			assert.NoError(t, r.ParseForm())
			role, name, query = map[string]string{"publish": "publish", "play": "watch"}[r.PostForm.Get("call")], r.PostForm.Get("name"), r.PostForm
		}
		good := map[string]string{"publish": publishKey, "watch": watchKey}[role]
		alias, known := strings.CutPrefix(name, "alias-")
		allow := len(query["key"]) == 1 && query.Get("key") == good
		switch {
		case format == "json":
			answer := map[string]any{"allow": allow, "reason": "ask me for a key"}
			if known {
				answer["name"] = alias
			}
			json.NewEncoder(w).Encode(answer)
		case format == "srs":
			json.NewEncoder(w).Encode(map[string]int{"code": map[bool]int{true: 0, false: 403}[allow]})
		case !allow:
			w.WriteHeader(http.StatusForbidden)
		case known:
			w.Header().Set("Location", alias)
			w.WriteHeader(http.StatusFound)
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/S3CRET"
}
