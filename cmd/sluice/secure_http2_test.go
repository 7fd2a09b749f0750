//go:build unix

package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/cmd/sluice/admission"
	"sluice/hub"
)

// begins asks for a stream and reads how it begins; the rest is the caller's.
func begins(t *testing.T, client *http.Client, url string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	res, err := client.Do(req)
	require.NoError(t, err)
	t.Cleanup(func() { res.Body.Close() })
	require.Equal(t, http.StatusOK, res.StatusCode)
	head := make([]byte, 1000)
	_, err = io.ReadFull(res.Body, head)
	require.NoError(t, err)
	require.Equal(t, "FLV\x01", string(head[:4]))
	return res
}

// Seven players of a page and the page itself share a connection of HTTP/2, on which a refusal costs
// the others nothing. It is active as long as somebody watches, and waits for more after that.
func TestHTTP2SevenPlayers(t *testing.T) {
	svc, s := startSecureService(t, func(cfg *config) { cfg.Demo = true }, "SLUICE_VIEWER_WAIT=0")
	figures := svc.connections[kindHTTPS]
	client := s.client(t, true)
	until(t, "the demo is live", func() bool { return len(svc.hub.Streams()) == 1 })
	var players []*http.Response
	for range 7 {
		players = append(players, begins(t, client, "https://"+s.https+"/live/demo.flv"))
		res, err := client.Get("https://" + s.https + "/live/nobody.flv")
		require.NoError(t, err)
		var refusal map[string]string
		require.NoError(t, json.NewDecoder(res.Body).Decode(&refusal))
		res.Body.Close()
		assert.Equal(t, http.StatusNotFound, res.StatusCode)
		assert.Equal(t, 2, res.ProtoMajor)
		res, err = client.Get("https://" + s.https + "/api/v1/streams")
		require.NoError(t, err)
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		assert.Equal(t, admission.Figures{Open: 1, Admitted: 1}, figures(), "one connection, and it is active")
	}
	for _, p := range players {
		_, err := io.ReadFull(p.Body, make([]byte, 20_000))
		require.NoError(t, err)
		p.Body.Close()
	}
	until(t, "the connection waits for more", func() bool { return figures() == admission.Figures{Open: 1, Pending: 1, Admitted: 1} })
	until(t, "all viewers have left", func() bool { return ended(svc, hub.ReasonClientLeft) == 7 })
}

// ended returns how many viewers of HTTP-FLV ended for a reason.
func ended(svc *runningService, why hub.Reason) (n uint64) {
	for _, totals := range svc.hub.Totals() {
		if totals.Role == hub.RoleWatch && totals.Protocol == "http-flv" {
			n += totals.Ended[why]
		}
	}
	return n
}

// A connection that asks is asking, and what was granted once stays while others ask.
func TestHTTP2Asking(t *testing.T) {
	answer := make(chan struct{})
	svc, s := startSecureService(t, func(cfg *config) {
		cfg.Demo = true
		cfg.authorize = func(ctx context.Context, session *hub.Session) (hub.Grant, error) {
			if session.Key().Name == "slow" {
				select {
				case <-answer:
				case <-ctx.Done():
				}
				return hub.Grant{}, &hub.Refusal{Reason: hub.ReasonDenied}
			}
			return hub.Grant{}, nil
		}
	}, "SLUICE_VIEWER_WAIT=0")
	figures := svc.connections[kindHTTPS]
	client := s.client(t, true)
	until(t, "the demo is live", func() bool { return len(svc.hub.Streams()) == 1 })
	refused := make(chan int)
	ask := func() {
		res, err := client.Get("https://" + s.https + "/live/slow.flv")
		if !assert.NoError(t, err) {
			refused <- 0
			return
		}
		res.Body.Close()
		refused <- res.StatusCode
	}
	go ask()
	until(t, "the connection asks", func() bool { return figures() == admission.Figures{Open: 1, Asking: 1, Admitted: 1} })
	player := begins(t, client, "https://"+s.https+"/live/demo.flv")
	assert.Equal(t, admission.Figures{Open: 1, Admitted: 1}, figures())
	go ask()
	close(answer)
	for range 2 {
		assert.Equal(t, http.StatusForbidden, <-refused)
	}
	assert.Equal(t, admission.Figures{Open: 1, Admitted: 1}, figures(), "somebody watches")
	player.Body.Close()
	until(t, "the connection waits for more", func() bool { return figures() == admission.Figures{Open: 1, Pending: 1, Admitted: 1} })
}

