package certificate

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/cmd/sluice/certificate/acmetest"
)

// site is a server with a source: plain HTTP at one port, TLS at the other. Either may be missing.
type site struct {
	plain, secure net.Listener
	roots         *acmetest.Server
	source        *Source
	dir           string
	log           logged
}

// newSite starts a server that obtains certificates from a real authority.
func newSite(t *testing.T, plain, secure bool, names ...string) *site {
	t.Helper()
	s := &site{dir: t.TempDir()}
	var err error
	s.plain, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.secure, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := func(l net.Listener, there bool) int {
		if !there {
			hangUp(t, l)
		}
		return l.Addr().(*net.TCPAddr).Port
	}
	s.roots = acmetest.New(t, port(s.plain, plain), port(s.secure, secure))
	s.open(t, names...)
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "page %s", r.URL.Path) })
	server := &http.Server{Handler: next, ReadTimeout: 10 * time.Second, ErrorLog: quietLog}
	served := make(chan struct{}, 2)
	if plain {
		server.Handler = s.source.Challenge(next)
		go func() { server.Serve(s.plain); served <- struct{}{} }()
	} else {
		served <- struct{}{}
	}
	if secure {
		go func() { server.Serve(tls.NewListener(s.secure, serverOf(s.source))); served <- struct{}{} }()
	} else {
		served <- struct{}{}
	}
	t.Cleanup(func() {
		server.Close()
		<-served
		<-served
	})
	return s
}

// hangUp ends each connection at once, and so keeps the port from others, until the test ends.
func hangUp(t *testing.T, l net.Listener) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
}

// open opens the source of what is in the folder.
func (s *site) open(t *testing.T, names ...string) {
	t.Helper()
	client := newClient()
	client.TLSClientConfig = &tls.Config{RootCAs: s.roots.CAPool}
	var err error
	s.source, err = Open(Config{
		Domains: names, Directory: s.roots.Directory, StateDir: s.dir, Logger: s.log.logger(), client: client,
	})
	require.NoError(t, err)
}

// run runs the source until the test, or what it returns, ends it.
func (s *site) run(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.source.Run(ctx)
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// all waits until each name has a certificate.
func (s *site) all(t *testing.T) {
	t.Helper()
	all := func() bool {
		for _, info := range s.source.Certificates() {
			if info.NotAfter.IsZero() {
				return false
			}
		}
		return true
	}
	if !assert.Eventually(t, all, time.Minute, 10*time.Millisecond) {
		t.Log(s.source.Certificates(), s.log.take())
		pprof.Lookup("goroutine").WriteTo(t.Output(), 1) // who waits for what
		t.FailNow()
	}
}

// stored returns which files are in the folder of state, all of which nobody else may read.
func (s *site) stored(t *testing.T) (names []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(s.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == s.dir {
			return err
		}
		info, err := d.Info()
		if err == nil {
			assert.Zero(t, info.Mode().Perm()&0o077, path)
		}
		if !d.IsDir() {
			names = append(names, d.Name())
		}
		return err
	}))
	return names
}

// dial makes a handshake for a name with the authority's roots.
func (s *site) dial(name string, protocols ...string) (tls.ConnectionState, error) {
	config := &tls.Config{ServerName: name, RootCAs: s.roots.Roots, NextProtos: protocols}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", s.secure.Addr().String(), config)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	return conn.ConnectionState(), nil
}

