package pull

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"sluice/hub/relay"
)

// frame returns a frame as servers send them; op holds the FIN bit.
func frame(op byte, payload string) string {
	head := []byte{op}
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

// closing returns a close frame.
func closing(code int) string {
	return frame(0x88, string(binary.BigEndian.AppendUint16(nil, uint16(code)))+"nobody publishes live/demo")
}

// upgraded answers with a WebSocket and a text.
func upgraded(text string) func(net.Conn, *http.Request) {
	return func(nc net.Conn, r *http.Request) {
		sum := sha1.Sum([]byte(r.Header.Get(keyHeader) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // RFC 6455 §1.3
		fmt.Fprintf(nc, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Accept: %s\r\n\r\n%s", base64.StdEncoding.EncodeToString(sum[:]), text)
	}
}

// WebSockets come to their ends, with codes that have causes.
func TestWebSocketEnds(t *testing.T) {
	const fin, binary = 0x80, 0x2
	whole := file(tags(3))
	messages := frame(fin|binary, whole[:13]) + frame(binary, whole[13:500]) + frame(fin, whole[500:])
	for _, c := range []struct {
		end   string
		cause relay.Cause
		words string // none: the stream is over
	}{
		{closing(1000), 0, ""},
		{closing(1001), relay.CauseConnection, "shutting down"},
		{closing(1002), relay.CauseConnection, "code 1002"},
		{closing(1008), relay.CauseConnection, "code 1008"},
		{closing(1011), relay.CauseConnection, "code 1011"},
		{closing(1013), relay.CauseBusy, "code 1013"},
		{closing(4400), relay.CauseDenied, "code 4400"},
		{closing(4401), relay.CauseDenied, "code 4401"},
		{closing(4403), relay.CauseDenied, "code 4403"},
		{closing(4404), relay.CauseNotFound, "code 4404"},
		{closing(4409), relay.CauseBusy, "code 4409"},
		{closing(4508), relay.CauseLoop, "code 4508"},
		{closing(4999), relay.CauseConnection, "code 4999"},
		{frame(fin|0x8, ""), relay.CauseConnection, "without a code"},
		{"", relay.CauseConnection, "broke off"},
		{"\x82", relay.CauseConnection, "broke off"},
		{frame(fin|0x9, "ping") + frame(fin|0xa, "pong") + closing(4404), relay.CauseNotFound, "code 4404"},
		{frame(fin|0x1, "text"), relay.CauseMedia, "malformed"},
		{frame(fin|binary, "garbage, and no tag of any kind"), relay.CauseConnection, "broke off"},
		{frame(fin|binary, "\x55\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00x\x00\x00\x00\x00"), relay.CauseMedia, "not FLV"},
	} {
		s := serve(t, upgraded(messages+c.end))
		source := open(t, opener(), relay.Opening{URL: at(t, s.URL, "ws", "/live/demo.flv?secret")})
		assert.Equal(t, tags(3), read(t, source, 9))
		if err := readEnd(source); c.words == "" {
			assert.Equal(t, io.EOF, err)
		} else {
			failsWith(t, err, c.cause, c.words)
		}
	}
}

// What does not upgrade as it must is no stream.
func TestWebSocketHandshake(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\n" + file(tags(1)),
	} {
		s := serve(t, said(answer))
		_, err := opener().Open(t.Context(), relay.Opening{URL: at(t, s.URL, "ws", "/live/demo.flv")})
		failsWith(t, err, relay.CauseMedia, "does not speak WebSocket")
	}
	s := serve(t, said("HTTP/1.1 101 Switching Protocols\r\n\r\n"))
	_, err := opener().Open(t.Context(), relay.Opening{URL: at(t, s.URL, "http", "/live/demo.flv")})
	failsWith(t, err, relay.CauseMedia, "HTTP status 101")
}

// Who closes says so.
func TestWebSocketClose(t *testing.T) {
	said := make(chan string, 1)
	s := serve(t, func(nc net.Conn, r *http.Request) {
		upgraded(frame(0x82, file(tags(1))))(nc, r)
		b, _ := io.ReadAll(nc)
		said <- string(b)
	})
	source := open(t, opener(), relay.Opening{URL: at(t, s.URL, "ws", "/live/demo.flv")})
	read(t, source, 5)
	source.Close()
	assert.Equal(t, "\x88\x82\x00\x00\x00\x00\x03\xe8", <-said)
	failsWith(t, readEnd(source), relay.CauseConnection, "closed")
}
