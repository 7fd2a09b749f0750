package pull

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"sluice/flv"
	"sluice/hub/tlsconn/tlstest"
)

// script is a server of which each connection is answered by one function, called with what was asked for.
type script struct {
	net.Listener
	URL string
}

// serve answers until the test ends: the n-th connection by answers[n], or the last. What is answered is done
// with its connection when it returns.
func serve(t testing.TB, answers ...func(nc net.Conn, r *http.Request)) *script {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, l, answers...)
}

// said answers with a text, and then closes the connection.
func said(text string) func(net.Conn, *http.Request) {
	return func(nc net.Conn, _ *http.Request) { io.WriteString(nc, text) }
}

// serveOn is serve on a listener.
func serveOn(t testing.TB, l net.Listener, answers ...func(nc net.Conn, r *http.Request)) *script {
	var all sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	all.Go(func() {
		for n := 0; ; n++ {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, nc)
			mu.Unlock()
			all.Go(func() {
				defer nc.Close()
				if r, err := http.ReadRequest(bufio.NewReader(nc)); err == nil {
					answers[min(n, len(answers)-1)](nc, r)
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, nc := range conns {
			nc.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return &script{l, "http://" + l.Addr().String()}
}

// file returns tags as an FLV file.
func file(list []flv.Tag) string {
	b := flv.AppendHeader(nil, true, true)
	for _, t := range list {
		b = flv.AppendTag(b, t)
	}
	return string(b)
}

// tlsListener listens on loopback for TLS.
func tlsListener(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return tls.NewListener(l, tlstest.Server())
}