// From nothing to certificates, by each of the two ways of proof and by both.
func TestObtained(t *testing.T) {
	for name, way := range map[string]struct{ plain, secure bool }{
		"HTTP-01":     {plain: true},
		"TLS-ALPN-01": {secure: true},
		"both":        {plain: true, secure: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, way.plain, way.secure, "a.example", "b.example")
			if way.secure {
				_, err := s.dial("a.example")
				require.ErrorContains(t, err, "internal error", "there is none yet")
			}
			stop := s.run(t)
			s.all(t)
			if way.secure {
				for _, name := range []string{"a.example", "B.EXAMPLE"} {
					state, err := s.dial(name, "h2", "http/1.1")
					require.NoError(t, err)
					assert.Equal(t, []string{strings.ToLower(name)}, state.PeerCertificates[0].DNSNames)
					assert.Equal(t, "h2", state.NegotiatedProtocol)
				}
				_, err := s.dial("stranger.example")
				assert.ErrorContains(t, err, "unrecognized name")
				_, err = s.dial("a.example", "acme-tls/1")
				assert.ErrorContains(t, err, "internal error", "nothing is asked just now")
			}
			stop()
			log := strings.Join(s.log.take(), "\n")
			assert.Equal(t, 2, strings.Count(log, `msg="certificate obtained"`), log)
			assert.NotContains(t, log, "WARN", "a proof that failed before the other one counts for nothing")

			assert.Equal(t, []string{"a.example.pem", "account.key", "b.example.pem"}, s.stored(t))

			// Another start finds them, and asks for nothing.
			s.roots.Server.Close()
			s.open(t, "a.example", "b.example")
			s.run(t)
			for _, info := range s.source.Certificates() {
				assert.InDelta(t, 90*24, time.Until(info.NotAfter).Hours(), 1)
				assert.Empty(t, info.Problem)
			}
		})
	}
}

// Where the proof fails the log says why, in the authority's words, in one line for each order.
func TestNotObtained(t *testing.T) {
	s := newSite(t, false, false, "a.example")
	s.source.Challenge(http.NotFoundHandler()) // which nobody serves
	s.run(t)
	var problem string
	require.Eventually(t, func() bool {
		problem = s.source.Certificates()[0].Problem
		return problem != ""
	}, 30*time.Second, 10*time.Millisecond)
	assert.Contains(t, problem, "tls-alpn-01: Failed to connect")
	assert.Contains(t, problem, "http-01: ")
	assert.Contains(t, problem, challengePath)
	var lines []string
	require.Eventually(t, func() bool { lines = append(lines, s.log.take()...); return len(lines) > 0 }, 10*time.Second, time.Millisecond)
	require.Len(t, lines, 1)
	assert.Contains(t, lines[0], `msg="no certificate could be obtained" domain=a.example reason="tls-alpn-01: `)
	assert.Contains(t, lines[0], "again_in=2m")
	assert.True(t, s.source.Certificates()[0].NotAfter.IsZero())
}

// An authority that is not there, or that nobody trusts.
func TestAuthorityIsGone(t *testing.T) {
	s := newSite(t, true, false, "a.example")
	s.source.acme.client.TLSClientConfig = nil // the system does not know it
	s.run(t)
	require.Eventually(t, func() bool {
		return strings.Contains(s.source.Certificates()[0].Problem, "certificate signed by unknown authority")
	}, 30*time.Second, 10*time.Millisecond, "%v", s.source.Certificates())
}

// What is not the authority's goes to the page, and what is for it only while it is expected.
func TestChallengePassesOn(t *testing.T) {
	s := newSite(t, true, false, "a.example")
	ask := func(host, path string) string {
		r, err := http.NewRequest("GET", "http://"+s.plain.Addr().String()+path, nil)
		require.NoError(t, err)
		r.Host = host
		answer, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer answer.Body.Close()
		var text [100]byte
		n, _ := answer.Body.Read(text[:])
		return string(text[:n])
	}
	defer http.DefaultClient.CloseIdleConnections()
	for _, path := range []string{"/", "/.well-known/other", challengePath + "x", challengePath} {
		for _, host := range []string{"a.example", "a.example:80", "stranger.example", "127.0.0.1"} {
			assert.Equal(t, "page "+path, ask(host, path))
		}
	}
}

// A certificate of which a third of the time is left is renewed while it is served.
func TestRenewed(t *testing.T) {
	s := newSite(t, true, true, "a.example")
	stop := s.run(t)
	s.all(t)
	stop()
	d := s.source.acme.domains[0]
	old := *d.cert.Load()
	old.Leaf = template{names: []string{"a.example"}, notBefore: time.Now().Add(-70 * day), notAfter: time.Now().Add(20 * day)}.make(t).leaf
	d.cert.Store(&old)
	s.run(t)
	require.Eventually(t, func() bool { return s.source.Certificates()[0].Left(time.Now()) > 80*day }, 30*time.Second, 10*time.Millisecond)
	_, err := s.dial("a.example")
	assert.NoError(t, err)
	stored, err := s.source.acme.store.load("a.example")
	require.NoError(t, err)
	require.NotNil(t, stored)
}
