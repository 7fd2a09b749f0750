//lint:file-ignore SA1019 the WebSocket library is given, and final at this version.

package httpflv

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"nhooyr.io/websocket"

	"sluice/hub"
	"sluice/hub/fanout"
	"sluice/hub/intake"
)

// Bounds of a WebSocket connection; those on what a client sends are in guard.go.
const (
	// socketBuffer is the size of the library's buffers. A control frame (at most
	// 127 bytes from a server) has to fit, so that each is one Write.
	socketBuffer = 256
	// closeWait is how long a client has to answer a close frame.
	closeWait = time.Second
	// slowCloseWait is how much longer than closeWait a client that is behind has, to
	// take what comes before the close frame.
	slowCloseWait = 3 * time.Second
	// echoWait is how long it may take to send the answer to a client's own close
	// frame.
	echoWait = 500 * time.Millisecond
	// maxCloseReason is how many bytes of reason fit into a close frame (RFC 6455
	// §5.5.1).
	maxCloseReason = 123
)

// socket is a WebSocket connection. Handshake, pings and close belong to the
// library, media to the pool; both write whole frames through one outlet.
//
// The library keeps a goroutine and some kilobytes for each of its connections, though
// it has nothing to do while the client is silent and the stream goes on. It has nothing
// to remember either between the handshake and the first frame that it reads or writes.
// So at first it does the handshake only; its connection is made when it is needed: when
// the client sends something, or to close.
type socket struct {
	net.Conn // the connection that was taken over
	outlet   *fanout.Outlet
	source   *intake.Source // waits for the client's first byte; nil without an intake
	leaving  func()         // called before a close frame goes out; may be nil

	opening sync.Once
	ws      *websocket.Conn // after opening
	guard   *clientGuard    // after opening; for the goroutine that reads

	frames  sync.Mutex
	ahead   []byte // what the client sent right behind its request, or was read otherwise; mostly nil
	closing bool   // a close frame has gone out: nothing may follow (RFC 6455 §5.5.1)
	broken  bool   // the close frame says that the client broke a rule; set before leaving is called
	ending  bool   // a caller is closing the connection; others must not
}

// upgradeOptions leave the check of the Origin to Handler.AllowOrigins.
var upgradeOptions = websocket.AcceptOptions{
	InsecureSkipVerify: true,
	CompressionMode:    websocket.CompressionDisabled,
}

// upgrade answers 101, or refuses.
func (s *socket) upgrade(w http.ResponseWriter, r *http.Request, pool *fanout.Pool) error {
	options := upgradeOptions
	if offered := offeredSubprotocol(r.Header); offered != "" {
		options.Subprotocols = []string{offered}
	}
	_, err := websocket.Accept(&handshake{ResponseWriter: w, socket: s, pool: pool}, r, &options)
	if errors.Is(err, errTaken) {
		return nil
	}
	return err
}

// errTaken is the error that the library gets from Hijack when the handshake is done, so
// that it does not go on to make its connection.
var errTaken = errors.New("httpflv: the connection is a socket's now")

// handshake is the http.ResponseWriter of a handshake. It hands the connection to a
// socket; what the library writes after that, because of the error, is discarded.
type handshake struct {
	http.ResponseWriter
	socket *socket
	pool   *fanout.Pool
	taken  bool
}

func (h *handshake) WriteHeader(status int) {
	if !h.taken {
		h.ResponseWriter.WriteHeader(status)
	}
}

func (h *handshake) Write(p []byte) (int, error) {
	if h.taken {
		return len(p), nil
	}
	return h.ResponseWriter.Write(p)
}

func (h *handshake) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, brw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.taken = true
	s := h.socket
	s.Conn = conn
	s.outlet = h.pool.NewOutlet((*output)(s))
	if n := brw.Reader.Buffered(); n > 0 {
		ahead := make([]byte, n)
		io.ReadFull(brw.Reader, ahead)
		s.keepAhead(ahead)
	}
	return nil, nil, errTaken
}

// output is the connection of a socket's outlet.
type output socket

func (o *output) Write(p []byte) (int, error)        { return o.Conn.Write(p) }
func (o *output) SetWriteDeadline(t time.Time) error { return o.Conn.SetWriteDeadline(t) }

// Close takes the connection out of the intake first, as that requires.
func (o *output) Close() error {
	(*socket)(o).stopWaiting()
	return o.Conn.Close()
}

// NetConn returns the connection that was taken over.
func (o *output) NetConn() net.Conn { return o.Conn }

