package admission

import (
	"context"
	"net"
	"net/http"
	"time"

	"sluice/httpflv/answer"
	"sluice/hub"
)

// connKey is the key of a connection's *conn in its context.
type connKey struct{}

func connOfContext(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}

// Guard sets up an HTTP server for a listener that Listen returned, before it serves.
// A connection becomes active with each request that has come whole, and is pending
// again after the answer. Requests of a connection that was turned away get an answer
// that says so.
//
// A trusted proxy's connection counts for the address that each request's RemoteAddr says,
// so what sets that (proxied.Forwarded) stands in front of the handler that Guard leaves in
// srv. A request beyond MaxPerAddress gets the same answer as a connection that was turned
// away.
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
		answer.BoundBody(w, r)
		if !c.beginRequest(r.RemoteAddr) {
			a.refuse(w, r, reasonFullOfAddress)
			return
		}
		if whole := r.ContentLength == 0; whole && (decides == nil || !decides(r)) {
			c.become(active, pending)
		}
		switch c.current() {
		case turnedFull:
			a.refuse(w, r, reasonFull)
		case turnedByAddress:
			a.refuse(w, r, reasonFullOfAddress)
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
			if c := connOf(nc); c != nil {
				c.endRequest()
			}
		}
	}
}

// Why a connection, or a request of a proxy, was turned away.
const (
	reasonFull          = "the server has as many connections as it takes"
	reasonFullOfAddress = "the server has as many connections from your address as it takes"
)

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

// refusalTimeout is how long a client that is turned away has to take its answer, and
// retryAfter when it may come again.
const (
	refusalTimeout = time.Second
	retryAfter     = 5 * time.Second
)

// refuse answers a request on a connection that was turned away. The connection ends
// with it.
func (a *Control) refuse(w http.ResponseWriter, r *http.Request, reason string) {
	w.Header().Set("Connection", "close")
	a.cfg.AllowOrigins.Refuse(w, r, answer.Refusal{
		Status: hub.ReasonTooMany.HTTPStatus(), Error: hub.ReasonTooMany.String(), Reason: reason,
		RetryAfter: retryAfter, Timeout: refusalTimeout,
	})
}
