//lint:file-ignore SA1019 the WebSocket library is given, and final at this version.

package httpflv

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"nhooyr.io/websocket"
)

// Of the subprotocols that a client offers the first is answered, as it was written,
// and nothing where nothing is offered. An offer that can't be answered is none.
func TestSubprotocol(t *testing.T) {
	h := newRig(t)
	s := h.publish()
	s.send(start)
	long := strings.Repeat("x", 8000)
	for _, tt := range []struct {
		lines  string // of the request
		answer []string
	}{
		{"", nil},
		{"Sec-WebSocket-Protocol: flv\r\n", []string{"flv"}},
		{"sec-websocket-protocol:FLV , flv,chat\r\n", []string{"FLV"}},
		{"Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: flv\r\n", []string{"chat"}},
		{"Sec-WebSocket-Protocol: ,\t, ,flv\r\n", []string{"flv"}},
		{"Sec-WebSocket-Protocol:\r\nSec-WebSocket-Protocol: , v1.flv\r\n", []string{"v1.flv"}},
		{"Sec-WebSocket-Protocol: !#$%&'*+-.^_`|~09AZaz\r\n", []string{"!#$%&'*+-.^_`|~09AZaz"}},
		{"Sec-WebSocket-Protocol: " + long + "\r\n", []string{long}},
		{"Sec-WebSocket-Protocol:\r\n", nil},
		{"Sec-WebSocket-Protocol: , ,\r\n", nil},
		{"Sec-WebSocket-Protocol: video/x-flv\r\n", nil},
		{"Sec-WebSocket-Protocol: two words, flv\r\n", nil},
		{"Sec-WebSocket-Protocol: \"flv\"\r\n", nil},
		{"Sec-WebSocket-Protocol: fl\xc3\xbc\r\n", nil},
		{"Sec-WebSocket-Protocol: \xe2\x84\xaa, k\r\n", nil}, // a Kelvin sign, which folds to k
		{"Sec-WebSocket-Protocol: \xc2\xa0flv, x\r\n", nil},  // a space that is none in HTTP
		{"Sec-WebSocket-Protocol: a;b=c\r\n", nil},
	} {
		c := openWS(t, h.dial(upgradeRequest("/live/demo.flv", tt.lines)))
		assert.Equal(t, tt.answer, c.response.Header["Sec-Websocket-Protocol"], "%q", tt.lines)
		newTape(t, c).expect(started)
		c.Close()
	}
}

// A refusal of the stream comes over the subprotocol that was asked for as well.
func TestSubprotocolOfRefused(t *testing.T) {
	h := newRig(t, notWaiting)
	c := openWS(t, h.dial(upgradeRequest("/live/demo.flv", "Sec-WebSocket-Protocol: flv\r\n")))
	assert.Equal(t, "flv", c.response.Header.Get("Sec-WebSocket-Protocol"))
	c.expectClose(4404, "not found: no publisher for live/demo within 0s")
}

// The library's own client finds its offer answered.
func TestSubprotocolOfLibrary(t *testing.T) {
	h := newRig(t)
	s := h.publish()
	s.send(start)
	for _, offered := range [][]string{nil, {"flv"}, {"binary", "flv"}} {
		c, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(h.server.URL, "http")+"/live/demo.flv",
			&websocket.DialOptions{HTTPClient: h.server.Client(), Subprotocols: offered, HTTPHeader: http.Header{"Origin": {"https://elsewhere.example"}}})
		require.NoError(t, err)
		if offered == nil {
			assert.Empty(t, c.Subprotocol())
		} else {
			assert.Equal(t, offered[0], c.Subprotocol())
		}
		kind, first, err := c.Read(t.Context())
		require.NoError(t, err)
		assert.Equal(t, websocket.MessageBinary, kind)
		assert.Equal(t, "FLV", string(first[:3]))
		assert.NoError(t, c.Close(websocket.StatusNormalClosure, ""))
	}
}
