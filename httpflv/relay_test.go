package httpflv

import (
	"context"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

const nodeID = "here"

// relayRig is a rig with an id that notes the paths of its clients.
func relayRig(t *testing.T) (h *rig, paths func() [][]string) {
	var mu sync.Mutex
	var list [][]string
	h = newRig(t, func(c *configs) {
		c.hub.Node, c.hub.ViewerWait = nodeID, -1
		c.hub.Authorize = func(_ context.Context, s *hub.Session) (hub.Grant, error) {
			mu.Lock()
			defer mu.Unlock()
			list = append(list, s.Path())
			return hub.Grant{}, nil
		}
	})
	return h, func() [][]string {
		mu.Lock()
		defer mu.Unlock()
		return list
	}
}

func pathHeader(path string) http.Header { return http.Header{PathHeader: {path}} }

// Who relays shows its path and is told who answers, with every answer; others are not.
func TestRelayPath(t *testing.T) {
	h, paths := relayRig(t)
	h.publish().send(start)
	for _, c := range []struct {
		name, method, path, nodes string
		status                    int
	}{
		{"served", http.MethodGet, "/live/demo.flv", "a, b", http.StatusOK},
		{"head", http.MethodHead, "/live/demo.flv", "a,b", http.StatusOK},
		{"not there", http.MethodGet, "/live/nobody.flv", "a", http.StatusNotFound},
		{"no stream", http.MethodGet, "/live/nobody", "a", http.StatusNotFound},
		{"loop", http.MethodGet, "/live/demo.flv", "a,here,b", http.StatusLoopDetected},
		{"no path", http.MethodGet, "/live/demo.flv", "a,,b", http.StatusBadRequest},
		{"bad id", http.MethodGet, "/live/demo.flv", "a b", http.StatusBadRequest},
		{"bad method", http.MethodPost, "/live/demo.flv", "a", http.StatusMethodNotAllowed},
	} {
		res := h.do(c.method, c.path, pathHeader(c.nodes))
		assert.Equal(t, c.status, res.StatusCode, c.name)
		assert.Equal(t, nodeID, res.Header.Get(NodeHeader), c.name)
		if c.status == http.StatusBadRequest {
			assert.Contains(t, refusal(t, res)["reason"], "Sluice-Path is no path of servers", c.name)
		}
		if c.status == http.StatusLoopDetected {
			assert.Equal(t, "loop", refusal(t, res)["error"])
		}
		res.Body.Close()
	}
	assert.Contains(t, paths(), []string{"a", "b"})

	plain := h.get("/live/demo.flv")
	assert.Empty(t, plain.Header.Values(NodeHeader))
	plain.Body.Close()

	ws := openWS(t, h.dial(upgradeRequest("/live/demo.flv", PathHeader+": c\r\n")))
	assert.Equal(t, nodeID, ws.response.Header.Get(NodeHeader))
	newTape(t, ws).expect(started)
	ws.Close()
	assert.Contains(t, paths(), []string{"c"})
	ws = openWS(t, h.dial(upgradeRequest("/live/demo.flv", PathHeader+": here\r\n")))
	assert.Equal(t, nodeID, ws.response.Header.Get(NodeHeader))
	ws.expectClose(4508, "loop: the stream has passed this server already")
	ws = openWS(t, h.dial(upgradeRequest("/live/demo.flv", PathHeader+": ?\r\n")))
	ws.expectClose(4400, "bad request: Sluice-Path is no path of servers: up to 16 ids of up to 32 letters, digits, _ and -, with commas between them")
}

// Who relays gets all that is published, and whatever changes in it, unless it asks for something else.
func TestRelayGetsEverything(t *testing.T) {
	for name, open := range map[string]func(*rig, string) io.Reader{
		"HTTP": func(h *rig, path string) io.Reader { return h.do(http.MethodGet, path, pathHeader("a")).Body },
		"WebSocket": func(h *rig, path string) io.Reader {
			return openWS(h.t, h.dial(upgradeRequest(path, PathHeader+": a\r\n")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := relayRig(t)
			p := h.publish()
			p.send(start)
			all, sound := newTape(t, open(h, "/live/demo.flv?token=x")), newTape(t, open(h, "/live/demo.flv?onlyaudio=1"))
			all.expect(started)
			sound.expect("meta:a@0 ac:aac@0 A:2@0")
			p.send("onTextData:hello@5045 hc:new@5060 HK:4@5080 A:5@5090")
			all.expect("onTextData:hello@40") // as late as the frame before it
			require.Regexp(t, "hc:new@80 HK:4@80 A:5@90$", all.read(4), "and metadata before")
			sound.expect("A:5@80")
			p.Close()
			all.expectEnd(io.EOF)
			sound.expectEnd(io.EOF)
		})
	}
}

// A server that stops breaks off what goes to others, which go on elsewhere; players are told of an end.
func TestRelayIsToldOfAStop(t *testing.T) {
	h, _ := relayRig(t)
	h.publish().send(start)
	relay, player := newTape(t, h.do(http.MethodGet, "/live/demo.flv", pathHeader("a")).Body), newTape(t, h.get("/live/demo.flv").Body)
	relay.expect(started)
	player.expect(started)
	require.NoError(t, h.hub.Shutdown(t.Context()))
	relay.expectEnd(io.ErrUnexpectedEOF)
	player.expectEnd(io.EOF)
}
