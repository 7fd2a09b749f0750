package bench

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// listen serves connections on loopback until the test ends and returns the address.
func listen(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				serving.Go(func() {
					defer conn.Close()
					serve(conn)
				})
			}
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	return l.Addr().String()
}

// counters are all kinds of counter that this system has.
func counters() map[string]func() counter {
	return map[string]func() counter{
		"readers":    func() counter { return newReaders() },
		"the system": newCounter,
	}
}

// dialed returns a viewer that is connected and asked for nothing.
func dialed(t testing.TB, address string, p protocol) *viewer {
	t.Helper()
	v := &viewer{protocol: p}
	require.NoError(t, opener{}.dial(t.Context(), v, false, "tcp", address))
	return v
}

// eventually waits for a condition.
func eventually(t testing.TB, cond func() bool, what string) {
	t.Helper()
	require.Eventually(t, cond, 20*time.Second, 5*time.Millisecond, what)
}

func TestCountersCountInTheirWindow(t *testing.T) {
	for name, newCounter := range counters() {
		t.Run(name, func(t *testing.T) {
			more, ended := make(chan struct{}), make(chan struct{})
			address := listen(t, func(conn net.Conn) {
				conn.Write(make([]byte, 10_000)) // before the window
				<-more
				conn.Write(make([]byte, 50_000))
				<-ended
			})
			c := newCounter()
			for i := range 3 {
				require.NoError(t, c.add(dialed(t, address, httpFLV), 7, i))
			}
			received := func(n int64) func() bool {
				return func() bool { _, r := c.status(); return r == n }
			}
			eventually(t, received(30_000), "what came first")
			c.begin(time.Second)
			time.Sleep(2 * drainPeriodOfTests) // every viewer's window has begun
			close(more)
			eventually(t, received(180_000), "what came then")
			c.finish(false)
			alive, _ := c.status()
			assert.Equal(t, 3, alive)
			close(ended)
			eventually(t, func() bool { alive, _ := c.status(); return alive == 0 }, "the ends")
			streams := map[int]bool{}
			c.each(func(x counted) {
				streams[x.stream] = true
				assert.Equal(t, 7, x.watch)
				assert.EqualValues(t, 50_000, x.bytes)
				assert.GreaterOrEqual(t, x.window, 800*time.Millisecond)
				assert.Equal(t, "ended by the server", x.ended)
				assert.Positive(t, x.began)
			})
			assert.Len(t, streams, 3)
			c.close()
		})
	}
}

// drainPeriodOfTests is at least the time in which a counter looks at all viewers.
const drainPeriodOfTests = 300 * time.Millisecond

func TestCountersAreCutShort(t *testing.T) {
	for name, newCounter := range counters() {
		t.Run(name, func(t *testing.T) {
			closed := make(chan struct{})
			address := listen(t, func(conn net.Conn) {
				io.Copy(io.Discard, conn)
				closed <- struct{}{}
			})
			c := newCounter()
			require.NoError(t, c.add(dialed(t, address, wsFLV), 0, 0))
			c.begin(time.Hour)
			c.finish(true)
			c.close()
			<-closed
			c.each(func(x counted) { assert.Empty(t, x.ended, "a viewer that leaves was not ended") })
		})
	}
	for name, newCounter := range counters() {
		t.Run(name+" of nobody", func(t *testing.T) {
			c := newCounter()
			c.begin(time.Millisecond)
			c.finish(false)
			c.close()
		})
	}
}

// RTMP viewers acknowledge what they count.
func TestCountersAcknowledge(t *testing.T) {
	for name, newCounter := range counters() {
		t.Run(name, func(t *testing.T) {
			acks := make(chan []byte, 1)
			address := listen(t, func(conn net.Conn) {
				conn.Write(make([]byte, ackEvery))
				for written := false; !written; { // a second later at the earliest
					conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
					ack := make([]byte, 16)
					if _, err := io.ReadFull(conn, ack); err == nil {
						acks <- ack
						written = true
					} else if !isTimeout(err) {
						return
					}
					conn.Write([]byte{0})
				}
			})
			c := newCounter()
			defer c.close()
			require.NoError(t, c.add(dialed(t, address, rtmpPlay), 0, 0))
			ack := <-acks
			assert.Equal(t, []byte{2, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0}, ack[:12], "RTMP 1.0 §5.4.3, whole")
			assert.GreaterOrEqual(t, binary.BigEndian.Uint32(ack[12:]), uint32(ackEvery))
		})
	}
}

func TestWordsToTheServer(t *testing.T) {
	assert.Nil(t, httpFLV.tell(1<<40, 0, time.Hour, nil))
	assert.Nil(t, rtmpPlay.tell(ackEvery-1, 0, time.Second, nil))
	assert.NotNil(t, rtmpPlay.tell(ackEvery, 0, time.Second, nil))
	assert.NotNil(t, rtmpPlay.tell(1, 0, speakEvery, nil), "servers end silent clients")
	assert.Nil(t, wsFLV.tell(1<<40, 0, time.Second, nil))
	assert.Equal(t, []byte{0x8A, 0x80, 0, 0, 0, 0}, wsFLV.tell(1, 0, speakEvery, nil))
	prepared := &words{left: [][]byte{{1}, {2}}}
	assert.Nil(t, rtmpPlay.tell(1<<40, 0, time.Second, prepared), "what was prepared has its times")
	assert.Equal(t, []byte{1}, rtmpPlay.tell(1, 0, speakEvery, prepared))
	assert.Equal(t, []byte{2}, rtmpPlay.tell(1, 0, speakEvery, prepared))
	assert.Nil(t, rtmpPlay.tell(1, 0, speakEvery, prepared))
}
