// Package websocket is the client's side of a WebSocket connection (RFC 6455), as far as a
// viewer needs it who wants to know what goes over the connection, and when: nothing is read
// ahead of what is asked for, and the connection stays its owner's.
package websocket

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// guid is what both sides know (RFC 6455 §1.3).
const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// NewKey returns a Sec-WebSocket-Key.
func NewKey() string {
	var nonce [16]byte
	rand.Read(nonce[:]) // never fails
	return base64.StdEncoding.EncodeToString(nonce[:])
}

// Request returns the client's opening handshake (§4.1) for a URL, of which only host, path and
// query count.
func Request(u *url.URL, agent, key string) string {
	return "GET " + u.RequestURI() + " HTTP/1.1\r\nHost: " + u.Host + "\r\nUser-Agent: " + agent +
		"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + "\r\n\r\n"
}

// A StatusError is the status of a server that does not upgrade.
type StatusError struct{ Status int }

func (e *StatusError) Error() string { return fmt.Sprintf("refused: HTTP status %d", e.Status) }

// A ProtocolError is a server that breaks the protocol.
type ProtocolError struct{ What string }

func (e *ProtocolError) Error() string { return e.What }

// A CloseError is a close frame with another code than 1000, or without one.
type CloseError struct {
	Code   int    // 0 for none
	Reason string // the server's words, up to 123 bytes
}

func (e *CloseError) Error() string {
	if e.Code == 0 {
		return "closed without a code"
	}
	return fmt.Sprintf("closed: %d %s", e.Code, e.Reason)
}

// Accept looks at the server's answer to a Request with a key (§4.1). The error is a
// *StatusError or a *ProtocolError.
func Accept(answer *http.Response, key string) error {
	if answer.StatusCode != http.StatusSwitchingProtocols {
		return &StatusError{answer.StatusCode}
	}
	accept := sha1.Sum([]byte(key + guid))
	if !strings.EqualFold(answer.Header.Get("Upgrade"), "websocket") ||
		answer.Header.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(accept[:]) {
		return &ProtocolError{"malformed WebSocket handshake"}
	}
	return nil
}

// Opcodes and bits of a frame's head (§5.2).
const (
	opContinuation = 0x0
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA

	finBit       = 0x80
	reservedBits = 0x70
	maskBit      = 0x80
	maxControl   = 125 // bytes of a control frame

	closeNormal = 1000
)

// A Reader reads the payload of a server's data frames, and answers pings meanwhile. The error
// at a close frame is io.EOF for code 1000 and a *CloseError for others, and where there is none
// io.ErrUnexpectedEOF. It is for one goroutine at a time.
type Reader struct {
	In  io.Reader // asked for small pieces
	Out net.Conn

	left int64 // of the current frame
	err  error
}

// Read reads some of the payload.
func (m *Reader) Read(p []byte) (int, error) {
	for m.left == 0 && m.err == nil {
		m.err = m.next()
	}
	if m.err != nil {
		return 0, m.err
	}
	n, err := m.In.Read(p[:min(int64(len(p)), m.left)])
	m.left -= int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// next reads a frame's head, and the whole frame if it is a control frame.
func (m *Reader) next() error {
	var b [8]byte
	if _, err := io.ReadFull(m.In, b[:2]); err != nil {
		return unexpected(err) // without a close frame
	}
	op, size := b[0]&^finBit, int64(b[1])
	if op&reservedBits != 0 || b[1]&maskBit != 0 {
		return &ProtocolError{"malformed WebSocket frame"}
	}
	extra := 0
	switch size {
	case 126:
		extra = 2
	case 127:
		extra = 8
	}
	if extra > 0 {
		b = [8]byte{}
		if _, err := io.ReadFull(m.In, b[8-extra:]); err != nil {
			return unexpected(err)
		}
		size = int64(binary.BigEndian.Uint64(b[:]))
	}
	switch {
	case size < 0: // the most significant bit must be 0 (§5.2)
		return &ProtocolError{"malformed WebSocket frame"}
	case op == opBinary || op == opContinuation:
		m.left = size
		return nil
	case size > maxControl || op != opClose && op != opPing && op != opPong:
		return &ProtocolError{"malformed WebSocket frame"}
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(m.In, payload); err != nil {
		return unexpected(err)
	}
	switch op {
	case opPing:
		m.Out.SetWriteDeadline(time.Now().Add(time.Second))
		_, err := m.Out.Write(AppendPong(nil, payload))
		return err
	case opClose:
		return closed(payload)
	}
	return nil
}

// closed returns what a close frame says (§5.5.1).
func closed(payload []byte) error {
	if len(payload) < 2 {
		return &CloseError{}
	}
	code := binary.BigEndian.Uint16(payload)
	if code == closeNormal {
		return io.EOF
	}
	return &CloseError{Code: int(code), Reason: string(payload[2:])}
}

// AppendPong appends a pong with up to 125 bytes, which may be sent unasked (§5.5.3).
func AppendPong(dst, payload []byte) []byte { return appendControlFrame(dst, opPong, payload) }

// AppendClose appends a close frame with code 1000 (§5.5.1).
func AppendClose(dst []byte) []byte {
	return appendControlFrame(dst, opClose, binary.BigEndian.AppendUint16(nil, closeNormal))
}

// appendControlFrame appends a control frame of at most 125 bytes. A client has to
// mask; with a mask of zeros the payload stays what it is (§5.3).
func appendControlFrame(dst []byte, op byte, payload []byte) []byte {
	dst = append(dst, finBit|op, maskBit|byte(len(payload)), 0, 0, 0, 0)
	return append(dst, payload...)
}

// unexpected makes an end that comes too soon of a plain one.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
