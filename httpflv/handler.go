// Package httpflv serves the hub's streams as HTTP-FLV and, on the same URLs, as
// WebSocket-FLV:
//
//	GET /APP/NAME.flv[?onlyaudio=1|onlyvideo=1]  the other track is left out
//	                 [&start=live|&back=SECONDS]  begin at the live edge, or further back
//	                 [&track=N|&track=all]        one track of several, or all as sent,
//	                                              script data in the flow included
//	                 [&hevc=legacy|enhanced]      the form of HEVC
//	                 [&chunked=0]                 no chunks in an HTTP/1.1 body
//
// Without any of them, a viewer gets the newest GOP of track 0, in the form that
// players in browsers read ([flv.FormBrowser]). All but chunked are those of
// [hub.WatchOptions.ReadQuery]; other parameters mean nothing.
//
// A server that relays the stream says so by a header field (PathHeader). It is served as
// with track=all, unless it asks for a track or form, and told who answers (NodeHeader).
//
// An answer is a refusal with a reason in JSON, or an endless FLV file that begins with
// metadata, codec headers and the current GOP. WebSocket clients get their 101 at once,
// and a refusal as close code and reason, since a browser does not let a script see why
// an upgrade failed.
package httpflv

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"sluice/httpflv/answer"
	"sluice/hub"
	"sluice/hub/fanout"
	"sluice/hub/intake"
	"sluice/hub/waitgroup"
)

// Suffix ends the path of every stream that this package serves.
const Suffix = ".flv"

// Handler serves streams. Hub and Pool must be set; the rest may be zero.
//
// Connections are taken over from the HTTP server where it allows that. Then
// http.Server.Shutdown does not know of them: hub.Shutdown ends them, and Wait waits for
// that.
type Handler struct {
	Hub  *hub.Hub
	Pool *fanout.Pool
	// Intake waits until WebSocket clients send something, which they seldom do. If it is
	// nil, or can't wait for a connection, a goroutine for each client does.
	Intake *intake.Pool
	// Asking and Active, if not nil, are told, by the context of its request, of a viewer
	// about which the policy is asked, and of one that may watch.
	Asking, Active func(ctx context.Context)
	// OnGivenUp, if not nil, is given what to call when somebody else closes the connection
	// for which Intake waits, while the policy is asked.
	OnGivenUp func(c net.Conn, wake func())
	// Rewind returns what a viewer that has started is given before it is served from the
	// log, nil for nothing. holds says that the client takes all that it is sent at once,
	// as scripts in browsers do. It may be nil.
	Rewind func(v *hub.Viewer, holds bool) fanout.Lead
	// AllowOrigins lists the origins whose pages may watch; empty allows any.
	AllowOrigins answer.Origins

	// serving is what Wait waits for: calls of ServeHTTP, and the goroutines and sessions
	// that outlast them.
	serving waitgroup.Group
}

// Wait returns when every viewer has ended and its connection is closed. Requests that
// come after Wait was called are refused, those for a WebSocket without upgrading them,
// since nobody would be left to close the connection.
func (h *Handler) Wait() { h.serving.Wait() }

// ServeHTTP serves one viewer, or refuses it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.serve(w, r, func() exchange {
		q, err := parseRequest(r)
		client := ClientOf(r)
		client.Protocol = "http-flv"
		if wantsWebSocket(r) {
			client.Protocol = "ws-flv"
		}
		if badPath := readPath(&client, r); err == nil {
			err = badPath
		}
		return exchange{
			key: q.key, client: client, err: err,
			body: func(s *hub.Session) error {
				if r.Method == http.MethodHead {
					return h.head(w, r, s.Key())
				}
				return h.serveBody(w, r, s, q)
			},
			socket: func() socketSession {
				return &socketViewer{request: &q}
			},
		}
	})
}

// exchange is what a request asks for, and how it is served once it may have that.
type exchange struct {
	key    hub.Key // the zero Key if the request names no stream
	client hub.Client
	err    error // a *hub.Refusal: why it is refused whatever the policy says
	// first may answer a request for a WebSocket before the upgrade, once the session may; nil for nothing.
	first func(*hub.Session) (answered bool, err error)
	// body serves the request over HTTP. It returns an error if the answer has not begun.
	body func(*hub.Session) error
	// socket makes what serves the request over WebSocket.
	socket func() socketSession
}

