package certificate

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// viewer is a TLS client with a store of tickets.
type viewer struct {
	config *tls.Config
}

func newViewer(name string, trusted ...made) *viewer {
	roots := x509.NewCertPool()
	for _, m := range trusted {
		roots.AddCert(m.leaf)
	}
	return &viewer{&tls.Config{
		ServerName: name, RootCAs: roots, ClientSessionCache: tls.NewLRUClientSessionCache(4),
		NextProtos: []string{"h2", "http/1.1"},
	}}
}

// shake makes a handshake and lets a byte follow, behind which the tickets of TLS 1.3 have come.
func (c *viewer) shake(t testing.TB, server *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer near.Close()
	far, err := l.Accept()
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer far.Close()
		far.SetDeadline(time.Now().Add(10 * time.Second))
		conn := tls.Server(far, server)
		conn.Write([]byte("x")) // its error is the client's as well
	}()
	near.SetDeadline(time.Now().Add(10 * time.Second))
	conn := tls.Client(near, c.config)
	_, err = conn.Read(make([]byte, 1))
	near.Close()
	<-done
	return conn.ConnectionState(), err
}

// Each listener's server config, as whoever serves makes it.
func serverOf(s *Source) *tls.Config {
	config := s.Config().Clone()
	config.NextProtos = append([]string{"h2", "http/1.1"}, s.ALPN()...)
	return config
}

// Sessions resume across a new certificate, which clients that have none get: a swap is no storm of
// handshakes.
func TestTicketsOutlastCertificates(t *testing.T) {
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			var log logged
			dir := t.TempDir()
			old, next := makeCert(t, "a.example"), makeCert(t, "a.example")
			s := openFiles(t, &log, old.filesIn(t, dir))
			server := serverOf(s)
			known, stranger := newViewer("a.example", old, next), newViewer("a.example", next)
			known.config.MaxVersion, stranger.config.MaxVersion = version, version

			state, err := known.shake(t, server)
			require.NoError(t, err)
			assert.Equal(t, version, state.Version)
			assert.False(t, state.DidResume)
			assert.Equal(t, "h2", state.NegotiatedProtocol)
			state, err = known.shake(t, server)
			require.NoError(t, err)
			assert.True(t, state.DidResume)

			next.filesIn(t, dir)
			s.look(time.Now(), false)
			state, err = known.shake(t, server)
			require.NoError(t, err)
			assert.True(t, state.DidResume, "after the swap")
			state, err = stranger.shake(t, server)
			require.NoError(t, err)
			assert.Equal(t, next.leaf.Raw, state.PeerCertificates[0].Raw)
		})
	}
}

// Keys of tickets rotate: a ticket is good for days, and what a key of today opens is nothing of next
// week's.
func TestTicketKeysRotate(t *testing.T) {
	var log logged
	m := template{names: []string{"a.example"}, notAfter: time.Now().Add(365 * day)}.make(t)
	server := serverOf(openFiles(t, &log, m.filesIn(t, t.TempDir())))
	client := newViewer("a.example", m)
	now := time.Now()
	server.Time = func() time.Time { return now }
	client.config.Time = server.Time

	after := func(passed time.Duration) bool {
		now = now.Add(passed)
		state, err := client.shake(t, server)
		require.NoError(t, err)
		return state.DidResume
	}
	assert.False(t, after(0))
	assert.True(t, after(0))
	assert.True(t, after(25*time.Hour), "under a key that is not the newest any more")
	assert.True(t, after(25*time.Hour), "a ticket of the new key")
	// A ticket that the client believes in, and whose key is forgotten.
	client.config.Time = func() time.Time { return now.Add(-8 * day) }
	assert.False(t, after(8*day), "its key is gone")
}

// Names that listeners cannot be asked for do not break a handshake.
func TestConfigIsUsable(t *testing.T) {
	var log logged
	m := makeCert(t, "a.example")
	s := openFiles(t, &log, m.filesIn(t, t.TempDir()))
	server := serverOf(s)
	_, err := newViewer("other.example", m).shake(t, server)
	assert.ErrorContains(t, err, "is valid for a.example, not other.example", "the client can tell what is wrong")

	old := newViewer("a.example", m)
	old.config.MinVersion, old.config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	_, err = old.shake(t, server)
	assert.Error(t, err)
	assert.Equal(t, uint16(tls.VersionTLS12), server.MinVersion)
	assert.Nil(t, server.CipherSuites, "they are Go's")
	assert.Nil(t, server.GetConfigForClient)
}
