package vod

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"sluice/httpflv/answer"
	"sluice/hub"
)

const (
	// sendPiece is how much is sent by sendfile in one call, in bytes. A client that takes
	// a part of it in time has until it takes something again.
	sendPiece = 4 << 20
	// copyPiece is the same where bytes go through memory: a client has to take so many in
	// time.
	copyPiece = 32 << 10
	// politeEnd is how long a client has to take the end of an answer when the server
	// shuts down.
	politeEnd = time.Second
)

// buffers are for what goes through memory.
var buffers = sync.Pool{New: func() any { return new([copyPiece]byte) }}

// transfer is the http.ResponseWriter of an answer that may take for ever, as long as the
// client takes something now and then. For one goroutine at a time, but for end.
type transfer struct {
	http.ResponseWriter
	r       *http.Request
	control *http.ResponseController
	stall   time.Duration
	origins answer.Origins
	// direct says that the connection takes bytes from a file by itself (sendfile). An
	// error of such a write leaves it as it is.
	direct bool

	sent    uint64 // bytes of the body
	err     error  // the first one
	discard bool   // the answer was made here; what follows is not wanted

	mu       sync.Mutex
	deadline time.Time // of the write that is under way
	until    time.Time // by when it has to end; zero while that is open
	over     bool      // the handler has returned: the connection is not its any more
}

func (h *Handler) newTransfer(w http.ResponseWriter, r *http.Request) *transfer {
	_, direct := w.(io.ReaderFrom)
	return &transfer{
		ResponseWriter: w, r: r, control: http.NewResponseController(w),
		stall: h.cfg.StallTimeout, origins: h.cfg.Streams.AllowOrigins,
		direct: direct && r.TLS == nil && r.ProtoMajor == 1,
	}
}

var errEnded = errors.New("vod: the answer has been ended")

// renew gives the client time to take the next bytes.
func (t *transfer) renew() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.until.IsZero() {
		if time.Now().Before(t.until) {
			return nil // the deadline is set
		}
		return errEnded
	}
	t.deadline = time.Now().Add(t.stall)
	if err := t.control.SetWriteDeadline(t.deadline); !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// end has the answer end within some time. It may be called from any goroutine.
func (t *transfer) end(in time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return
	}
	t.until = time.Now().Add(in)
	t.deadline = t.until
	t.control.SetWriteDeadline(t.until)
}

// finish tells the session why the answer ended. Nothing may be sent any more.
// session is what Session.Begin returned.
func (t *transfer) finish(s *hub.Session, session context.Context) {
	t.mu.Lock()
	t.over = true
	t.mu.Unlock()
	s.End(t.reason(session), t.sent, 0)
}

// WriteHeader makes a refusal of what net/http says as text.
func (t *transfer) WriteHeader(status int) {
	if status != http.StatusRequestedRangeNotSatisfiable {
		t.ResponseWriter.WriteHeader(status)
		return
	}
	t.discard = true
	t.origins.Refuse(t.ResponseWriter, t.r, answer.Refusal{
		Status: status, Error: hub.ReasonBadRequest.String(), Reason: "the recording has no such range"})
}

// Write writes p in pieces.
func (t *transfer) Write(p []byte) (n int, err error) {
	if t.discard {
		return len(p), nil
	}
	for n < len(p) && err == nil {
		if err = t.renew(); err == nil {
			var m int
			m, err = t.ResponseWriter.Write(p[n:min(len(p), n+copyPiece)])
			n += m
		}
	}
	t.note(n, err)
	return n, err
}

// flush has everything that was written go out.
func (t *transfer) flush() error {
	err := t.renew()
	if err == nil {
		err = t.control.Flush()
	}
	t.note(0, err)
	return err
}

func (t *transfer) note(n int, err error) {
	t.sent += uint64(n)
	if t.err == nil && err != nil {
		t.mu.Lock()
		t.err = answer.Overdue(err, t.deadline)
		t.mu.Unlock()
	}
}

// ReadFrom is for http.ServeContent, which gives it a limited part of a content, or of
// several ranges as they are put together.
func (t *transfer) ReadFrom(src io.Reader) (n int64, err error) {
	if limited, ok := src.(*io.LimitedReader); ok && !t.discard {
		if c, ok := limited.R.(*content); ok {
			return t.send(c, limited.N)
		}
	}
	buf := buffers.Get().(*[copyPiece]byte)
	defer buffers.Put(buf)
	for {
		m, err := src.Read(buf[:])
		if m > 0 {
			written, err := t.Write(buf[:m])
			if n += int64(written); err != nil {
				return n, err
			}
		}
		switch {
		case err == io.EOF:
			return n, nil
		case err != nil:
			t.note(0, err)
			return n, err
		}
	}
}

// send sends n bytes of a content from its position on.
func (t *transfer) send(c *content, n int64) (sent int64, err error) {
	for sent < n && err == nil {
		var m int64
		if t.direct && c.file != nil && c.pos >= c.headSize {
			m, err = t.sendFile(c, n-sent)
		} else {
			m, err = t.copy(c, n-sent)
		}
		sent += m
	}
	return sent, err
}

// sendFile sends up to n bytes by sendfile.
func (t *transfer) sendFile(c *content, n int64) (int64, error) {
	_, err := c.file.Seek(c.restBase+c.pos-c.headSize, io.SeekStart)
	if err == nil {
		err = t.renew()
	}
	var m int64
	if err == nil {
		m, err = io.CopyN(t.ResponseWriter, c.file, min(n, sendPiece))
	}
	c.pos += m
	if m > 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil // it took something: it has a new deadline, unless it was ended
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	t.note(int(m), err)
	return m, err
}

// copy sends some of n bytes through memory.
func (t *transfer) copy(c *content, n int64) (int64, error) {
	buf := buffers.Get().(*[copyPiece]byte)
	defer buffers.Put(buf)
	m, err := c.Read(buf[:min(n, copyPiece)])
	if err != nil {
		t.note(0, err)
		return 0, err
	}
	m, err = t.Write(buf[:m])
	return int64(m), err
}

// dismissal returns why the hub wanted a session to end, whose context has ended.
func dismissal(session context.Context) *hub.Refusal {
	if why, ok := context.Cause(session).(*hub.Refusal); ok {
		return why
	}
	return refusal(hub.ReasonShuttingDown, "")
}

// reason returns why the answer ended.
func (t *transfer) reason(session context.Context) *hub.Refusal {
	why := hub.ReasonConnection
	switch {
	case t.err == nil:
		why = hub.ReasonComplete
	case session.Err() != nil:
		return dismissal(session)
	case errors.Is(t.err, os.ErrDeadlineExceeded):
		why = hub.ReasonStalled
	case t.r.Context().Err() != nil, errors.Is(t.err, syscall.EPIPE), errors.Is(t.err, syscall.ECONNRESET),
		errors.Is(t.err, net.ErrClosed):
		why = hub.ReasonClientLeft
	}
	return &hub.Refusal{Reason: why}
}
