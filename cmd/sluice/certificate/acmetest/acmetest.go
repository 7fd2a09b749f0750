// Package acmetest runs a real authority for tests of ACME: Pebble, by Let's Encrypt, on loopback.
package acmetest

import (
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// Leaks is the function in which a goroutine of each Server stays, for goleak.
const Leaks = "github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"

// Server is an authority. In its eyes all names stand for loopback.
type Server struct {
	Directory string           // its address, https
	CA        []byte           // PEM: by which certificate its own address is trusted
	Roots     *x509.CertPool   // by which those are that it gives
	CAPool    *x509.CertPool   // CA
	Server    *httptest.Server // it
}

// New starts an authority that is ended with the test. It asks for the proof of a name at two ports of
// loopback. The test must not run beside others, since Pebble takes settings from the environment.
func New(t testing.TB, httpPort, tlsPort int) *Server {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_AUTHZREUSE", "0") // each order is proved
	quiet := log.New(io.Discard, "", 0)
	if testing.Verbose() {
		quiet = log.New(t.Output(), "pebble ", 0)
	}
	store := db.NewMemoryStore()
	profiles := map[string]ca.Profile{"default": {Description: "three months", ValidityPeriod: 90 * 24 * 60 * 60}}
	issuer := ca.New(quiet, store, "", "ecdsa", 0, 1, profiles)
	asker := va.New(quiet, httpPort, tlsPort, true, names(t), store)
	front := wfe.New(quiet, store, asker, issuer, []string{"pebble.example"}, true, false, 1, 1)
	s := &Server{Server: httptest.NewUnstartedServer(oneByOne(front.Handler())), Roots: x509.NewCertPool(), CAPool: x509.NewCertPool()}
	s.Server.Config.ErrorLog = quiet
	s.Server.StartTLS()
	t.Cleanup(s.Server.Close)
	s.Directory = s.Server.URL + wfe.DirectoryPath
	s.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Server.Certificate().Raw})
	s.CAPool.AddCert(s.Server.Certificate())
	root, err := x509.ParseCertificate(issuer.GetRootCert(0).DER)
	require.NoError(t, err)
	s.Roots.AddCert(root)
	return s
}

// oneByOne answers one request at a time: Pebble changes an account while it answers for it.
func oneByOne(h http.Handler) http.Handler {
	var mu sync.Mutex
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		h.ServeHTTP(w, r)
	})
}

// names starts a server of names, to which all are 127.0.0.1, and returns its address.
func names(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, asked *dns.Msg) {
		answer := new(dns.Msg).SetReply(asked)
		for _, q := range asked.Question {
			if q.Qtype == dns.TypeA {
				answer.Answer = append(answer.Answer, &dns.A{
					Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1),
				})
			}
		}
		w.WriteMsg(answer)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.ActivateAndServe()
	}()
	t.Cleanup(func() {
		l.Close()
		server.Shutdown()
		<-done
	})
	return l.Addr().String()
}
