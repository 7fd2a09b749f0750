//go:build unix

package fanout

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/tlsconn/tlstest"
)

// slowCloser is a connection that takes its time to close.
type slowCloser struct {
	*pairConn
	release chan struct{}
	closes  atomic.Int32
}

func (c *slowCloser) Close() error {
	c.closes.Add(1)
	<-c.release
	return c.pairConn.Close()
}

// However an outlet comes to its end, only Outlet.Close and Pool.Close wait until its
// connection is closed: not its owner's other calls, nor the other viewers of the same
// worker. Done does not come before the connection is closed, which happens once.
func TestClosingTakesItsTime(t *testing.T) {
	for name, end := range map[string]struct {
		by   func(w *world, s *source, o *Outlet, p *peer)
		want hub.Reason
	}{
		"its owner closes it": {func(w *world, _ *source, o *Outlet, _ *peer) {
			go o.Close()
		}, hub.ReasonClientLeft},
		"its session writes too much": {func(w *world, _ *source, o *Outlet, _ *peer) {
			for err := error(nil); err == nil; {
				_, err = o.Write(make([]byte, 10_000))
			}
		}, hub.ReasonStalled},
		"its peer leaves": {func(w *world, s *source, _ *Outlet, p *peer) {
			p.close()
			s.send("P", 20)
		}, hub.ReasonClientLeft},
		"its peer leaves a quiet stream": {func(w *world, s *source, o *Outlet, p *peer) {
			p.close()
			if o.raw == nil {
				s.send("P", 20) // nobody looks otherwise
			}
			time.Sleep(2 * quietCheck)
		}, hub.ReasonClientLeft},
		"its peer takes nothing": {func(w *world, s *source, _ *Outlet, _ *peer) {
			s.send("P", 100_000)
			time.Sleep(2 * w.pool.cfg.WriteTimeout)
		}, hub.ReasonStalled},
		"there is no room for a large frame": {func(w *world, s *source, _ *Outlet, _ *peer) {
			s.send("K", 4<<20)
		}, hub.ReasonStalled},
	} {
		t.Run(name, func(t *testing.T) {
			onFakeClock(t, func(t *testing.T, wrap func(*pairConn) Conn) {
				w := newWorld(t, Config{Workers: 1, MaxUnwritten: 2 << 20}, hub.Config{})
				s, other := w.publish("a"), w.publish("b")
				s.send("K", 20)
				other.send("K", 20)
				pair, p := newPair(t)
				c := &slowCloser{pairConn: pair, release: make(chan struct{})}
				var conn Conn = c
				if _, direct := wrap(pair).(*pairConn); !direct {
					conn = struct{ Conn }{c}
				}
				o := w.pool.NewOutlet(conn)
				first, second := w.attach(o, s.key, quiet), w.attach(o, s.key)
				good, q := newPair(t)
				neighbour := w.attach(w.pool.NewOutlet(good), other.key)
				synctest.Wait()
				p.read(64 << 10)

				end.by(w, s, o, p)
				synctest.Wait()
				require.Equal(t, closed, o.stateNow())
				require.EqualValues(t, 1, c.closes.Load(), "it is being closed")
				began := time.Now()
				_, err := o.Write(message("m"))
				assert.Error(t, err)
				assert.Error(t, o.Flush(time.Now().Add(time.Hour)))
				third := w.attach(o, s.key)
				first.sub.Close()
				third.sub.Close()
				s.send("P", 20)
				other.send("PPK", 20)
				synctest.Wait()
				q.read(64 << 10)
				assert.Equal(t, "head b K0 P1 P2 K3", sentence(q.got), "the neighbour has every frame")
				assert.Zero(t, neighbour.ends.Load())
				for _, v := range []*viewer{first, second, third} {
					assert.Zero(t, v.ends.Load(), "Done before the connection is closed")
				}
				shut := make(chan struct{})
				go func() {
					defer close(shut)
					o.Close()
				}()
				synctest.Wait()
				select {
				case <-shut:
					assert.Fail(t, "Close returned before the connection was closed")
				default:
				}
				assert.Zero(t, time.Since(began), "nobody waited")

				close(c.release)
				<-shut
				synctest.Wait()
				assert.True(t, c.closed())
				o.Close()
				for _, v := range []*viewer{first, second, third} {
					why, ok := v.ended()
					assert.True(t, ok)
					assert.Equal(t, end.want, why)
				}
				assert.EqualValues(t, 1, c.closes.Load(), "closed once")
			})
		})
	}
}

// Pool.Close waits for connections that are being closed, all at the same time, and
// for their Done.
func TestPoolCloseWaitsForConnections(t *testing.T) {
	onFakeClock(t, func(t *testing.T, wrap func(*pairConn) Conn) {
		w := newWorld(t, Config{Workers: 1}, hub.Config{})
		s := w.publish("a")
		s.send("K", 20)
		release := make(chan struct{})
		var conns []*slowCloser
		var viewers []*viewer
		for i := range 10 {
			pair, _ := newPair(t)
			c := &slowCloser{pairConn: pair, release: release}
			var conn Conn = c
			if _, direct := wrap(pair).(*pairConn); !direct {
				conn = struct{ Conn }{c}
			}
			viewers = append(viewers, w.attach(w.pool.NewOutlet(conn), s.key))
			conns = append(conns, c)
			if i%2 == 0 {
				s.send("K", 20_000) // all before are congested
			}
		}
		shut := make(chan struct{})
		go func() {
			defer close(shut)
			w.pool.Close()
		}()
		synctest.Wait()
		for _, c := range conns {
			assert.EqualValues(t, 1, c.closes.Load())
		}
		select {
		case <-shut:
			assert.Fail(t, "Pool.Close returned before connections were closed")
		default:
		}
		close(release)
		<-shut
		for i, v := range viewers {
			end, ok := v.ended()
			assert.True(t, ok)
			assert.Equal(t, hub.ReasonShuttingDown, end)
			assert.True(t, conns[i].closed())
		}
	})
}

