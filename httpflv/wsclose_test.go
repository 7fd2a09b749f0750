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
func watching(t *testing.T, h *rig) (*wsClient, *source) {
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
	payloads := []string{"", closePayload(1000, "done"), closePayload(1001, strings.Repeat("ü", 61))}
	for _, code := range []int{1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999} {
		payloads = append(payloads, closePayload(code, ""))
	}
	for _, payload := range payloads {
		h := newRig(t)
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
		reason := `reason="client left"`
		if slices.Contains([]int{1002, 1007, 1008, 1009}, c.code) {
			reason = `reason="protocol error"` // as the client says
		}
		h.log.wait(t, "session ends", reason)
	}
}

func TestWebSocketCodecChange(t *testing.T) {
	h := newRig(t)
	s := h.publish()
	s.send("meta:v vc:h264 K:1@0")
	c := h.dialWS("/live/demo.flv")
	newTape(t, c).expect("meta:v@0 vc:h264@0 K:1@0")
	s.send("hc:hevc HK:2@40")
	c.expectClose(1000, "codec changed")
}

func TestWebSocketShutdown(t *testing.T) {
	h := newRig(t)
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

// Who is kicked is told, in an operator's words.
func TestWebSocketKicked(t *testing.T) {
	h := newRig(t)
	c, _ := watching(t, h)
	h.waitViewers(1)
	h.hub.Dismiss(func(s *hub.Session) bool { return s.Role() == hub.RoleWatch }, &hub.Refusal{Reason: hub.ReasonKicked, Detail: "bad manners"})
	c.expectClose(4403, "kicked: bad manners")
	h.log.wait(t, "session ends", "reason=kicked", `detail="bad manners"`)
}

// Who is kicked while the pool is being given it has not left.
func TestWebSocketKickedAsItBegins(t *testing.T) {
	joined := make(chan *hub.Session, 1)
	h := newRig(t, func(c *configs) {
		c.hub.Observe = func(e hub.Event) {
			if e.Kind == hub.EventJoined {
				joined <- e.Session
			}
		}
	})
	h.publish().send(start)
	for range 100 {
		c := h.dialWS("/live/demo.flv")
		kicked := <-joined
		h.hub.Dismiss(func(s *hub.Session) bool { return s == kicked }, &hub.Refusal{Reason: hub.ReasonKicked})
		c.expectClose(4403, "kicked")
	}
	h.Wait()
	assert.Equal(t, 100, strings.Count(h.log.String(), "reason=kicked"), h.log)
}

// A client that vanishes shows at once: somebody waits for what it says.
func TestWebSocketClientVanishes(t *testing.T) {
	h := newRig(t)
	s := h.publish()
	s.send(start)
	for _, reset := range []bool{false, true} {
		c := h.dialWS("/live/demo.flv")
		newTape(t, c).expect(started)
		if reset {
			tcpOf(c.Conn).SetLinger(0)
		}
		c.Close()
		h.waitViewers(0)
	}
	h.Wait()
	h.log.wait(t, "session ends", "protocol=ws-flv", `reason="client left"`)
}

// For one that takes nothing, there is no way to tell it why.
func TestWebSocketStalls(t *testing.T) {
	h := newRig(t, func(c *configs) { c.pool.WriteTimeout = 50 * time.Millisecond })
	s := h.publish()
	s.send("meta:v vc:h264 K:" + strings.Repeat("x", 12<<20))
	c := h.dialWS("/live/demo.flv")
	h.log.wait(t, "session ends", "reason=stalled")
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
				r := &rig{t: t, hub: h.Hub, Handler: h}
				s := r.publish()
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
