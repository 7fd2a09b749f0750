package admission

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"time"

	"sluice/hub"
)

// connKey is the key of a connection's *conn in its context.
type connKey struct{}

func connOfContext(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}

// BodyTimeout is how long the body of a request may take. What no handler reads,
// net/http reads after the answer, and would wait for it as long as it takes.
const BodyTimeout = 10 * time.Second

// Guard sets up an HTTP server for a listener that Listen returned, before it serves.
// A connection becomes active with each request that has come whole, and is pending
// again after the answer. Requests of a connection that was turned away get an answer
// that says so.
//
// Where decides is true of a request, its handler says by Asking and Active what its
// connection is; so does a handler that takes its connection over. decides may be nil.
func (a *Control) Guard(srv *http.Server, decides func(*http.Request) bool) {
	handler, connState, connContext := srv.Handler, srv.ConnState, srv.ConnContext
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := connOfContext(r.Context())
		if c == nil {
			handler.ServeHTTP(w, r)
			return
		}
		whole := r.ContentLength == 0 // -1 where it is not said
		if !whole {
			http.NewResponseController(w).SetReadDeadline(time.Now().Add(BodyTimeout))
		}
		if whole && (decides == nil || !decides(r)) {
			c.become(active, pending)
		}
		switch c.current() {
		case turnedFull:
			a.refuse(w, r, "the server has as many connections as it takes")
		case turnedByAddress:
			a.refuse(w, r, "the server has as many connections from your address as it takes")
		default:
			handler.ServeHTTP(w, r)
		}
	})
	srv.ConnContext = func(ctx context.Context, nc net.Conn) context.Context {
		if connContext != nil {
			ctx = connContext(ctx, nc)
		}
		if c := connOf(nc); c != nil {
			ctx = context.WithValue(ctx, connKey{}, c)
		}
		return ctx
	}
	srv.ConnState = func(nc net.Conn, s http.ConnState) {
		if connState != nil {
			connState(nc, s)
		}
		if s == http.StateIdle {
			become(nc, pending, pending, asking, active)
		}
	}
}

// Asking is MarkAsking for the connection of a request, by the request's context. It
// may be called by its handler, or later if the handler took the connection over.
func Asking(ctx context.Context) {
	if c := connOfContext(ctx); c != nil {
		c.become(asking, pending)
	}
}

// Active is MarkActive for the connection of a request, likewise.
func Active(ctx context.Context) {
	if c := connOfContext(ctx); c != nil {
		c.become(active, pending, asking)
	}
}

// refusalTimeout bounds the answer to a client that is turned away: net/http reads what
// is left of a request before it closes.
const refusalTimeout = time.Second

// refuse answers a request on a connection that was turned away. The connection ends
// with it.
func (a *Control) refuse(w http.ResponseWriter, r *http.Request, detail string) {
	c, deadline := http.NewResponseController(w), time.Now().Add(refusalTimeout)
	c.SetReadDeadline(deadline)
	c.SetWriteDeadline(deadline)
	header := w.Header()
	header.Set("Connection", "close")
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	a.cfg.AllowOrigins.Answer(header, r)
	header.Set("Retry-After", "5")
	w.WriteHeader(hub.ReasonTooMany.HTTPStatus())
	json.NewEncoder(w).Encode(map[string]string{
		"error":  hub.ReasonTooMany.String(),
		"reason": detail,
	})
}
