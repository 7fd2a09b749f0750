package bench

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A handshake that is none is no stream.
func TestUpgradeRefused(t *testing.T) {
	for answer, want := range map[string]string{
		"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n":            "refused: HTTP status 404",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n": "malformed WebSocket handshake",
		"hello\r\n\r\n": "malformed HTTP answer",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*maxHead) + "\r\n\r\n": "head too long",
		"HTTP/1.1 200 OK\r\n": "connection ended midway",
	} {
		l := listen(t, func(conn net.Conn) {
			conn.Read(make([]byte, 4096))
			io.WriteString(conn, answer)
			conn.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, conn)
		})
		_, err := opener{}.open(t.Context(), target{pattern: "ws://" + l + "/live/a.flv", protocol: wsFLV}, 0)
		require.Error(t, err)
		assert.Contains(t, reason(err), want)
	}
}
