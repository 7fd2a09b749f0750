package httpflv

import (
	"crypto/tls"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// A body without chunks ends with its connection. Over TLS the client can tell all the same whether it is
// whole: by close_notify (RFC 9112 §9.8, RFC 8446 §6.1), which comes where a stream has ended, and not where
// it was broken off.
func TestEndWithoutChunksOverTLS(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(h *rig, s *source)
		want error
	}{
		"unpublished": {func(_ *rig, s *source) { s.Close() }, io.EOF},
		"kicked": {func(h *rig, _ *source) {
			viewers := func(s *hub.Session) bool { return s.Role() == hub.RoleWatch }
			h.hub.Dismiss(viewers, &hub.Refusal{Reason: hub.ReasonKicked})
		}, io.ErrUnexpectedEOF},
		"pool closed": {func(h *rig, _ *source) { h.Pool.Close() }, io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			h := newRig(t, pumpedTLS)
			s := h.publish()
			s.send(start)
			p := newTape(t, h.get("/live/demo.flv?chunked=0").Body)
			p.expect(started)
			c.end(h, s)
			p.expectEnd(c.want)
		})
	}
}

// A viewer that breaks TLS has not left: its connection has failed.
func TestViewerBreaksTLS(t *testing.T) {
	h := newRig(t, pumpedTLS)
	s := h.publish()
	s.send(start)
	c := h.dial("GET /live/demo.flv HTTP/1.1\r\nHost: localhost\r\n\r\n").(*tls.Conn)
	h.waitViewers(1)
	_, err := tcpOf(c).Write(append([]byte{23, 3, 3, 0, 32}, make([]byte, 32)...)) // a record that nobody has encrypted
	require.NoError(t, err)
	h.log.wait(t, "session ends", `reason="connection failed"`)
}
