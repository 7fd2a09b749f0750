package check

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/httpflv"
	"sluice/hub"
	"sluice/hub/fanout"
	"sluice/rtmp"
	"sluice/rtmp/gateway"
)

// testTimes are for tests: short, but for what would be a fault on a busy machine alone.
var testTimes = times{
	all: time.Minute, lead: 300 * time.Millisecond, open: 20 * time.Second, picture: 20 * time.Second, watch: 600 * time.Millisecond,
	silence: 10 * time.Second, slow: time.Minute, late: time.Minute, lumps: time.Minute, probe: 2 * time.Second,
}

// runTest runs a test with arguments; change may be nil.
func runTest(t *testing.T, change func(*options), args ...string) *report {
	t.Helper()
	o, err := parseFlags(args)
	require.NoError(t, err)
	o.times = testTimes
	if change != nil {
		change(&o)
	}
	r, err := test(t.Context(), o)
	require.NoError(t, err)
	return r
}

// output returns the row of a protocol.
func (r *report) output(t *testing.T, protocol string) *row {
	t.Helper()
	for _, row := range r.Outputs {
		if row.Protocol == protocol {
			return row
		}
	}
	require.Fail(t, "no row", "%s in %v", protocol, r.Outputs)
	return nil
}

// server is a gateway in this process.
type server struct {
	hub        *hub.Hub
	rtmp, http string // HOST:PORT
}

// startServer serves on loopback until the test ends.
func startServer(t *testing.T, cfg hub.Config) *server {
	t.Helper()
	h := hub.New(cfg)
	pool := fanout.New(fanout.Config{})
	viewers := &httpflv.Handler{Hub: h, Pool: pool}
	streams := &rtmp.Server{Handler: &gateway.Handler{Hub: h, Pool: pool}}
	pages := &http.Server{Handler: viewers}
	rtmpAt, httpAt := listen(t), listen(t)
	var serving sync.WaitGroup
	serving.Go(func() { streams.Serve(rtmpAt) })
	serving.Go(func() { pages.Serve(httpAt) })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		assert.NoError(t, errors.Join(h.Shutdown(ctx), streams.Shutdown(ctx), pages.Shutdown(ctx)))
		pool.Close()
		viewers.Wait()
		serving.Wait()
	})
	return &server{hub: h, rtmp: rtmpAt.Addr().String(), http: httpAt.Addr().String()}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// serveEach calls serve with each connection of a listener, and closes all of them when the test
// ends.
func serveEach(t *testing.T, l net.Listener, serve func(net.Conn)) string {
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				defer context.AfterFunc(ctx, func() { conn.Close() })()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		cancel()
		serving.Wait()
	})
	return l.Addr().String()
}

// front passes connections on to a server, and what the server answers through pass.
func front(t *testing.T, l net.Listener, to string, pass func(dst io.Writer, src io.Reader)) string {
	if pass == nil {
		pass = func(dst io.Writer, src io.Reader) { io.Copy(dst, src) }
	}
	return serveEach(t, l, func(client net.Conn) {
		back, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		var asking sync.WaitGroup
		asking.Go(func() {
			io.Copy(back, client)
			back.Close()
		})
		pass(client, back)
		client.Close()
		back.Close()
		asking.Wait()
	})
}

// authority is one that signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := new(authority)
	cert := a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "Test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	})
	a.cert, a.key = cert.Leaf, cert.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

// pool returns the authority as one that is trusted.
func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// sign signs a certificate for a new key, with itself where there is no authority yet.
func (a *authority) sign(t *testing.T, template *x509.Certificate) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-24 * 365 * time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(24 * 90 * time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// secureFront ends TLS in front of a server.
func secureFront(t *testing.T, to string, cert tls.Certificate) string {
	return front(t, tls.NewListener(listen(t), &tls.Config{Certificates: []tls.Certificate{cert}}), to, nil)
}

// ofLoopback is a certificate for the address of tests.
func ofLoopback() *x509.Certificate {
	return &x509.Certificate{DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
}

// texts returns the report in both forms.
func (r *report) texts(t *testing.T) (table, js string) {
	t.Helper()
	var a, b bytes.Buffer
	require.NoError(t, r.writeTable(&a))
	require.NoError(t, r.writeJSON(&b))
	return a.String(), b.String()
}

// endingSoon is ofLoopback with a week to live.
func endingSoon() *x509.Certificate {
	c := ofLoopback()
	c.NotAfter = time.Now().Add(7 * 24 * time.Hour)
	return c
}
