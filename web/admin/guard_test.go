package admin

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// Every route there is refuses who shows no token, and so does what is no route.
func TestEverythingNeedsTheToken(t *testing.T) {
	r := newRig(t, hub.Config{})
	asked := 0
	try := func(method, path string) {
		asked++
		for _, header := range [][]string{
			{"Authorization", ""},
			{"Authorization", "", "Cookie", "token=" + token},
			{"Authorization", "", "X-Forwarded-For", "127.0.0.1"},
			{"Authorization", "", "Origin", "http://localhost", "Access-Control-Request-Method", method},
		} {
			q := request(method, path, "{}", header...)
			q.RemoteAddr = "127.0.0.1:5" // loopback earns nothing
			w := r.do(q)
			assert.Equal(t, 401, w.Code, "%s %s", method, path)
			assert.Equal(t, "Bearer", w.Header().Get("WWW-Authenticate"), path)
			assert.Equal(t, "no-store", w.Header().Get("Cache-Control"), path)
			for name := range w.Header() {
				assert.False(t, strings.HasPrefix(name, "Access-Control"), "%s %s: %s", method, path, name)
			}
			if method != "HEAD" {
				assert.JSONEq(t, `{"error":"unauthorized","reason":"this needs the header Authorization: Bearer TOKEN"}`, w.Body.String())
			}
		}
	}
	require.NoError(t, chi.Walk(r.api.routes(), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		try(method, strings.NewReplacer("{id}", "1", "*", "live/demo/1/pin").Replace(route))
		return nil
	}))
	assert.Greater(t, asked, 15)
	for _, method := range []string{"GET", "OPTIONS", "TRACE", "PUT", "BREW"} {
		for _, path := range []string{"/", "/api", "/api/v1/streams", "/api/v1/streams?token=" + token, "/nothing", "//healthz", "/healthz/", "/debug/pprof/"} {
			try(method, path)
		}
	}
}

func TestTokensInTheHeader(t *testing.T) {
	for _, c := range []struct {
		header []string
		status int
	}{
		{[]string{"Bearer " + token}, 200},
		{[]string{"bearer  " + token}, 200},
		{[]string{"Bearer " + token + " "}, 401},
		{[]string{"Bearer " + token[:len(token)-1]}, 401},
		{[]string{"Bearer " + token + "x"}, 401},
		{[]string{"Bearer " + strings.ToUpper(token)}, 401},
		{[]string{"Bearer"}, 401},
		{[]string{"Bearer "}, 401},
		{[]string{token}, 401},
		{[]string{"Basic " + token}, 401},
		{[]string{""}, 401},
		{[]string{"Bearer " + token, "Bearer " + token}, 401},
		{[]string{"Bearer " + token, "Bearer wrong"}, 401},
		{[]string{"Bearer " + strings.Repeat("x", 1<<20)}, 401},
	} {
		r := newRig(t, hub.Config{})
		q := request("GET", "/api/v1/info", "")
		q.Header["Authorization"] = c.header
		w := r.do(q)
		assert.Equal(t, c.status, w.Code, "%.40q", c.header)
		if c.status == 401 {
			assert.Equal(t, `Bearer error="invalid_token"`, w.Header().Get("WWW-Authenticate"))
		}
	}
}

// The token can be changed while the server runs, and a short one lets nobody in.
func TestTokenIsReadEachTime(t *testing.T) {
	r := newRig(t, hub.Config{})
	for _, now := range []string{"another-token-of-24-chars", strings.Repeat("x", MinToken), strings.Repeat("x", MinToken-1), ""} {
		r.token = now
		want := 200
		if len(now) < MinToken {
			want = 401
		}
		assert.Equal(t, want, r.do(request("GET", "/api/v1/info", "", "Authorization", "Bearer "+now)).Code, "%q", now)
		assert.Equal(t, 401, r.do(request("GET", "/api/v1/info", "")).Code, "that of before")
	}
}

// Who guesses is stopped, and nobody else.
func TestWrongTokensAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Config{})
		try := func(address, shown string) *httptest.ResponseRecorder {
			q := request("GET", "/api/v1/info", "", "Authorization", "Bearer "+shown)
			q.RemoteAddr = address
			return r.do(q)
		}
		for n := range maxFailures {
			assert.Equal(t, 401, try("[2001:db8::1]:1", fmt.Sprint("wrong", n)).Code)
		}
		w := try("[2001:db8::ffff]:2", token)
		assert.Equal(t, 429, w.Code, "all of a network is one")
		assert.Equal(t, "60", w.Header().Get("Retry-After"))
		assert.Equal(t, 200, try("[2001:db8:0:1::1]:1", token).Code)
		assert.Equal(t, 200, try("192.0.2.1:1", token).Code)
		assert.Equal(t, 200, r.do(request("GET", "/healthz", "")).Code)
		time.Sleep(failuresFor - time.Nanosecond)
		assert.Equal(t, 429, try("[2001:db8::1]:1", token).Code)
		time.Sleep(time.Nanosecond)
		assert.Equal(t, 200, try("[2001:db8::1]:1", token).Code)
		assert.Equal(t, 1, strings.Count(r.log(), "too many wrong tokens"), "one line, however many follow")
		assert.NotContains(t, r.log(), "wrong\n")
		assert.NotContains(t, r.log(), token)

		// Slowly, it goes on for ever.
		for n := range 3 * maxFailures {
			assert.Equal(t, 401, try("192.0.2.2:1", fmt.Sprint("wrong", n)).Code)
			time.Sleep(failuresFor / (maxFailures - 1))
		}
		// Whoever shows the same again guesses nothing. In turn with another it would be a guess.
		for range 3 * maxFailures {
			assert.Equal(t, 401, try("192.0.2.3:1", "that of yesterday").Code)
		}
		assert.Equal(t, 200, try("192.0.2.3:1", token).Code)
		time.Sleep(2 * failuresFor)
		for range 3 * maxFailures {
			assert.Equal(t, 401, try("192.0.2.3:1", "that of yesterday").Code)
		}
		assert.Equal(t, 200, try("192.0.2.3:1", token).Code)
		for n := range maxFailures {
			assert.Equal(t, 401, try("192.0.2.4:1", []string{"one", "the other"}[n%2]).Code)
		}
		assert.Equal(t, 429, try("192.0.2.4:1", token).Code)

		// No token is no wrong one.
		for range 2 * maxFailures {
			assert.Equal(t, 401, r.do(request("GET", "/api/v1/info", "", "Authorization", "")).Code)
		}
		assert.Equal(t, 200, r.do(request("GET", "/api/v1/info", "")).Code)
	})
}

