//go:build unix

package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// What comes to the wrong port is told where the right one is, in one line, and ended at once; a browser
// without https is answered.
func TestWrongPortsOfTLS(t *testing.T) {
	s := startSecure(t)
	s.out.find(t, `anybody on this machine may publish`) // the last line of the start
	port := func(addr string) string {
		_, port, err := net.SplitHostPort(addr)
		require.NoError(t, err)
		return port
	}
	hello := append([]byte{3}, make([]byte, 1536)...)
	get := []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	const hint = "https:// and wss:// in place of http:// and ws://"
	for _, c := range []struct {
		addr        string
		sent        []byte
		what, hints string
		answer      string // how it begins; "" for none
	}{
		{s.https, get, "HTTP was sent to a port of https", hint, "HTTP/1.1 400 Bad Request\r\n"},
		{s.https, hello, "RTMP was sent to a port of https", "RTMP is taken on port " + port(s.rtmp), ""},
		{s.rtmps, hello, "RTMP was sent to a port of rtmps", "RTMP is taken on port " + port(s.rtmp), ""},
		{s.rtmps, get, "HTTP was sent to a port of rtmps", "HTTP is taken on port " + port(s.http), ""},
		{s.rtmp, get, "HTTP was sent to a port of RTMP", "HTTP is taken on port " + port(s.http), ""},
		{s.rtmp, []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), "TLS was sent to a port of RTMP", "rtmps is taken on port " + port(s.rtmps), ""},
		{s.http, []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), "TLS was sent to a port of HTTP", "https is taken on port " + port(s.https), "HTTP/1.1 400 "},
		{s.http, hello, "RTMP was sent to a port of HTTP", "RTMP is taken on port " + port(s.rtmp), "HTTP/1.1 400 "},
	} {
		before := strings.Count(s.out.String(), "\n")
		said := sendRaw(t, c.addr, c.sent)
		assert.True(t, strings.HasPrefix(said, c.answer), "%s: %q", c.what, said)
		if c.answer == "" {
			assert.Empty(t, said, c.what)
		}
		s.out.find(t, `level=INFO msg="`+c.what+`" remote=127\.0\.0\.1:\d+ port=`+c.addr+` hint="`+c.hints+`"\n`)
		assert.Equal(t, before+1, strings.Count(s.out.String(), "\n"), "%s: one line", c.what)
	}
	assert.Contains(t, sendRaw(t, s.https, get), `this port takes https and wss only`)
	assert.Empty(t, sendRaw(t, s.https, []byte("\x00\x01\x02\x03\x04\x05")), "neither of them")
}

// Who comes within TLS is known to do so, whatever the protocol, and those who are asked are told.
func TestSecureIsTold(t *testing.T) {
	var mu sync.Mutex
	asked := make(map[string]string) // the tcUrl of a question, by the client's name for the stream
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var call struct{ Stream, TcURL string }
		assert.NoError(t, json.NewDecoder(r.Body).Decode(&call))
		mu.Lock()
		asked[call.Stream], _, _ = strings.Cut(call.TcURL, "://")
		mu.Unlock()
		fmt.Fprint(w, 0)
	}))
	defer server.Close()
	clients := make(map[string]hub.Client)
	_, s := startSecureService(t, func(cfg *config) {
		policy := cfg.permission.policy.Authorize
		cfg.authorize = func(ctx context.Context, session *hub.Session) (hub.Grant, error) {
			mu.Lock()
			clients[session.Key().Name] = session.Client()
			mu.Unlock()
			return policy(ctx, session)
		}
	}, "SLUICE_WATCH_AUTH=url", "SLUICE_AUTH_URL="+server.URL, "SLUICE_AUTH_FORMAT=srs", "SLUICE_VIEWER_WAIT=0")
	join := func(client *http.Client, url string) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if strings.HasPrefix(url, "ws") {
			v, err := joinSocket(ctx, url, client)
			if err == nil {
				v.next()
				v.close()
			}
			return
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		require.NoError(t, err)
		res, err := client.Do(req)
		require.NoError(t, err)
		res.Body.Close()
	}
	player := from(net.IPv4(127, 0, 0, 1))
	player.TLS = &tls.Config{RootCAs: s.roots}
	for name, watch := range map[string]func(name string){
		"http":   func(name string) { join(s.client(t, false), "http://"+s.http+"/live/"+name+".flv") },
		"ws":     func(name string) { join(s.client(t, false), "ws://"+s.http+"/live/"+name+".flv") },
		"https":  func(name string) { join(s.client(t, false), "https://"+s.https+"/live/"+name+".flv") },
		"https2": func(name string) { join(s.client(t, true), "https://"+s.https+"/live/"+name+".flv") },
		"wss":    func(name string) { join(s.client(t, false), "wss://"+s.https+"/live/"+name+".flv") },
		"rtmp":   func(name string) { player.Play(t.Context(), "rtmp://"+s.rtmp+"/live/"+name) },
		"rtmps":  func(name string) { player.Play(t.Context(), "rtmps://"+s.rtmps+"/live/"+name) },
	} {
		watch(name)
		secure := strings.Contains(name, "s2") || strings.HasSuffix(name, "ps") || name == "wss"
		scheme := map[string]string{"ws": "http", "wss": "https", "https2": "https"}[name]
		if scheme == "" {
			scheme = name
		}
		mu.Lock()
		assert.Equal(t, secure, clients[name].Secure, name)
		assert.Equal(t, scheme, asked[name], name)
		mu.Unlock()
	}
}

