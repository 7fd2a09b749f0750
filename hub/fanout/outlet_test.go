//go:build unix

package fanout

import (
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// A healthy viewer is written to in passes, and needs no goroutine.
func TestFlowing(t *testing.T) {
	onFakeClock(t, func(t *testing.T, wrap func(*pairConn) Conn) {
		w := newWorld(t, Config{}, hub.Config{})
		s := w.publish("a")
		s.send("KP", 20)
		c, p := newPair(t)
		o := w.pool.NewOutlet(wrap(c))
		v := w.attach(o, s.key)
		synctest.Wait()
		p.read(64 << 10)
		assert.Equal(t, "head a K0 P1", sentence(p.got), "at once")

		s.send("PPK", 20)
		synctest.Wait()
		p.read(64 << 10)
		assert.Equal(t, "head a K0 P1 P2 P3 K4", sentence(p.got))
		if o.raw != nil {
			assert.Equal(t, flowing, o.stateNow())
		}
		s.Close()
		synctest.Wait()
		p.read(64 << 10)
		assert.Equal(t, "head a K0 P1 P2 P3 K4 end a unpublished", sentence(p.got))
		end, ok := v.ended()
		assert.True(t, ok)
		assert.Equal(t, hub.ReasonUnpublished, end)
		assert.EqualValues(t, len(p.got)-len(message("head a")), v.Bytes(), "bytes sent, without the head")
		assert.False(t, c.closed(), "the connection is its owner's")
	})
}

// A connection that does not take everything at once is written to by a goroutine,
// and directly again once it has caught up, long after the deadlines of that
// goroutine.
func TestDrainingAndFlowingAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Workers: 1}, hub.Config{})
		s := w.publish("a")
		s.send("K", 100_000)
		c, p := newPair(t)
		o := w.pool.NewOutlet(c)
		w.attach(o, s.key)
		for round := range 3 {
			assert.Equal(t, draining, o.stateNow())
			s.send("PP", 20_000)
			synctest.Wait()
			p.drain()
			assert.Equal(t, flowing, o.stateNow())
			want := append([]string{"head a"}, frames("K"+strings.Repeat("PPP", 1+round)[1:], 0)...)
			assert.Equal(t, want, words(p.got))

			time.Sleep(10 * w.pool.cfg.WriteTimeout)
			s.send("P", 20_000)
			synctest.Wait()
		}
		p.drain()
	})
}

// Every size of a write is cut where the connection is full and goes on there.
func TestPartialWritesAtEveryOffset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Workers: 1}, hub.Config{})
		s := w.publish("a")
		s.send("K", 9)
		c, p := newPair(t)
		o := w.pool.NewOutlet(c)
		w.attach(o, s.key)
		var kinds strings.Builder
		for i := range 300 {
			s.send("P", 5000+i)
			s.send("P", 17)
			kinds.WriteString("PP")
			synctest.Wait()
			p.read(4000 + 13*i)
			if i%40 == 39 {
				p.drain()
			}
		}
		p.drain()
		assert.Equal(t, append([]string{"head a"}, frames("K"+kinds.String(), 0)...), words(p.got))
	})
}

// What a session writes stays in its order and between whole media messages.
func TestSessionWritesKeepTheirOrder(t *testing.T) {
	onFakeClock(t, func(t *testing.T, wrap func(*pairConn) Conn) {
		w := newWorld(t, Config{Workers: 1}, hub.Config{})
		s := w.publish("a")
		s.send("K", 20)
		c, p := newPair(t)
		o := w.pool.NewOutlet(wrap(c))
		_, err := o.Write(message("m0"))
		require.NoError(t, err)
		w.attach(o, s.key)
		wantMessages := []string{"m0", "head a"}
		wantFrames := []string{"K0"}
		for i := range 60 {
			text := "m" + strings.Repeat("x", i*37%500)
			n, err := o.Write(message(text))
			require.NoError(t, err)
			assert.Equal(t, len(message(text)), n)
			wantMessages = append(wantMessages, text)
			s.send("P", 1000+i*97)
			wantFrames = append(wantFrames, frames("P", i+1)...)
			synctest.Wait()
			if i%3 == 0 {
				p.read(7001) // less than what is sent
			}
		}
		p.drain()
		var gotMessages, gotFrames []string
		for _, word := range words(p.got) {
			if word[0] == 'm' || word[0] == 'h' {
				gotMessages = append(gotMessages, word)
			} else {
				gotFrames = append(gotFrames, word)
			}
		}
		assert.Equal(t, wantMessages, gotMessages)
		assert.Equal(t, wantFrames, gotFrames)
	})
}

func TestWriteAfterClose(t *testing.T) {
	onFakeClock(t, func(t *testing.T, wrap func(*pairConn) Conn) {
		w := newWorld(t, Config{}, hub.Config{})
		c, _ := newPair(t)
		o := w.pool.NewOutlet(wrap(c))
		o.Close()
		o.Close()
		assert.True(t, c.closed())
		n, err := o.Write(message("m"))
		assert.Zero(t, n)
		assert.ErrorIs(t, err, net.ErrClosed)
		assert.ErrorIs(t, o.Flush(time.Now().Add(time.Hour)), net.ErrClosed)
	})
}

