//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// toldEvents are the events of an endpoint, by session.
type toldEvents struct {
	t    *testing.T
	well time.Time // it fails now and then until then
	mu   sync.Mutex
	// seen are the numbers of events that came; one may come twice.
	seen     map[string]bool
	sessions map[uint64][]string
	counts   map[string]int
}

func (e *toldEvents) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	noSecrets(e.t, "an event", body)
	var told struct {
		ID, Type string
		Session  struct{ ID uint64 }
	}
	assert.NoError(e.t, json.Unmarshal(body, &told))
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.seen[told.ID] {
		return
	}
	e.seen[told.ID] = true
	e.counts[told.Type]++
	if told.Session.ID != 0 {
		e.sessions[told.Session.ID] = append(e.sessions[told.Session.ID], told.Type)
	}
	if time.Now().Before(e.well) && rand.IntN(20) == 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// check fails unless what came of each session is a beginning and its end, or a refusal.
func (e *toldEvents) check() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, types := range e.sessions {
		var own []string
		for _, typ := range types {
			switch typ {
			case "publish", "unpublish", "play", "stop", "denied":
				own = append(own, typ)
			}
		}
		switch text := strings.Join(own, " "); text {
		case "publish unpublish", "play stop", "denied":
		case "": // one that waited, was refused and left out of the sample, or was kicked before it began
		default:
			e.t.Errorf("session %d: %s", id, text)
		}
	}
	assert.Zero(e.t, e.counts["gap"])
	assert.Equal(e.t, e.counts["publish"], e.counts["unpublish"])
	assert.Equal(e.t, e.counts["play"], e.counts["stop"])
}