// However many guess, few are remembered, and one that does not guess is let in.
func TestFailuresAreBounded(t *testing.T) {
	var f failures
	now := time.Now()
	for n := range 3 * maxFailing {
		f.add(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), fmt.Sprint(n), now.Add(time.Duration(n)*time.Millisecond))
		require.LessOrEqual(t, len(f.by), maxFailing)
	}
	assert.Zero(t, f.wait(netip.MustParseAddr("192.0.2.1"), now))
	f.add(netip.MustParseAddr("192.0.2.1"), "wrong", now.Add(time.Hour))
	assert.Len(t, f.by, 1, "those whose time is over are forgotten")
	assert.Zero(t, f.wait(netip.Addr{}, now))
}

func TestHealth(t *testing.T) {
	r := newRig(t, hub.Config{})
	public := Health(func() error { return r.ready })
	for _, h := range []http.Handler{r.handler, public} {
		ask := func(method, path string) (int, string) {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
			assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
			return w.Code, strings.TrimSpace(w.Body.String())
		}
		is := func(method, path string, status int, body string) {
			t.Helper()
			gotStatus, gotBody := ask(method, path)
			assert.Equal(t, fmt.Sprint(status, body), fmt.Sprint(gotStatus, gotBody), path)
		}
		r.ready = nil
		is("GET", "/healthz", 200, `{"status":"ok"}`)
		is("HEAD", "/healthz", 200, `{"status":"ok"}`) // net/http leaves the body out
		is("GET", "/readyz", 200, `{"status":"ok"}`)
		r.ready = fmt.Errorf("the server is full: 10 of 10 connections")
		is("GET", "/healthz", 200, `{"status":"ok"}`)
		is("GET", "/readyz", 503, `{"error":"not ready","reason":"the server is full: 10 of 10 connections"}`)
		r.ready = fmt.Errorf("now: %w", Draining("nobody new comes in"))
		is("GET", "/healthz", 200, `{"status":"ok"}`)
		is("GET", "/readyz", 503, `{"error":"draining","reason":"now: nobody new comes in"}`)
		is("POST", "/healthz", 405, `{"error":"method not allowed","reason":"this path takes GET and HEAD"}`)
	}
	w := httptest.NewRecorder()
	Health(nil).ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
	assert.Equal(t, 200, w.Code)
	w = httptest.NewRecorder()
	public.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/info", nil))
	assert.Equal(t, 404, w.Code)
}

func TestMethodsAndPaths(t *testing.T) {
	r := newRig(t, hub.Config{})
	for _, c := range []struct {
		method, path, allow string
		status              int
	}{
		{"OPTIONS", "/api/v1/streams", "GET, HEAD", 405},
		{"PUT", "/api/v1/bans", "GET, HEAD, POST", 405},
		{"GET", "/api/v1/streams/kick", "POST", 405},
		{"POST", "/api/v1/sessions/1", "GET, HEAD, DELETE", 405},
		{"GET", "/api/v1/recordings/live/x/1", "POST, DELETE", 405},
		{"GET", "/api/v1/nothing", "", 404},
		{"GET", "/", "", 404},
		{"POST", "/api/v1/recordings/live/x/1", "", 404},
		{"HEAD", "/api/v1/streams", "", 200},
	} {
		w := r.do(request(c.method, c.path, ""))
		assert.Equal(t, c.status, w.Code, "%s %s", c.method, c.path)
		assert.Equal(t, c.allow, w.Header().Get("Allow"), "%s %s", c.method, c.path)
		assert.Empty(t, w.Header().Get("Access-Control-Allow-Origin"))
	}
}

// What one guard guards shares the count of wrong tokens, whichever tokens each takes.
func TestGuardOfSeveral(t *testing.T) {
	const first, second = "first-token-0123456789", "second-token-0123456789"
	g := NewGuard(nil)
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	is := func(token string) func() string { return func() string { return token } }
	both, one := g.Require(ok, is(""), is(second), is(first)), g.Require(ok, is(first))
	ask := func(h http.Handler, token string) int {
		q := request(http.MethodGet, "/", "", "Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, q)
		return w.Code
	}
	assert.Equal(t, 204, ask(both, first))
	assert.Equal(t, 204, ask(both, second))
	assert.Equal(t, 204, ask(one, first))
	assert.Equal(t, 401, ask(both, ""), "a token that is not set lets nobody in")
	assert.Equal(t, 401, ask(one, second))
	for n := range maxFailures {
		ask(both, fmt.Sprint("wrong", n))
	}
	assert.Equal(t, 429, ask(one, first))
	assert.Equal(t, 429, ask(both, first))
	assert.Equal(t, uint64(maxFailures), g.Wrong())
}
