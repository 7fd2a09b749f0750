//go:build unix

package fanout

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// A peer that takes nothing is ended after WriteTimeout, and nobody else of the
// same worker notices.
func TestStalledPeer(t *testing.T) {
	onFakeClock(t, func(t *testing.T, wrap func(*pairConn) Conn) {
		w := newWorld(t, Config{Workers: 1, WriteTimeout: 20 * time.Second}, hub.Config{})
		s := w.publish("a")
		s.send("K", 20)
		stalled, deaf := newPair(t)
		o := w.pool.NewOutlet(wrap(stalled))
		v := w.attach(o, s.key)
		good, p := newPair(t)
		neighbour := w.attach(w.pool.NewOutlet(good), s.key)

		begun := time.Now()
		for n := 1; !stalled.closed(); n++ {
			s.send("P", 1000)
			synctest.Wait()
			p.read(64 << 10)
			got := words(p.got)
			require.Len(t, got, n+2)
			require.Equal(t, frames("P", n)[0], got[n+1], "the neighbour has every frame at once")
			require.Less(t, time.Since(begun), time.Minute)
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		end, _ := v.ended()
		assert.Equal(t, hub.ReasonStalled, end)
		took := time.Since(begun)
		assert.Greater(t, took, 20*time.Second)
		assert.Less(t, took, 25*time.Second)
		_, err := o.Write(message("m"))
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Zero(t, neighbour.ends.Load())
		assert.Zero(t, neighbour.Dropped())
		deaf.read(1 << 20)
		got := words(deaf.got)
		assert.Equal(t, "head a", got[0])
		assert.NotContains(t, strings.Join(got, " "), "end", "the stream is broken off")
	})
}

// A peer that takes a little all the time is not stalled: it skips to new key
// frames, and costs no more memory than one that is not behind.
func TestSlowPeerJumps(t *testing.T) {
	onFakeClock(t, func(t *testing.T, wrap func(*pairConn) Conn) {
		w := newWorld(t, Config{Workers: 1}, hub.Config{MaxLag: 2 * time.Second})
		s := w.publish("a")
		s.step = 100
		c, p := newPair(t)
		o := w.pool.NewOutlet(wrap(c))
		s.send("K", 2000)
		v := w.attach(o, s.key)
		const gop = "KPPPPPPPPP" // a second, 20 KB
		for i := range 3000 {
			s.send(gop[(i+1)%10:(i+1)%10+1], 2000)
			synctest.Wait()
			p.read(500) // of 2000
			time.Sleep(100 * time.Millisecond)
			o.mu.Lock()
			require.LessOrEqual(t, len(o.rest), 4000)
			o.mu.Unlock()
		}
		assert.Zero(t, v.ends.Load())
		assert.Greater(t, v.Dropped(), uint64(1500))
		p.drain()
		got := words(p.got)[1:]
		last := -1
		jumps := 0
		for _, word := range got {
			n := number(t, word)
			require.Greater(t, n, last)
			if n != last+1 {
				jumps++
				require.Equal(t, "K", word[:1], "a jump lands on a key frame")
			}
			last = n
		}
		assert.Equal(t, 3000, last, "it has caught up")
		assert.Greater(t, jumps, 30)
		if o.raw != nil {
			assert.Equal(t, flowing, o.stateNow())
		}
		assert.EqualValues(t, 3001, int(v.Dropped())+len(got))
	})
}

// However little a peer takes, it is not stalled, even if what the kernel holds for
// it takes longer than WriteTimeout to go down.
func TestVerySlowPeer(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("nobody tells what the peer has taken")
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{WriteTimeout: 40 * time.Second}, hub.Config{MaxLag: 2 * time.Second})
		s := w.publish("a")
		s.send("K", 100_000)
		c, p := newPair(t)
		v := w.attach(w.pool.NewOutlet(c), s.key)
		for range 1000 {
			time.Sleep(time.Second)
			require.NotZero(t, p.read(500))
			if len(p.got) > 90_000 {
				break
			}
		}
		assert.Zero(t, v.ends.Load())
		begun := time.Now()
		s.send("P", 100_000)
		assert.Equal(t, hub.ReasonStalled, <-v.done, "now it takes nothing")
		assert.LessOrEqual(t, time.Since(begun), 51*time.Second, "a quarter of the timeout is as exact as it gets")
	})
}

