//go:build unix

package fanout

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/tlsconn/tlstest"
)

// dial makes a TCP connection over loopback with buffers of about the given size.
func dial(t testing.TB, buffer int) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, _ := l.Accept()
		accepted <- c
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	near, far = <-accepted, c
	t.Cleanup(func() {
		near.Close()
		far.Close()
	})
	require.NoError(t, near.(*net.TCPConn).SetWriteBuffer(buffer))
	require.NoError(t, far.(*net.TCPConn).SetReadBuffer(buffer))
	return near, far
}

// unixPair makes a connection that holds little and, unlike TCP with so small a
// window, knows no timers.
func unixPair(t testing.TB, buffer int) (near, far net.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	var ends [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		ends[i], err = net.FileConn(f)
		require.NoError(t, err)
		f.Close()
		t.Cleanup(func() { ends[i].Close() })
		require.NoError(t, ends[i].(*net.UnixConn).SetWriteBuffer(buffer))
	}
	return ends[0], ends[1]
}

// tcpWays are the ways of writing, over TCP: they return what an outlet writes to, and what is read from
// at the other end.
var tcpWays = map[string]func(t testing.TB, near, far net.Conn) (Conn, net.Conn){
	"direct":    func(_ testing.TB, near, far net.Conn) (Conn, net.Conn) { return near, far },
	"generic":   func(_ testing.TB, near, far net.Conn) (Conn, net.Conn) { return struct{ Conn }{near}, far },
	"encrypted": encrypted,
}

func encrypted(t testing.TB, near, far net.Conn) (Conn, net.Conn) {
	server, client := tlstest.Pair(t, near, far)
	return server, client
}

// tcpOf returns the connection itself.
func tcpOf(c net.Conn) *net.TCPConn {
	for {
		outer, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c.(*net.TCPConn)
		}
		c = outer.NetConn()
	}
}

func TestTCP(t *testing.T) {
	for name, wrap := range tcpWays {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Config{}, hub.Config{})
			s := w.publish("a")
			s.send("K", 300_000)
			near, far := dial(t, 16<<10)
			out, far := wrap(t, near, far)
			require.NoError(t, near.SetWriteDeadline(time.Now().Add(-time.Hour))) // of an earlier writer
			o := w.pool.NewOutlet(out)
			assert.Equal(t, name != "generic", o.raw != nil)
			assert.Equal(t, name == "encrypted", o.seal != nil)
			v := w.attach(o, s.key)
			s.send("PPP", 100_000)
			s.Close()
			got := make(chan []byte)
			go func() {
				b, _ := io.ReadAll(far)
				got <- b
			}()
			assert.Equal(t, hub.ReasonUnpublished, <-v.done)
			o.Close()
			assert.Equal(t, "head a K0 P1 P2 P3 end a unpublished", sentence(<-got))
		})
	}
}

// The peer goes in the ways that peers go in.
func TestTCPPeerCloses(t *testing.T) {
	closings := map[string]func(c net.Conn){
		"closed": func(c net.Conn) { c.Close() },
		"reset":  func(c net.Conn) { tcpOf(c).SetLinger(0); tcpOf(c).Close() },
	}
	for way, wrap := range tcpWays {
		for how, closing := range closings {
			t.Run(way+" "+how, func(t *testing.T) {
				w := newWorld(t, Config{}, hub.Config{})
				s := w.publish("a")
				s.send("K", 20)
				near, far := dial(t, 16<<10)
				out, far := wrap(t, near, far)
				flowing := w.attach(w.pool.NewOutlet(out), s.key)
				near2, far2 := dial(t, 16<<10)
				out2, far2 := wrap(t, near2, far2)
				congested := w.attach(w.pool.NewOutlet(out2), s.key)
				s.send("P", 300_000)
				_, err := io.ReadFull(far, make([]byte, 300_000))
				require.NoError(t, err)
				closing(far)
				closing(far2)
				for len(flowing.done) == 0 || len(congested.done) == 0 {
					s.send("P", 20) // the first one after it only makes the peer answer
					runtime.Gosched()
				}
				assert.Equal(t, hub.ReasonClientLeft, <-flowing.done)
				assert.Equal(t, hub.ReasonClientLeft, <-congested.done)
			})
		}
	}
}

