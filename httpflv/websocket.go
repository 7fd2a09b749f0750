package httpflv

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"sluice/hub"
	"sluice/hub/fanout"
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
	v := new(socketViewer)
	if err := v.upgrade(w, r, h.Pool); err != nil {
		return // answered by the library
	}
	opts.Protocol = "ws-flv"
	var viewer *hub.Viewer
	if refused == nil {
		viewer, refused = h.Hub.Watch(key, opts)
	}
	// The rest of the session needs nothing of the HTTP server's, whose goroutine
	// and buffers end with this call.
	if refused != nil {
		h.sessions.Go(func() {
			h.logRefusal(opts, key, refused)
			v.close(refused)
		})
		return
	}
	v.session = h.session(viewer, opts)
	v.leaving = v.leave
	v.listen()
	v.start(opts)
}

// socketViewer is a viewer over WebSocket. It may leave at any time: before its
// stream has begun, too.
//
// What it says has to be read, but as a rule it says nothing. So where the intake
// can wait for that, nobody else does: a goroutine reads from the first byte on,
// until the end.
//
//	upgrade ─▶ listen ─────▶ heard ─▶ hear ─▶ leave
//	             │                              │
//	             └─▶ start ─▶ served by the pool ─▶ done
type socketViewer struct {
	socket
	session
	frame message

	mu   sync.Mutex
	left bool // no media follows
	over bool // and nobody needs to read any more
	sub  *fanout.Subscription
}

// listen has the connection read.
func (v *socketViewer) listen() {
	h := v.handler
	if h.Intake != nil && len(v.ahead) == 0 {
		if source, err := h.Intake.Add(v.Conn, v.heard); err == nil {
			v.source = source
			source.Wait(time.Time{})
			return
		}
	}
	h.sessions.Go(v.hear)
}

// heard follows the client's first byte, or its end.
func (v *socketViewer) heard() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.over { // so that Handler.Wait has something to wait for
		v.handler.sessions.Go(v.hear)
	}
}

// hear reads until the client leaves.
func (v *socketViewer) hear() {
	v.read()
	v.leave()
}

// start hands the viewer to the pool, now or when the stream has something to
// start with.
func (v *socketViewer) start(opts hub.WatchOptions) {
	if v.viewer.Wait(overdue) == nil {
		v.serve()
		return
	}
	v.handler.sessions.Go(func() {
		if err := v.viewer.Wait(context.Background()); err != nil {
			v.viewer.Close()
			v.handler.logRefusal(opts, v.viewer.Stream().Key(), err)
			v.close(err)
			v.finish()
			return
		}
		v.serve()
	})
}

// overdue is a context that lets nobody wait.
var overdue = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// serve hands the viewer to the pool.
func (v *socketViewer) serve() {
	v.begin()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.left {
		v.over = true
		v.end(hub.ReasonClientLeft)
		return
	}
	v.frame.audio, v.frame.video = v.viewer.Tracks()
	v.sub = v.outlet.Attach(fanout.Feed{Viewer: v.viewer, Framer: &v.frame, Done: v.done})
}

// done follows the viewer's last byte of media.
func (v *socketViewer) done(why hub.Reason) {
	v.close(&hub.Refusal{Reason: why})
	v.finish()
	v.end(why)
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
	defer v.mu.Unlock()
	v.left = true
	if v.sub != nil {
		v.sub.Close()
	} else {
		v.viewer.Close() // which may be waiting
	}
}