// Whatever comes together, grants of each method, take-overs, kicks, bans that come and go, grants
// that end, a server that is down now and then, secrets that are read again, and the shutdown:
// nothing hangs, nobody is left, and everybody who began has ended, once.
func TestPermissionChaos(t *testing.T) {
	begun := time.Now()
	events := &toldEvents{t: t, well: begun.Add(time.Second), seen: make(map[string]bool), sessions: make(map[uint64][]string), counts: make(map[string]int)}
	endpoint := httptest.NewServer(events)
	defer endpoint.Close()
	server := newBadServer(t, func(c net.Conn) {
		time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
		if hear(c) {
			io.WriteString(c, []string{sayYes, sayYes, sayYes, sayNo, "", "HTTP/1.1 500 X\r\n\r\n"}[rand.IntN(6)])
		}
	})
	log := new(syncBuffer)
	environ := append(slices.Clone(operators),
		"SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0", "SLUICE_LOG_LEVEL=debug", "SLUICE_STATE_DIR="+t.TempDir(),
		"SLUICE_PUBLISHER_GRACE=100ms", "SLUICE_VIEWER_WAIT=200ms", "SLUICE_EXPIRE_SESSIONS=true", "SLUICE_MAX_SESSIONS_PER_IDENTITY=5",
		"SLUICE_PUBLISH_AUTH=key jwt url", "SLUICE_WATCH_AUTH=key jwt url", "SLUICE_PUBLISH_KEYS=** "+publishKey, "SLUICE_WATCH_KEYS=** "+watchKey,
		"SLUICE_JWT_KEYS=- HS256 "+tokenKey, "SLUICE_AUTH_URL="+server.url(), "SLUICE_AUTH_TIMEOUT=200ms", "SLUICE_AUTH_FAILURES=50/1s",
		"SLUICE_EVENT_URL="+endpoint.URL+"/?token=S3CRETevents", "SLUICE_EVENT_UPDATE=50ms",
	)
	cfg, err := loadConfig(environ)
	require.NoError(t, err)
	require.NoError(t, cfg.open(newLogger(log, "text", -4)))
	svc, p := startConfigured(t, floodTimeout, log, cfg)
	admin := svc.listeners.addr("admin")

	begun = time.Now()
	leave := begun.Add(2 * time.Second) // the shutdown comes before
	var acting sync.WaitGroup
	act := func(n int, do func(n int)) {
		for i := range n {
			acting.Go(func() {
				for time.Now().Before(leave) {
					do(i)
				}
			})
		}
	}
	secret := func(role string, i int) string {
		switch rand.IntN(6) {
		case 0:
			return "key=S3CRETwrong" + strconv.Itoa(rand.IntN(100))
		case 1:
			return "who=" + strconv.Itoa(rand.IntN(5)) // the server is asked
		case 2, 3:
			exp := float64(time.Now().UnixMilli()+rand.Int64N(500)) / 1000
			text, _ := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"exp": exp, "sub": fmt.Sprint(i % 3), "publish": "**", "watch": "**"}).
				SignedString([]byte(tokenKey))
			return "token=" + text
		}
		return "key=" + map[string]string{"publish": publishKey, "watch": watchKey}[role]
	}
	act(30, func(i int) {
		kind, names := askers[rand.IntN(len(askers))], "abcddd"
		if kind.role.String() == "publish" {
			names = "abc"
		}
		visit(kind, p, fmt.Sprintf("%c?%s", names[rand.IntN(len(names))], secret(kind.role.String(), i)))
	})
	act(1, func(int) { // a stream of this process, which is there most of the time
		session := svc.hub.NewSession(hub.RolePublish, hub.Key{App: "live", Name: "d"}, hub.Client{Protocol: "test"})
		publisher, err := svc.hub.Publish(session, hub.PublishOptions{End: func(*hub.Refusal) {}})
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			return
		}
		defer publisher.Close()
		for _, tag := range append(madeHeader(), stream200k.frames(time.Second)...) {
			if publisher.Write(tag) != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	do := func(method, path, body string) (answer struct {
		Sessions []struct{ ID uint64 }
		Bans     []struct{ ID string }
	}) {
		r, _ := http.NewRequestWithContext(context.Background(), method, "http://"+admin+path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+adminToken)
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		res, err := client.Do(r)
		if err != nil {
			return answer // the server may have gone
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		noSecrets(t, "the API", text)
		assert.NotEqual(t, http.StatusInternalServerError, res.StatusCode, "%s %s: %s", method, path, text)
		json.Unmarshal(text, &answer)
		return answer
	}
	act(2, func(int) {
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
		switch rand.IntN(8) {
		case 0:
			do("POST", "/api/v1/streams/kick", fmt.Sprintf(`{"stream":"live/%c","who":%q,"ban":"%dms"}`, "abcd"[rand.IntN(4)],
				[]string{"publisher", "viewers", "all"}[rand.IntN(3)], rand.IntN(100)))
		case 1:
			do("POST", "/api/v1/bans", fmt.Sprintf(`{"network":"127.0.0.%d/28","for":"50ms"}`, rand.IntN(16)*16))
		case 2:
			for _, b := range do("GET", "/api/v1/bans", "").Bans {
				do("DELETE", "/api/v1/bans/"+b.ID, "")
			}
		default:
			if all := do("GET", "/api/v1/sessions", "").Sessions; len(all) > 0 {
				do("DELETE", fmt.Sprintf("/api/v1/sessions/%d?ban=%dms", all[rand.IntN(len(all))].ID, rand.IntN(50)), "")
			}
		}
	})
	act(1, func(int) {
		time.Sleep(50 * time.Millisecond)
		svc.reload(environ)
	})
	time.Sleep(time.Until(begun.Add(1700 * time.Millisecond)))
	svc.stop()
	acting.Wait()
	endpoint.Close()

	assert.Empty(t, svc.hub.Sessions())
	assert.Empty(t, svc.hub.Streams())
	assert.Zero(t, svc.admission.Figures().Open)
	var sum struct{ begun, refused uint64 }
	for _, totals := range svc.hub.Totals() {
		assert.Zero(t, totals.Running(), totals.Protocol)
		sum.begun += totals.Begun
		for _, n := range totals.Refused {
			sum.refused += n
		}
	}
	events.check()
	assert.NotZero(t, sum.begun)
	noSecrets(t, "the log", log.bytes())
	t.Logf("%d sessions began, %d were refused; events: %v", sum.begun, sum.refused, events.counts)
}
