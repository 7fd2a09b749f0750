package httpflv

import (
	"context"
	"net/http"
	"sync"
	"time"

	"sluice/hub"
	"sluice/hub/fanout"
)

// serveWebSocket upgrades the connection whatever the request was for, and then
// serves the viewer, or closes with the code and words of the refusal.
func (h *Handler) serveWebSocket(w http.ResponseWriter, r *http.Request, watcher *hub.Session, q request, refused error) {
	if r.Method != http.MethodGet {
		refusal := badRequest("a WebSocket is opened with GET")
		watcher.Refuse(refusal)
		w.Header().Set("Allow", http.MethodGet)
		h.writeRefusal(w, r, http.StatusMethodNotAllowed, refusal)
		return
	}
	if status, refusal := checkHandshake(w, r); refusal != nil {
		watcher.Refuse(refusal)
		if status == http.StatusUpgradeRequired { // RFC 9110 §15.5.22, RFC 6455 §4.2.2
			w.Header().Set("Upgrade", "websocket")
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Sec-WebSocket-Version", "13")
		}
		h.writeRefusal(w, r, status, refusal)
		return
	}
	v := &socketViewer{session: session{handler: h}, watcher: watcher}
	if err := v.upgrade(w, r, h.Pool); err != nil {
		watcher.Refuse(err)
		return // answered by the library
	}
	// The rest of the session needs nothing of the HTTP server's, whose goroutine
	// and buffers end with this call.
	if refused != nil {
		v.refuse(refused)
		return
	}
	v.leaving = v.leave
	ctx, cancel := context.WithCancel(context.Background())
	v.cancel = cancel
	of := r.Context() // and not the request, which is large and may be asked about for long
	h.mark(of, h.Asking)
	v.listen()
	h.serving.Add()
	watcher.Ask(ctx, func(err error) {
		defer h.serving.Done()
		cancel()
		if err != nil {
			v.refuse(err)
			return
		}
		h.mark(of, h.Active)
		v.watch(q)
	})
}

// socketViewer is a viewer over WebSocket. It may leave at any time: while it is asked
// about, and before its stream has begun, too.
//
// What it says has to be read, but as a rule it says nothing. So where the intake
// can wait for that, nobody else does: a goroutine reads from the first byte on,
// until the end.
//
//	upgrade ─▶ listen ────────────▶ onInput ─▶ readToEnd ─▶ leave
//	             │                                            │
//	             └─▶ Ask ─▶ watch ─▶ served by the pool ─▶ done
type socketViewer struct {
	socket
	session
	watcher *hub.Session
	frame   message

	mu     sync.Mutex
	cancel context.CancelFunc // ends the question whether it may watch; nil after the answer
	left   bool               // no media follows
	over   bool               // and nobody needs to read any more
	sub    *fanout.Subscription
}

// listen has the connection read.
func (v *socketViewer) listen() {
	h := v.handler
	if h.Intake != nil && len(v.ahead) == 0 {
		if source, err := h.Intake.Add(v.Conn, v.onInput); err == nil {
			v.source = source
			if h.OnGivenUp != nil {
				h.OnGivenUp(v.Conn, source.Wake)
			}
			source.Wait(time.Time{})
			return
		}
	}
	h.serving.Go(v.readToEnd)
}

// onInput follows the client's first byte, or its end.
func (v *socketViewer) onInput() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.over { // so that Handler.Wait has something to wait for
		v.handler.serving.Go(v.readToEnd)
	}
}

// readToEnd reads until the client leaves.
func (v *socketViewer) readToEnd() {
	v.read()
	v.leave()
}

// refuse closes the connection of a viewer that is not to be.
func (v *socketViewer) refuse(err error) {
	v.watcher.Refuse(err)
	v.handler.serving.Go(func() {
		v.close(err)
		v.finish()
	})
}

// watch makes the viewer, and hands it to the pool, now or when the stream has something
// to start with.
func (v *socketViewer) watch(q request) {
	viewer, err := v.handler.Hub.Watch(v.watcher, q.opts)
	if err != nil {
		v.refuse(err)
		return
	}
	v.mu.Lock()
	v.viewer, v.cancel = viewer, nil
	left := v.left
	v.mu.Unlock()
	if left {
		viewer.Close() // and the start fails
	}
	switch started, err := viewer.TryStart(); {
	case err != nil:
		viewer.Close()
		v.refuse(err)
	case started:
		v.serve()
	default:
		v.handler.serving.Go(v.wait)
	}
}

// wait waits for the stream's start.
func (v *socketViewer) wait() {
	if err := v.viewer.Wait(context.Background()); err != nil {
		v.viewer.Close()
		v.refuse(err)
		return
	}
	v.serve()
}

// serve hands the viewer to the pool.
func (v *socketViewer) serve() {
	v.begin()
	v.frame.audio, v.frame.video = v.viewer.Tracks()
	sub := v.outlet.Attach(fanout.Feed{
		Viewer: v.viewer, Framer: &v.frame, Lead: v.handler.lead(v.viewer, true), Done: v.done})
	v.mu.Lock()
	v.sub = sub
	left := v.left
	v.mu.Unlock()
	if left {
		sub.Close()
	}
}

// done follows the viewer's last byte of media.
func (v *socketViewer) done(why hub.Reason) {
	if why == hub.ReasonClientLeft {
		why = v.leftBecause()
	}
	v.close(&hub.Refusal{Reason: why})
	v.finish()
	v.end(why)
}

// leftBecause returns why a client is no longer served that has left.
func (v *socketViewer) leftBecause() hub.Reason {
	if v.isBroken() {
		return hub.ReasonProtocol
	}
	return hub.ReasonClientLeft
}

// finish lets nobody begin to read.
func (v *socketViewer) finish() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.over = true
}

// leave ends the viewer.
func (v *socketViewer) leave() {
	v.mu.Lock()
	v.left = true
	sub, viewer, cancel := v.sub, v.viewer, v.cancel
	v.mu.Unlock()
	switch {
	case sub != nil:
		sub.Close()
	case viewer != nil:
		viewer.End(&hub.Refusal{Reason: v.leftBecause()}) // it may be waiting
	case cancel != nil:
		cancel()
	}
}
