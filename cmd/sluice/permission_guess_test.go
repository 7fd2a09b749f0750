//go:build unix

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv/amf"
	"sluice/hub"
)

// trustsLoopback are the variables of a server behind proxies on loopback other than 127.0.0.9.
var trustsLoopback = []string{"SLUICE_TRUSTED_PROXIES=127.0.0.1 127.0.0.2", "SLUICE_PROXY_PROTOCOL=rtmp"}

// proxyLine is the PROXY header, version 1, of a client.
func proxyLine(client string) string {
	if strings.Contains(client, ":") {
		return "PROXY TCP6 " + client + " ::1 4660 1935\r\n"
	}
	return "PROXY TCP4 " + client + " 127.0.0.1 4660 1935\r\n"
}

// viaProxy asks as a client at an address, over each protocol: RTMP with a PROXY header, HTTP
// with X-Forwarded-For. It returns the code or the status that the client is told.
func viaProxy(t *testing.T, p *process, client, protocol, name string) string {
	t.Helper()
	if command, ok := strings.CutPrefix(protocol, "RTMP "); ok {
		conn := dialFrom(t, net.IPv4(127, 0, 0, 1), p.rtmp)
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		io.WriteString(conn, proxyLine(client))
		c, err := connectRawWith(conn, true, amf.Object{{Name: "app", Value: "live"}, {Name: "tcUrl", Value: "rtmp://x/live"}})
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
	path, query := splitQuery(name)
	method, upgrade := "GET", ""
	switch protocol {
	case "HTTP-FLV HEAD":
		method = "HEAD"
	case "WebSocket-FLV":
		conn := dialFrom(t, net.IPv4(127, 0, 0, 1), p.http)
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		s, err := openSocket(headerConn{conn, "X-Forwarded-For: " + client + "\r\n"}, &selection{key: "live/" + path, query: query})
		if err != nil {
			return err.Error()
		}
		if _, err := s.Read(make([]byte, 1)); err == nil {
			return in
		}
		return fmt.Sprint(s.code)
	}
	return fmt.Sprint(statusOf(t, net.IPv4(127, 0, 0, 1), p.http, fmt.Sprintf("%s /live/%s.flv%s HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: %s\r\n%s\r\n",
		method, path, query, client, upgrade)))
}

// headerConn puts a line into the header of the request that is written to it first.
type headerConn struct {
	net.Conn
	line string
}

func (c headerConn) Write(b []byte) (int, error) {
	if before, after, ok := bytes.Cut(b, []byte("\r\n")); ok && bytes.HasPrefix(b, []byte("GET ")) {
		_, err := c.Conn.Write(bytes.Join([][]byte{before, []byte("\r\n" + c.line), after}, nil))
		return len(b), err
	}
	return c.Conn.Write(b)
}

// told are the words of each protocol.
type told struct{ protocol, in, denied, tooMany string }

var allTold = []told{
	{"RTMP publish", "NetStream.Publish.Start", "NetStream.Publish.Denied", "NetStream.Publish.Rejected"},
	{"RTMP play", "NetStream.Play.Start", "NetStream.Play.Failed", "NetStream.Play.Failed"},
	{"HTTP-FLV", "200", "403", "503"},
	{"HTTP-FLV HEAD", "200", "403", "503"},
	{"WebSocket-FLV", in, "4403", "1013"},
}

// nameOf returns what a client asks for: a publisher for a stream of its own.
func (o told) nameOf(client string) string {
	if o.protocol == "RTMP publish" {
		return "new" + strings.NewReplacer(":", "-", ".", "-").Replace(client)
	}
	return "cam"
}

// Wrong secrets are counted over all protocols together, by the client's address behind the
// proxy, an IPv6 client's by its network; missing and expired ones are not. Who guesses has to
// wait, whatever it shows then, and nobody else does.
func TestPermissionGuesses(t *testing.T) {
	past := time.Now().Add(-time.Hour)
	log := new(syncBuffer)
	svc, p := permitted(t, log, append([]string{
		"SLUICE_PUBLISH_AUTH=key sign", "SLUICE_WATCH_AUTH=key sign", "SLUICE_PUBLISH_KEYS=** " + publishKey, "SLUICE_WATCH_KEYS=** " + watchKey,
		"SLUICE_PUBLISH_SECRETS=** " + publishSecret, "SLUICE_WATCH_SECRETS=** " + watchSecret, "SLUICE_AUTH_FAILURES=5/24h",
	}, trustsLoopback...)...)
	publishHere(t, svc, "cam")
	good := func(o told) string {
		if o.protocol == "RTMP publish" {
			return "?key=" + publishKey
		}
		return "?key=" + watchKey
	}
	for name, addrs := range map[string]func(n int) string{
		"IPv4":          func(int) string { return "192.0.2.7" },
		"IPv4 mapped":   func(n int) string { return []string{"192.0.2.8", "::ffff:192.0.2.8"}[n%2] },
		"IPv6, one /64": func(n int) string { return fmt.Sprintf("2001:db8:1:2::%x", n+1) },
	} {
		t.Run(name, func(t *testing.T) {
			for n, o := range allTold { // of which none counts
				addr := addrs(n)
				role := map[bool]hub.Role{true: hub.RolePublish, false: hub.RoleWatch}[o.protocol == "RTMP publish"]
				secret := map[hub.Role]string{hub.RolePublish: publishSecret, hub.RoleWatch: watchSecret}[role]
				key := hub.Key{App: "live", Name: o.nameOf(addr)}
				for range 3 {
					assert.Equal(t, o.denied, viaProxy(t, p, addr, o.protocol, o.nameOf(addr)), "missing, %s", o.protocol)
					assert.Equal(t, o.denied, viaProxy(t, p, addr, o.protocol, o.nameOf(addr)+"?"+signed(role, key, secret, past)), "expired, %s", o.protocol)
				}
			}
			for n, o := range allTold { // one of each is five
				assert.Equal(t, o.denied, viaProxy(t, p, addrs(n), o.protocol, o.nameOf(addrs(n))+"?key=S3CRETwrong"), o.protocol)
			}
			for n, o := range allTold {
				addr := addrs(n + 5)
				assert.Equal(t, o.tooMany, viaProxy(t, p, addr, o.protocol, o.nameOf(addr)+good(o)), o.protocol)
				assert.Equal(t, o.tooMany, viaProxy(t, p, addr, o.protocol, o.nameOf(addr)), o.protocol)
			}
		})
	}
	for n, other := range []string{"192.0.2.9", "2001:db8:1:3::1"} {
		for _, o := range allTold {
			assert.Equal(t, o.in, viaProxy(t, p, other, o.protocol, o.nameOf(other)+good(o)), "%s, %d", o.protocol, n)
		}
	}
	for _, o := range allTold[2:] { // the proxies themselves have shown nothing wrong
		assert.Equal(t, o.in, viaProxy(t, p, "", o.protocol, "cam"+good(o)), o.protocol)
	}
	svc.stop()
	noSecrets(t, "the log", log.bytes())
	assert.Equal(t, 3, bytes.Count(log.bytes(), []byte("too many wrong secrets: the address is refused")))
	assert.Contains(t, string(log.bytes()), "address=2001:db8:1:2::")
}

// A flood of guesses, each from an address of its own, is borne: memory is bounded, and who
// knows the key comes in.
func TestPermissionGuessFlood(t *testing.T) {
	svc, p := permitted(t, io.Discard, append([]string{
		"SLUICE_WATCH_AUTH=key", "SLUICE_WATCH_KEYS=** " + watchKey, "SLUICE_AUTH_FAILURES=3/24h", "SLUICE_EVENT_EXEC=/bin/true", "SLUICE_LOG_LEVEL=error",
	}, trustsLoopback...)...)
	publishHere(t, svc, "cam")
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	conn := dialFrom(t, net.IPv4(127, 0, 0, 1), p.http)
	conn.SetDeadline(time.Now().Add(2 * patience))
	const guesses, batch = 5000, 100
	answers := bufio.NewReader(conn)
	for n := 0; n < guesses; n += batch { // on one connection of the proxy
		var requests bytes.Buffer
		for i := n; i < n+batch; i++ {
			fmt.Fprintf(&requests, "HEAD /live/cam.flv?key=guess%d HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 10.%d.%d.%d\r\n\r\n", i, i>>16, i>>8&255, i&255)
		}
		go conn.Write(requests.Bytes())
		for range batch {
			res, err := http.ReadResponse(answers, &http.Request{Method: http.MethodHead})
			require.NoError(t, err)
			assert.Equal(t, http.StatusForbidden, res.StatusCode)
		}
	}
	conn.Close()
	until(t, "nobody is left", func() bool { return len(svc.hub.Sessions()) == 1 && svc.admission.Figures().Open == 0 })
	after := heap()
	t.Logf("%d guesses: %d bytes before, %d after", guesses, before, after)
	assert.Less(t, after, before+guesses*1024+(4<<20), "65,536 addresses are known at the most")
	assert.Equal(t, fmt.Sprint(http.StatusOK), viaProxy(t, p, "198.51.100.1", "HTTP-FLV", "cam?key="+watchKey))
}