// A session that writes on and on to a peer that takes nothing is cut off.
func TestCongested(t *testing.T) {
	onFakeClock(t, func(t *testing.T, wrap func(*pairConn) Conn) {
		w := newWorld(t, Config{}, hub.Config{})
		s := w.publish("a")
		s.send("K", 20)
		c, _ := newPair(t)
		o := w.pool.NewOutlet(wrap(c))
		v := w.attach(o, s.key)
		written := 0
		var err error
		for err == nil {
			synctest.Wait()
			var n int
			n, err = o.Write(make([]byte, 4000))
			written += n
			require.Less(t, written, 4*maxQueued)
		}
		assert.ErrorIs(t, err, ErrCongested)
		assert.Greater(t, written, maxQueued)
		synctest.Wait()
		assert.True(t, c.closed())
		end, _ := v.ended()
		assert.Equal(t, hub.ReasonStalled, end)
		_, err = o.Write(message("m"))
		assert.ErrorIs(t, err, ErrCongested, "the reason stays")
	})
}

// Media that waits is no fault of the session: its answers are still taken.
func TestMediaDoesNotCountAsCongestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{}, hub.Config{})
		s := w.publish("a")
		s.send("K", maxQueued+1000)
		for range 5 {
			c, p := newPair(t)
			o := w.pool.NewOutlet(c)
			w.attach(o, s.key)
			_, err := o.Write(message("pong")) // before the goroutine has taken over, as a rule
			require.NoError(t, err)
			p.drain()
			assert.Equal(t, "head a K0 pong", sentence(p.got))
		}
	})
}

func TestSeveralSubscriptions(t *testing.T) {
	onFakeClock(t, func(t *testing.T, wrap func(*pairConn) Conn) {
		w := newWorld(t, Config{Workers: 1}, hub.Config{})
		a, b := w.publish("a"), w.publish("b")
		a.send("K", 20)
		b.send("K", 20)
		c, p := newPair(t)
		o := w.pool.NewOutlet(wrap(c))
		va := w.attach(o, a.key)
		synctest.Wait()
		vb := w.attach(o, b.key)
		for range 20 {
			a.send("P", 3000)
			b.send("P", 2000)
		}
		synctest.Wait()
		assert.Equal(t, draining, o.stateNow())
		a.Close() // the stream of one ends while nothing can be written
		synctest.Wait()
		_, ended := va.ended()
		assert.False(t, ended, "its last bytes have not been written")
		p.drain()
		end, _ := va.ended()
		assert.Equal(t, hub.ReasonUnpublished, end)
		b.send("P", 20)
		synctest.Wait()
		p.drain()
		got := words(p.got)
		for _, want := range []string{"head a", "head b", "end a unpublished"} {
			assert.Contains(t, got, want)
		}
		assert.Len(t, got, 3+21+22)
		assert.Equal(t, "P21", got[len(got)-1], "the other goes on")

		vb.sub.Close()
		vb.sub.Close()
		synctest.Wait()
		end, _ = vb.ended()
		assert.Equal(t, hub.ReasonClientLeft, end)
		b.send("P", 20)
		synctest.Wait()
		before := len(p.got)
		p.drain()
		assert.Len(t, p.got, before, "nothing comes after Close")
		_, err := o.Write(message("m"))
		assert.NoError(t, err, "the outlet lives on")
	})
}

// A stream that ends while its viewer is slow is written to its last byte before
// Done is called.
func TestEndWhileDraining(t *testing.T) {
	onFakeClock(t, func(t *testing.T, wrap func(*pairConn) Conn) {
		w := newWorld(t, Config{}, hub.Config{})
		s := w.publish("a")
		s.send("K", 50_000)
		c, p := newPair(t)
		o := w.pool.NewOutlet(wrap(c))
		v := w.attach(o, s.key)
		s.send("PP", 50_000)
		s.Close()
		for {
			synctest.Wait()
			if end, ok := v.ended(); ok {
				assert.Equal(t, hub.ReasonUnpublished, end)
				break
			}
			require.NotZero(t, p.read(1000), "Done was not called")
			time.Sleep(10 * time.Millisecond)
		}
		p.read(1 << 20) // what is on its way already
		assert.Equal(t, "head a K0 P1 P2 end a unpublished", sentence(p.got))
	})
}

// What was on its way when a subscription was closed comes as whole messages.
func TestCloseWhileDraining(t *testing.T) {
	onFakeClock(t, func(t *testing.T, wrap func(*pairConn) Conn) {
		w := newWorld(t, Config{}, hub.Config{})
		s := w.publish("a")
		s.send("K", 50_000)
		c, p := newPair(t)
		o := w.pool.NewOutlet(wrap(c))
		v := w.attach(o, s.key)
		synctest.Wait()
		s.send("P", 50_000)
		v.sub.Close()
		synctest.Wait()
		end, _ := v.ended()
		assert.Equal(t, hub.ReasonClientLeft, end)
		_, err := o.Write(message("m"))
		require.NoError(t, err)
		p.drain()
		assert.Equal(t, "head a K0 m", sentence(p.got))
	})
}

func TestAttachToClosedOutlet(t *testing.T) {
	onFakeClock(t, func(t *testing.T, wrap func(*pairConn) Conn) {
		w := newWorld(t, Config{}, hub.Config{})
		s := w.publish("a")
		s.send("K", 20)
		c, _ := newPair(t)
		o := w.pool.NewOutlet(wrap(c))
		o.Close()
		v := w.attach(o, s.key)
		synctest.Wait()
		end, ok := v.ended()
		assert.True(t, ok)
		assert.Equal(t, hub.ReasonClientLeft, end, "as for those who were there when it closed")
		v.sub.Close()
		s.send("P", 20)
	})
}
