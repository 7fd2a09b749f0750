package httpflv

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/fanout"
)

// watching is a client with a stream, which goes on while the test lasts.
func watching(t *testing.T, h *house) (*wsClient, *source) {
	s := h.publish()
	s.send(start)
	c := h.dialWS("/live/demo.flv")
	newTape(t, c).expect(started)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Microsecond):
				s.Write(tag("P:more@5080"))
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-stopped
	})
	return c, s
}

// A client's close frame is answered with the same, after which nothing comes.
func TestClientCloses(t *testing.T) {
	for _, payload := range []string{closePayload(1000, "done"), closePayload(1001, ""), closePayload(4999, "x"), ""} {
		h := newHouse(t)
		c, _ := watching(t, h)
		c.send(opClose, payload)
		_, err := io.Copy(io.Discard, c)
		require.NoError(t, err)
		if payload == "" {
			assert.Equal(t, 1005, c.code)
		} else {
			assert.Equal(t, payload, closePayload(c.code, c.reason))
		}
		c.expectNothing()
		h.Wait()
		h.waitViewers(0)
		h.log.wait(t, "viewer ends", `reason="client left"`)
	}
}

// Who breaks a rule is told which, and nothing comes after it.
func TestClientBreaksRules(t *testing.T) {
	for name, tt := range map[string]struct {
		frames []byte
		code   int
	}{
		"unmasked":             {appendFrame(nil, 0x80|opText, false, "hi"), 1002},
		"unmasked ping":        {appendFrame(nil, 0x80|opPing, false, "hi"), 1002},
		"RSV1":                 {appendFrame(nil, 0xc0|opText, true, "hi"), 1002},
		"unknown opcode":       {appendFrame(nil, 0x83, true, "hi"), 1002},
		"long ping":            {appendFrame(nil, 0x80|opPing, true, strings.Repeat("p", 126)), 1002},
		"fragmented ping":      {appendFrame(nil, opPing, true, "p"), 1002},
		"continues nothing":    {appendFrame(nil, 0x80|opContinuation, true, "p"), 1002},
		"close code of a byte": {appendFrame(nil, 0x80|opClose, true, "x"), 1002},
		"close code 1005":      {appendFrame(nil, 0x80|opClose, true, closePayload(1005, "")), 1002},
		"too long":             {appendFrame(nil, 0x80|opBinary, true, strings.Repeat("x", maxClientMessage+1)), 1009},
		"far too long":         {appendFrame(nil, 0x80|opText, true, strings.Repeat("x", 300_000)), 1009},
		"too long in fragments": {slices.Concat(
			appendFrame(nil, opText, true, strings.Repeat("x", 3000)),
			appendFrame(nil, 0x80|opContinuation, true, strings.Repeat("x", 3000))), 1009},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			c, _ := watching(t, h)
			_, err := c.Write(tt.frames)
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, c)
			require.NoError(t, err)
			assert.Equal(t, tt.code, c.code, c.reason)
			assert.NotEmpty(t, c.reason)
			c.send(opClose, closePayload(tt.code, ""))
			c.expectNothing()
			h.Wait()
			h.waitViewers(0)
		})
	}
}

func TestWebSocketCodecChange(t *testing.T) {
	h := newHouse(t)
	s := h.publish()
	s.send("meta:v vc:h264 K:1@0")
	c := h.dialWS("/live/demo.flv")
	newTape(t, c).expect("meta:v@0 vc:h264@0 K:1@0")
	s.send("hc:hevc HK:2@40")
	c.expectClose(1000, "codec changed")
}

func TestWebSocketShutdown(t *testing.T) {
	h := newHouse(t)
	waits := h.dialWS("/live/later.flv")
	c, _ := watching(t, h)
	h.waitViewers(2)
	down := make(chan error)
	go func() { down <- h.hub.Shutdown(t.Context()) }()
	c.expectClose(1001, "shutting down")
	waits.expectClose(1001, "shutting down: the server is shutting down")
	assert.NoError(t, <-down)
	h.dialWS("/live/demo.flv").expectClose(1001, "shutting down: the server is shutting down")
	h.Wait()
}

// A client that vanishes shows at once: somebody waits for what it says.
func TestWebSocketClientVanishes(t *testing.T) {
	h := newHouse(t)
	s := h.publish()
	s.send(start)
	for _, reset := range []bool{false, true} {
		c := h.dialWS("/live/demo.flv")
		newTape(t, c).expect(started)
		if reset {
			c.Conn.(*net.TCPConn).SetLinger(0)
		}
		c.Close()
		h.waitViewers(0)
		h.Wait()
	}
	h.log.wait(t, "viewer ends", "session=ws-flv-2", `reason="client left"`)
}

// For one that takes nothing, there is no way to tell it why.
func TestWebSocketStalls(t *testing.T) {
	h := newHouse(t, func(c *configs) { c.pool.WriteTimeout = 50 * time.Millisecond })
	s := h.publish()
	s.send("meta:v vc:h264 K:" + strings.Repeat("x", 12<<20))
	c := h.dialWS("/live/demo.flv")
	h.log.wait(t, "viewer ends", "reason=stalled")
	h.Wait()
	_, err := io.Copy(io.Discard, c)
	assert.Error(t, err)
	assert.Equal(t, 1006, c.code)
}

// A client that does not answer a close frame is left after a short while, whether
// it was refused, waited, or watched; and Wait waits for each.
func TestDeafClients(t *testing.T) {
	for name, deaf := range map[string]struct {
		path string
		code int
	}{
		"refused":  {"/nothing.flv", 4400},
		"waiting":  {"/live/later.flv", 1001},
		"watching": {"/live/demo.flv", 1001},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &Handler{Hub: hub.New(hub.Config{}), Pool: fanout.New(fanout.Config{})}
				house := &house{t: t, hub: h.Hub, Handler: h}
				s := house.publish()
				s.send(start)
				near, far := net.Pipe()
				l := onceListener{make(chan net.Conn, 1), near.LocalAddr()}
				l.conn <- near
				srv := &http.Server{Handler: h}
				served := make(chan error, 1)
				go func() { served <- srv.Serve(l) }()
				_, err := io.WriteString(far, upgradeRequest(deaf.path, ""))
				require.NoError(t, err)
				c := openWS(t, far)
				if name == "watching" {
					newTape(t, c).expect(started)
				}
				began := time.Now()
				down := make(chan error)
				go func() { down <- h.Hub.Shutdown(t.Context()) }()
				_, err = io.Copy(io.Discard, c)
				require.NoError(t, err)
				assert.Equal(t, deaf.code, c.code)
				c.expectNothing()
				assert.NoError(t, <-down)
				h.Pool.Close()
				h.Wait()
				assert.Less(t, time.Since(began), 2*time.Second, "what the program has left at its end")
				close(l.conn)
				<-served
			})
		})
	}
}
