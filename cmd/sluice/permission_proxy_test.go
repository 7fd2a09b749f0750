//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A ban of an address behind a proxy is the client's, over every protocol; the proxy and its other
// clients are not touched. A kick of somebody without an identity bans that address.
func TestPermissionBanBehindProxy(t *testing.T) {
	log := new(syncBuffer)
	svc, p := permitted(t, log, append(slices.Clone(operators), trustsLoopback...)...)
	publishHere(t, svc, "cam")
	o := operator{t, svc.listeners.addr("admin")}
	clients := map[string][]string{"192.0.2.7": {"192.0.2.6"}, "2001:db8:1:2::1": {"2001:db8:1:3::1"}}
	for banned, others := range clients {
		status, answer := o.do(http.MethodPost, "/api/v1/bans", fmt.Sprintf(`{"address": %q, "reason": "spam"}`, banned))
		require.Less(t, status, 300, answer)
		for _, to := range allTold {
			assert.Equal(t, to.denied, viaProxy(t, p, banned, to.protocol, to.nameOf(banned)), to.protocol)
			for _, other := range others {
				assert.Equal(t, to.in, viaProxy(t, p, other, to.protocol, to.nameOf(other)), to.protocol)
			}
		}
	}
	for _, to := range allTold[2:] {
		assert.Equal(t, to.denied, viaProxy(t, p, "2001:db8:1:2:ffff::9", to.protocol, "cam"), "of the same network")
		assert.Equal(t, to.in, viaProxy(t, p, "", to.protocol, "cam"), "the proxy itself")
		assert.Equal(t, to.denied, viaProxy(t, p, "203.0.113.9, 192.0.2.7", to.protocol, "cam"), "what it sends itself is not looked at")
		assert.Equal(t, to.denied, viaProxy(t, p, "192.0.2.7, 127.0.0.2", to.protocol, "cam"), "through two proxies")
	}
	// Kicked while it watches, over RTMP through the proxy.
	conn := dialFrom(t, net.IPv4(127, 0, 0, 1), p.rtmp)
	io.WriteString(conn, proxyLine("192.0.2.77"))
	c, err := connectRaw(conn, "live", true)
	require.NoError(t, err)
	c.command(1, "play", 0.0, nil, "cam", "live")
	var id any
	until(t, "it watches", func() bool {
		_, answer := o.do(http.MethodGet, "/api/v1/sessions?address=192.0.2.77&state=running", "")
		sessions := answer["sessions"].([]any)
		if len(sessions) == 1 {
			id = sessions[0].(map[string]any)["id"]
		}
		return len(sessions) == 1
	})
	status, answer := o.do(http.MethodDelete, fmt.Sprintf("/api/v1/sessions/%v", id), "")
	require.Equal(t, http.StatusOK, status, answer)
	assert.Equal(t, "NetStream.Play.Failed", viaProxy(t, p, "192.0.2.77", "RTMP play", "cam"))
	assert.Equal(t, "403", viaProxy(t, p, "192.0.2.77", "HTTP-FLV", "cam"))
	assert.Equal(t, "200", viaProxy(t, p, "192.0.2.78", "HTTP-FLV", "cam"))
	svc.stop()
	for line := range strings.Lines(string(log.bytes())) {
		if strings.Contains(line, `detail="banned`) {
			assert.Regexp(t, `remote=(192\.0\.2\.7|\[2001:db8:1:2:)`, line)
		}
	}
}

