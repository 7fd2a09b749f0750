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
	CAPool    *x509.CertPool   // CA
	Roots     *x509.CertPool   // by which those are that it gives
	Server    *httptest.Server // it
	log       *log.Logger
	asks      chan http.Handler // has it once Ask was called
}

// New starts an authority that is ended with the test, and asks for the proof of a name at two ports of
// loopback. The test must not run beside others, since Pebble takes settings from the environment.
func New(t testing.TB, httpPort, tlsPort int) *Server {
	t.Helper()
	s := Listen(t)
	s.Ask(t, httpPort, tlsPort)
	return s
}

// Listen is New for a server that has to know the authority before its ports are known. Requests wait
// until Ask is called.
func Listen(t testing.TB) *Server {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_AUTHZREUSE", "0")      // each order is proved
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "0") // of its own accord: an order may fail for that, and the next is minutes away
	s := &Server{log: log.New(io.Discard, "", 0), Roots: x509.NewCertPool(), CAPool: x509.NewCertPool(), asks: make(chan http.Handler, 1)}
	if testing.Verbose() {
		s.log = log.New(t.Output(), "pebble ", 0)
	}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.Server.Config.ErrorLog = s.log
	s.Server.StartTLS()
	t.Cleanup(s.Server.Close)
	s.Directory = s.Server.URL + wfe.DirectoryPath
	s.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Server.Certificate().Raw})
	s.CAPool.AddCert(s.Server.Certificate())
	return s
}

// Ask says at which ports of loopback the authority asks.
func (s *Server) Ask(t testing.TB, httpPort, tlsPort int) {
	t.Helper()
	store := db.NewMemoryStore()
	profiles := map[string]ca.Profile{"default": {Description: "three months", ValidityPeriod: 90 * 24 * 60 * 60}}
	issuer := ca.New(s.log, store, "", "ecdsa", 0, 1, profiles)
	asker := va.New(s.log, httpPort, tlsPort, true, names(t), store)
	front := wfe.New(s.log, store, asker, issuer, []string{"pebble.example"}, true, false, 1, 1)
	root, err := x509.ParseCertificate(issuer.GetRootCert(0).DER)
	require.NoError(t, err)
	s.Roots.AddCert(root)
	s.asks <- front.Handler()
}

// serve answers one request at a time: Pebble changes an account while it answers for it.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	select {
	case h := <-s.asks:
		defer func() { s.asks <- h }()
		h.ServeHTTP(w, r)
	case <-r.Context().Done():
	}
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
