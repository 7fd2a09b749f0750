package httpflv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"time"
)

// Bounds on what a WebSocket client sends. A player sends nothing but a close frame and,
// some players, a ping every few seconds; anything else is discarded.
const (
	// maxClientMessage is the largest message that a client may send, in bytes.
	maxClientMessage = 4 << 10
	// clientBurst is how much a client may send at once, in bytes of its frames plus
	// frameCost for each frame: more than 300 of the largest pings.
	clientBurst = 64 << 10
	// clientRate is how much more it may send each second, counted in the same way.
	clientRate = 2 << 10
	// frameCost is what a frame counts besides its bytes: the answer to a ping costs a
	// write of its own.
	frameCost = 64
	// closeBurst is how much is read, in bytes, of what a client sends behind what it was rejected for,
	// to find its close frame: what is still on its way. Reading all that comes in closeWait would cost
	// as much as what it was rejected for.
	closeBurst = 1 << 20
	// frameTimeout is how long a frame may take from its first byte to its last. Together
	// with closeWait that is less than 5 s, after which the library would drop the
	// connection in the middle of a control frame without a close frame.
	frameTimeout = 4 * time.Second
)

// clientGuard checks the bounds on what a client sends, before the library gets it. It
// finds where each frame ends and understands no frame but the close frame. It keeps no
// more than a frame's head. The zero value is ready.
//
//	 0               1               2               (RFC 6455 §5.2)
//	+-+---+---------+-+-------------+-------------------------------+
//	|F|rsv| opcode  |M| length < 126, or 126 and u16, or 127 and u64 | masking key if M
//	+-+---+---------+-+-------------+-------------------------------+
type clientGuard struct {
	head      [14]byte
	have      int       // bytes of the head; all of it while rest is not 0
	rest      uint64    // bytes of the payload that are still to come
	began     time.Time // when the unfinished frame began
	closeCame bool      // a whole close frame has come

	spent float64   // how much of clientBurst was used up at asOf
	asOf  time.Time // when something came last
}

// observe looks at the next bytes from the client, and returns how many of them are
// within its bounds.
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

// follow looks at the first part of the next bytes, one byte of a head or all that there
// is of a payload, and returns the size of that part.
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

// headSize returns the size of the frame's head, as far as it is known by now.
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

// deadline returns by when an unfinished frame has to be whole; the zero time if there is
// none.
func (g *clientGuard) deadline() time.Time {
	if g.have == 0 {
		return time.Time{}
	}
	return g.began.Add(frameTimeout)
}

// Read gives the library what the client sends, as long as it keeps to its bounds. The
// error is a *lost.
func (s *socket) Read(p []byte) (int, error) {
	closing := s.isClosing()
	if !closing { // otherwise closeWait bounds the reading
		s.Conn.SetReadDeadline(s.guard.deadline())
	}
	n, err := s.readAhead(p)
	switch allowed := s.guard.observe(p[:n], time.Now()); {
	case closing:
	case allowed < n:
		s.keepAhead(p[allowed:n])
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

// readAhead reads what was read before, then from the connection.
func (s *socket) readAhead(p []byte) (int, error) {
	if n := s.takeAhead(p); n > 0 {
		return n, nil
	}
	return s.Conn.Read(p)
}

func (s *socket) takeAhead(p []byte) int {
	s.frames.Lock()
	defer s.frames.Unlock()
	n := copy(p, s.ahead)
	if s.ahead = s.ahead[n:]; len(s.ahead) == 0 {
		s.ahead = nil
	}
	return n
}

// keepAhead keeps a copy of what comes first when the client is read from next.
func (s *socket) keepAhead(p []byte) {
	s.frames.Lock()
	defer s.frames.Unlock()
	s.ahead = append(bytes.Clone(p), s.ahead...)
}

// reject tells a client that it exceeded a bound, waits for its close frame for at most
// closeWait, and returns the reason as an error. The library can't do that: it may be in
// the middle of reading a frame, and then would not wait.
func (s *socket) reject(reason string) error {
	s.Write(appendClose(nil, statusPolicyViolation, reason))
	s.Conn.SetReadDeadline(time.Now().Add(closeWait))
	buf, left := make([]byte, socketBuffer), closeBurst
	for !s.guard.closeCame && left > 0 {
		n, err := s.readAhead(buf)
		left -= n
		if err != nil {
			break
		}
		for rest := buf[:n]; len(rest) > 0; {
			rest = rest[s.guard.follow(rest, time.Time{}):]
		}
	}
	return errors.New(reason)
}

// lost is the error of a connection that ended or failed. It must not be io.EOF, which
// the library would take for the end of a message.
type lost struct{ cause error }

func (l *lost) Error() string { return "httpflv: connection lost: " + l.cause.Error() }
