package websocket

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/url"
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

func TestReader(t *testing.T) {
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
		got, err := io.ReadAll(&Reader{In: in, Out: client})
		assert.NoError(t, err, "%s: code 1000 is the proper end", name)
		assert.Equal(t, "abcd"+long+longer, string(got))
		assert.Equal(t, "\x8a\x8e\x00\x00\x00\x00are you there?", <-pong)
		client.Close()
		server.Close()
	}
}

func TestReaderEnd(t *testing.T) {
	for _, c := range []struct{ name, stream, want string }{
		{"without a close frame", serverFrame(opBinary, "ab"), "unexpected EOF"},
		{"in a frame", serverFrame(opBinary, "ab")[:3], "unexpected EOF"},
		{"in a head", "\x82", "unexpected EOF"},
		{"in a long head", "\x82\x7e\x00", "unexpected EOF"},
		{"refused", serverFrame(opClose, "\x0f\xa4no such stream"), "closed: 4004 no such stream"},
		{"closed without a code", serverFrame(opClose, ""), "closed without a code"},
		{"a masked frame", "\x82\x81\x00\x00\x00\x00a", "malformed WebSocket frame"},
		{"a reserved bit", "\xc2\x01a", "malformed WebSocket frame"},
		{"a length of more than 63 bits", "\x82\x7f\xff\x00\x00\x00\x00\x00\x00\x00a", "malformed WebSocket frame"},
		{"text", serverFrame(0x1, "a"), "malformed WebSocket frame"},
		{"a long control frame", serverFrame(opPing, strings.Repeat("a", 126)), "malformed WebSocket frame"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := io.ReadAll(&Reader{In: strings.NewReader(c.stream)})
			assert.ErrorContains(t, err, c.want)
			assert.NotErrorIs(t, err, io.EOF)
		})
	}
}

func TestAccept(t *testing.T) {
	const key, accept = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" // RFC 6455 §1.3
	for _, c := range []struct {
		status          int
		upgrade, accept string
		want            string
	}{
		{http.StatusSwitchingProtocols, "websocket", accept, ""},
		{http.StatusSwitchingProtocols, "WebSocket", accept, ""},
		{http.StatusSwitchingProtocols, "", accept, "malformed"},
		{http.StatusSwitchingProtocols, "websocket", "x", "malformed"},
		{http.StatusOK, "websocket", accept, "HTTP status 200"},
	} {
		err := Accept(&http.Response{StatusCode: c.status, Header: http.Header{
			"Upgrade": {c.upgrade}, "Sec-Websocket-Accept": {c.accept},
		}}, key)
		if c.want == "" {
			assert.NoError(t, err)
		} else {
			assert.ErrorContains(t, err, c.want)
		}
	}
	assert.NotEqual(t, NewKey(), NewKey())
	u := &url.URL{Scheme: "ws", Host: "host:8080", Path: "/live/a.flv", RawQuery: "key=x"}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(Request(u, "tester", key))))
	require.NoError(t, err)
	assert.Equal(t, "host:8080", r.Host)
	assert.Equal(t, "/live/a.flv?key=x", r.RequestURI)
	assert.Equal(t, "tester", r.UserAgent())
	assert.Equal(t, key, r.Header.Get("Sec-WebSocket-Key"))
}

// Nothing that a server sends is a panic, nor more than it sent.
func FuzzReader(f *testing.F) {
	f.Add([]byte(serverFrame(opBinary, "ab") + serverFrame(opPong, "x") + serverFrame(opClose, "\x03\xe8bye")))
	f.Add([]byte{opBinary, 127, 255, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, stream []byte) {
		client, server := net.Pipe()
		server.Close() // pongs go nowhere
		defer client.Close()
		got, err := io.ReadAll(&Reader{In: bytes.NewReader(stream), Out: client})
		assert.LessOrEqual(t, len(got), len(stream))
		if err == nil {
			assert.Contains(t, string(stream), "\x03\xe8", "only a close frame with 1000 is a proper end")
		}
	})
}
