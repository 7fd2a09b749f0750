//lint:file-ignore SA1019 the WebSocket library is given, and final at this version.

package httpflv

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"nhooyr.io/websocket"

	"sluice/hub"
	"sluice/hub/fanout"
)

// Bounds of a WebSocket connection.
const (
	// maxClientMessage is the largest message that a client may send, in bytes.
	// What it says is thrown away.
	maxClientMessage = 4 << 10
	// socketBuffer is the size of the library's buffers. A control frame (at most
	// 127 bytes from a server) has to fit, so that each is one Write.
	socketBuffer = 256
	// closeWait is how long a client has to answer a close frame.
	closeWait = time.Second
	// slowCloseWait is how long a client that is behind has, beyond closeWait, to
	// take what comes before the close frame.
	slowCloseWait = 3 * time.Second
	// echoWait is how long the answer to a client's own close frame may take to
	// get out.
	echoWait = 500 * time.Millisecond
	// maxCloseReason is what a close frame has room for (RFC 6455 §5.5.1).
	maxCloseReason = 123
)

// wantsWebSocket reports whether the request asks for an upgrade (RFC 6455 §4.2.1).
func wantsWebSocket(r *http.Request) bool {
	for _, v := range r.Header.Values("Upgrade") {
		for token := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(token), "websocket") {
				return true
			}
		}
	}
	return false
}

// serveWebSocket upgrades the connection whatever the request was for, and then
// serves the viewer, or closes with the code and words of the refusal.
func (h *Handler) serveWebSocket(w http.ResponseWriter, r *http.Request, key hub.Key, opts hub.WatchOptions, refused error) {
	if r.Header.Get("Sec-WebSocket-Version") != "13" {
		w.Header().Set("Sec-WebSocket-Version", "13")
		writeRefusal(w, http.StatusUpgradeRequired, &hub.Refusal{
			Reason: hub.ReasonBadRequest, Detail: "WebSocket version 13 is spoken here",
		})
		return
	}
	socket, err := h.upgrade(w, r)
	if err != nil {
		return // answered by the library
	}
	opts.Protocol = "ws-flv"
	var viewer *hub.Viewer
	if refused == nil {
		viewer, refused = h.Hub.Watch(key, opts)
	}
	// The rest of the session needs nothing of the HTTP server's, whose goroutine
	// and buffers end with this call.
	h.sessions.Go(func() {
		if refused != nil {
			h.logRefusal(opts, key, refused)
			socket.close(refused)
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		v := &socketViewer{socket: socket, viewer: viewer, cancel: cancel}
		socket.leaving = v.leave
		var starting sync.WaitGroup
		starting.Go(func() { h.start(ctx, v, opts) })
		socket.read()
		v.leave()
		starting.Wait()
	})
}

// socketViewer is a viewer over WebSocket, which may leave at any time: before its
// stream has begun, too.
type socketViewer struct {
	socket *socket
	viewer *hub.Viewer
	cancel context.CancelFunc // ends its waiting

	mu   sync.Mutex
	left bool
	sub  *fanout.Subscription
}

// start waits for the stream and hands the viewer to the pool.
func (h *Handler) start(ctx context.Context, v *socketViewer, opts hub.WatchOptions) {
	if err := v.viewer.Wait(ctx); err != nil {
		v.viewer.Close()
		h.logRefusal(opts, v.viewer.Stream().Key(), err)
		v.socket.close(err)
		return
	}
	s := h.begin(v.viewer, opts)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.left {
		s.end(hub.ReasonClientLeft)
		return
	}
	audio, video := v.viewer.Tracks()
	v.sub = v.socket.outlet.Attach(fanout.Feed{
		Viewer: v.viewer,
		Framer: &message{file{audio: audio, video: video}},
		Done: func(end hub.Reason) {
			v.socket.close(&hub.Refusal{Reason: end})
			s.end(end)
		},
	})
}

// leave ends the viewer: no media follows.
func (v *socketViewer) leave() {
	v.cancel()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.left = true
	if v.sub != nil {
		v.sub.Close()
	}
}

// socket is a WebSocket connection. Handshake, pings and close belong to the
// library, media to the pool; both write whole frames through one outlet.
type socket struct {
	net.Conn // the connection that was taken over
	pool     *fanout.Pool
	ws       *websocket.Conn
	outlet   *fanout.Outlet
	leaving  func() // called before a close frame goes out

	mu       sync.Mutex
	closing  bool // a close frame has gone out: nothing may follow (RFC 6455 §5.5.1)
	closeOne sync.Once
}

// upgrade answers 101. Connections of any origin are welcome, as with plain HTTP:
// nothing here depends on who the browser's user is.
func (h *Handler) upgrade(w http.ResponseWriter, r *http.Request) (*socket, error) {
	s := &socket{pool: h.Pool}
	ws, err := websocket.Accept(&hijacker{w, s}, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true,
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(maxClientMessage)
	s.ws = ws
	return s, nil
}

// hijacker gives the library a socket in place of the connection, and buffers of
// a size for control frames in place of the HTTP server's.
type hijacker struct {
	http.ResponseWriter
	socket *socket
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, brw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	s := h.socket
	s.Conn = conn
	s.outlet = s.pool.NewOutlet(conn)
	ahead, _ := brw.Reader.Peek(brw.Reader.Buffered())
	read := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(ahead), conn), max(socketBuffer, len(ahead)))
	read.Peek(len(ahead)) // where the library looks for it
	return s, bufio.NewReadWriter(read, bufio.NewWriterSize(s, socketBuffer)), nil
}

// Write takes one control frame from the library.
func (s *socket) Write(p []byte) (int, error) {
	const opcode, opClose = 0x0f, 0x8
	isClose := len(p) > 0 && p[0]&opcode == opClose
	if isClose && s.leaving != nil {
		s.leaving()
	}
	s.mu.Lock()
	done := s.closing
	s.closing = done || isClose
	s.mu.Unlock()
	if done {
		return len(p), nil
	}
	return s.outlet.Write(p)
}

// Close closes the connection. The library calls it right after it has answered a
// close frame.
func (s *socket) Close() error {
	s.outlet.Flush(time.Now().Add(echoWait))
	s.outlet.Close()
	return nil
}

// read throws away what the client says until it leaves or breaks the protocol.
// Pings are answered, and a close frame echoed, by the library meanwhile.
func (s *socket) read() {
	for {
		_, r, err := s.ws.Reader(context.Background())
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if err != nil {
			// A no-op after a close frame, by either side, or a broken connection;
			// otherwise the client broke a rule for which the library has no code.
			s.closeWith(websocket.StatusProtocolError, "protocol error")
			return
		}
	}
}

// close ends the connection with the code and the words of a refusal or an end.
func (s *socket) close(err error) {
	refusal, ok := err.(*hub.Refusal)
	if !ok {
		refusal = &hub.Refusal{Reason: hub.ReasonClientLeft}
	}
	s.closeWith(websocket.StatusCode(refusal.Reason.CloseCode()), refusal.Error())
}

// closeWith sends the close frame and waits for the client's, for a short while,
// then closes the connection.
func (s *socket) closeWith(code websocket.StatusCode, reason string) {
	s.closeOne.Do(func() {
		patience := time.AfterFunc(closeWait, func() {
			s.outlet.Flush(time.Now().Add(slowCloseWait))
			s.Close()
		})
		defer patience.Stop()
		s.ws.Close(code, cut(reason, maxCloseReason))
		s.Close()
	})
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