// SyscallConn lets the pool write to the descriptor, where the connection has one.
func (o *output) SyscallConn() (syscall.RawConn, error) {
	if c, ok := o.Conn.(syscall.Conn); ok {
		return c.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

func (s *socket) stopWaiting() {
	if s.source != nil {
		s.source.Close()
	}
}

// library returns the library's connection, made at the first call.
func (s *socket) library() *websocket.Conn {
	s.opening.Do(func() {
		ws, err := websocket.Accept(&rehearsal{socket: s, header: make(http.Header)}, rehearsed, &upgradeOptions)
		if err != nil {
			panic("httpflv: the library refuses a handshake that it accepts: " + err.Error())
		}
		ws.SetReadLimit(maxClientMessage)
		s.ws, s.guard = ws, new(clientGuard)
	})
	return s.ws
}

// rehearsed is the request of a handshake that succeeds (RFC 6455 §1.3). The library is
// given it in place of the client's own, which has succeeded already, to make its
// connection.
var rehearsed = &http.Request{
	Method: http.MethodGet, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	Header: http.Header{
		"Connection":            {"Upgrade"},
		"Upgrade":               {"websocket"},
		"Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key":     {"dGhlIHNhbXBsZSBub25jZQ=="},
	},
}

// rehearsal is the http.ResponseWriter of that handshake, whose answer is discarded. It
// gives the library a socket as its connection, and buffers just large enough for control
// frames.
type rehearsal struct {
	socket *socket
	header http.Header
}

func (r *rehearsal) Header() http.Header         { return r.header }
func (r *rehearsal) WriteHeader(int)             {}
func (r *rehearsal) Write(p []byte) (int, error) { return len(p), nil }

func (r *rehearsal) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	s := r.socket
	return s, bufio.NewReadWriter(bufio.NewReaderSize(s, socketBuffer), bufio.NewWriterSize(s, socketBuffer)), nil
}

func (s *socket) isClosing() bool {
	s.frames.Lock()
	defer s.frames.Unlock()
	return s.closing
}

// isBroken reports whether the client was told that it broke a rule.
func (s *socket) isBroken() bool {
	s.frames.Lock()
	defer s.frames.Unlock()
	return s.broken
}

// Opcodes of frames (RFC 6455 §5.2), in the low bits of the first byte.
const (
	opcodeBits  = 0x0f
	opcodeClose = 0x8
	finBit      = 0x80
)

// statusPolicyViolation is the close code for exceeding a bound (RFC 6455 §7.4.1).
const statusPolicyViolation = websocket.StatusPolicyViolation

// Write sends one control frame of the library's. Nothing is sent after the first close
// frame.
func (s *socket) Write(p []byte) (int, error) {
	size := len(p)
	isClose := size > 0 && p[0]&opcodeBits == opcodeClose
	if isClose {
		p = mendClose(p)
	}
	s.frames.Lock()
	done := s.closing
	if isClose && !done {
		s.closing, s.broken = true, blames(p)
	}
	s.frames.Unlock()
	if done {
		return size, nil
	}
	if isClose && s.leaving != nil {
		s.leaving()
	}
	_, err := s.outlet.Write(p)
	return size, err
}

// appendClose appends a close frame (RFC 6455 §5.5.1); the reason has at most
// maxCloseReason bytes.
func appendClose(dst []byte, code websocket.StatusCode, reason string) []byte {
	dst = append(dst, finBit|opcodeClose, byte(2+len(reason)))
	return append(binary.BigEndian.AppendUint16(dst, uint16(code)), reason...)
}

// closeHead is how many bytes of a close frame come before its reason.
const closeHead = 4

// mendClose replaces a close frame whose reason is not UTF-8: the library echoes the
// client's reason as it is.
func mendClose(p []byte) []byte {
	if len(p) <= closeHead || utf8.Valid(p[closeHead:]) {
		return p
	}
	return appendClose(nil, websocket.StatusInvalidFramePayloadData, "the reason of the close frame is not UTF-8")
}

// blames reports whether a close frame has a code which says that a rule was broken.
func blames(p []byte) bool {
	if len(p) < closeHead {
		return false
	}
	switch websocket.StatusCode(binary.BigEndian.Uint16(p[2:])) {
	case websocket.StatusProtocolError, websocket.StatusInvalidFramePayloadData,
		websocket.StatusPolicyViolation, websocket.StatusMessageTooBig:
		return true
	}
	return false
}

// Close closes the connection. The library calls it right after it has answered a
// close frame.
func (s *socket) Close() error {
	s.outlet.Flush(time.Now().Add(echoWait))
	s.outlet.Close()
	return nil
}

// read discards what the client sends until it leaves or breaks the protocol. Meanwhile
// the library answers pings and echoes a close frame.
func (s *socket) read() {
	s.stopWaiting()
	for {
		_, r, err := s.library().Reader(context.Background())
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if err == nil {
			continue
		}
		if _, ok := errors.AsType[*lost](err); ok {
			s.closeNow()
		} else {
			// This does nothing after a close frame of either side. Otherwise the client
			// broke a rule for which the library sends no close frame.
			s.closeWith(websocket.StatusProtocolError, "protocol error")
		}
		return
	}
}

// close ends the connection with the close code and the words of err, a refusal or the
// end of a stream.
func (s *socket) close(err error) {
	refusal, ok := err.(*hub.Refusal)
	if !ok {
		refusal = &hub.Refusal{Reason: hub.ReasonClientLeft}
	}
	s.closeWith(websocket.StatusCode(refusal.Reason.CloseCode()), refusal.Error())
}

// closeWith sends a close frame, waits up to closeWait for the client's, and closes the
// connection.
func (s *socket) closeWith(code websocket.StatusCode, reason string) {
	if !s.mayEnd() {
		return
	}
	s.stopWaiting() // the library reads what the client answers
	timer := time.AfterFunc(closeWait, func() {
		s.outlet.Flush(time.Now().Add(slowCloseWait))
		s.Close()
	})
	defer timer.Stop()
	s.library().Close(code, cut(reason, maxCloseReason))
	s.Close()
}

// closeNow closes a connection that is lost, without a close frame.
func (s *socket) closeNow() {
	if s.mayEnd() {
		s.library().CloseNow()
	}
}

// mayEnd reports whether the caller is the first that wants to end the connection. Others
// leave it to the first.
func (s *socket) mayEnd() bool {
	s.frames.Lock()
	defer s.frames.Unlock()
	first := !s.ending
	s.ending = true
	return first
}

// cut shortens text to n bytes without cutting a character.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