// Headers of strangers, twice, slow, behind TLS or with huge values reach nobody, are not believed
// and hold up nobody; nor does any number of hops.
func TestPermissionProxyAttacks(t *testing.T) {
	t.Parallel()
	log := new(syncBuffer)
	svc, p := permitted(t, log, append([]string{"SLUICE_DENY_WATCH=203.0.113.0/24", "SLUICE_DENY_PUBLISH=203.0.113.0/24"}, append(slices.Clone(trustsLoopback),
		"SLUICE_PROXY_PROTOCOL=rtmp http")...)...)
	publishHere(t, svc, "cam")
	v2 := func(command, family byte, length int, rest string) string {
		return "\r\n\r\n\x00\r\nQUIT\n" + string([]byte{0x20 | command, family, byte(length >> 8), byte(length)}) + rest
	}
	tcp4 := "\xc0\x00\x02\x09\x7f\x00\x00\x01\x12\x34\x07\x8f"
	proxy, stranger := net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 9)
	hello := "\x03" + strings.Repeat("\x00", 1536)
	for name, test := range map[string]struct {
		from  net.IP
		bytes string
	}{
		"v1 of a stranger":   {stranger, proxyLine("192.0.2.9")},
		"v2 of a stranger":   {stranger, v2(1, 0x11, 12, tcp4)},
		"none":               {proxy, ""},
		"v1 twice":           {proxy, proxyLine("192.0.2.9") + proxyLine("192.0.2.10")},
		"v2 and v1":          {proxy, v2(1, 0x11, 12, tcp4) + proxyLine("192.0.2.10")},
		"behind TLS":         {proxy, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + proxyLine("192.0.2.9")},
		"v2, 64 KB":          {proxy, v2(1, 0x11, 65535, tcp4+strings.Repeat("\xe0\x04\x00", 65535/3))},
		"v2, 3 KB":           {proxy, v2(1, 0x11, 3000, tcp4+strings.Repeat("x", 3000-12))},
		"v1 without an end":  {proxy, "PROXY TCP4 " + strings.Repeat("1", 1<<20)},
		"v1, no address":     {proxy, "PROXY TCP4 0.0.0.0 127.0.0.1 1 1\r\n"},
		"v1, line injection": {proxy, "PROXY TCP4 192.0.2.9\r\nX: y 127.0.0.1 1 1\r\n"},
	} {
		for what, request := range map[string]string{p.rtmp: hello, p.http: "GET /live/cam.flv HTTP/1.1\r\nHost: x\r\n\r\n"} {
			conn := dialFrom(t, test.from, what)
			conn.SetDeadline(time.Now().Add(patience))
			go io.WriteString(conn, test.bytes+request)
			said, err := io.ReadAll(io.LimitReader(conn, 64<<10))
			if netErr, ok := err.(net.Error); ok {
				assert.False(t, netErr.Timeout(), "%s: the connection was not closed", name)
			}
			// Only net/http says something, and that it is no request.
			assert.True(t, len(said) == 0 || strings.HasPrefix(string(said), "HTTP/1.1 400 ") && what == p.http, "%s: %.60q", name, said)
			conn.Close()
		}
	}
	assert.Len(t, svc.hub.Sessions(), 1)

	// A hundred that drip, and amid them others who come through the same proxy, and by themselves.
	var dripping sync.WaitGroup
	stop := make(chan struct{})
	for i := range 100 {
		dripping.Go(func() {
			conn := dialFrom(t, proxy, []string{p.rtmp, p.http}[i%2])
			defer conn.Close()
			for n, line := 0, proxyLine("192.0.2.200"); n < len(line)-1; n++ {
				if _, err := io.WriteString(conn, line[n:n+1]); err != nil {
					return
				}
				select {
				case <-time.After(200 * time.Millisecond):
				case <-stop:
					return
				}
			}
		})
	}
	assert.Equal(t, "NetStream.Play.Start", viaProxy(t, p, "192.0.2.20", "RTMP play", "cam"))
	assert.Equal(t, http.StatusOK, statusOf(t, proxy, p.http, proxyLine("192.0.2.21")+"GET /live/cam.flv HTTP/1.1\r\nHost: x\r\n\r\n"))
	assert.Equal(t, http.StatusOK, statusOf(t, stranger, p.http, "GET /live/cam.flv HTTP/1.1\r\nHost: x\r\n\r\n"))
	close(stop)
	dripping.Wait()

	// What a client says of itself means nothing, whether it comes through a proxy or not: denied is
	// 203.0.113.0/24.
	hops := strings.Repeat("127.0.0.2, ", 100)
	for name, test := range map[string]struct {
		from                  net.IP
		client, header, extra string
		want                  int
	}{
		"denied":                       {proxy, "203.0.113.5", "", "", 403},
		"denied, spoofed as another":   {proxy, "203.0.113.5", "192.0.2.1", "", 403},
		"denied, spoofed as a proxy":   {proxy, "203.0.113.5", "127.0.0.1", "", 403},
		"another, spoofed as denied":   {proxy, "192.0.2.1", "203.0.113.5", "", 200},
		"HTTP behind TCP":              {proxy, "127.0.0.2", "203.0.113.5", "", 403},
		"the last counts":              {proxy, "127.0.0.2", "192.0.2.1, 203.0.113.5", "", 403},
		"the last counts, 2":           {proxy, "127.0.0.2", "203.0.113.5, 192.0.2.1", "", 200},
		"proxies behind":               {proxy, "127.0.0.2", "192.0.2.1, 203.0.113.5, 127.0.0.1, 127.0.0.2", "", 403},
		"two lines":                    {proxy, "127.0.0.2", "192.0.2.1\r\nX-Forwarded-For: 203.0.113.5", "", 403},
		"99 hops":                      {proxy, "127.0.0.2", "203.0.113.5, " + hops[:len(hops)-len("127.0.0.2, ")-2], "", 403},
		"a name":                       {proxy, "127.0.0.2", "203.0.113.5, unknown", "", 200},
		"100 hops and the client":      {proxy, "127.0.0.2", "203.0.113.5, " + hops[:len(hops)-2], "", 200}, // is not looked for further
		"10,000 hops":                  {proxy, "127.0.0.2", strings.Repeat("1.1.1.1,", 2500) + "203.0.113.5", "", 403},
		"a stranger":                   {stranger, "", "203.0.113.5", "", 200},
		"other headers mean nothing":   {proxy, "127.0.0.2", "192.0.2.1", "X-Real-IP: 203.0.113.5\r\nForwarded: for=203.0.113.5\r\nCF-Connecting-IP: 203.0.113.5\r\n", 200},
		"an address in brackets":       {proxy, "127.0.0.2", "203.0.113.5:80", "", 403},
		"mapped":                       {proxy, "127.0.0.2", "::ffff:203.0.113.5", "", 403},
		"a zone":                       {proxy, "127.0.0.2", "fe80::1%eth0", "", 200},
		"leading zeros are no address": {proxy, "127.0.0.2", "203.0.113.05", "", 200},
	} {
		header, line := "", ""
		if test.header != "" {
			header = "X-Forwarded-For: " + test.header + "\r\n"
		}
		if test.client != "" {
			line = proxyLine(test.client)
		}
		assert.Equal(t, test.want, statusOf(t, test.from, p.http, line+"GET /live/cam.flv HTTP/1.1\r\nHost: x\r\n"+header+test.extra+"\r\n"), name)
	}
	code := func(client string) string { return viaProxy(t, p, client, "RTMP publish", "new") }
	assert.Equal(t, "NetStream.Publish.Denied", code("203.0.113.5"))
	assert.Equal(t, "NetStream.Publish.Start", code("192.0.2.1"))
	until(t, "all is closed", func() bool { return svc.admission.Figures().Open == 0 })
	svc.stop()
	assert.NotContains(t, string(log.bytes()), "level=ERROR")
}

