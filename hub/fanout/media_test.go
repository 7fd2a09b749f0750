//go:build unix

package fanout

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// Media of a file goes out in order with a session's messages, waits for a peer that takes
// nothing, and ends with it.
func TestSendWaitsForDrained(t *testing.T) {
	onFakeClock(t, func(t *testing.T, wrap func(*pairConn) Conn) {
		w := newWorld(t, Config{WriteTimeout: 10 * time.Second}, hub.Config{})
		c, p := newPair(t)
		o := w.pool.NewOutlet(wrap(c))
		isDrained := func() bool {
			synctest.Wait()
			select {
			case <-o.Drained():
				return true
			default:
				synctest.Wait() // an outlet without direct writing looks again
			}
			select {
			case <-o.Drained():
				return true
			default:
				return false
			}
		}
		var want []byte
		send := func(m []byte) {
			want = append(want, m...)
			require.NoError(t, o.Send(m))
		}
		send(message("small"))
		<-o.Drained()
		for range 3 {
			large := message(string(bytes.Repeat([]byte("x"), 4*maxQueued)))
			send(large)
			assert.False(t, isDrained())
			answer := message("answer")
			want = append(want, answer...)
			_, err := o.Write(answer)
			require.NoError(t, err)
			drained := o.Drained()
			for len(p.got) < len(want) {
				p.drain()
				time.Sleep(time.Millisecond)
			}
			<-drained
			assert.NoError(t, o.Flush(time.Now().Add(time.Second)))
		}
		assert.True(t, bytes.Equal(want, p.got))

		send(bytes.Repeat([]byte("x"), 4*maxQueued))
		<-o.Drained()
		err := o.Send(message("late"))
		assert.Equal(t, hub.ReasonStalled, ReasonOf(err))
		synctest.Wait()
		assert.True(t, c.closed())
		<-o.Drained()
	})
}