// A peer that took nothing for a while, but not for too long, goes on at a key
// frame of the present.
func TestStalledPeerResumes(t *testing.T) {
	onFakeClock(t, func(t *testing.T, wrap func(*pairConn) Conn) {
		w := newWorld(t, Config{Workers: 1, WriteTimeout: time.Minute}, hub.Config{MaxLag: 2 * time.Second})
		s := w.publish("a")
		s.step = 100
		c, p := newPair(t)
		o := w.pool.NewOutlet(wrap(c))
		s.send("K", 2000)
		v := w.attach(o, s.key)
		const gop = "KPPPPPPPPP"
		for i := range 505 {
			s.send(gop[(i+1)%10:(i+1)%10+1], 2000)
			time.Sleep(100 * time.Millisecond)
		}
		assert.Equal(t, draining, o.stateNow())
		assert.Zero(t, v.ends.Load())
		p.drain()
		got := words(p.got)[1:]
		jumps := 0
		for i, word := range got[1:] {
			if n := number(t, word); n != number(t, got[i])+1 {
				jumps++
				assert.Equal(t, "K500", word, "the newest GOP whose beginning is there")
			}
		}
		assert.Equal(t, 1, jumps)
		assert.Equal(t, "P505", got[len(got)-1])
		assert.EqualValues(t, 506, int(v.Dropped())+len(got))
	})
}

// Stalled peers cost a small goroutine and the rest of a few frames each, however
// much there is to send to them.
func TestStalledPeersAreSmall(t *testing.T) {
	const viewers, each = 200, 16 << 10
	w := newWorld(t, Config{}, hub.Config{})
	s := w.publish("a")
	s.send("K"+strings.Repeat("P", 200), 2000)
	memory := func() int {
		runtime.GC()
		runtime.GC() // pools keep what they have for one of them
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc + m.StackInuse)
	}
	before := memory()
	var outlets []*Outlet
	for range viewers {
		near, _ := unixPair(t, 8<<10)
		o := w.pool.NewOutlet(near)
		w.attach(o, s.key)
		outlets = append(outlets, o)
	}
	for _, o := range outlets {
		assert.Equal(t, draining, o.stateNow())
	}
	assert.Eventually(t, func() bool { return memory()-before < viewers*each }, 20*time.Second, 10*time.Millisecond,
		"%d bytes each", (memory()-before)/viewers)
}

// A net.Pipe holds nothing: every write waits for its reader.
func TestPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{WriteTimeout: 10 * time.Second}, hub.Config{})
		s := w.publish("a")
		s.send("K", 100_000)
		near, far := net.Pipe()
		o := w.pool.NewOutlet(near)
		v := w.attach(o, s.key)
		var got []byte
		for {
			n := len(got)
			got = append(got, make([]byte, 3000)...)
			far.SetReadDeadline(time.Now().Add(time.Second))
			m, err := far.Read(got[n:])
			got = got[:n+m]
			if err != nil {
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)
				break
			}
		}
		assert.Equal(t, "head a K0", sentence(got))
		begun := time.Now()
		s.send("P", 20)
		assert.Equal(t, hub.ReasonStalled, <-v.done)
		assert.Equal(t, 10*time.Second, time.Since(begun))
		_, err := far.Write([]byte("x"))
		assert.ErrorIs(t, err, io.ErrClosedPipe, "the connection was closed")
		far.Close()
	})
}

func TestPipePeerCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{}, hub.Config{})
		s := w.publish("a")
		s.send("K", 1000)
		near, far := net.Pipe()
		v := w.attach(w.pool.NewOutlet(near), s.key)
		synctest.Wait() // its goroutine waits for the reader
		far.Close()
		assert.Equal(t, hub.ReasonClientLeft, <-v.done)
	})
}

