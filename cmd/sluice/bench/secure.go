package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// clientTLS is how the tool's own connections are encrypted, for https, wss and rtmps. Nobody
// changes it once the flags are read.
type clientTLS struct {
	roots    *x509.CertPool         // authorities of -ca, nil for the system's
	insecure bool                   // any certificate will do
	sessions tls.ClientSessionCache // of -resume; nil makes each connection a new session
}

// keptSessions is of how many hosts a session is kept.
const keptSessions = 64

// flags adds the flags that set it.
func (c *clientTLS) flags(fs *flag.FlagSet) {
	fs.Func("ca", "trust the authorities of this `file` (PEM) in place of the system's, and check certificates on loopback as well", func(name string) error {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if c.roots = x509.NewCertPool(); !c.roots.AppendCertsFromPEM(text) {
			return errors.New("no certificate in the file")
		}
		return nil
	})
	fs.BoolVar(&c.insecure, "insecure", false, "take any certificate; on loopback that is so by itself, without -ca")
	fs.BoolFunc("resume", "resume TLS sessions; without it each connection is a new one", func(string) error {
		c.sessions = tls.NewLRUClientSessionCache(keptSessions)
		return nil
	})
}

// config returns the configuration for a host's name or address. protocols are those of ALPN.
// On loopback nobody is between: certificates are checked there only if that is asked for.
func (c *clientTLS) config(host string, protocols ...string) *tls.Config {
	return &tls.Config{
		ServerName: host, RootCAs: c.roots, ClientSessionCache: c.sessions, NextProtos: protocols,
		InsecureSkipVerify: c.insecure || c.roots == nil && loopback(host),
	}
}

// loopback reports whether a host is this machine by its name.
func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// httpOnly is the ALPN of https and wss: an HTTP/2 connection cannot be handed over.
const httpOnly = "http/1.1"

// dial opens a connection of a viewer, HOST:PORT, and makes its handshake where it is secure.
func (o opener) dial(ctx context.Context, v *viewer, secure bool, network, address string, protocols ...string) error {
	began := time.Now()
	conn, err := o.connect(ctx, network, address)
	if err != nil {
		return err
	}
	v.conn, v.plain, v.took.connect = conn, conn, time.Since(began)
	if !secure {
		return nil
	}
	host, _, _ := net.SplitHostPort(address)
	encrypted := tls.Client(conn, o.tls.config(host, protocols...))
	if err := encrypted.HandshakeContext(ctx); err != nil {
		conn.Close()
		return err
	}
	v.plain, v.took.handshake, v.head = encrypted, time.Since(began)-v.took.connect, conn.received.Load()
	return nil
}

// secure reports whether the viewer's connection is encrypted.
func (v *viewer) secure() bool { return v.plain != net.Conn(v.conn) }

// prepare encrypts n words to the server for later (protocol.tell). Afterwards only the
// connection below TLS is of use, whose bytes nobody decrypts; nothing is done for one that is
// not encrypted.
func (v *viewer) prepare(n int) {
	if !v.secure() {
		return
	}
	v.words = &words{}
	word := v.protocol.word(v.conn.received.Load())
	for range n {
		if word == nil {
			return
		}
		var record []byte
		v.conn.kept = &record
		if _, err := v.plain.Write(word); err != nil {
			return // the connection has ended, which reading finds out
		}
		v.words.left = append(v.words.left, record)
	}
}

// words are what an encrypted viewer has to say that counts only, made while its keys were
// there: records of TLS, in their order.
type words struct{ left [][]byte }

// next returns the next word, nil if there is none left.
func (w *words) next() []byte {
	if len(w.left) == 0 {
		return nil
	}
	word := w.left[0]
	w.left = w.left[1:]
	return word
}

// wordsFor returns how many words are enough for a run.
func (o *options) wordsFor() int {
	const joining, most = 10 * time.Minute, 10_000
	return int(min((joining+o.warmup+o.duration)/speakEvery+1, most))
}

// certificateDays is how long a certificate of one's own is good for.
const certificateDays = 2

// selfSigned returns a new certificate for loopback, signed by itself.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		DNSNames:     []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, certificateDays),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// certificateFiles are the paths of a certificate and its key, as PEM.
type certificateFiles struct{ cert, key string }

// writeCertificate writes a certificate of one's own into a folder.
func writeCertificate(dir string) (f certificateFiles, err error) {
	f = certificateFiles{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	pair, err := selfSigned()
	if err != nil {
		return f, fmt.Errorf("making a certificate: %w", err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		return f, fmt.Errorf("making a certificate: %w", err)
	}
	return f, errors.Join(
		os.WriteFile(f.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}), 0o600),
		os.WriteFile(f.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
}
