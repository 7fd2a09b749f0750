// Package tlstest has what tests of encrypted connections need: a certificate that the test's clients
// trust, and connections whose handshake is done.
package tlstest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sluice/hub/tlsconn"
)

// certificate is for localhost and loopback, and its own authority.
var certificate = sync.OnceValue(func() tls.Certificate { return Certificate(time.Hour, "localhost") })

// Certificate makes a self-signed certificate for names or addresses, and for loopback, that is valid since an
// hour ago and for some time more; that may be negative.
func Certificate(valid time.Duration, names ...string) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		panic(err)
	}
	var hosts []string
	addresses := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			addresses = append(addresses, ip)
		} else {
			hosts = append(hosts, name)
		}
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: names[0]},
		DNSNames: hosts, IPAddresses: addresses,
		NotBefore: time.Now().Add(min(valid, 0) - time.Hour), NotAfter: time.Now().Add(valid),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IsCA:        true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// PEM returns a certificate and its key as PEM.
func PEM(c tls.Certificate) (cert, key []byte) {
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Write writes a certificate and its key as PEM into a folder, as NAME.pem and NAME.key, and returns
// their paths.
func Write(t testing.TB, dir, name string, c tls.Certificate) (certFile, keyFile string) {
	t.Helper()
	cert, key := PEM(c)
	certFile, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	must(t, os.WriteFile(certFile, cert, 0o600))
	must(t, os.WriteFile(keyFile, key, 0o600))
	return certFile, keyFile
}

// WriteBoth writes a certificate and its key as PEM into one new file, and returns its path.
func WriteBoth(t testing.TB, c tls.Certificate) (file string) {
	t.Helper()
	cert, key := PEM(c)
	file = filepath.Join(t.TempDir(), "sluice.pem")
	must(t, os.WriteFile(file, append(cert, key...), 0o600))
	return file
}

// Pool returns what a client trusts that trusts a certificate of Certificate.
func Pool(c tls.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.Leaf)
	return pool
}

// Server returns a configuration with a certificate for localhost, and the given protocols.
func Server(protocols ...string) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{certificate()}, NextProtos: protocols}
}

// Client returns the configuration of a client that trusts that certificate.
func Client(protocols ...string) *tls.Config {
	return &tls.Config{RootCAs: Pool(certificate()), ServerName: "localhost", NextProtos: protocols}
}

// Strict returns a connection for a TLS client that is told of an end without close_notify: crypto/tls
// itself takes one between two records for a proper end. It gets io.ErrUnexpectedEOF.
func Strict(c net.Conn) net.Conn { return strict{c} }

type strict struct{ net.Conn }

var errTruncated = fmt.Errorf("no close_notify: %w", io.ErrUnexpectedEOF)

func (s strict) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if err == io.EOF {
		err = errTruncated
	}
	return n, err
}

// NetConn returns the connection itself.
func (s strict) NetConn() net.Conn { return s.Conn }

// Dial connects for a strict client.
func Dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return Strict(c), nil
}

// Pair makes a handshake between the two ends of a connection, which the ends of TLS close. The client is
// strict.
func Pair(t testing.TB, near, far net.Conn) (server *tlsconn.Conn, client *tls.Conn) {
	t.Helper()
	l := tlsconn.Listen(Single(near), tlsconn.Config{TLS: Server()})
	client = tls.Client(Strict(far), Client())
	shaken := make(chan error, 1)
	go func() { shaken <- client.HandshakeContext(t.Context()) }()
	nc, err := l.Accept()
	must(t, err)
	must(t, <-shaken)
	must(t, l.Close())
	return nc.(*tlsconn.Conn), client
}

// must ends the test at an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Single returns the listener of one connection.
func Single(c net.Conn) net.Listener {
	one := &single{conn: make(chan net.Conn, 1), closed: make(chan struct{}), addr: c.LocalAddr()}
	one.conn <- c
	return one
}

type single struct {
	conn   chan net.Conn
	closed chan struct{}
	addr   net.Addr
}

func (s *single) Accept() (net.Conn, error) {
	select {
	case nc := <-s.conn:
		return nc, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *single) Close() error {
	close(s.closed)
	return nil
}

func (s *single) Addr() net.Addr { return s.addr }
