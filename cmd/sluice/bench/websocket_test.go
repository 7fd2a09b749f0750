package bench

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// serverFrame returns a frame as servers send them, without a mask.
func serverFrame(op byte, payload string) string {
	head := []byte{finBit | op}
	switch n := len(payload); {
	case n < 126:
		head = append(head, byte(n))
	case n < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, 126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 127), uint64(n))
	}
	return string(head) + payload
}

func TestMessages(t *testing.T) {
	long, longer := strings.Repeat("x", 5000), strings.Repeat("y", 70_000)
	stream := serverFrame(opBinary, "ab") + serverFrame(opPing, "are you there?") + serverFrame(opBinary, "") +
		string([]byte{opBinary, 1, 'c'}) + serverFrame(opPong, "") + serverFrame(opContinuation, "d") +
		serverFrame(opBinary, long) + serverFrame(opBinary, longer) + serverFrame(opClose, "\x03\xe8bye")
	for name, in := range map[string]io.Reader{
		"whole":       strings.NewReader(stream),
		"byte by one": iotest.OneByteReader(strings.NewReader(stream)),
	} {
		client, server := net.Pipe()
		pong := make(chan string, 1)
		go func() {
			b := make([]byte, 100)
			n, _ := server.Read(b)
			pong <- string(b[:n])
		}()
		got, err := io.ReadAll(&messages{in: in, out: client})
		assert.NoError(t, err, "%s: code 1000 is the proper end", name)
		assert.Equal(t, "abcd"+long+longer, string(got))
		assert.Equal(t, "\x8a\x8e\x00\x00\x00\x00are you there?", <-pong)
		client.Close()
		server.Close()
	}
}

func TestMessagesEnd(t *testing.T) {
	for _, c := range []struct{ name, stream, want string }{
		{"without a close frame", serverFrame(opBinary, "ab"), "unexpected EOF"},
		{"in a frame", serverFrame(opBinary, "ab")[:3], "unexpected EOF"},
		{"in a head", "\x82", "unexpected EOF"},
		{"in a long head", "\x82\x7e\x00", "unexpected EOF"},
		{"refused", serverFrame(opClose, "\x0f\xa4no such stream"), "closed: 4004 no such stream"},
		{"closed without a code", serverFrame(opClose, ""), "closed without a code"},
		{"a masked frame", "\x82\x81\x00\x00\x00\x00a", "malformed WebSocket frame"},
		{"a reserved bit", "\xc2\x01a", "malformed WebSocket frame"},
		{"text", serverFrame(0x1, "a"), "malformed WebSocket frame"},
		{"a long control frame", serverFrame(opPing, strings.Repeat("a", 126)), "malformed WebSocket frame"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := io.ReadAll(&messages{in: strings.NewReader(c.stream)})
			assert.ErrorContains(t, err, c.want)
			assert.NotErrorIs(t, err, io.EOF)
		})
	}
}

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
		_, err := opener{}.open(t.Context(), wsFLV, "ws://"+l+"/live/a.flv")
		require.Error(t, err)
		assert.Contains(t, reason(err), want)
	}
}
