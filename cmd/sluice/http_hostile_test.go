package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// served starts the program and returns where it publishes and serves.
func served(t *testing.T, environ ...string) (*output, servedStream) {
	out, _ := start(t, environ...)
	return out, servedStream{
		publish: out.find(t, `rtmp://(127\.0\.0\.1:\d+)/live/NAME\n`)[1],
		watch:   out.find(t, `http://(127\.0\.0\.1:\d+)/ in a browser`)[1],
	}
}

// exchange sends bytes to the HTTP port and returns the first answer, nil if there is
// none, with its body.
func exchange(t *testing.T, addr, text string) (*http.Response, string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	go io.WriteString(c, text) // the server need not read it all
	r := bufio.NewReader(c)
	if _, err := r.Peek(1); err != nil {
		return nil, ""
	}
	method, _, _ := strings.Cut(text, " ")
	res, err := http.ReadResponse(r, &http.Request{Method: method})
	require.NoError(t, err, "%.100q", text)
	if res.Header.Get("Content-Type") == "video/x-flv" {
		return res, "" // without an end
	}
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err, "%.100q", text)
	return res, string(body)
}

// What comes to the HTTP port that is none of its business is answered clearly, and
// nobody else notices. Refusals are JSON; those of net/http, which are written before
// anybody sees the request, are text.
func TestHostileRequests(t *testing.T) {
	_, s := served(t, "SLUICE_VIEWER_WAIT=0", "SLUICE_PUBLISHER_GRACE=0")
	defer neighbours(t, s)()
	const host = " HTTP/1.1\r\nHost: x\r\n\r\n"
	const flv = "/live/neighbour.flv"
	get := func(target string) string { return "GET " + target + host }
	with := func(lines string) string { return "GET /x HTTP/1.1\r\nHost: x\r\n" + lines + "\r\n" }
	long := strings.Repeat("x", 8000)
	for _, tt := range []struct {
		name, request string
		status        int
		says          string // in the reason of a refusal in JSON; "" if it is none
	}{
		// header
		{"large header", with("X: " + strings.Repeat("x", 40<<10) + "\r\n"), 431, ""},
		{"many headers", with(strings.Repeat("a:\r\n", 20_000)), 431, ""},
		{"long target", get("/" + strings.Repeat("x", 40<<10)), 431, ""},
		{"no host", "GET / HTTP/1.1\r\n\r\n", 400, ""},
		{"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, ""},
		{"bad host", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, ""},
		{"host of any kind", "GET / HTTP/1.1\r\nHost: ';*[::]:1,$(x)\r\n\r\n", 200, ""},
		{"space before a colon", with("X : y\r\n"), 400, ""},
		{"no colon", with("nothing\r\n"), 400, ""},
		{"folded line", with("X: a\r\n b\r\n"), 404, "nothing is served here"},
		{"null in a header", with("X: a\x00b\r\n"), 400, ""},
		{"bare LF", "GET " + flv + " HTTP/1.1\nHost: x\n\n", 200, ""},
		{"no version", "GET " + flv + "\r\n\r\n", 400, ""},
		{"version 2", "GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505, ""},
		{"version 1.9", "GET " + flv + " HTTP/1.9\r\nHost: x\r\n\r\n", 200, ""},
		{"version 1.0", "GET " + flv + " HTTP/1.0\r\n\r\n", 200, ""},
		{"preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 405, "no such method"},
		{"expects something else", with("Expect: miracles\r\n"), 417, ""},

		// methods and targets
		{"POST to the page", "POST /" + host, 405, "GET and HEAD"},
		{"PUT to the API", "PUT /api/v1/streams" + host, 405, "GET and HEAD"},
		{"DELETE of a script", "DELETE /assets/app.js" + host, 405, "GET and HEAD"},
		{"POST to a stream", "POST " + flv + host, 405, "GET only"},
		{"TRACE of a stream", "TRACE " + flv + host, 405, "GET only"},
		{"TRACE", "TRACE /" + host, 405, "GET and HEAD"},
		{"CONNECT", "CONNECT elsewhere:443" + host, 405, "GET and HEAD"},
		{"CONNECT to a stream", "CONNECT " + flv + host, 405, "GET only"},
		{"unknown method", "BREW /" + host, 405, "no such method"},
		{"no token", "G(T /" + host, 400, ""},
		{"absolute form", get("http://elsewhere.example" + flv), 200, ""},
		{"another scheme", get("rtmp://elsewhere" + flv), 200, ""},
		{"authority form", get("elsewhere:80"), 400, "neither a path nor a URL"},
		{"asterisk", "OPTIONS *" + host, 404, "nothing is served here"},
		{"no slash", get("live/neighbour.flv"), 400, ""},

		// paths
		{"dots", get("/live/../live/neighbour.flv"), 400, "segment"},
		{"escaped dots", get("/live/%2e%2e/neighbour.flv"), 400, "segment"},
		{"escaped twice", get("/live/%252e%252e.flv"), 400, "not allowed: '%'"},
		{"out of the assets", get("/assets/../../web.go"), 404, "nothing here"},
		{"out, escaped", get("/assets/..%2f..%2fweb.go"), 404, "nothing here"},
		{"escaped slash", get("/live%2Fneighbour.flv"), 200, ""},
		{"slashes", get("//live///neighbour.flv"), 200, ""},
		{"backslash", get("/live\\neighbour.flv"), 400, "not allowed"},
		{"escaped backslash", get("/live/a%5c..%5cb.flv"), 400, "not allowed"},
		{"null", get("/live/neighbour%00.flv"), 400, "not allowed"},
		{"null at the end", get(flv + "%00"), 404, "nothing is served here"},
		{"line break", get("/live/a%0d%0aX:y.flv"), 400, "not allowed"},
		{"trailing dots", get("/live/neighbour..flv"), 404, "no publisher for live/neighbour."},
		{"trailing slash", get(flv + "/"), 404, "nothing is served here"},
		{"semicolon", get(flv + ";jsessionid=1"), 404, "nothing is served here"},
		{"semicolon inside", get("/live/a;b.flv"), 400, "not allowed"},
		{"no UTF-8", get("/live/%ff%fe.flv"), 400, "UTF-8"},
		{"no UTF-8, raw", get("/live/\xff.flv"), 400, "UTF-8"},
		{"half an escape", get("/live/%f.flv"), 400, ""},
		{"markup", get("/live/%3Cscript%3E.flv"), 400, "not allowed"},
		{"long name", get("/live/" + long + ".flv"), 400, "longer than 255 bytes"},
		{"many segments", get(strings.Repeat("/a", 4000) + ".flv"), 400, "longer than 255 bytes"},
		{"nothing but the ending", get("/.flv"), 400, "needs an app and a name"},

		// queries
		{"parameters twice", get(flv + "?onlyvideo=0&onlyvideo=1&onlyaudio=0&onlyaudio=1"), 200, ""},
		{"10,000 parameters", get(flv + "?" + strings.Repeat("a&", 10_000)), 400, "query is longer"},
		{"2,000 parameters", get(flv + "?" + strings.Repeat("a&", 2000)), 200, ""},
		{"huge value", get(flv + "?track=" + long), 400, "query is longer"},
		{"bad escapes", get(flv + "?track=%zz&a=%&%=b"), 200, ""},
		{"null in a value", get(flv + "?track=1%00"), 400, "track is a number"},
		{"overflow", get(flv + "?track=99999999999999999999"), 400, "track is a number"},
		{"infinity", get(flv + "?back=Inf"), 400, "back is a number"},
		{"question marks", get(flv + "???a=b?c"), 200, ""},
		{"key of the API", get("/api/v1/streams?stream=" + long), 200, ""},

		// one request that is two for somebody else (RFC 9112 §6.3)
		{"length and chunks", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n", 405, "GET and HEAD"},
		{"two lengths", with("Content-Length: 5\r\nContent-Length: 6\r\n"), 400, ""},
		{"signed length", with("Content-Length: +5\r\n"), 400, ""},
		{"negative length", with("Content-Length: -1\r\n"), 400, ""},
		{"length beyond", with("Content-Length: 99999999999999999999\r\n"), 400, ""},
		{"two codings", with("Transfer-Encoding: gzip, chunked\r\n"), 501, ""},
		{"unknown coding", with("Transfer-Encoding: xchunked\r\n"), 501, ""},
		{"bad chunks", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", 405, "GET and HEAD"},
		{"body of 1 GB", "POST " + flv + " HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n" + strings.Repeat(long, 100), 405, "GET only"},

		// other protocols
		{"RTMP", "\x03" + strings.Repeat("\x00", 8) + strings.Repeat("r", 1528) + "\r\n\r\n", 400, ""},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + long[:500] + "\r\n\r\n", 400, ""},
		{"SSH", "SSH-2.0-x\r\n\r\n", 400, ""},
		{"noise", strings.Repeat("\x80\x00\xff\n", 100), 400, ""},
	} {
		res, body := exchange(t, s.watch, tt.request)
		if !assert.NotNil(t, res, "%s: no answer", tt.name) {
			continue
		}
		assert.Equal(t, tt.status, res.StatusCode, "%s: %.200s", tt.name, body)
		if res.StatusCode == http.StatusMethodNotAllowed {
			assert.Contains(t, res.Header.Get("Allow"), "GET", tt.name)
		}
		if tt.says == "" {
			continue
		}
		var said struct{ Error, Reason string }
		require.NoError(t, json.Unmarshal([]byte(body), &said), "%s: %s", tt.name, body)
		assert.Equal(t, "application/json", res.Header.Get("Content-Type"), tt.name)
		assert.NotEmpty(t, said.Error, tt.name)
		assert.Contains(t, said.Reason, tt.says, tt.name)
	}
}

// Requests that come all at once are answered one after the other, and what is behind
// one for a stream is no request.
func TestPipelinedRequests(t *testing.T) {
	_, s := served(t, "SLUICE_VIEWER_WAIT=0", "SLUICE_PUBLISHER_GRACE=0")
	defer neighbours(t, s)()
	c, err := net.Dial("tcp", s.watch)
	require.NoError(t, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	const rounds = 500
	request := "GET /api/v1/streams?stream=none HTTP/1.1\r\nHost: x\r\n\r\nGET /.flv HTTP/1.1\r\nHost: x\r\n\r\n"
	go io.WriteString(c, strings.Repeat(request, rounds)+
		"GET /live/neighbour.flv HTTP/1.1\r\nHost: x\r\n\r\nGET /evil HTTP/1.1\r\nHost: x\r\n\r\n")
	r := bufio.NewReader(c)
	for i := range 2 * rounds {
		res, err := http.ReadResponse(r, nil)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, res.Body)
		require.NoError(t, err)
		require.Equal(t, []int{200, 400}[i%2], res.StatusCode)
	}
	res, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	assert.Equal(t, "video/x-flv", res.Header.Get("Content-Type"))
	_, err = io.CopyN(io.Discard, res.Body, 5000)
	assert.NoError(t, err, "chunks, and nothing in between")
}

// What clients send as credentials, in whatever place, is in no line of the log; what
// they choose as names stands quoted in one.
func TestSecretsAreNotLogged(t *testing.T) {
	out, s := served(t, "SLUICE_VIEWER_WAIT=0", "SLUICE_PUBLISHER_GRACE=0", "SLUICE_LOG_LEVEL=debug")
	defer neighbours(t, s)()
	const secret = "hunter2"
	headers := "Host: x\r\nAuthorization: Bearer " + secret + "\r\nCookie: session=" + secret +
		"\r\nReferer: http://x/?token=" + secret + "\r\nUser-Agent: a player\r\nOrigin: http://" + secret + "\r\n"
	upgrade := "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
		"Sec-WebSocket-Protocol: " + secret + "\r\n"
	for _, target := range []string{
		"/live/neighbour.flv?token=" + secret, "/live/nobody.flv?token=" + secret, "/live/neighbour.flv?track=" + secret,
		"/live/neighbour.flv?a;token=" + secret, "/.flv?" + secret, "/?token=" + secret, "/api/v1/streams?stream=" + secret,
		"/nothing?" + secret, "http://user:" + secret + "@x/live/nobody.flv", "/live/x.flv?" + strings.Repeat(secret, 1000),
		"/live/%zz?" + secret, "/live/" + strings.Repeat("x", 300) + ".flv?" + secret,
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS"} {
			for _, more := range []string{"", upgrade, strings.Replace(upgrade, "13", secret, 1), strings.Replace(upgrade, "dGhl", secret, 1), "bad " + secret + "\r\n"} {
				exchangeHead(t, s.watch, fmt.Sprintf("%s %s HTTP/1.1\r\n%s%s\r\n", method, target, headers, more))
			}
		}
	}
	exchangeHead(t, s.watch, "GET /live/a%20%3D%20b%22.flv HTTP/1.1\r\nHost: x\r\n\r\n")
	exchangeHead(t, s.watch, "GET /live/a%20level=ERROR%20b.flv HTTP/1.1\r\nHost: x\r\n\r\n")
	out.find(t, `stream="live/a level=ERROR b"`)
	out.find(t, `msg="session ends".*protocol=ws-flv`)
	assert.NotContains(t, out.String(), secret)
	assert.NotContains(t, out.String(), "Bearer")
	quoted := regexp.MustCompile(`"(\\.|[^"\\])*"`)
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "time=") {
			assert.Equal(t, 1, strings.Count(quoted.ReplaceAllString(line, ""), " level="), line[:min(len(line), 300)])
			continue
		}
		assert.Regexp(t, `^(Sluice|  |$)`, strings.TrimSuffix(line, "\n"), "a line that nobody wrote")
	}
}

// exchangeHead sends a request and reads the beginning of the answer.
func exchangeHead(t *testing.T, addr, text string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	_, err = io.WriteString(c, text)
	require.NoError(t, err)
	_, err = c.Read(make([]byte, 64))
	require.NoError(t, err, "%.60q", text)
}
