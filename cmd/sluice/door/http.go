package door

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"time"

	"sluice/hub"
)

// visitKey is the key of a connection's *visit in its context.
type visitKey struct{}

// BodyTimeout is how long the body of a request may take. What no handler reads,
// net/http reads after the answer, and would wait for it as long as it takes.
const BodyTimeout = 10 * time.Second

// Guard sets up a server of HTTP to serve a listener of the door, before it does: a
// connection settles with each request that has come whole, or when its handler
// takes it over, and is pending again after the answer. Whoever was turned away gets
// an answer that says so.
func (d *Door) Guard(srv *http.Server) {
	handler, state, connContext := srv.Handler, srv.ConnState, srv.ConnContext
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, ok := r.Context().Value(visitKey{}).(*visit)
		if !ok {
			handler.ServeHTTP(w, r)
			return
		}
		if r.ContentLength != 0 { // -1 where it is not said
			http.NewResponseController(w).SetReadDeadline(time.Now().Add(BodyTimeout))
		}
		switch v.asks(r.ContentLength == 0) {
		case turnedFull:
			d.refuse(w, r, "the server has as many connections as it takes")
		case turnedAlike:
			d.refuse(w, r, "the server has as many connections from your address as it takes")
		default:
			handler.ServeHTTP(w, r)
		}
	})
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if connContext != nil {
			ctx = connContext(ctx, c)
		}
		if v := visitOf(c); v != nil {
			ctx = context.WithValue(ctx, visitKey{}, v)
		}
		return ctx
	}
	srv.ConnState = func(c net.Conn, s http.ConnState) {
		if state != nil {
			state(c, s)
		}
		v := visitOf(c)
		switch {
		case v == nil:
		case s == http.StateHijacked:
			v.settle()
		case s == http.StateIdle:
			v.pend()
		}
	}
}

// refusalTimeout bounds the answer to who is turned away: net/http reads what is
// left of a request before it closes.
const refusalTimeout = time.Second

// refuse answers a request on a connection that is one too many, in the form of all
// refusals. The connection ends with it.
func (d *Door) refuse(w http.ResponseWriter, r *http.Request, detail string) {
	c, deadline := http.NewResponseController(w), time.Now().Add(refusalTimeout)
	c.SetReadDeadline(deadline)
	c.SetWriteDeadline(deadline)
	header := w.Header()
	header.Set("Connection", "close")
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	d.cfg.AllowOrigins.Answer(header, r)
	header.Set("Retry-After", "5")
	w.WriteHeader(hub.ReasonTooMany.HTTPStatus())
	json.NewEncoder(w).Encode(map[string]string{
		"error":  hub.ReasonTooMany.String(),
		"reason": detail,
	})
}
