package httpflv

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"sluice/hub"
	"sluice/hub/fanout"
	"sluice/hub/intake"
)

// socketSession is one client over WebSocket.
type socketSession interface {
	polled() *polledSocket
	// start begins to serve, when the client has permission. It does not block.
	start()
	// leave ends the session at any time, since nothing may be sent any more.
	leave()
}

// serveWebSocket upgrades the connection whatever the request was for, and then
// serves the client, or closes with the code and words of the refusal. asked says that
// the session has permission already, where it is not refused.
func (h *Handler) serveWebSocket(
	w http.ResponseWriter, r *http.Request, watcher *hub.Session, open func() socketSession, refused error, asked bool,
) {
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
	session := open()
	p := session.polled()
	p.handler, p.watcher = h, watcher
	if err := p.upgrade(w, r, h.Pool); err != nil {
		watcher.Refuse(err)
		return // answered by the library
	}
	// The rest of the session needs nothing of the HTTP server's, whose goroutine
	// and buffers end with this call.
	if refused != nil {
		p.refuse(refused)
		return
	}
	p.leaving = session.leave
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	of := r.Context() // and not the request, which is large and may be asked about for long
	h.mark(of, h.Asking)
	p.listen()
	h.serving.Add()
	ask := watcher.Ask
	if asked {
		ask = func(_ context.Context, answer func(error)) { answer(nil) }
	}
	ask(ctx, func(err error) {
		defer h.serving.Done()
		cancel()
		if err != nil {
			p.refuse(err)
			return
		}
		h.mark(of, h.Active)
		session.start()
	})
}

// polledSocket is a socket whose client is read from when it says something. As a rule it
// says nothing, so where the intake can wait for that, nobody else does: a goroutine reads
// from the first byte on, until the end.
//
//	listen ──▶ onInput ──▶ readToEnd ──▶ leaving
type polledSocket struct {
	socket
	handler *Handler
	watcher *hub.Session

	mu     sync.Mutex
	cancel context.CancelFunc // ends the question whether it may watch; nil after the answer
	left   bool               // no media follows
	over   bool               // and nobody needs to read any more
}

func (p *polledSocket) polled() *polledSocket { return p }

// listen has the connection read.
func (p *polledSocket) listen() {
	h := p.handler
	if h.Intake != nil && len(p.ahead) == 0 {
		if source, err := h.Intake.Add(p.Conn, p.onInput); err == nil {
			p.source = source
			if h.OnGivenUp != nil {
				h.OnGivenUp(p.Conn, source.Wake)
			}
			if p.isEncrypted() { // it may have read more than the request
				source.Wake()
			}
			source.Wait(time.Time{})
			return
		}
	}
	h.serving.Go(p.readToEnd)
}

// isEncrypted reports whether what comes need not be anything that the client says.
func (p *polledSocket) isEncrypted() bool {
	_, encrypted := p.Conn.(intake.Opener)
	return encrypted
}

// onInput follows the client's first byte, or its end.
func (p *polledSocket) onInput() {
	if p.isEncrypted() && !p.saysSomething() {
		p.source.Wait(time.Time{})
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over { // so that Handler.Wait has something to wait for
		p.handler.serving.Go(p.readToEnd)
	}
}

// saysSomething reads what came over TLS, which may be for TLS alone, and reports whether the client
// says something, or has left.
func (p *polledSocket) saysSomething() bool {
	var buf [socketBuffer]byte
	n, err := p.source.TryRead(buf[:])
	if n > 0 {
		p.keepAhead(buf[:n])
		return true
	}
	ne, ok := errors.AsType[net.Error](err)
	return !ok || !ne.Timeout()
}

// readToEnd reads until the client leaves.
func (p *polledSocket) readToEnd() {
	p.read()
	p.leaving()
}

// refuse closes the connection of a client that is not to be served.
func (p *polledSocket) refuse(err error) {
	p.watcher.Refuse(err)
	p.handler.serving.Go(func() {
		p.close(err)
		p.finish()
	})
}

// leftBecause returns why a client is no longer served that has left.
func (p *polledSocket) leftBecause() hub.Reason {
	if p.isBroken() {
		return hub.ReasonProtocol
	}
	return hub.ReasonClientLeft
}

// finish lets nobody begin to read.
func (p *polledSocket) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
}

// socketViewer is a viewer over WebSocket. It may leave at any time: while it is asked
// about, and before its stream has begun, too.
//
//	upgrade ─▶ listen ──────────────────────────────────────▶ leave
//	             │                                            │
//	             └─▶ Ask ─▶ start ─▶ served by the pool ─▶ done
type socketViewer struct {
	polledSocket
	request *request // nil after start
	frame   message

	// Guarded by mu.
	viewer *hub.Viewer // nil before it begins, and once done ends it
	sub    *fanout.Subscription
}

// start makes the viewer, and hands it to the pool, now or when the stream has something
// to start with.
func (v *socketViewer) start() {
	viewer, err := v.handler.Hub.Watch(v.watcher, v.request.opts)
	v.request = nil
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
	v.handler.serving.Add() // until done
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
	v.mu.Lock()
	viewer := v.viewer
	v.viewer = nil // so that leave, which the close frame calls, has it end for no other reason
	v.mu.Unlock()
	ending := viewer.Ending(why)
	v.close(ending)
	v.finish()
	viewer.End(ending)
	v.handler.serving.Done()
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
