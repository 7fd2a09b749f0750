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

// BodyTimeout is how long the body of a request may take. What no handler reads,
// net/http reads after the answer, and would wait for it as long as it takes.
const BodyTimeout = 10 * time.Second

// Guard sets up a server of HTTP to serve a listener of the door, before it does: a
// connection becomes active with each request that has come whole, or when its handler
// takes it over, and is pending again after the answer. Whoever was turned away gets
// an answer that says so.
func (a *Control) Guard(srv *http.Server) {
	handler, state, connContext := srv.Handler, srv.ConnState, srv.ConnContext
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := r.Context().Value(connKey{}).(*conn)
		if !ok {
			handler.ServeHTTP(w, r)
			return
		}
		if r.ContentLength != 0 { // -1 where it is not said
			http.NewResponseController(w).SetReadDeadline(time.Now().Add(BodyTimeout))
		}
		switch c.asks(r.ContentLength == 0) {
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
		if state != nil {
			state(nc, s)
		}
		c := connOf(nc)
		switch {
		case c == nil:
		case s == http.StateHijacked:
			c.markActive()
		case s == http.StateIdle:
			c.pend()
		}
	}
}

// refusalTimeout bounds the answer to who is turned away: net/http reads what is
// left of a request before it closes.
const refusalTimeout = time.Second

// refuse answers a request on a connection that is one too many, in the form of all
// refusals. The connection ends with it.
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
