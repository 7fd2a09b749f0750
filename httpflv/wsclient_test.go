package httpflv

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
)

// Opcodes of frames (RFC 6455 §5.2).
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
)

// wsClient is a WebSocket client that takes frames as they are and can break every
// rule. As an io.Reader it is the content of the messages, up to a close frame.
type wsClient struct {
	t testing.TB
	net.Conn
	r        *bufio.Reader
	response *http.Response

	rest     []byte // of the last message
	messages int
	pongs    []string
	code     int // of the close frame; 1005 for one without
	reason   string
}

const handshakeKey = "dGhlIHNhbXBsZSBub25jZQ==" // of RFC 6455 §1.3

// upgradeRequest is the request of a client for a path, with further header lines.
func upgradeRequest(path, lines string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + handshakeKey + "\r\n" + lines + "\r\n"
}

// dialWS opens a path as a WebSocket.
func (h *rig) dialWS(path string) *wsClient {
	h.t.Helper()
	return openWS(h.t, h.dial(upgradeRequest(path, "")))
}

// openWS reads the answer to an upgradeRequest.
func openWS(t testing.TB, conn net.Conn) *wsClient {
	t.Helper()
	c := &wsClient{t: t, Conn: conn, r: bufio.NewReader(conn)}
	var err error
	c.response, err = http.ReadResponse(c.r, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, c.response.StatusCode)
	return c
}

// frame reads a frame, which must be one that a server may send; io.EOF at the end
// of the connection.
func (c *wsClient) frame() (opcode byte, payload []byte, err error) {
	c.t.Helper()
	var head [2]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return 0, nil, err
	}
	require.Equal(c.t, byte(0x80), head[0]&0xf0, "FIN without RSV bits: % x", head)
	require.Zero(c.t, head[1]&0x80, "servers do not mask")
	size := uint64(head[1])
	switch size {
	case 126:
		var b [2]byte
		_, err = io.ReadFull(c.r, b[:])
		size = uint64(binary.BigEndian.Uint16(b[:]))
		require.GreaterOrEqual(c.t, size, uint64(126), "shortest form")
	case 127:
		var b [8]byte
		_, err = io.ReadFull(c.r, b[:])
		size = binary.BigEndian.Uint64(b[:])
		require.Greater(c.t, size, uint64(65535), "shortest form")
	}
	require.NoError(c.t, err)
	require.Less(c.t, size, uint64(64<<20))
	payload = make([]byte, size)
	if _, err := io.ReadFull(c.r, payload); err != nil {
		return 0, nil, io.ErrUnexpectedEOF
	}
	opcode = head[0] & 0xf
	if opcode >= opClose {
		require.LessOrEqual(c.t, size, uint64(125))
	}
	return opcode, payload, nil
}

// Read implements io.Reader. At the end, code and reason are set, or 1006 where
// the connection just ended.
func (c *wsClient) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		opcode, payload, err := c.frame()
		if err != nil {
			c.code = 1006
			return 0, err
		}
		switch opcode {
		case opBinary:
			c.messages++
			c.checkMessage(payload)
			c.rest = payload
		case opPong:
			c.pongs = append(c.pongs, string(payload))
		case opClose:
			c.code = 1005
			if len(payload) > 0 {
				c.code, c.reason = int(binary.BigEndian.Uint16(payload)), string(payload[2:])
			}
			return 0, io.EOF
		default:
			require.Fail(c.t, "unexpected frame", "opcode %d", opcode)
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// checkMessage fails unless a message is whole tags, the first one a file's header
// and some.
func (c *wsClient) checkMessage(payload []byte) {
	c.t.Helper()
	if c.messages > 1 {
		payload = append(flv.AppendHeader(nil, true, true), payload...)
	}
	tags := flv.NewReader(bytes.NewReader(payload))
	for n := 0; ; n++ {
		_, err := tags.Next()
		if err == io.EOF {
			require.NotZero(c.t, n, "a message without a tag")
			return
		}
		require.NoError(c.t, err, "a message is not whole tags")
	}
}

// send writes a frame, masked.
func (c *wsClient) send(opcode byte, payload string) {
	c.t.Helper()
	_, err := c.Write(appendFrame(nil, 0x80|opcode, true, payload))
	require.NoError(c.t, err)
}

// appendFrame appends a frame with any first byte.
func appendFrame(dst []byte, first byte, masked bool, payload string) []byte {
	head := appendBinaryHead(nil, len(payload))
	head[0] = first
	if !masked {
		return append(append(dst, head...), payload...)
	}
	head[1] |= 0x80
	mask := [4]byte{1, 2, 3, 0xff}
	dst = append(append(dst, head...), mask[:]...)
	for i := range len(payload) {
		dst = append(dst, payload[i]^mask[i%4])
	}
	return dst
}

// closePayload is the payload of a close frame.
func closePayload(code int, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(code))) + reason
}

// expectClose reads up to the close frame, answers it, and sees to it that nothing
// follows.
func (c *wsClient) expectClose(code int, reason string) {
	c.t.Helper()
	_, err := io.Copy(io.Discard, c)
	require.NoError(c.t, err)
	assert.Equal(c.t, fmt.Sprint(code, " ", reason), fmt.Sprint(c.code, " ", c.reason))
	c.Write(appendFrame(nil, 0x80|opClose, true, closePayload(c.code, ""))) // or it is gone
	c.expectNothing()
}

// expectNothing sees to it that the connection ends without a further frame.
func (c *wsClient) expectNothing() {
	c.t.Helper()
	rest, err := io.ReadAll(c.r)
	if err == nil { // or it was reset
		assert.Empty(c.t, rest, "something follows the close frame")
	}
}
