package certificate

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// made is a certificate that signs itself, and its key, as PEM.
type made struct {
	cert, key []byte
	leaf      *x509.Certificate
}

// template says how a certificate is made; what is not set has a default.
type template struct {
	names     []string
	notBefore time.Time
	notAfter  time.Time
	rsa       bool
}

// makeCert makes a certificate for names.
func makeCert(t testing.TB, names ...string) made { return template{names: names}.make(t) }

func (m template) make(t testing.TB) made {
	t.Helper()
	var key crypto.Signer
	var err error
	if m.rsa {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	require.NoError(t, err)
	if m.notBefore.IsZero() {
		m.notBefore = time.Now().Add(-time.Hour)
	}
	if m.notAfter.IsZero() {
		m.notAfter = time.Now().Add(90 * day)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(t, err)
	of := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "test"}, DNSNames: m.names,
		NotBefore: m.notBefore, NotAfter: m.notAfter, IsCA: true, BasicConstraintsValid: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(raw)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return made{
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), leaf,
	}
}

// filesIn writes a pair of files into a folder.
func (m made) filesIn(t testing.TB, dir string) Files {
	t.Helper()
	f := Files{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	write(t, f.Cert, m.cert)
	write(t, f.Key, m.key)
	return f
}

func write(t testing.TB, path string, text []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, text, 0o600))
}

// logged is what was logged.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// take returns the lines that were logged since the last call.
func (l *logged) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := strings.FieldsFunc(l.text.String(), func(r rune) bool { return r == '\n' })
	l.text.Reset()
	return lines
}

// served returns the certificate that a handshake for a name gets.
func (m made) isServed(t testing.TB, s *Source, name string) bool {
	t.Helper()
	cert, err := s.get(&tls.ClientHelloInfo{ServerName: name})
	require.NoError(t, err)
	return cert != nil && bytes.Equal(cert.Leaf.Raw, m.leaf.Raw)
}

// quietLog discards what net/http logs.
var quietLog = log.New(io.Discard, "", 0)