// Whoever has not the token learns nothing from the operators' API, and who has it can do no more
// than it is for.
func TestPermissionHostileOperators(t *testing.T) {
	log := new(syncBuffer)
	svc, p := permitted(t, log, append(slices.Clone(operators), "SLUICE_STATE_DIR="+t.TempDir())...)
	publishHere(t, svc, "cam")
	addr := svc.listeners.addr("admin")
	ask := func(from net.IP, method, path, header, body string) (int, string) {
		conn := dialFrom(t, from, addr)
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		go fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: attacker.example\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n%s", method, path, len(body), header, body)
		said, _ := io.ReadAll(conn)
		var status int
		fmt.Sscanf(string(said), "HTTP/1.1 %d", &status)
		return status, string(said)
	}
	const authorized, kind = "Authorization: Bearer " + adminToken + "\r\n", "Content-Type: application/json\r\n"
	paths := []string{
		"/", "/api/v1/streams", "/api/v1/sessions", "/api/v1/sessions/1", "/api/v1/bans", "/api/v1/bans/1", "/api/v1/events", "/api/v1/info",
		"/api/v1/openapi.json", "/api/v1/streams/kick", "/api/v1/streams/record", "/api/v1/recordings/x", "/live/cam.flv", "//api/v1/info",
		"/api/v1/../v1/info", "/API/v1/info", "/healthz/../api/v1/info", "/healthz%2F..%2Fapi/v1/info", "*", "http://x/api/v1/info",
	}
	n := 0
	from := func() net.IP { // wrong tokens are limited by address
		n++
		return net.IPv4(127, 0, byte(n/200+1), byte(n%200+1))
	}
	for _, path := range paths {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"} {
			for _, header := range []string{
				"", "Authorization: Basic " + adminToken + "\r\n", "Authorization: " + adminToken + "\r\n", "Authorization: Bearer\r\n",
				"Authorization: Bearer " + adminToken[:len(adminToken)-1] + "\r\n", "Cookie: token=" + adminToken + "\r\n", "X-Token: " + adminToken + "\r\n",
				authorized + authorized,
			} {
				status, said := ask(from(), method, path+"?token="+adminToken+"&access_token="+adminToken, header+kind, "{}")
				assert.Contains(t, []int{401, 400}, status, "%s %s %q", method, path, header)
				for _, word := range []string{"cam", "127.0.0.1", "S3CRET", "Access-Control", "openapi"} {
					assert.NotContains(t, said, word, "%s %s %q", method, path, header)
				}
			}
		}
	}
	// A page, by a preflight or by a name that resolves to this machine.
	status, said := ask(from(), "OPTIONS", "/api/v1/bans", "Origin: http://attacker.example\r\nAccess-Control-Request-Method: POST\r\n"+
		"Access-Control-Request-Headers: authorization\r\n", "")
	assert.Equal(t, 401, status)
	assert.NotContains(t, said, "Access-Control")
	// With the token: bodies.
	deep := `{"stream":` + strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000) + "}"
	for name, test := range map[string]struct {
		path, header, body string
		want               int
	}{
		"1 MB":           {"/api/v1/bans", authorized + kind, `{"reason":"` + strings.Repeat("x", 1<<20) + `"}`, 413},
		"deep":           {"/api/v1/bans", authorized + kind, deep, 400},
		"a form":         {"/api/v1/bans", authorized + "Content-Type: application/x-www-form-urlencoded\r\n", "address=1.2.3.4", 415},
		"plain text":     {"/api/v1/bans", authorized + "Content-Type: text/plain\r\n", `{"address":"1.2.3.4"}`, 415},
		"not UTF-8":      {"/api/v1/bans", authorized + kind, "{\"reason\":\"\xff\"}", 400},
		"two values":     {"/api/v1/bans", authorized + kind, `{"address":"1.2.3.4"}{}`, 400},
		"unknown":        {"/api/v1/bans", authorized + kind, `{"address":"1.2.3.4","x":1}`, 400},
		"a line end":     {"/api/v1/bans", authorized + kind, `{"address":"1.2.3.4","reason":"a\nb"}`, 400},
		"everybody":      {"/api/v1/bans", authorized + kind, `{}`, 400},
		"a path":         {"/api/v1/streams/record", authorized + kind, `{"stream":"../../x","action":"start"}`, 400},
		"kick no stream": {"/api/v1/streams/kick", authorized + kind, `{"stream":"live/.."}`, 400},
		"gzip":           {"/api/v1/bans", authorized + kind + "Content-Encoding: gzip\r\n", "\x1f\x8b", 400},
	} {
		status, said := ask(nil, "POST", test.path, test.header, test.body)
		if test.want == 413 && status == 0 {
			continue // a reset has taken the answer away
		}
		if test.path == "/api/v1/streams/record" && status == 404 {
			continue // nothing is recorded here
		}
		assert.Equal(t, test.want, status, "%s: %s", name, said)
	}
	o := operator{t, addr}
	_, answer := o.do(http.MethodGet, "/api/v1/bans", "")
	assert.Empty(t, answer["bans"])
	for _, path := range []string{"/api/v1/recordings/..%2F..%2Fetc%2Fpasswd", "/api/v1/recordings/live/cam/..", "/api/v1/sessions/-1", "/api/v1/sessions/99999999999999999999", "/api/v1/bans/..%2F1"} {
		status, _ := ask(nil, "DELETE", path, authorized, "")
		assert.Contains(t, []int{400, 404}, status, path)
	}
	// Guesses: ten different ones of one address, and then not even the right token.
	guesser := net.IPv4(127, 0, 9, 9)
	for n := range 10 {
		status, _ := ask(guesser, "GET", "/api/v1/info", fmt.Sprintf("Authorization: Bearer S3CRETguess%d\r\n", n), "")
		assert.Equal(t, 401, status)
	}
	status, _ = ask(guesser, "GET", "/api/v1/info", authorized, "")
	assert.Equal(t, 429, status)
	// Slow headers and bodies hold up nobody.
	for range 100 {
		conn := dialFrom(t, nil, addr)
		io.WriteString(conn, "POST /api/v1/bans HTTP/1.1\r\nHost: x\r\n"+authorized+kind+"Content-Length: 100\r\n\r\n{")
		conn = dialFrom(t, nil, addr)
		io.WriteString(conn, "GET /api/v1/info HTTP/1.1\r\nX:")
	}
	status, answer = o.do(http.MethodGet, "/api/v1/info", "")
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, true, answer["ready"])
	assert.True(t, svc.admin.ReadHeaderTimeout > 0 && svc.admin.ReadTimeout > 0 && svc.admin.WriteTimeout > 0, "they end")
	// Nothing of it is on the public address.
	for _, path := range paths[2:8] {
		status := statusOf(t, nil, p.http, "GET "+path+" HTTP/1.1\r\nHost: x\r\n"+authorized+"\r\n")
		assert.Equal(t, http.StatusNotFound, status, path)
	}
	var list struct{ Streams []json.RawMessage }
	_, text := p.get(t, "/api/v1/streams")
	require.NoError(t, json.Unmarshal(text, &list))
	assert.Len(t, list.Streams, 1, "nobody was ended")
	noSecrets(t, "the log", log.bytes())
}
