package rtmp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// serveTLS runs srv encrypted on loopback until the test ends, and returns its address and what a
// client needs to trust its certificate, which is for 127.0.0.1.
func serveTLS(t *testing.T, srv *Server) (addr string, trusted *tls.Config) {
	t.Helper()
	pair := httptest.NewTLSServer(nil) // has a certificate
	pair.Close()
	trusted = &tls.Config{RootCAs: x509.NewCertPool()}
	trusted.RootCAs.AddCert(pair.Certificate())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(tls.NewListener(l, &tls.Config{Certificates: pair.TLS.Certificates})) }()
	t.Cleanup(func() {
		srv.Close()
		assert.ErrorIs(t, <-done, ErrServerClosed)
	})
	return l.Addr().String(), trusted
}

func TestClientEncrypts(t *testing.T) {
	h := &rig{}
	addr, trusted := serveTLS(t, &Server{Handler: h})
	dialed := false
	for _, c := range []*Client{
		{TLS: trusted},
		{DialTLS: func(ctx context.Context, network, address string) (net.Conn, error) {
			dialed = true
			return (&tls.Dialer{Config: trusted}).DialContext(ctx, network, address)
		}},
	} {
		p, err := c.Publish(t.Context(), "rtmps://"+addr+"/live/a")
		require.NoError(t, err)
		want := clip()
		require.NoError(t, p.WriteTags(want))
		require.NoError(t, p.Close())
		h.mu.Lock()
		got := h.publications[len(h.publications)-1]
		h.mu.Unlock()
		assert.NoError(t, got.ended(t))
		equalTags(t, want, got.tags)
	}
	assert.True(t, dialed)
	assert.Empty(t, trusted.ServerName, "what the caller gave is the caller's")
}

func TestClientTrustsNotEverybody(t *testing.T) {
	addr, _ := serveTLS(t, &Server{Handler: &rig{}})
	_, err := new(Client).Play(t.Context(), "rtmps://"+addr+"/live/a?key=secret")
	var unknown x509.UnknownAuthorityError
	assert.ErrorAs(t, err, &unknown)
	assert.NotContains(t, err.Error(), "secret")
}

// A server that says nothing is given up in the handshake as well, and one that speaks plain
// RTMP.
func TestClientGivesUpHandshake(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never says a word
	require.NoError(t, err)
	defer l.Close()
	c := Client{OpenTimeout: 20 * time.Millisecond}
	_, err = c.Play(t.Context(), "rtmps://"+l.Addr().String()+"/live/a")
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	plain := serve(t, &Server{Handler: &rig{}})
	_, err = new(Client).Play(t.Context(), "rtmps://"+plain+"/live/a")
	assert.ErrorContains(t, err, "TLS handshake")
}
