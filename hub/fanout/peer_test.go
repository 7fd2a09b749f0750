//go:build unix

package fanout

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// number returns the number in the word of a frame.
func number(t testing.TB, word string) int {
	t.Helper()
	n, err := strconv.Atoi(word[1:])
	require.NoError(t, err, word)
	return n
}

// A peer that has closed shows at the next write.
func TestPeerClosesWhileFlowing(t *testing.T) {
	onFakeClock(t, func(t *testing.T, wrap func(*pairConn) Conn) {
		w := newWorld(t, Config{}, hub.Config{})
		s := w.publish("a")
		s.send("K", 20)
		c, p := newPair(t)
		v := w.attach(w.pool.NewOutlet(wrap(c)), s.key)
		synctest.Wait()
		p.close()
		s.send("P", 20)
		synctest.Wait()
		end, ok := v.ended()
		assert.True(t, ok)
		assert.Equal(t, hub.ReasonClientLeft, end)
		assert.True(t, c.closed())
	})
}

// The goroutine of a congested viewer ends at once when the peer closes.
func TestPeerClosesWhileDraining(t *testing.T) {
	onFakeClock(t, func(t *testing.T, wrap func(*pairConn) Conn) {
		w := newWorld(t, Config{}, hub.Config{})
		s := w.publish("a")
		s.send("K", 100_000)
		c, p := newPair(t)
		v := w.attach(w.pool.NewOutlet(wrap(c)), s.key)
		synctest.Wait()
		p.read(1000)
		p.close()
		begun := time.Now()
		assert.Equal(t, hub.ReasonClientLeft, <-v.done)
		assert.Less(t, time.Since(begun), time.Second)
	})
}

// Without anything to write, a look now and then tells whether the peer of a
// connection that nobody reads is there.
func TestQuietStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{}, hub.Config{})
		s := w.publish("a")
		s.send("K", 20)
		c, p := newPair(t)
		v := w.attach(w.pool.NewOutlet(c), s.key, quiet)
		other, q := newPair(t)
		session := w.attach(w.pool.NewOutlet(other), s.key) // its session reads it
		for range 10 {
			p.write(make([]byte, 300)) // nobody wants to know
			q.write([]byte("for the session"))
			time.Sleep(quietCheck)
		}
		assert.Zero(t, v.ends.Load())

		p.close()
		q.close()
		begun := time.Now()
		assert.Equal(t, hub.ReasonClientLeft, <-v.done)
		assert.LessOrEqual(t, time.Since(begun), 2*quietCheck)
		time.Sleep(10 * quietCheck)
		assert.Zero(t, session.ends.Load(), "that is for its session to find out")
		s.send("P", 20)
		assert.Equal(t, hub.ReasonClientLeft, <-session.done)
	})
}

// One that drains is not looked at: writing tells, and its goroutine reads nothing.
func TestQuietStreamOfCongestedPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{}, hub.Config{})
		s := w.publish("a")
		s.send("K", 50_000)
		c, p := newPair(t)
		v := w.attach(w.pool.NewOutlet(c), s.key, quiet)
		time.Sleep(3 * quietCheck)
		assert.Zero(t, v.ends.Load())
		p.drain()
		assert.Equal(t, "head a K0", sentence(p.got))
	})
}

// rudeConn fails in a way of its own.
type rudeConn struct{ *pairConn }

var errRude = errors.New("no more")

func (rudeConn) Write([]byte) (int, error) { return 0, errRude }

func TestConnectionFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{}, hub.Config{})
		s := w.publish("a")
		s.send("K", 20)
		c, _ := newPair(t)
		o := w.pool.NewOutlet(struct{ Conn }{rudeConn{c}})
		v := w.attach(o, s.key)
		assert.Equal(t, hub.ReasonConnection, <-v.done)
		_, err := o.Write(message("m"))
		assert.ErrorIs(t, err, errRude)
	})
}

// Viewers come and go while their streams do: groups of a worker are made and let
// go of, and nobody is left out.
func TestGroupsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Workers: 1}, hub.Config{})
		worker := w.pool.workers[0]
		for range 5 {
			a, b := w.publish("a"), w.publish("b")
			a.send("K", 20)
			b.send("K", 20)
			var viewers []*viewer
			var peers []*peer
			for i := range 6 {
				c, p := newPair(t)
				key := []hub.Key{a.key, b.key}[i%2]
				viewers = append(viewers, w.attach(w.pool.NewOutlet(c), key))
				peers = append(peers, p)
			}
			synctest.Wait()
			assert.Len(t, worker.snapshot(), 2)
			a.send("P", 20)
			b.Close()
			synctest.Wait()
			assert.Len(t, worker.snapshot(), 1)
			for i, v := range viewers {
				peers[i].drain()
				if i%2 == 0 {
					assert.Equal(t, "head a K0 P1", sentence(peers[i].got))
					v.sub.Close()
				} else {
					assert.Equal(t, "head b K0 end b unpublished", sentence(peers[i].got))
				}
			}
			a.Close()
			synctest.Wait()
			assert.Empty(t, worker.snapshot())
		}
	})
}

// Everything at once: the pool's own limits hold for each of its workers.
func TestWorkersShareViewers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Workers: 3}, hub.Config{})
		s := w.publish("a")
		s.send("K", 20)
		for range 9 {
			c, _ := newPair(t)
			w.attach(w.pool.NewOutlet(c), s.key)
		}
		synctest.Wait()
		s.send("P", 20)
		synctest.Wait()
		for _, worker := range w.pool.workers {
			for _, g := range worker.snapshot() {
				assert.Len(t, g.subs, 3)
			}
		}
	})
}

// Viewers join and leave, and each one left stands in its group where its slot says.
func TestGroupSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Workers: 1}, hub.Config{})
		s := w.publish("a")
		s.send("K", 20)
		random := rand.New(rand.NewPCG(1, 2))
		var viewers []*viewer
		for range 60 {
			for range random.IntN(6) {
				c, _ := newPair(t)
				viewers = append(viewers, w.attach(w.pool.NewOutlet(c), s.key))
			}
			for range min(len(viewers), random.IntN(6)) {
				i := random.IntN(len(viewers))
				viewers[i].sub.Close() // some before the worker knows them
				viewers = slices.Delete(viewers, i, i+1)
			}
			s.send("P", 20)
			synctest.Wait()
			served := 0
			for _, g := range w.pool.workers[0].snapshot() {
				served += len(g.subs)
				for i, sub := range g.subs {
					require.EqualValues(t, i, sub.slot)
					require.False(t, sub.dead)
				}
			}
			require.Equal(t, len(viewers), served)
		}
	})
}
