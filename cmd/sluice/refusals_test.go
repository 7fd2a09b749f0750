//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// refused is a request that is refused.
type refused struct {
	by      string // the part of the server
	request string // method and target
	head    string // further lines of the head
	status  int
}

// upgradeLines are what a WebSocket's request has, but for the key.
const upgradeLines = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"

// refusedByAny are requests that every server refuses on which nobody publishes.
var refusedByAny = []refused{
	{"site", "GET /nothing", "", 404},
	{"site", "HEAD /nothing", "", 404},
	{"site", "GET /live/demo", "", 404},
	{"site", "OPTIONS *", "", 404},
	{"site", "GET elsewhere:80", "", 400},
	{"site", "BREW /", "", 405},
	{"page", "POST /", "", 405},
	{"page", "POST /", "Content-Length: 10\r\n", 405},
	{"page", "GET /assets/nothing.js", "", 404},
	{"page", "DELETE /assets/app.js", "", 405},
	{"API", "GET /api/v1/nothing", "", 404},
	{"API", "PUT /api/v1/streams", "", 405},
	{"streams", "GET /.flv", "", 400},
	{"streams", "GET /live/nobody.flv", "", 404},
	{"streams", "HEAD /live/nobody.flv", "", 404},
	{"streams", "GET /live/nobody.flv", "Content-Length: 10\r\n", 404},
	{"streams", "GET /live/nobody.flv?back=x", "", 400},
	{"streams", "GET /live/nobody.flv?" + strings.Repeat("x", 5000), "", 400},
	{"streams", "POST /live/nobody.flv", "", 405},
	{"WebSocket", "POST /live/nobody.flv", upgradeLines, 405},
	{"WebSocket", "HEAD /live/nobody.flv", upgradeLines, 405},
	{"WebSocket", "GET /live/nobody.flv", upgradeLines, 400}, // without a key
	{"WebSocket", "GET /live/nobody.flv", "Upgrade: websocket\r\n", 426},
	{"WebSocket", "GET /live/nobody.flv", strings.Replace(upgradeLines, "13", "8", 1), 426},
}

// refusedToPages are requests that are refused to pages of origins that are not listed.
var refusedToPages = []refused{
	{"site", "GET /", "", 403},
	{"site", "GET /nothing", "", 403},
	{"site", "GET /assets/app.js", "", 403},
	{"site", "GET /api/v1/streams", "", 403},
	{"streams", "GET /live/nobody.flv", "", 403},
	{"streams", "OPTIONS /live/nobody.flv", "", 403},
}

// Every refusal has the same form, whichever part of the server it comes from: JSON that
// says what it is and why, kept by no cache, taken for nothing else by a browser, and
// readable by those pages that may read it.
func TestRefusalsHaveOneForm(t *testing.T) {
	const listed, other = "https://a.example", "https://b.example"
	for _, list := range []string{"", listed} {
		environ := func(more ...string) []string {
			return append([]string{"SLUICE_ALLOW_ORIGINS=" + list}, more...)
		}
		check := func(p *process, origin string, requests ...refused) {
			t.Helper()
			for _, tt := range requests {
				text := fmt.Sprintf("%s HTTP/1.1\r\nHost: x\r\n%s", tt.request, tt.head)
				if origin != "" {
					text += "Origin: " + origin + "\r\n"
				}
				res, body := exchange(t, p.http, text+"\r\n")
				name := fmt.Sprintf("%s: %.40s, from %q, allowed %q", tt.by, tt.request, origin, list)
				if assert.NotNil(t, res, name) {
					assert.Equal(t, tt.status, res.StatusCode, name)
					checkRefusal(t, name, tt, res, body)
					checkReaders(t, name, res.Header, origin, list)
				}
			}
		}

		_, p := startService(t, floodTimeout, io.Discard, environ("SLUICE_VIEWER_WAIT=0")...)
		check(p, "", refusedByAny...)
		check(p, listed, refusedByAny...)
		if list != "" {
			check(p, other, refusedToPages...)
		}

		svc, p := startService(t, floodTimeout, io.Discard, environ()...)
		svc.flv.Wait() // as it does when it shuts down
		check(p, listed, refused{"streams", "GET /live/nobody.flv", "", 503}, refused{"WebSocket", "GET /live/nobody.flv", upgradeLines, 503})

		svc, p = startService(t, floodTimeout, io.Discard, environ("SLUICE_MAX_CONNECTIONS=1", "SLUICE_VIEWER_WAIT=1m")...)
		viewer, err := net.Dial("tcp", p.http)
		require.NoError(t, err)
		defer viewer.Close()
		_, err = io.WriteString(viewer, "GET /live/later.flv HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			f := svc.admission.Figures()
			return f.Open == 1 && f.Pending == 0
		}, 10*time.Second, time.Millisecond)
		tooMany := refused{"admission", "GET /", "", 503}
		check(p, "", tooMany)
		check(p, listed, tooMany)
		check(p, other, tooMany)
	}
}

// checkRefusal checks what is the same for everybody.
func checkRefusal(t *testing.T, name string, tt refused, res *http.Response, body string) {
	t.Helper()
	assert.Equal(t, "application/json", res.Header.Get("Content-Type"), name)
	assert.Equal(t, "no-store", res.Header.Get("Cache-Control"), name)
	assert.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"), name)
	assert.Equal(t, res.StatusCode == http.StatusMethodNotAllowed, res.Header.Get("Allow") != "", name)
	assert.Equal(t, tt.by == "admission", res.Header.Get("Retry-After") != "", name)
	assert.Equal(t, tt.by == "admission" || strings.Contains(tt.head, "Content-Length"), res.Close, name)
	if strings.HasPrefix(tt.request, http.MethodHead) {
		assert.Empty(t, body, name)
		return
	}
	var said map[string]string
	if assert.NoError(t, json.Unmarshal([]byte(body), &said), "%s: %s", name, body) {
		assert.Len(t, said, 2, name)
		assert.NotEmpty(t, said["error"], name)
		assert.NotEmpty(t, said["reason"], name)
	}
}

// checkReaders checks which pages may read an answer.
func checkReaders(t *testing.T, name string, header http.Header, origin, list string) {
	t.Helper()
	var want http.Header
	switch {
	case list == "":
		want = http.Header{"Access-Control-Allow-Origin": {"*"}, "Access-Control-Expose-Headers": {"*"}}
	case origin == list:
		want = http.Header{
			"Vary": {"Origin"}, "Access-Control-Allow-Origin": {origin}, "Access-Control-Allow-Credentials": {"true"},
			"Access-Control-Expose-Headers": {"Accept-Ranges, Allow, Content-Disposition, Content-Length, Content-Range, Date, ETag, Retry-After"},
		}
	default:
		want = http.Header{"Vary": {"Origin"}}
	}
	got := http.Header{}
	for field, values := range header {
		if field == "Vary" || strings.HasPrefix(field, "Access-Control-") {
			got[field] = values
		}
	}
	assert.Equal(t, want, got, name)
}
