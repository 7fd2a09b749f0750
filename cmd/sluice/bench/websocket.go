package bench

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

// The client's side of a WebSocket connection (RFC 6455), as far as a viewer needs
// it: one that counts has to hand over its connection without a byte of the stream
// in somebody's buffer.

// websocketGUID is what both sides know (RFC 6455 §1.3).
const websocketGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// upgrade makes the opening handshake (§4.1). What came after it is in rest.
func upgrade(conn net.Conn, u *url.URL) (rest []byte, err error) {
	var nonce [16]byte
	rand.Read(nonce[:])
	key := base64.StdEncoding.EncodeToString(nonce[:])
	answer, rest, err := ask(conn, "GET "+u.RequestURI()+" HTTP/1.1\r\nHost: "+u.Host+
		"\r\nUser-Agent: sluice-bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "+key+"\r\n\r\n")
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		return nil, refusedError{fmt.Sprintf("refused: HTTP status %d", answer.StatusCode)}
	}
	accept := sha1.Sum([]byte(key + websocketGUID))
	if !strings.EqualFold(answer.Header.Get("Upgrade"), "websocket") ||
		answer.Header.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(accept[:]) {
		return nil, refusedError{"malformed WebSocket handshake"}
	}
	return rest, nil
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

// messages reads the payload of a server's data frames, and answers pings
// meanwhile. The error at a close frame is io.EOF for code 1000, and a refusedError
// with code and reason for others.
type messages struct {
	in   io.Reader
	out  net.Conn
	left int64 // of the current frame
	err  error
}

func (m *messages) Read(p []byte) (int, error) {
	for m.left == 0 && m.err == nil {
		m.err = m.next()
	}
	if m.err != nil {
		return 0, m.err
	}
	n, err := m.in.Read(p[:min(int64(len(p)), m.left)])
	m.left -= int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// next reads a frame's head, and the whole frame if it is a control frame.
func (m *messages) next() error {
	var b [8]byte
	if _, err := io.ReadFull(m.in, b[:2]); err != nil {
		return unexpected(err) // without a close frame
	}
	op, size := b[0]&^finBit, int64(b[1])
	if op&reservedBits != 0 || b[1]&maskBit != 0 {
		return refusedError{"malformed WebSocket frame"}
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
		if _, err := io.ReadFull(m.in, b[8-extra:]); err != nil {
			return unexpected(err)
		}
		size = int64(binary.BigEndian.Uint64(b[:]))
	}
	switch {
	case op == opBinary || op == opContinuation:
		m.left = size
		return nil
	case size < 0 || size > maxControl || op != opClose && op != opPing && op != opPong:
		return refusedError{"malformed WebSocket frame"}
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(m.in, payload); err != nil {
		return unexpected(err)
	}
	switch op {
	case opPing:
		m.out.SetWriteDeadline(time.Now().Add(time.Second))
		_, err := m.out.Write(appendControlFrame(nil, opPong, payload))
		return err
	case opClose:
		return closed(payload)
	}
	return nil
}

// closed returns what a close frame says (§5.5.1).
func closed(payload []byte) error {
	if len(payload) < 2 {
		return refusedError{"closed without a code"}
	}
	code := binary.BigEndian.Uint16(payload)
	if code == closeNormal {
		return io.EOF
	}
	return refusedError{fmt.Sprintf("closed: %d %s", code, payload[2:])}
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