func TestTCPStalls(t *testing.T) {
	for way, wrap := range tcpWays {
		t.Run(way, func(t *testing.T) {
			w := newWorld(t, Config{WriteTimeout: 50 * time.Millisecond}, hub.Config{})
			s := w.publish("a")
			s.send("K", 1<<20)
			near, far := dial(t, 16<<10)
			out, far := wrap(t, near, far)
			v := w.attach(w.pool.NewOutlet(out), s.key)
			assert.Equal(t, hub.ReasonStalled, <-v.done)
			b, err := io.ReadAll(far)
			assert.Less(t, len(b), 1<<20)
			if err == nil { // or the connection was reset
				assert.Equal(t, []string{"head a", "cut"}, words(b))
			}
		})
	}
}

// TestNoLostWakeUp lets a publisher stop at any moment: each viewer must have
// everything then, in order, however it reads. It goes on when all have it.
func TestNoLostWakeUp(t *testing.T) {
	rounds, bursts, viewers := 3, 120, 10
	if testing.Short() {
		bursts = 20
	}
	for round := range rounds {
		cfg := Config{Workers: 1 + round%3, Coalesce: []time.Duration{0, time.Millisecond, Auto}[round%3]}
		w := newWorld(t, cfg, hub.Config{MaxLag: time.Hour})
		s := w.publish("a")
		s.send("K", 100)
		var all []*burstReader
		var reading sync.WaitGroup
		for i := range viewers {
			near, far := unixPair(t, 4<<10)
			if i < 2 {
				near, far = dial(t, 256<<10)
			}
			conn := Conn(near)
			switch i % 4 {
			case 2:
				conn = struct{ Conn }{near}
			case 3:
				conn, far = encrypted(t, near, far)
			}
			r := &burstReader{conn: far, more: make(chan struct{}, 1)}
			all = append(all, r)
			o := w.pool.NewOutlet(conn)
			w.attach(o, s.key)
			reading.Go(func() { r.run(t) })
			reading.Go(func() { // a session, whose answers come in between
				for range bursts {
					o.Write(message("pong"))
					runtime.Gosched()
				}
			})
		}
		for range bursts {
			for range 1 + rand.IntN(10) {
				s.send("P", 1000+rand.IntN(6000))
				for range rand.IntN(50) {
					runtime.Gosched() // so that some catch up meanwhile
				}
			}
			for i, r := range all {
				require.True(t, r.wait(int32(s.next)), "viewer %d has %d of %d frames", i, r.have.Load(), s.next)
			}
		}
		s.Close()
		reading.Wait()
	}
}

// burstReader reads frames, which must come in the order of their numbers. At times
// it pauses, long enough to make the other end congested.
type burstReader struct {
	conn net.Conn
	have atomic.Int32  // how many frames have come
	more chan struct{} // one element after have has changed
}

// run reads until the stream ends.
func (r *burstReader) run(t *testing.T) {
	tags := flv.NewReader(io.MultiReader(bytes.NewReader(flv.AppendHeader(nil, true, true)), r))
	for {
		tag, err := tags.Next()
		if !assert.NoError(t, err) {
			return
		}
		word := words(flv.AppendTag(nil, tag))
		switch {
		case len(word) == 0 || word[0] == "pong" || strings.HasPrefix(word[0], "head"):
		case strings.HasPrefix(word[0], "end"):
			return
		default:
			assert.EqualValues(t, r.have.Load(), number(t, word[0]))
			r.have.Add(1)
			select {
			case r.more <- struct{}{}:
			default:
			}
		}
	}
}

func (r *burstReader) Read(p []byte) (int, error) {
	if rand.IntN(8) == 0 {
		for range rand.IntN(300) {
			runtime.Gosched()
		}
	}
	return r.conn.Read(p[:min(len(p), 1+rand.IntN(8000))])
}

// wait waits until n frames have come.
func (r *burstReader) wait(n int32) bool {
	timeout := time.NewTimer(10 * time.Second)
	defer timeout.Stop()
	for r.have.Load() < n {
		select {
		case <-r.more:
		case <-timeout.C:
			return false
		}
	}
	return true
}