// serve serves the client of one request, or refuses it. ask is called at most once, before
// anything is answered.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, ask func() exchange) {
	denied := h.answerOrigin(w.Header(), r)
	h.tellNode(w.Header(), r)
	if !h.serving.Enter() {
		h.writeRefusal(w, r, hub.ReasonShuttingDown.HTTPStatus(), &hub.Refusal{
			Reason: hub.ReasonShuttingDown, Detail: "the server is shutting down"})
		return
	}
	defer h.serving.Done()
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		if denied == nil {
			answer.Bound(w, r)
			w.Header().Set("Allow", allowedMethods)
			w.WriteHeader(http.StatusNoContent)
			return
		}
	default:
		w.Header().Set("Allow", allowedMethods)
		h.writeRefusal(w, r, http.StatusMethodNotAllowed, badRequest("a stream can be fetched with GET only"))
		return
	}
	x := ask()
	err := x.err
	if denied != nil {
		err = denied
	}
	s := h.Hub.NewSession(hub.RoleWatch, x.key, x.client)
	if wantsWebSocket(r) {
		may := x.first != nil && err == nil && h.isHandshake(w, r)
		if may {
			h.mark(r.Context(), h.Asking)
			if err = s.AskAndWait(r.Context()); err == nil {
				var answered bool
				if answered, err = x.first(s); answered {
					return
				}
			}
		}
		h.serveWebSocket(w, r, s, x.socket, err, may)
		return
	}
	if err == nil {
		// One that the server has set is for answers that do not wait for anybody.
		http.NewResponseController(w).SetWriteDeadline(time.Time{})
		h.mark(r.Context(), h.Asking)
		err = s.AskAndWait(r.Context())
	}
	if err == nil {
		h.mark(r.Context(), h.Active)
		err = x.body(s)
	}
	if err != nil {
		s.Refuse(err)
		h.refuse(w, r, err)
	}
}

// mark tells how far the viewer of a request has come, by the request's context.
func (h *Handler) mark(ctx context.Context, told func(context.Context)) {
	if told != nil {
		told(ctx)
	}
}

// lead returns what comes before the log for a viewer, if anything does.
func (h *Handler) lead(v *hub.Viewer, holds bool) fanout.Lead {
	if h.Rewind == nil {
		return nil
	}
	return h.Rewind(v, holds)
}

// head answers HEAD with the header that GET would have, if the stream is live now.
func (h *Handler) head(w http.ResponseWriter, r *http.Request, key hub.Key) error {
	if !h.Hub.Live(key) {
		return &hub.Refusal{Reason: hub.ReasonNotFound, Detail: "nobody publishes " + key.String() + " now"}
	}
	answer.Bound(w, r)
	StreamHeader(w.Header())
	w.WriteHeader(http.StatusOK)
	return nil
}

// allowedMethods are the methods that a stream's URL has.
const allowedMethods = "GET, HEAD, OPTIONS"

// answerOrigin sets what a browser has to know before it lets a page of another origin
// read the answer, whatever that will be. The error is the refusal for pages that may
// not.
func (h *Handler) answerOrigin(header http.Header, r *http.Request) error {
	if !h.AllowOrigins.Answer(header, r) {
		return &hub.Refusal{Reason: hub.ReasonDenied, Detail: answer.DeniedOrigin}
	}
	if r.Method != http.MethodOptions {
		return nil
	}
	header.Set("Access-Control-Allow-Methods", allowedMethods)
	header.Set("Access-Control-Max-Age", "86400")
	allowed := "Range, Content-Type, Accept, Cache-Control"
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		allowed = asked
	}
	header.Set("Access-Control-Allow-Headers", allowed)
	if r.Header.Get("Access-Control-Request-Private-Network") == "true" {
		header.Set("Access-Control-Allow-Private-Network", "true")
	}
	return nil
}

// StreamHeader sets the header fields of a body that is a stream.
func StreamHeader(header http.Header) {
	header.Set("Content-Type", "video/x-flv")
	header.Set("Cache-Control", "no-cache, no-store")
	header.Set("X-Accel-Buffering", "no") // nginx passes the body on as it comes
	header.Set("X-Content-Type-Options", "nosniff")
}

// refuse answers with the status and the words of err. If err is no refusal, the client
// has left: the connection is broken off, since net/http would otherwise complete an
// answer without a status as an empty stream.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	refusal, ok := errors.AsType[*hub.Refusal](err)
	if !ok || refusal.Reason == hub.ReasonClientLeft {
		answer.Bound(w, r) // net/http reads the rest of a body even so
		panic(http.ErrAbortHandler)
	}
	h.writeRefusal(w, r, refusal.Reason.HTTPStatus(), refusal)
}

// writeRefusal answers with a status and the words of a refusal.
func (h *Handler) writeRefusal(w http.ResponseWriter, r *http.Request, status int, refusal *hub.Refusal) {
	what := refusal.Reason.String()
	h.AllowOrigins.Refuse(w, r, answer.Refusal{Status: status, Error: what, Reason: cmp.Or(refusal.Detail, what)})
}
