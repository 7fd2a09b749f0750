package httpflv

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"sync"

	"sluice/hub"
	"sluice/hub/fanout"
)

// Resource is what a request asks for that is no stream of the hub, such as a recording.
// Whoever asks for one is admitted, asked about and refused as a viewer of a stream is.
type Resource struct {
	Key    hub.Key    // of the stream to which it belongs; the zero Key if the request names none
	Client hub.Client // as ClientOf has it, with its protocol
	Err    error      // a *hub.Refusal: why it is refused whatever the policy says; nil if it is not
	// First is called for a WebSocket before the upgrade, once the session may. It reports whether it has answered the
	// request; the error is why the client is refused after the upgrade. nil for nothing.
	First func(*hub.Session) (answered bool, err error)
	// Body answers GET and HEAD, once the session may. It returns an error, a *hub.Refusal
	// as a rule, if the answer has not begun.
	Body func(*hub.Session) error
	// Play plays it over a WebSocket, in a goroutine of its own, which the Handler's Wait
	// waits for. It begins the session. What it returns is told to the client with the close
	// code of the reason, and then to the session, which ends or is refused with that.
	Play func(*hub.Session, *Socket) *hub.Refusal
}

// ServeResource serves the client of one request, or refuses it. ask is called at most once,
// before anything is answered.
func (h *Handler) ServeResource(w http.ResponseWriter, r *http.Request, ask func() Resource) {
	h.serve(w, r, func() exchange {
		x := ask()
		return exchange{
			key: x.Key, client: x.Client, err: x.Err,
			first:  x.First,
			body:   x.Body,
			socket: func() socketSession { return &Socket{play: x.Play} },
		}
	})
}

// WantsWebSocket reports whether a request asks for an upgrade to WebSocket.
func WantsWebSocket(r *http.Request) bool { return wantsWebSocket(r) }

// Query returns the query of a request. The error is a *hub.Refusal for one that is too
// long.
func Query(r *http.Request) (url.Values, error) { return queryOf(r) }

// Socket is a WebSocket to which one goroutine writes, and whose writes block. The other
// methods may be called from any goroutine.
type Socket struct {
	polledSocket
	play func(*hub.Session, *Socket) *hub.Refusal
	ctx  context.Context // ends when the client has left
	sent uint64          // bytes of frames; for the goroutine that writes
}

// Context ends when the client has left. It does not end with the server; see
// hub.Hub.Closing.
func (s *Socket) Context() context.Context { return s.ctx }

// Sent returns how many bytes were sent, heads of frames included. It is for the goroutine
// that writes.
func (s *Socket) Sent() uint64 { return s.sent }

// start plays.
func (s *Socket) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.ctx = ctx
	s.mu.Lock()
	left := s.left
	s.cancel = cancel
	s.mu.Unlock()
	if left {
		cancel()
	}
	s.handler.serving.Go(func() {
		defer cancel()
		why := s.play(s.watcher, s)
		if why.Reason == hub.ReasonClientLeft {
			why = &hub.Refusal{Reason: s.leftBecause()}
		}
		s.close(why)
		s.finish()
		s.watcher.Refuse(why) // if it has not begun
		s.watcher.End(why, s.sent, 0)
	})
}

// leave lets nothing more be sent. It may be called while the library holds a lock.
func (s *Socket) leave() {
	s.mu.Lock()
	s.left = true
	cancel := s.cancel
	s.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// maxMessage bounds a message of a Socket, in bytes: what a connection does not take of it is
// copied.
const maxMessage = 64 << 10

// messages are buffers for frames.
var messages = sync.Pool{New: func() any { return new(make([]byte, 0, 10+maxMessage)) }}

// Write sends p in binary messages, and returns when the system has taken all of it. A client
// that takes nothing for as long as the Handler's Pool allows is cut off. The error is a
// *hub.Refusal that says why nothing more can be sent: ReasonStalled, ReasonClientLeft or
// ReasonConnection; or that of ctx.
func (s *Socket) Write(ctx context.Context, p []byte) error {
	for len(p) > 0 {
		n := min(len(p), maxMessage)
		if err := s.writeMessage(ctx, p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func (s *Socket) writeMessage(ctx context.Context, p []byte) error {
	b := messages.Get().(*[]byte)
	frame := append(appendBinaryHead((*b)[:0], len(p)), p...)
	*b = frame
	s.mu.Lock()
	err := net.ErrClosed
	if !s.left { // the outlet never blocks
		err = s.outlet.Send(frame)
	}
	s.mu.Unlock()
	s.sent += uint64(len(frame))
	messages.Put(b)
	if err == nil {
		select {
		case <-s.outlet.Drained():
			err = s.outlet.Err()
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return &hub.Refusal{Reason: fanout.ReasonOf(err)}
	}
	return nil
}
