//go:build unix

package fanout

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"sluice/hub"
)

// Passes are counted with the viewers they served, and a viewer is congested until it has taken
// what was due to it.
func TestFigures(t *testing.T) {
	onFakeClock(t, func(t *testing.T, wrap func(*pairConn) Conn) {
		w := newWorld(t, Config{Workers: 1}, hub.Config{})
		assert.Equal(t, Figures{Workers: 1}, w.pool.Figures())
		s := w.publish("a")
		s.send("K", 20)
		slow, peer := newPair(t)
		o := w.pool.NewOutlet(wrap(slow))
		w.attach(o, s.key)
		good, p := newPair(t)
		w.attach(w.pool.NewOutlet(good), s.key)
		synctest.Wait()
		before := w.pool.Figures()
		s.send("P", 1000)
		synctest.Wait()
		after := w.pool.Figures()
		assert.Equal(t, before.Passes+1, after.Passes)
		assert.Equal(t, before.Served+2, after.Served)
		assert.Zero(t, after.Congested)

		for range 1000 {
			s.send("P", 1000)
			synctest.Wait()
			p.read(64 << 10)
			time.Sleep(time.Millisecond)
		}
		if o.raw != nil { // otherwise it has a goroutine anyway
			assert.Equal(t, 1, w.pool.Figures().Congested)
		}
		for n := 0; n < 10_000 && w.pool.Figures().Congested > 0; n++ {
			peer.read(64 << 10)
			time.Sleep(time.Millisecond)
		}
		assert.Zero(t, w.pool.Figures().Congested, "it has caught up")
	})
}
