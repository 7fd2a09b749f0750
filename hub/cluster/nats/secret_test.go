package nats

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// lines is a log that a test can read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Nodes with different secrets do not let each other in, and say so; none of the secrets is in a log.
func TestWrongSecret(t *testing.T) {
	nodes := addresses(t, 2)
	var all []*Directory
	var log lines
	for i, secret := range []string{"together", "apart"} {
		all = append(all, start(t, Config{Nodes: nodes, Node: nodes[i], Secret: secret, Logger: log.logger()}))
	}
	defer func() {
		if t.Failed() {
			t.Log(log.String())
		}
	}()
	for _, d := range all {
		until(t, "the reason", func() bool { return strings.Contains(d.Health().Detail, "the secret has to be the same") })
		h := d.Health()
		assert.False(t, h.Connected)
		assert.False(t, h.Writable)
		assert.Contains(t, h.Detail, "not connected: ")
		password, err := d.cfg.routePassword()
		require.NoError(t, err)
		assert.NotContains(t, log.String(), password)
		assert.NotContains(t, log.String(), d.engine.pass)
		assert.NotContains(t, log.String(), d.cfg.Secret)
	}
	assert.Contains(t, log.String(), "level=ERROR")
}

// Off loopback nodes know each other by certificates as well, which are read again when they are renewed.
func TestTLSAmongNodes(t *testing.T) {
	authority := newAuthority(t)
	nodes := addresses(t, 2)
	var all []*Directory
	for _, node := range nodes {
		all = append(all, start(t, Config{Nodes: nodes, Node: node, Secret: "together", TLS: authority.certificate(t)}))
	}
	usable(t, all...)
	records(t, all[0], all[1])
	messages(t, all...)
}

// A node with another authority's certificate is not let in, whatever it knows.
func TestTLSOfAnotherAuthority(t *testing.T) {
	nodes := addresses(t, 2)
	for _, node := range nodes {
		d := start(t, Config{Nodes: nodes, Node: node, Secret: "together", TLS: newAuthority(t).certificate(t)})
		defer until(t, "the reason", func() bool { return strings.Contains(d.Health().Detail, "certificates do not fit") })
	}
}

// authority signs certificates for loopback addresses.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a := &authority{key: key, file: filepath.Join(t.TempDir(), "ca.pem")}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, key.Public(), key)
	require.NoError(t, err)
	write(t, a.file, "CERTIFICATE", der)
	return a
}

func (a *authority) certificate(t *testing.T) *TLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, key.Public(), a.key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	dir := t.TempDir()
	files := &TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), CA: a.file}
	write(t, files.Cert, "CERTIFICATE", der)
	write(t, files.Key, "PRIVATE KEY", private)
	return files
}

func write(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}