// A 33rd request waits for one of 32 to end, or takes a connection of its own.
func TestHTTP2Streams(t *testing.T) {
	svc, s := startSecureService(t, func(cfg *config) { cfg.Demo = true })
	client := s.client(t, true)
	until(t, "the demo is live", func() bool { return len(svc.hub.Streams()) == 1 })
	for range maxHTTP2Streams + 1 {
		begins(t, client, "https://"+s.https+"/live/demo.flv")
	}
	assert.Equal(t, admission.Figures{Open: 2, Admitted: 2}, svc.connections[kindHTTPS]())
}

// A client that comes when the server is full is told so over HTTP/2, and its connection ends.
func TestHTTP2TurnedAway(t *testing.T) {
	svc, s := startSecureService(t, func(cfg *config) { cfg.Demo, cfg.MaxConnections = true, 1 })
	until(t, "the demo is live", func() bool { return len(svc.hub.Streams()) == 1 })
	begins(t, s.client(t, true), "https://"+s.https+"/live/demo.flv")
	for _, http2 := range []bool{true, false} {
		res, err := s.client(t, http2).Get("https://" + s.https + "/live/demo.flv")
		require.NoError(t, err)
		said, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		res.Body.Close()
		assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
		assert.Contains(t, string(said), "as many connections as it takes")
	}
	figures := svc.connections[kindHTTPS]()
	assert.EqualValues(t, 2, figures.TurnedFull)
	assert.Equal(t, 1, figures.Open)
}

// A trusted proxy is not offered HTTP/2, where its clients could not be told apart.
func TestHTTP2NotForProxies(t *testing.T) {
	_, s := startSecureService(t, nil, "SLUICE_TRUSTED_PROXIES=127.0.0.7")
	for ip, want := range map[byte]string{7: alpnHTTP1, 8: alpnHTTP2} {
		conn := tls.Client(dialFrom(t, net.IPv4(127, 0, 0, ip), s.https), &tls.Config{
			RootCAs: s.roots, ServerName: "127.0.0.1", NextProtos: []string{alpnHTTP2, alpnHTTP1}})
		require.NoError(t, conn.HandshakeContext(t.Context()))
		assert.Equal(t, want, conn.ConnectionState().NegotiatedProtocol)
	}
}

// The end of the server ends viewers over HTTP/2 properly, and well within its bound.
func TestHTTP2Shutdown(t *testing.T) {
	svc, s := startSecureService(t, func(cfg *config) { cfg.Demo = true })
	client := s.client(t, true)
	until(t, "the demo is live", func() bool { return len(svc.hub.Streams()) == 1 })
	var players []*http.Response
	for range 3 {
		players = append(players, begins(t, client, "https://"+s.https+"/live/demo.flv"))
	}
	idle := s.client(t, true)
	res, err := idle.Get("https://" + s.https + "/healthz")
	require.NoError(t, err)
	res.Body.Close()
	s.dialTLS(t, s.https, alpnHTTP2) // says nothing
	s.dialTLS(t, s.https, alpnHTTP1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		svc.stop()
	}()
	for _, p := range players {
		_, err := io.Copy(io.Discard, p.Body)
		assert.NoError(t, err, "a proper end")
	}
	<-done
	assert.EqualValues(t, 3, ended(svc, hub.ReasonShuttingDown))
}
