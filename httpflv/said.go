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
	// saidBurst is how much a client may say at once, in bytes of its frames and
	// frameCost for each of them: more than 300 of the largest pings.
	saidBurst = 64 << 10
	// saidRate is how much more it may say each second, in the same measure.
	saidRate = 2 << 10
	// frameCost is what a frame costs beside its bytes: the answer to a ping is a write
	// of its own.
	frameCost = 64
	// frameTimeout is how long a frame may take from its first byte to its last. With
	// closeWait it is within the 5 s after whose end the library, in the middle of a
	// control frame, breaks off without a word.
	frameTimeout = 4 * time.Second
)

// said follows the frames that a client sends, to hold them to their bounds before
// anybody else looks at them. It knows where each ends, and nothing of what they mean
// but for a close frame. It keeps no more than a frame's head. The zero value is
// ready.
//
//	 0               1               2               (RFC 6455 §5.2)
//	+-+---+---------+-+-------------+-------------------------------+
//	|F|rsv| opcode  |M| length < 126, or 126 and u16, or 127 and u64 | masking key if M
//	+-+---+---------+-+-------------+-------------------------------+
type said struct {
	head    [14]byte
	have    int       // bytes of the head; all of it while rest is not 0
	rest    uint64    // bytes of the payload that are still to come
	began   time.Time // when the frame did whose end is still to come
	goodbye bool      // a whole close frame has come

	spent float64   // of saidBurst, as at the time of
	asOf  time.Time // the last word
}

// hear takes what comes next, and returns how many bytes of it the client may say.
func (s *said) hear(p []byte, now time.Time) int {
	s.spent = max(0, s.spent-saidRate*now.Sub(s.asOf).Seconds())
	s.asOf = now
	for n := 0; n < len(p); {
		room := int(saidBurst - s.spent)
		if room <= 0 {
			return n
		}
		took := s.follow(p[n:min(len(p), n+room)], now)
		s.spent += float64(took)
		n += took
	}
	return len(p)
}

// follow takes a part of what comes next: of a payload what there is, of a head a byte.
func (s *said) follow(p []byte, now time.Time) int {
	if s.rest > 0 {
		n := min(s.rest, uint64(len(p)))
		if s.rest -= n; s.rest == 0 {
			s.endFrame()
		}
		return int(n)
	}
	if s.have == 0 {
		s.began = now
		s.spent += frameCost
	}
	s.head[s.have] = p[0]
	s.have++
	if s.have == s.headSize() {
		if s.rest = s.payload(); s.rest == 0 {
			s.endFrame()
		}
	}
	return 1
}

// headSize returns the size of the frame's head, as far as it can be told by now.
func (s *said) headSize() int {
	size := 2
	if s.have < size {
		return size
	}
	switch s.head[1] & 0x7f {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if masked := s.head[1]&0x80 != 0; masked {
		size += 4
	}
	return size
}

// payload returns the size of the payload after a whole head.
func (s *said) payload() uint64 {
	switch n := s.head[1] & 0x7f; n {
	case 126:
		return uint64(binary.BigEndian.Uint16(s.head[2:]))
	case 127:
		return binary.BigEndian.Uint64(s.head[2:])
	default:
		return uint64(n)
	}
}

func (s *said) endFrame() {
	s.goodbye = s.goodbye || s.head[0]&opcodeBits == opcodeClose
	s.have = 0
}

// deadline returns when the frame has to be whole that has begun to come; the zero
// time if none has.
func (s *said) deadline() time.Time {
	if s.have == 0 {
		return time.Time{}
	}
	return s.began.Add(frameTimeout)
}

// Read gives the library what the client says, as far as it keeps to its bounds. The
// error is a *lost.
func (s *socket) Read(p []byte) (int, error) {
	closing := s.isClosing()
	if !closing { // else closeWait bounds what is read
		s.Conn.SetReadDeadline(s.said.deadline())
	}
	n, err := s.readAhead(p)
	switch allowed := s.said.hear(p[:n], time.Now()); {
	case closing:
	case allowed < n:
		s.ahead = append(bytes.Clone(p[allowed:n]), s.ahead...)
		if n, err = allowed, nil; n == 0 {
			err = s.expel("the client says too much")
		}
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = s.expel("a frame took too long to come")
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

// expel tells a client that it broke a bound, and waits for its answer for a short
// while. All of that is done here, since the library, which may be in the middle of a
// frame, would not wait.
func (s *socket) expel(reason string) error {
	s.Write(appendClose(nil, statusPolicyViolation, reason))
	s.Conn.SetReadDeadline(time.Now().Add(closeWait))
	for buf := make([]byte, socketBuffer); !s.said.goodbye; {
		n, err := s.readAhead(buf)
		if err != nil {
			break
		}
		for rest := buf[:n]; len(rest) > 0; {
			rest = rest[s.said.follow(rest, time.Time{}):]
		}
	}
	return errors.New(reason)
}

// lost is the end of a connection, or its failing. It is no io.EOF, which the library
// takes for the end of a message that it is reading.
type lost struct{ cause error }

func (l *lost) Error() string { return "httpflv: connection lost: " + l.cause.Error() }
