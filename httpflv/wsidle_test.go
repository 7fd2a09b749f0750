package httpflv

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// withoutIntake has a goroutine read what each client says, as where there is no
// descriptor to wait for.
func withoutIntake(c *configs) { c.deaf = true }

// waiters returns how many goroutines belong to WebSocket connections: the
// library's own, and those that read.
func waiters() int {
	buf := make([]byte, 8<<20)
	n := 0
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, "nhooyr.io/websocket.") || strings.Contains(stack, "httpflv.(*socket") {
			n++
		}
	}
	return n
}

// A client that says nothing costs no goroutine. One that does has a reader, and
// everything is as if it had had one from the beginning.
func TestIdleWebSockets(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no intake")
	}
	h := newRig(t)
	s := h.publish()
	s.send(start)
	const viewers = 40
	var clients []*wsClient
	var tapes []*tape
	for range viewers {
		c := h.dialWS("/live/demo.flv")
		p := newTape(t, c)
		p.expect(started)
		clients, tapes = append(clients, c), append(tapes, p)
	}
	waiting := func(n int) {
		t.Helper()
		require.Eventually(t, func() bool { return waiters() == n }, 10*time.Second, time.Millisecond)
	}
	waiting(0)

	clients[0].send(opPing, "there?")
	opcode, payload, err := clients[0].frame()
	require.NoError(t, err)
	assert.EqualValues(t, opPong, opcode)
	assert.Equal(t, "there?", string(payload))
	clients[1].send(opText, "hello")
	clients[2].send(opClose, closePayload(4000, "bye"))
	clients[2].expectClose(4000, "bye")
	clients[3].Close()
	h.waitViewers(viewers - 2)
	waiting(2 * 2) // a reader and the library's, of who has said something

	s.send("P:4@5080")
	for i, p := range tapes {
		if i != 2 && i != 3 {
			p.expect("P:4@80")
		}
	}
	s.Close()
	for i, c := range clients {
		if i != 2 && i != 3 {
			c.expectClose(1000, "unpublished")
		}
	}
	h.Wait()
	waiting(0)
}

// What a client sends with its request, before it has the answer, is read.
func TestWebSocketClientIsAhead(t *testing.T) {
	for _, change := range []func(*configs){func(*configs) {}, withoutIntake} {
		h := newRig(t, change)
		early := appendFrame(nil, 0x80|opText, true, strings.Repeat("x", 1000))
		early = appendFrame(early, 0x80|opPing, true, "early")
		c := openWS(t, h.dial(upgradeRequest("/live/demo.flv", "")+string(early)))
		opcode, payload, err := c.frame()
		require.NoError(t, err)
		assert.EqualValues(t, opPong, opcode)
		assert.Equal(t, "early", string(payload))
		c.Close()
		h.waitViewers(0)
	}
}

// The way without an intake is the same.
func TestWebSocketWithoutIntake(t *testing.T) {
	h := newRig(t, withoutIntake)
	s := h.publish()
	s.send(start)
	said, silent, rude := h.dialWS("/live/demo.flv"), h.dialWS("/live/demo.flv"), h.dialWS("/live/demo.flv")
	for _, c := range []*wsClient{said, silent, rude} {
		newTape(t, c).expect(started)
	}
	tcpOf(rude.Conn).SetLinger(0)
	rude.Close()
	h.waitViewers(2)
	said.send(opPing, "there?")
	_, payload, err := said.frame()
	require.NoError(t, err)
	assert.Equal(t, "there?", string(payload))
	said.send(opClose, closePayload(1000, ""))
	said.expectClose(1000, "")
	h.waitViewers(1)
	s.Close()
	silent.expectClose(1000, "unpublished")
	h.Wait()
}

// Clients that say something, leave, or vanish just when the stream ends: each end
// is one, and nothing is left.
func TestWebSocketEndsFromBothSides(t *testing.T) {
	for round := range 30 {
		h := newRig(t)
		s := h.publish()
		s.send(start)
		var clients []*wsClient
		for range 6 {
			c := h.dialWS("/live/demo.flv")
			newTape(t, c).expect(started)
			clients = append(clients, c)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for range round * 20 {
				runtime.Gosched()
			}
			s.Close()
		}()
		for i, c := range clients {
			switch i % 3 {
			case 0:
				c.Write(appendFrame(nil, 0x80|opClose, true, closePayload(1000, "")))
			case 1:
				c.Close()
				continue
			case 2:
				c.Write(appendFrame(nil, 0x80|opPing, true, "p"))
			}
			_, err := io.Copy(io.Discard, c)
			assert.NoError(t, err)
			assert.Contains(t, []string{"1000 ", "1000 unpublished"}, fmt.Sprint(c.code, " ", c.reason))
			c.Write(appendFrame(nil, 0x80|opClose, true, closePayload(1000, "")))
			c.expectNothing()
		}
		<-ended
		h.waitViewers(0)
		h.Wait()
		assert.Zero(t, strings.Count(h.log.String(), "session begins")-strings.Count(h.log.String(), "session ends"))
	}
}
