package pull

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub/relay"
)

// A source whose reader waits costs its connection, a small buffer and the reader's goroutine, and no other.
func TestMemory(t *testing.T) {
	const sources, most = 300, 25 << 10 // bytes of one
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var server sync.WaitGroup
	var conns []net.Conn
	in := bufio.NewReader(nil)
	server.Go(func() { // one after the other, so that it has next to nothing for each
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			conns = append(conns, nc)
			in.Reset(nc)
			if _, err := http.ReadRequest(in); err == nil {
				io.WriteString(nc, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+chunk(file(tags(3))))
			}
		}
	})
	o, opening := opener(), relay.Opening{URL: at(t, "http://"+l.Addr().String(), "http", "/live/demo.flv")}
	first := open(t, o, opening) // and what there is once
	read(t, first, 9)
	before, goroutines := memory(), runtime.NumGoroutine()
	list := make([]relay.Source, sources)
	var readers sync.WaitGroup
	for i := range list {
		list[i], err = o.Open(t.Context(), opening)
		require.NoError(t, err)
		read(t, list[i], 9)
		readers.Go(func() { readEnd(list[i]) })
	}
	var each int
	assert.Eventually(t, func() bool { // when all wait
		each = (memory() - before) / sources
		return each <= most
	}, 10*time.Second, 10*time.Millisecond, "they cost more than %d bytes each", most)
	t.Logf("%d bytes each", each)
	assert.LessOrEqual(t, runtime.NumGoroutine(), goroutines+sources+sources/10)
	for _, s := range list {
		s.Close()
	}
	readers.Wait()
	l.Close()
	server.Wait()
	for _, nc := range conns {
		nc.Close()
	}
}

// memory returns how many bytes are in use.
func memory() int {
	runtime.GC()
	runtime.GC() // what pools hold goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}