// An outlet that is attached to after Pool.Close is closed: no worker is left that could
// serve the viewer.
func TestAttachToClosedPool(t *testing.T) {
	onFakeClock(t, func(t *testing.T, wrap func(*pairConn) Conn) {
		w := newWorld(t, Config{}, hub.Config{})
		s := w.publish("a")
		s.send("K", 20)
		c, p := newPair(t)
		o := w.pool.NewOutlet(wrap(c))
		shut := make(chan struct{})
		go func() {
			defer close(shut)
			w.pool.Close() // waits for the goroutine of an outlet, if that has one
		}()
		synctest.Wait()
		v := w.attach(o, s.key)
		<-shut
		synctest.Wait()
		end, ok := v.ended()
		assert.True(t, ok)
		assert.Equal(t, hub.ReasonShuttingDown, end)
		assert.True(t, c.closed())
		p.read(64 << 10)
		assert.Empty(t, p.got)
	})
}

// Outlets are closed by their owners while the pool is, and after. The connection is
// closed when Close returns.
func TestOutletsAndPoolClose(t *testing.T) {
	for range 200 {
		w := newWorld(t, Config{}, hub.Config{})
		isClosed := make(chan bool)
		const outlets = 4
		for i := range outlets {
			c, _ := newPair(t)
			o := w.pool.NewOutlet([]Conn{c, struct{ Conn }{c}}[i%2])
			go func() {
				o.Close()
				isClosed <- c.closed()
			}()
		}
		w.pool.Close()
		for range outlets {
			assert.True(t, <-isClosed)
		}
	}
}

// A blocked write ends with the close, and a last record that nobody takes holds up
// nobody: that is what crypto/tls has to write when it closes.
func TestTLSPeerTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lastRecord = 5 * time.Second // of crypto/tls
		w := newWorld(t, Config{Workers: 1}, hub.Config{})
		s := w.publish("a")
		s.send("K", 20)
		var idle []*Outlet
		var viewers []*viewer
		for range 8 {
			near, far := tlsPipe(t)
			o := w.pool.NewOutlet(near)
			viewers = append(viewers, w.attach(o, s.key))
			_, err := io.ReadFull(far, make([]byte, len(message("head a"))+20)) // and the rest of a record
			require.NoError(t, err)
			synctest.Wait()
			idle = append(idle, o)
		}
		good, p := newPair(t)
		neighbour := w.attach(w.pool.NewOutlet(good), s.key)

		began := time.Now()
		idle[0].close(ErrCongested) // as when somebody of the pool finds out
		_, err := idle[0].Write(message("m"))
		assert.ErrorIs(t, err, ErrCongested)
		viewers[0].sub.Close()
		assert.Zero(t, time.Since(began))

		s.send("P", 20) // from now on the others write
		synctest.Wait()
		p.read(64 << 10)
		assert.Equal(t, "head a K0 P1", sentence(p.got))
		assert.Zero(t, neighbour.ends.Load())
		assert.Zero(t, time.Since(began))
		assert.Equal(t, hub.ReasonStalled, <-viewers[0].done)
		assert.Equal(t, lastRecord, time.Since(began), "the time that it takes, which nobody noticed")

		began = time.Now()
		idle[1].Close()
		assert.Zero(t, time.Since(began), "its write has ended")
		assert.Equal(t, hub.ReasonClientLeft, <-viewers[1].done)
		w.pool.Close()
		assert.Zero(t, time.Since(began))
		for _, v := range viewers[2:] {
			assert.Equal(t, hub.ReasonShuttingDown, <-v.done)
		}
	})
}

// Nor do idle ones, one after the other, hold up the end of the pool.
func TestPoolCloseWithTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Workers: 1}, hub.Config{})
		s := w.publish("a")
		s.send("K"+strings.Repeat("P", 3), 20)
		for range 20 {
			near, far := tlsPipe(t)
			w.attach(w.pool.NewOutlet(near), s.key)
			_, err := io.ReadFull(far, make([]byte, len(message("head a"))+20))
			require.NoError(t, err)
		}
		synctest.Wait()
		began := time.Now()
		w.pool.Close()
		assert.Equal(t, 5*time.Second, time.Since(began), "that of one")
	})
}

// tlsPipe makes a connection with TLS in memory, where a write waits for its reader.
func tlsPipe(t *testing.T) (near, far *tls.Conn) {
	t.Helper()
	a, b := net.Pipe()
	near = tls.Server(a, &tls.Config{Certificates: []tls.Certificate{tlstest.Certificate(time.Hour, "localhost")}})
	far = tls.Client(b, &tls.Config{InsecureSkipVerify: true})
	t.Cleanup(func() { b.Close() })
	shaken := make(chan error, 1)
	go func() { shaken <- near.Handshake() }()
	require.NoError(t, far.Handshake())
	go far.Read(nil)
	require.NoError(t, <-shaken)
	return near, far
}
