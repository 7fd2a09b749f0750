package e2e

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub/tlsconn/tlstest"
)

// identity is a certificate for 127.0.0.1 that a test has made.
type identity struct {
	tls.Certificate
	file   string // certificate and key, PEM
	public []byte // key
}

func newIdentity(t *testing.T) identity {
	t.Helper()
	c := tlstest.Certificate(30*24*time.Hour, "sluice")
	return identity{c, tlstest.WriteBoth(t, c), c.Leaf.RawSubjectPublicKeyInfo}
}

// trusted is the option by which Chromium trusts the key, and no other that nobody vouches for.
func (i identity) trusted() chromedp.ExecAllocatorOption {
	sum := sha256.Sum256(i.public)
	return chromedp.Flag("ignore-certificate-errors-spki-list", base64.StdEncoding.EncodeToString(sum[:]))
}

// start starts a server of pages.
func (i identity) start(h http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{i.Certificate}}
	s.StartTLS()
	return s
}

// secureServer is a Sluice that is reached over TLS only, and plain by who publishes.
type secureServer struct {
	*server
	https string // "127.0.0.1:PORT"
	rtmps string // "rtmps://127.0.0.1:PORT"
}

func (i identity) serve(t *testing.T, variables ...string) *secureServer {
	t.Helper()
	s := serve(t, append(variables, "SLUICE_HTTPS_ADDR=127.0.0.1:0", "SLUICE_RTMPS_ADDR=127.0.0.1:0", "SLUICE_TLS_CERT="+i.file, "SLUICE_TLS_KEY="+i.file)...)
	secure := &secureServer{server: s}
	for pattern, to := range map[string]*string{` https://(127\.0\.0\.1:\d+)/`: &secure.https, ` (rtmps://127\.0\.0\.1:\d+)/`: &secure.rtmps} {
		found := regexp.MustCompile(pattern).FindStringSubmatch(s.said.String())
		require.NotNil(t, found, "%s", s.said.String())
		*to = found[1]
	}
	return secure
}

// connections returns how many viewers of a protocol come over how many connections, none of which
// is plain.
func (s *secureServer) connections(protocol string) (viewers, connections int) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.operators+"/api/v1/sessions?limit=1000", nil)
	require.NoError(s.t, err)
	r.Header.Set("Authorization", "Bearer "+operatorToken)
	answer, err := client.Do(r)
	require.NoError(s.t, err)
	defer answer.Body.Close()
	var list struct {
		Sessions []struct {
			Role, Protocol string
			Port           int
			Secure         bool
		}
	}
	require.NoError(s.t, json.NewDecoder(answer.Body).Decode(&list))
	ports := map[int]bool{}
	for _, session := range list.Sessions {
		if session.Role == "watch" && session.Protocol == protocol {
			assert.True(s.t, session.Secure)
			viewers++
			ports[session.Port] = true
		}
	}
	return viewers, len(ports)
}

// A page under https plays with both libraries, over https and wss. Seven of its players get their
// streams by HTTP over one connection, which HTTP/1.1 could not give a seventh. The server's own
// page under https plays over both, and has nothing that is not encrypted: that would be an error
// on the console.
func TestBrowserOverTLS(t *testing.T) {
	t.Parallel()
	i := newIdentity(t)
	s := i.serve(t)
	plain := s.rtmp
	s.rtmp = s.rtmps
	s.publish("live/x", both) // over rtmps
	s.rtmp = plain
	b := browse(t, i.trusted())
	p := openPlayersOn(t, i.start, b)
	var names []string
	play := func(lib, scheme string) {
		name := fmt.Sprintf("%d: %s over %s", len(names), lib, scheme)
		p.playURL(name, lib, scheme+"://"+s.https+"/live/x.flv")
		names = append(names, name)
	}
	for _, lib := range []string{"mpegts", "flvjs"} {
		play(lib, "wss")
		play(lib, "https")
	}
	for range 5 {
		play("mpegts", "https")
	}
	for _, name := range names {
		p.wait(name, "p.picture && p.time > 2 && p.frames > 40 && p.width === 320")
	}
	viewers, connections := s.connections("http-flv")
	assert.Equal(t, 7, viewers)
	assert.Equal(t, 1, connections, "of HTTP/2")
	viewers, connections = s.connections("ws-flv")
	assert.Equal(t, 2, viewers)
	assert.Equal(t, 2, connections)

	for _, over := range []string{"ws", "http"} {
		b.open("https://" + s.https + "/live/x?over=" + over) // which leads to the page
		b.goesOn()
		assert.Equal(t, over, eval[string](b, "sluice.over"))
		b.text("#elsewhere", "wss://"+s.https+"/live/x.flv")
		b.text("#publish", s.rtmps+"/live")
		b.text("#publish", s.server.rtmp+"/live")
		assert.Empty(t, eval[[]string](b, `performance.getEntriesByType("resource").map((e) => e.name).filter((url) => !/^(blob:)?https:/.test(url))`))
	}
	b.open("https://" + s.https + "/?wall=live/x&wall=live/x")
	b.until("sluice.wall?.tiles.every((t) => t.state === 'playing')", pageNow)
}
