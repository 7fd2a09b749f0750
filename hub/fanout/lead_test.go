//go:build unix

package fanout

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"sluice/hub"
)

// tape is a lead of numbered pieces.
type tape struct {
	pieces int
	size   int // of each, beyond its name
	wait   time.Duration
	next   atomic.Int32
	closed atomic.Int32
}

func (l *tape) Next(dst []byte, _ hub.Framer) ([]byte, time.Duration, bool) {
	text := fmt.Sprintf("tape%d", l.next.Load()) + strings.Repeat(".", l.size)
	return append(dst, message(text)...), l.wait, int(l.next.Add(1)) >= l.pieces
}

func (l *tape) Close() { l.closed.Add(1) }

func withLead(l Lead) func(*Feed) { return func(f *Feed) { f.Lead = l } }

// A lead goes out behind the head and before the log, at its own pace; the session's own
// messages come between its pieces, and other viewers of the connection do not wait for it.
func TestLead(t *testing.T) {
	onFakeClock(t, func(t *testing.T, wrap func(*pairConn) Conn) {
		w := newWorld(t, Config{}, hub.Config{})
		s, other := w.publish("a"), w.publish("b")
		s.send("KP", 20)
		other.send("K", 20)
		c, p := newPair(t)
		o := w.pool.NewOutlet(wrap(c))
		l := &tape{pieces: 3, wait: time.Second}
		w.attach(o, s.key, withLead(l))
		synctest.Wait()
		s.send("P", 20)
		synctest.Wait()
		o.Write(message("pong"))
		w.attach(o, other.key)
		synctest.Wait()
		p.read(64 << 10)
		assert.Equal(t, "head a tape0 pong head b K0", sentence(p.got))
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		p.read(64 << 10)
		assert.Equal(t, "head a tape0 pong head b K0 tape1", sentence(p.got))
		time.Sleep(time.Second)
		synctest.Wait()
		p.read(64 << 10)
		assert.Equal(t, "head a tape0 pong head b K0 tape1 tape2 K0 P1 P2", sentence(p.got))
		assert.EqualValues(t, 1, l.closed.Load())
		s.send("P", 20)
		s.Close()
		synctest.Wait()
		p.read(64 << 10)
		assert.True(t, strings.HasSuffix(sentence(p.got), "P2 P3 end a unpublished"))
	})
}

// A lead waits for a connection that is full, and has its peer judged as others are.
func TestLeadToSlowPeer(t *testing.T) {
	onFakeClock(t, func(t *testing.T, wrap func(*pairConn) Conn) {
		w := newWorld(t, Config{WriteTimeout: 10 * time.Second}, hub.Config{})
		s := w.publish("a")
		s.send("KP", 20)
		c, p := newPair(t)
		l := &tape{pieces: 100, size: 20_000}
		v := w.attach(w.pool.NewOutlet(wrap(c)), s.key, withLead(l))
		synctest.Wait()
		assert.Less(t, l.next.Load(), int32(5), "it is no further than the connection")
		for range 50 {
			p.read(20_000)
			time.Sleep(time.Second)
			synctest.Wait()
		}
		assert.Greater(t, l.next.Load(), int32(30))
		assert.Less(t, l.next.Load(), int32(60))
		_, ended := v.ended()
		assert.False(t, ended)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		end, ended := v.ended()
		assert.True(t, ended)
		assert.Equal(t, hub.ReasonStalled, end)
		assert.EqualValues(t, 1, l.closed.Load())
	})
}

// Who leaves during the lead is gone at once, whatever the lead waits for.
func TestLeaveDuringLead(t *testing.T) {
	onFakeClock(t, func(t *testing.T, wrap func(*pairConn) Conn) {
		for _, size := range []int{0, 200_000} {
			w := newWorld(t, Config{}, hub.Config{})
			s := w.publish("a")
			s.send("KP", 20)
			c, _ := newPair(t)
			l := &tape{pieces: 3, size: size, wait: time.Hour}
			v := w.attach(w.pool.NewOutlet(wrap(c)), s.key, withLead(l))
			synctest.Wait()
			v.sub.Close()
			synctest.Wait()
			end, ended := v.ended()
			assert.True(t, ended)
			assert.Equal(t, hub.ReasonClientLeft, end)
			assert.EqualValues(t, 1, l.closed.Load())
			assert.EqualValues(t, 1, l.next.Load())
		}
	})
}
