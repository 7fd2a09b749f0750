package httpflv

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"sluice/httpflv/answer"
	"sluice/hub"
	"sluice/hub/fanout"
)

// serveBody serves a viewer over plain HTTP. It returns an error if the answer has
// not begun.
func (h *Handler) serveBody(w http.ResponseWriter, r *http.Request, watcher *hub.Session, q request) error {
	viewer, err := h.Hub.Watch(watcher, q.opts)
	if err != nil {
		return err
	}
	if err := viewer.Wait(r.Context()); err != nil {
		viewer.Close()
		return err
	}
	s := &bodyViewer{session: session{h, viewer}}
	s.frame.audio, s.frame.video = viewer.Tracks()
	s.begin()
	chunked := r.ProtoAtLeast(1, 1) && q.chunked
	StreamHeader(w.Header())

	conn, _, err := http.NewResponseController(w).Hijack()
	if errors.Is(err, http.ErrNotSupported) {
		return h.serveWriter(w, r, s)
	}
	if err != nil {
		s.end(hub.ReasonConnection)
		return nil
	}
	in := h.readEncrypted(conn)
	s.outlet = h.Pool.NewOutlet(outOf(conn, in))
	feed := fanout.Feed{
		Viewer: viewer,
		Framer: &s.frame.file,
		Head:   appendHead(nil, w.Header(), chunked),
		Lead:   h.lead(viewer, false),
		Done:   s.done,
		Quiet:  in == nil,
	}
	if chunked {
		feed.Framer, feed.AppendEnd = &s.frame, appendLastChunk
		if q.relays {
			feed.AppendEnd = appendRelayEnd
		}
	}
	s.outlet.Attach(feed)
	in.begin(s.outlet)
	return nil
}

// bodyViewer is a viewer over plain HTTP.
type bodyViewer struct {
	session
	outlet *fanout.Outlet // of the connection that was taken over
	frame  chunkedFile
}

// done follows the last byte of the body.
func (s *bodyViewer) done(why hub.Reason) {
	s.viewer.End(&hub.Refusal{Reason: why}) // before the client sees the end
	if why.Proper() {
		s.outlet.Close()
	} else {
		s.outlet.Abort() // without chunks, this is what tells
	}
	s.end(why)
}

// serveWriter serves a viewer whose connection can't be taken over, as with
// HTTP/2: the server puts what is written into its own frames.
func (h *Handler) serveWriter(w http.ResponseWriter, r *http.Request, s *bodyViewer) error {
	out := &responseWriter{w: w, c: http.NewResponseController(w)}
	w.WriteHeader(http.StatusOK)
	outlet := h.Pool.NewOutlet(out)
	whole := false
	done := make(chan struct{})
	sub := outlet.Attach(fanout.Feed{
		Viewer: s.viewer,
		Framer: &s.frame.file,
		Lead:   h.lead(s.viewer, false),
		AppendEnd: func(dst []byte, end hub.Reason) []byte {
			whole = end.Proper()
			return dst
		},
		Done: func(end hub.Reason) {
			if end == hub.ReasonConnection && r.Context().Err() != nil {
				end = hub.ReasonClientLeft // which HTTP/2 has an error of its own for
			}
			s.end(end)
			close(done)
		},
	})
	// A client that leaves a stream that sends nothing shows here only. Over HTTP/2 so does one that is late.
	stop := context.AfterFunc(r.Context(), func() {
		if out.overdue() {
			outlet.Fail(os.ErrDeadlineExceeded)
		} else {
			sub.Close()
		}
	})
	defer stop()
	<-done
	whole = whole && outlet.Flush(time.Now().Add(time.Second)) == nil // it has not failed meanwhile
	outlet.Close()
	out.wait()
	if !whole {
		panic(http.ErrAbortHandler) // returning would complete the body
	}
	return nil
}

// responseWriter is the connection of a viewer that is written to through its
// http.ResponseWriter, which nobody may touch once the handler has returned.
type responseWriter struct {
	w http.ResponseWriter
	c *http.ResponseController

	writing sync.Mutex // held during Write
	mu      sync.Mutex // may be taken after writing

	// Guarded by mu.
	closed, busy bool      // busy during Write, and after one that failed
	deadline     time.Time // for writing; zero for none
	// nearly is the deadline of the last Write where that had hardly any time left, zero otherwise: net/http may
	// have reset the stream before it took note that the deadline is gone.
	nearly time.Time
}

// hardly is how much time a Write has left at the most that nearly had none.
const hardly = time.Second

// Write writes p by the deadline. net/http knows of that only meanwhile: over HTTP/2 it would reset a
// stream on which nothing is written when the deadline of the last write passes.
func (o *responseWriter) Write(p []byte) (int, error) {
	o.writing.Lock()
	defer o.writing.Unlock()
	if err := o.begin(); err != nil {
		return 0, err
	}
	n, err := o.w.Write(p)
	if err == nil {
		err = o.c.Flush()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil { // and it stays busy: nothing is written any more
		if !o.nearly.IsZero() {
			return n, answer.Overdue(err, o.nearly)
		}
		return n, answer.Overdue(err, o.deadline)
	}
	o.busy, o.nearly = false, time.Time{}
	if !o.deadline.IsZero() {
		if time.Until(o.deadline) < hardly {
			o.nearly = o.deadline
		}
		o.setWriteDeadlineLocked(time.Time{})
	}
	return n, nil
}

func (o *responseWriter) begin() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return net.ErrClosed
	}
	o.busy = true
	if o.deadline.IsZero() {
		return nil
	}
	return o.setWriteDeadlineLocked(o.deadline)
}

// overdue reports whether a Write takes longer than it may, has failed since it did, or may have taken longer
// for net/http.
func (o *responseWriter) overdue() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	passed := func(deadline time.Time) bool { return !deadline.IsZero() && !now.Before(deadline) }
	return o.busy && passed(o.deadline) || passed(o.nearly)
}

func (o *responseWriter) SetWriteDeadline(t time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return net.ErrClosed
	}
	o.deadline = t
	if !o.busy {
		return nil
	}
	return o.setWriteDeadlineLocked(t)
}

func (o *responseWriter) setWriteDeadlineLocked(t time.Time) error {
	if err := o.c.SetWriteDeadline(t); !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// Close lets no other Write begin, and fails one that is under way where the
// server allows that. Without one, nothing is done to the body.
func (o *responseWriter) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || !o.busy {
		o.closed = true
		return nil
	}
	o.closed = true
	return o.setWriteDeadlineLocked(time.Unix(1, 0))
}

// wait waits for the end of a Write. It follows Close.
func (o *responseWriter) wait() {
	o.writing.Lock()
	defer o.writing.Unlock()
}

// appendLastChunk completes the body of a stream that came to its end. One that
// was broken off stays without a last chunk, which tells the player so.
func appendLastChunk(dst []byte, end hub.Reason) []byte {
	if end.Proper() {
		dst = append(dst, lastChunk...)
	}
	return dst
}

// appendHead appends the head of a 200 answer (RFC 9112 §4) whose connection ends
// with it.
func appendHead(dst []byte, header http.Header, chunked bool) []byte {
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	header.Set("Connection", "close")
	if chunked {
		header.Set("Transfer-Encoding", "chunked")
	}
	b := bytes.NewBuffer(append(dst, "HTTP/1.1 200 OK\r\n"...))
	header.Write(b)
	b.WriteString("\r\n")
	return b.Bytes()
}