func TestFlush(t *testing.T) {
	onFakeClock(t, func(t *testing.T, wrap func(*pairConn) Conn) {
		w := newWorld(t, Config{}, hub.Config{})
		c, p := newPair(t)
		o := w.pool.NewOutlet(wrap(c))
		in := func(d time.Duration) time.Time { return time.Now().Add(d) }
		require.NoError(t, o.Flush(in(time.Second)), "nothing was written")
		_, err := o.Write(message("m"))
		require.NoError(t, err)
		begun := time.Now()
		require.NoError(t, o.Flush(in(time.Second)))
		assert.Zero(t, time.Since(begun))
		p.read(100)
		assert.Equal(t, "m", sentence(p.got))

		_, err = o.Write(make([]byte, 100_000))
		require.NoError(t, err)
		begun = time.Now()
		assert.ErrorIs(t, o.Flush(in(3*time.Second)), os.ErrDeadlineExceeded)
		assert.ErrorIs(t, o.Flush(in(-time.Second)), os.ErrDeadlineExceeded)
		assert.Equal(t, 3*time.Second, time.Since(begun))

		flushed := make(chan error, 2)
		for range 2 {
			go func() { flushed <- o.Flush(in(time.Minute)) }()
		}
		synctest.Wait()
		p.drain()
		assert.NoError(t, <-flushed)
		assert.NoError(t, <-flushed)
		assert.Len(t, p.got, len(message("m"))+100_000)

		_, err = o.Write(make([]byte, 100_000))
		require.NoError(t, err)
		go func() { flushed <- o.Flush(in(time.Hour)) }()
		synctest.Wait()
		o.Close()
		assert.ErrorIs(t, <-flushed, net.ErrClosed)
	})
}

// What is still on its way when the pool is closed is broken off, for everybody.
func TestPoolClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Workers: 3}, hub.Config{})
		s := w.publish("a")
		s.send("K", 100_000)
		var conns []*pairConn
		var viewers []*viewer
		for i := range 12 {
			c, p := newPair(t)
			o := w.pool.NewOutlet([]Conn{c, struct{ Conn }{c}}[i%2])
			viewers = append(viewers, w.attach(o, s.key))
			conns = append(conns, c)
			if i%3 == 0 { // flowing; the others are congested
				synctest.Wait()
				p.drain()
			}
		}
		w.pool.Close()
		for i, v := range viewers {
			end, ok := v.ended() // Close has waited for Done
			assert.True(t, ok)
			assert.Equal(t, hub.ReasonShuttingDown, end)
			assert.True(t, conns[i].closed())
		}
		w.pool.Close()
	})
}

// hub.Shutdown ends every viewer gently, the slow ones when they have taken all.
func TestHubShutdown(t *testing.T) {
	onFakeClock(t, func(t *testing.T, wrap func(*pairConn) Conn) {
		w := newWorld(t, Config{}, hub.Config{})
		s := w.publish("a")
		s.send("K", 100_000)
		c, p := newPair(t)
		v := w.attach(w.pool.NewOutlet(wrap(c)), s.key)
		down := make(chan error, 1)
		go func() { down <- w.hub.Shutdown(context.Background()) }()
		synctest.Wait()
		assert.Zero(t, v.ends.Load())
		p.drain()
		assert.NoError(t, <-down)
		assert.Equal(t, "head a K0 end a shutting down", sentence(p.got))
		assert.Equal(t, hub.ReasonShuttingDown, <-v.done)
	})
}

// Reasons of ends are few; causes are as the operating system has them.
func TestReasonOf(t *testing.T) {
	assert.Equal(t, hub.ReasonConnection, reasonOf(errors.New("disk on fire")))
	assert.Equal(t, hub.ReasonClientLeft, reasonOf(net.ErrClosed))
	assert.Equal(t, hub.ReasonStalled, reasonOf(&net.OpError{Err: os.ErrDeadlineExceeded}))
}

// A viewer that has just joined gets a long GOP whole, in as many steps as it takes.
func TestLongGOP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Workers: 1}, hub.Config{})
		s := w.publish("a")
		s.send("K"+strings.Repeat("P", 100), 20_000)
		c, p := newPair(t)
		w.attach(w.pool.NewOutlet(c), s.key)
		synctest.Wait()
		p.drain()
		assert.Equal(t, append([]string{"head a"}, frames("K"+strings.Repeat("P", 100), 0)...), words(p.got))
		assert.Equal(t, 1, bytes.Count(p.got, message("head a")))
	})
}
