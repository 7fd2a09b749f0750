package pull

import (
	"bufio"
	"io"
	"net"
	"sync/atomic"
	"time"

	"sluice/flv"
	"sluice/httpflv/websocket"
)

// source is a stream that is being pulled.
//
//	wire ─▶ tls ─▶ input ─▶ in ─▶ body ─▶ tags
//	                              chunks, sized, endless or a WebSocket's
type source struct {
	wire    *wire
	conn    net.Conn // wire, or TLS over it
	left    int      // how many bytes are still read; unbounded once the head was
	lost    error    // that of conn
	in      *bufio.Reader
	body    io.Reader
	chunks  *chunks // if body is that
	tags    *flv.Reader
	silence time.Duration // how long wire may send nothing after the first frame

	begun  bool  // a frame has come
	err    error // sticky
	closed atomic.Bool

	node, remote string
}

// unbounded says that any number of bytes is read.
const unbounded = -1

// input is what in reads from.
type input source

func (i *input) Read(p []byte) (int, error) {
	if i.left == 0 {
		i.lost = errHead
		return 0, errHead
	}
	if i.left > 0 {
		p = p[:min(len(p), i.left)]
	}
	n, err := i.conn.Read(p)
	if i.left > 0 {
		i.left -= n
		i.lost = err
	}
	return n, err
}

// ReadTag returns the next tag.
func (s *source) ReadTag() (flv.Tag, error) {
	if s.err != nil {
		return flv.Tag{}, s.err
	}
	if s.begun {
		s.wire.until = time.Now().Add(maxTagTime * s.silence)
	}
	t, err := s.tags.Next()
	if err != nil {
		if s.err = err; err != io.EOF {
			s.err = failure(err)
		}
		return flv.Tag{}, s.err
	}
	if !s.begun && t.Type != flv.TypeScript { // metadata may come before there is a publisher
		s.begun, s.wire.silence = true, s.silence
	}
	return t, nil
}

// Tracks returns which tracks the server says that there are, once a frame was read. known reports whether
// that is the truth, as with Sluice: other servers often announce both whatever there is.
func (s *source) Tracks() (audio, video, known bool) {
	if !s.begun || s.node == "" {
		return false, false, false
	}
	h, _ := s.tags.Header()
	return h.Audio, h.Video, true
}

// Buffered reports whether more has been received. It looks into the system's buffer, too, where it can.
func (s *source) Buffered() bool {
	if s.err != nil {
		return false
	}
	between := 0
	if s.chunks != nil {
		between = s.chunks.between()
	}
	if s.in.Buffered() > between {
		return true
	}
	s.wire.now = true
	more, _ := s.in.Peek(between + 1)
	s.wire.now = false
	return len(more) > between
}

// Node returns the server's id, "" if it is no Sluice.
func (s *source) Node() string { return s.node }

// Remote returns the server's address in numbers.
func (s *source) Remote() string { return s.remote }

// closeTimeout is how long it may take to tell a WebSocket's server of the end.
const closeTimeout = 100 * time.Millisecond

// Close closes the connection.
func (s *source) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	if _, isSocket := s.body.(*websocket.Reader); isSocket {
		s.conn.SetWriteDeadline(time.Now().Add(closeTimeout))
		s.conn.Write(websocket.AppendClose(nil))
	}
	return s.wire.Close() // TLS would wait for its last word to be taken
}
