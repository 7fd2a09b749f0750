package pull

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub/relay"
	"sluice/hub/tlsconn/tlstest"
)

// Certificates are checked, and whoever speaks no TLS is told apart from who is not there.
func TestTLSFails(t *testing.T) {
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		return l
	}
	old := tlstest.Certificate(-time.Minute, "localhost")
	trust := tlstest.Client()
	trust.ServerName = "" // of the URL
	for _, c := range []struct {
		name   string
		listen func() net.Listener
		client *tls.Config
		words  string
	}{
		{"of nobody known", func() net.Listener { return tlsListener(t) }, nil, "unknown authority"},
		{"of another host", func() net.Listener { return tlsListener(t) }, &tls.Config{RootCAs: trust.RootCAs, ServerName: "other.example"}, "not valid for the host"},
		{"too old", func() net.Listener {
			return tls.NewListener(listen(), &tls.Config{Certificates: []tls.Certificate{old}})
		},
			&tls.Config{RootCAs: tlstest.Pool(old)}, "not valid for the host"},
		{"in the clear", listen, trust, "broke off"},
		{"as it should be", func() net.Listener { return tlsListener(t) }, trust, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serveOn(t, c.listen(), stream)
			o := opener()
			o.TLS = c.client
			source, err := o.Open(t.Context(), relay.Opening{URL: at(t, s.URL, "https", "/live/demo.flv?secret")})
			if c.words != "" {
				failsWith(t, err, relay.CauseConnection, c.words)
				return
			}
			require.NoError(t, err)
			assert.NoError(t, source.Close())
		})
	}
}

// Who is not there, and who leaves at once, are told apart from who says no.
func TestNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l.Close()
	for _, scheme := range schemes {
		_, err = opener().Open(t.Context(), relay.Opening{URL: at(t, "http://"+l.Addr().String(), scheme, "/live/demo.flv?secret")})
		failsWith(t, err, relay.CauseConnection, "refused")
	}
	s := serve(t, said(""))
	_, err = opener().Open(t.Context(), relay.Opening{URL: at(t, s.URL, "http", "/live/demo.flv?secret")})
	failsWith(t, err, relay.CauseConnection, "")
}
