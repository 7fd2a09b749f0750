package httpflv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"time"
)

// Bounds of what a WebSocket client says. A player says nothing but a close frame and,
// a few of them, a ping every some seconds; whatever else comes is thrown away.
const (
	// maxClientMessage is the largest message that a client may send, in bytes.
	maxClientMessage = 4 << 10
	// clientBurst is how much a client may say at once, in bytes of its frames and
	// frameCost for each of them: more than 300 of the largest pings.
	clientBurst = 64 << 10
	// clientRate is how much more it may say each second, in the same measure.
	clientRate = 2 << 10
	// frameCost is what a frame costs beside its bytes: the answer to a ping is a write
	// of its own.
	frameCost = 64
	// frameTimeout is how long a frame may take from its first byte to its last. With
	// closeWait it is within the 5 s after whose end the library, in the middle of a
	// control frame, breaks off without a word.
	frameTimeout = 4 * time.Second
)

// clientGuard follows the frames that a client sends, to hold them to their bounds before
// anybody else looks at them. It knows where each ends, and nothing of what they mean
// but for a close frame. It keeps no more than a frame's head. The zero value is
// ready.
//
//	 0               1               2               (RFC 6455 §5.2)
//	+-+---+---------+-+-------------+-------------------------------+
//	|F|rsv| opcode  |M| length < 126, or 126 and u16, or 127 and u64 | masking key if M
//	+-+---+---------+-+-------------+-------------------------------+
type clientGuard struct {
	head      [14]byte
	have      int       // bytes of the head; all of it while rest is not 0
	rest      uint64    // bytes of the payload that are still to come
	began     time.Time // when the frame did whose end is still to come
	closeCame bool      // a whole close frame has come

	spent float64   // of clientBurst, as at the time of
	asOf  time.Time // the last word
}

// observe takes what comes next, and returns how many bytes of it the client may say.
func (g *clientGuard) observe(p []byte, now time.Time) int {
	g.spent = max(0, g.spent-clientRate*now.Sub(g.asOf).Seconds())
	g.asOf = now
	for n := 0; n < len(p); {
		room := int(clientBurst - g.spent)
		if room <= 0 {
			return n
		}
		took := g.follow(p[n:min(len(p), n+room)], now)
		g.spent += float64(took)
		n += took
	}
	return len(p)
}

// follow takes a part of what comes next: of a payload what there is, of a head a byte.
func (g *clientGuard) follow(p []byte, now time.Time) int {
	if g.rest > 0 {
		n := min(g.rest, uint64(len(p)))
		if g.rest -= n; g.rest == 0 {
			g.endFrame()
		}
		return int(n)
	}
	if g.have == 0 {
		g.began = now
		g.spent += frameCost
	}
	g.head[g.have] = p[0]
	g.have++
	if g.have == g.headSize() {
		if g.rest = g.payload(); g.rest == 0 {
			g.endFrame()
		}
	}
	return 1
}

// headSize returns the size of the frame's head, as far as it can be told by now.
func (g *clientGuard) headSize() int {
	size := 2
	if g.have < size {
		return size
	}
	switch g.head[1] & 0x7f {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if masked := g.head[1]&0x80 != 0; masked {
		size += 4
	}
	return size
}

// payload returns the size of the payload after a whole head.
func (g *clientGuard) payload() uint64 {
	switch n := g.head[1] & 0x7f; n {
	case 126:
		return uint64(binary.BigEndian.Uint16(g.head[2:]))
	case 127:
		return binary.BigEndian.Uint64(g.head[2:])
	default:
		return uint64(n)
	}
}

func (g *clientGuard) endFrame() {
	g.closeCame = g.closeCame || g.head[0]&opcodeBits == opcodeClose
	g.have = 0
}

// deadline returns when the frame has to be whole that has begun to come; the zero
// time if none has.
func (g *clientGuard) deadline() time.Time {
	if g.have == 0 {
		return time.Time{}
	}
	return g.began.Add(frameTimeout)
}

// Read gives the library what the client says, as far as it keeps to its bounds. The
// error is a *lost.
func (s *socket) Read(p []byte) (int, error) {
	closing := s.isClosing()
	if !closing { // else closeWait bounds what is read
		s.Conn.SetReadDeadline(s.guard.deadline())
	}
	n, err := s.readAhead(p)
	switch allowed := s.guard.observe(p[:n], time.Now()); {
	case closing:
	case allowed < n:
		s.ahead = append(bytes.Clone(p[allowed:n]), s.ahead...)
		if n, err = allowed, nil; n == 0 {
			err = s.reject("the client says too much")
		}
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = s.reject("a frame took too long to come")
	}
	if err != nil {
		return n, &lost{err}
	}
	return n, nil
}

// readAhead reads what has come already, then from the connection.
func (s *socket) readAhead(p []byte) (int, error) {
	if len(s.ahead) == 0 {
		return s.Conn.Read(p)
	}
	n := copy(p, s.ahead)
	if s.ahead = s.ahead[n:]; len(s.ahead) == 0 {
		s.ahead = nil
	}
	return n, nil
}

// reject tells a client that it broke a bound, and waits for its answer for a short
// while. All of that is done here, since the library, which may be in the middle of a
// frame, would not wait.
func (s *socket) reject(reason string) error {
	s.Write(appendClose(nil, statusPolicyViolation, reason))
	s.Conn.SetReadDeadline(time.Now().Add(closeWait))
	for buf := make([]byte, socketBuffer); !s.guard.closeCame; {
		n, err := s.readAhead(buf)
		if err != nil {
			break
		}
		for rest := buf[:n]; len(rest) > 0; {
			rest = rest[s.guard.follow(rest, time.Time{}):]
		}
	}
	return errors.New(reason)
}

// lost is the end of a connection, or its failing. It is no io.EOF, which the library
// takes for the end of a message that it is reading.
type lost struct{ cause error }

func (l *lost) Error() string { return "httpflv: connection lost: " + l.cause.Error() }
