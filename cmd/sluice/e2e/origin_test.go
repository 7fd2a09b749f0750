package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fetchJS fetches an address and tells what a script of the page sees of the answer:
// its status and how its body begins, or that it sees none.
const fetchJS = `async (url, credentials, headers) => {
  const leave = new AbortController();
  try {
    const answer = await fetch(url, { credentials, headers, signal: leave.signal });
    const { value } = await answer.body.getReader().read();
    leave.abort();
    return { status: answer.status, first: String.fromCharCode(...value.slice(0, 3)) };
  } catch (e) {
    return { status: 0, first: e.name };
  }
}`

// fetched is what fetchJS tells.
type fetched struct {
	Status int
	First  string
}

var notShown = fetched{0, "TypeError"}

// fetch fetches an address with credentials: "include", "omit" or "same-origin".
func (b *browser) fetch(url, credentials, headers string) fetched {
	b.t.Helper()
	return await[fetched](b, fmt.Sprintf("(%s)(%q, %q, %s)", fetchJS, url, credentials, headers))
}

func (b *browser) openSocket(url string) socketSeen {
	b.t.Helper()
	return await[socketSeen](b, fmt.Sprintf("(%s)(%q)", openSocketJS, url))
}

// blocked waits until the browser has said so often that it kept an answer from a
// page, and takes that out of its complaints.
func (b *browser) blocked(times int) {
	b.t.Helper()
	until(b.t, "the browser says what it kept from pages", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.complaints = slices.DeleteFunc(b.complaints, func(text string) bool {
			blocked := strings.Contains(text, "blocked by CORS policy")
			if blocked {
				times--
			}
			return blocked
		})
		return times <= 0
	})
	assert.Zero(b.t, times, "more than expected")
}

// anyPage serves a page of the test's own, which a browser can reach by several names
// and so as several origins; at /sandbox it has none. It sets a cookie, which goes to
// every port of its host.
func anyPage(t *testing.T) (port string) {
	t.Helper()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/sandbox" {
			w.Header().Set("Content-Security-Policy", "sandbox allow-scripts")
		}
		w.Header().Set("Set-Cookie", "session=1")
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!doctype html><title>Page</title><body>")
	}))
	t.Cleanup(page.Close)
	address, err := url.Parse(page.URL)
	require.NoError(t, err)
	return address.Port()
}

// Pages of listed origins read streams, and with them send the user's credentials;
// those of other origins read nothing, over HTTP and WebSocket alike, and the
// server's own page plays as ever.
func TestBrowserAllowedOrigins(t *testing.T) {
	t.Parallel()
	port := anyPage(t)
	s := serve(t, "SLUICE_ALLOW_ORIGINS=http://127.0.0.1:"+port+";http://*.localhost:"+port)
	b := browse(t)
	s.publish("live/x", both)
	flv, socket := s.flvURL("http", "live/x"), s.flvURL("ws", "live/x")
	const preflighted = `{ "X-Player": "1" }`
	for host, allowed := range map[string]bool{"127.0.0.1": true, "a.localhost": true, "localhost": false, "a.b.localhost": false} {
		b.open("http://" + host + ":" + port + "/")
		for _, credentials := range []string{"include", "omit"} {
			for _, headers := range []string{"{}", preflighted} {
				want := fetched{http.StatusOK, "FLV"}
				if !allowed {
					want = notShown
				}
				assert.Equal(t, want, b.fetch(flv, credentials, headers), "%s, credentials %s, headers %s", host, credentials, headers)
			}
		}
		want := fetched{http.StatusNotFound, `{"e`}
		if !allowed {
			want = notShown
		}
		assert.Equal(t, want, b.fetch("http://"+s.http+"/nothing", "include", "{}"), host)
		if want.Status != 0 {
			want = fetched{http.StatusOK, `{"v`}
		}
		assert.Equal(t, want, b.fetch("http://"+s.http+"/api/v1/streams?stream=live/x", "include", "{}"), host)
		seen := b.openSocket(socket)
		if allowed {
			assert.Equal(t, "FLV", seen.First, host)
		} else {
			assert.Equal(t, socketSeen{Code: 4403, Reason: "denied: pages of this origin may not have this"}, seen, host)
		}
	}

	b.blocked(2 * 6)

	b.open("http://" + s.http + "/?stream=live/x&over=ws")
	b.goesOn()
	assert.Equal(t, fetched{http.StatusOK, "FLV"}, b.fetch(flv, "same-origin", "{}"))
	b.open("http://" + s.http + "/?stream=live/x&over=http")
	b.goesOn()
}

// A page without an origin is one that may be listed.
func TestBrowserNullOrigin(t *testing.T) {
	t.Parallel()
	port := anyPage(t)
	s := serve(t, "SLUICE_ALLOW_ORIGINS=null")
	b := browse(t)
	s.publish("live/x", both)
	b.open("http://127.0.0.1:" + port + "/sandbox")
	assert.Equal(t, "null", eval[string](b, "origin"))
	assert.Equal(t, fetched{http.StatusOK, "FLV"}, b.fetch(s.flvURL("http", "live/x"), "include", "{}"))
	assert.Equal(t, "FLV", b.openSocket(s.flvURL("ws", "live/x")).First)
	b.open("http://127.0.0.1:" + port + "/")
	assert.Equal(t, notShown, b.fetch(s.flvURL("http", "live/x"), "include", "{}"))
	assert.Equal(t, 4403, b.openSocket(s.flvURL("ws", "live/x")).Code)
	b.blocked(1)
}

// Without a list all pages read streams, as long as they send no credentials, and not the API.
func TestBrowserAnyOrigin(t *testing.T) {
	t.Parallel()
	port := anyPage(t)
	s := serve(t)
	b := browse(t)
	s.publish("live/x", both)
	for _, page := range []string{"/", "/sandbox"} {
		b.open("http://127.0.0.1:" + port + page)
		assert.Equal(t, fetched{http.StatusOK, "FLV"}, b.fetch(s.flvURL("http", "live/x"), "omit", `{ "X-Player": "1" }`), page)
		assert.Equal(t, notShown, b.fetch(s.flvURL("http", "live/x"), "include", "{}"), page)
		assert.Equal(t, "FLV", b.openSocket(s.flvURL("ws", "live/x")).First, page)
		assert.Equal(t, notShown, b.fetch("http://"+s.http+"/api/v1/streams", "omit", "{}"), page)
	}
	b.blocked(4)
}
