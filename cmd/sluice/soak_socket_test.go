//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
)

// soakSocket is the client's side of a WebSocket (RFC 6455), with everything in the
// hands of the test. It reads as the payload of the server's data frames.
type soakSocket struct {
	net.Conn
	in   *bufio.Reader
	left int64 // of the present frame
	code int   // of the server's close frame
}

// Opcodes (RFC 6455 §5.2).
const (
	wsText, wsBinary, wsClose, wsPing, wsPong = 1, 2, 8, 9, 10
)

func (w *soak) dialSocket(ctx context.Context, v *selection) (*soakSocket, error) {
	conn, err := w.dialFor(ctx, v, w.httpAddr)
	if err != nil {
		return nil, err
	}
	return openSocket(conn, v)
}

// openSocket upgrades a connection.
func openSocket(conn net.Conn, v *selection) (*soakSocket, error) {
	fmt.Fprintf(conn, "GET /%s.flv%s HTTP/1.1\r\nHost: soak\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", v.key, v.query)
	s := &soakSocket{Conn: conn, in: bufio.NewReader(conn)}
	res, err := http.ReadResponse(s.in, nil)
	if err == nil && res.StatusCode != http.StatusSwitchingProtocols {
		err = fmt.Errorf("status %s", res.Status)
	}
	return s, err
}

// Read returns media, answers pings, and takes the close frame for an end.
func (s *soakSocket) Read(p []byte) (int, error) {
	for s.left == 0 {
		opcode, size, err := s.head()
		if err != nil {
			return 0, err
		}
		if opcode == wsBinary {
			s.left = size
			continue
		}
		if size > 125 {
			return 0, fmt.Errorf("frame of opcode %d with %d bytes", opcode, size)
		}
		payload := make([]byte, size)
		if _, err := io.ReadFull(s.in, payload); err != nil {
			return 0, err
		}
		switch opcode {
		case wsPing:
			s.send(wsPong, payload)
		case wsPong:
		case wsClose:
			if size >= 2 {
				s.code = int(binary.BigEndian.Uint16(payload))
			}
			s.send(wsClose, payload)
			return 0, io.EOF
		default:
			return 0, fmt.Errorf("opcode %d", opcode)
		}
	}
	n, err := s.in.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	return n, err
}

// head reads the head of a frame. Those of the server are whole, and not masked.
func (s *soakSocket) head() (opcode byte, size int64, err error) {
	var b [10]byte
	if _, err := io.ReadFull(s.in, b[:2]); err != nil {
		return 0, 0, err
	}
	if b[0]&0xf0 != 0x80 || b[1]&0x80 != 0 {
		return 0, 0, fmt.Errorf("frame % x", b[:2])
	}
	opcode, size = b[0]&0x0f, int64(b[1])
	switch size {
	case 126:
		_, err = io.ReadFull(s.in, b[:2])
		size = int64(binary.BigEndian.Uint16(b[:]))
	case 127:
		_, err = io.ReadFull(s.in, b[:8])
		size = int64(binary.BigEndian.Uint64(b[:]))
	}
	return opcode, size, err
}

// send sends a frame, masked as it has to be.
func (s *soakSocket) send(opcode byte, payload []byte) error {
	n := len(payload)
	b := []byte{0x80 | opcode, 0x80 | byte(n)}
	if n > 125 {
		b = []byte{0x80 | opcode, 0x80 | 126, byte(n >> 8), byte(n)}
	}
	b = append(b, 0, 0, 0, 0) // a mask that changes nothing
	_, err := s.Write(append(b, payload...))
	return err
}
