package pull

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"testing"

	"sluice/flv"
)

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