// Operators and Prometheus come over https by the same certificates, and then from anywhere.
func TestAdminTLS(t *testing.T) {
	const token = "0123456789abcdef-token"
	svc, s := startSecureService(t, nil, "SLUICE_ADMIN_ADDR=0.0.0.0:0", "SLUICE_ADMIN_TOKEN="+token, "SLUICE_ADMIN_TLS=true",
		"SLUICE_METRICS_ADDR=127.0.0.1:0")
	_, port, _ := net.SplitHostPort(svc.listeners.addr(kindAdmin))
	admin, metrics := "127.0.0.1:"+port, svc.listeners.addr(kindMetrics)
	client := s.client(t, false)
	ask := func(url string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := client.Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res.StatusCode, string(body)
	}
	status, info := ask("https://" + admin + "/api/v1/info")
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, info, `"https":"`+s.https+`"`)
	res, err := s.client(t, false).Get("https://" + s.https + "/healthz")
	require.NoError(t, err)
	res.Body.Close()
	_, figures := ask("https://" + metrics + "/metrics")
	for _, want := range []string{
		`sluice_connections_admitted_total{protocol="https"} 1`, `sluice_connections_admitted_total{protocol="rtmps"} 0`,
		`sluice_tls_handshakes_total{result="full"} 3`, `sluice_tls_handshakes 0`,
	} {
		assert.True(t, strings.Contains(figures, want+"\n"), want)
	}
	assert.Contains(t, sendRaw(t, admin, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")), "this port takes https")
	assert.Contains(t, string(s.log.bytes()), "HTTP was sent to a port of https")
	conn := s.dialTLS(t, admin, alpnHTTP2, alpnHTTP1)
	assert.Equal(t, alpnHTTP1, conn.ConnectionState().NegotiatedProtocol)
}

// Behind a real haproxy that passes TLS on as it comes, behind a PROXY header, each client is known by
// its own address.
func TestHAProxyBeforeTLS(t *testing.T) {
	var mu sync.Mutex
	seen := make(map[string]hub.Client)
	svc, s := startSecureService(t, func(cfg *config) {
		cfg.Demo = true
		cfg.authorize = func(_ context.Context, session *hub.Session) (hub.Grant, error) {
			mu.Lock()
			defer mu.Unlock()
			seen[session.Client().Protocol] = session.Client()
			return hub.Grant{}, nil
		}
	}, "SLUICE_PROXY_PROTOCOL=https rtmps", "SLUICE_TRUSTED_PROXIES=127.0.0.1")
	until(t, "the demo is live", func() bool { return len(svc.hub.Streams()) == 1 })
	https, file := listenForProxy(t)
	rtmps, file2 := listenForProxy(t)
	runHaproxy(t, filled(t, documented(t, "# TLS passed on, in place of sluice-http"),
		"bind :443", "bind fd@3", "bind :1943", "bind fd@4", "127.0.0.1:8443", s.https, "127.0.0.1:1944", s.rtmps, "inter 2s", "inter 100ms fall 1000"),
		file, file2)
	until(t, "its checks of health were answered", func() bool { return svc.handshakes[kindHTTPS]().Done > 1 && svc.handshakes[kindRTMPS]().Left > 1 })

	viewer := net.IPv4(127, 0, 0, 42)
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: viewer}}
	for _, http2 := range []bool{false, true} {
		client := s.client(t, http2)
		client.Transport.(*http.Transport).DialContext = d.DialContext
		begins(t, client, "https://"+https+"/live/demo.flv")
		mu.Lock()
		assert.Equal(t, viewer.String(), seen["http-flv"].Address.Addr().String())
		assert.True(t, seen["http-flv"].Secure)
		delete(seen, "http-flv")
		mu.Unlock()
	}
	player := from(viewer)
	player.TLS = &tls.Config{RootCAs: s.roots}
	p, err := player.Play(t.Context(), "rtmps://"+rtmps+"/live/demo")
	require.NoError(t, err)
	defer p.Close()
	_, err = p.ReadTag()
	require.NoError(t, err)
	mu.Lock()
	assert.Equal(t, viewer.String(), seen["rtmp"].Address.Addr().String())
	assert.True(t, seen["rtmp"].Secure)
	mu.Unlock()
	assert.NotContains(t, string(s.log.bytes()), "WARN msg=\"connections of")
}

// A PROXY header within TLS is nobody's: neither a client's nor a proxy's that sent one before.
func TestProxyHeaderWithinTLS(t *testing.T) {
	_, s := startSecureService(t, nil, "SLUICE_PROXY_PROTOCOL=https rtmps", "SLUICE_TRUSTED_PROXIES=127.0.0.7")
	const line = "PROXY TCP4 192.0.2.66 192.0.2.1 1 1\r\n"
	for _, c := range []struct {
		from   net.IP
		before string
	}{{net.IPv4(127, 0, 0, 8), ""}, {net.IPv4(127, 0, 0, 7), line}} {
		for addr, request := range map[string]string{s.https: "GET /live/x.flv HTTP/1.1\r\nHost: x\r\n\r\n", s.rtmps: "\x03" + strings.Repeat("x", 1536)} {
			raw := dialFrom(t, c.from, addr)
			_, err := io.WriteString(raw, c.before)
			require.NoError(t, err)
			conn := tls.Client(raw, &tls.Config{RootCAs: s.roots, ServerName: "127.0.0.1"})
			require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
			_, err = io.WriteString(conn, strings.ReplaceAll(line, "66", "99")+request)
			require.NoError(t, err)
			said, _ := io.ReadAll(conn)
			assert.True(t, len(said) == 0 || strings.HasPrefix(string(said), "HTTP/1.1 400 "), "%q", said)
		}
	}
	assert.NotContains(t, string(s.log.bytes()), "192.0.2.99")
}
