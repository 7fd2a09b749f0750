// Package admin is the operators' API: what goes on, and what to do about it. It belongs on
// an address of its own, and every request but those of [Health] needs a token:
//
//	GET    /api/v1/streams                what is published and waited for
//	GET    /api/v1/sessions               who publishes and watches, and why a picture is black
//	GET    /api/v1/sessions/ID            one of them
//	GET    /api/v1/bans                   who may not
//	GET    /api/v1/recordings             what is recorded
//	GET    /api/v1/relays                 what comes from other servers, and goes to them
//	GET    /api/v1/nodes                  the nodes of a cluster, and which streams are where
//	GET    /api/v1/events                 what happened
//	GET    /api/v1/info                   the server and its sums
//	GET    /api/v1/series                 figures of the last minutes, for graphs
//	GET    /api/v1/openapi.json           all of this for programs (OpenAPI 3)
//	DELETE /api/v1/sessions/ID            end one
//	POST   /api/v1/streams/kick           end those of a stream
//	POST   /api/v1/streams/record         begin or end a recording
//	POST   /api/v1/streams/switch         go on with the publisher that stands by
//	POST   /api/v1/bans                   ban
//	DELETE /api/v1/bans/ID                and no longer
//	POST   /api/v1/relays                 pull a stream, or push some
//	DELETE /api/v1/relays/ID              and no longer
//	DELETE /api/v1/recordings/APP/NAME/ID
//	POST   /api/v1/recordings/APP/NAME/ID/pin, …/unpin
//
// Lists are paged: an answer that has a "next" is followed by that to ?cursor=NEXT (after= is
// the same). What comes or goes between two pages makes nothing appear twice. Queries that are
// not understood are errors, and so are unknown fields in bodies, which are JSON of 64 KiB at
// the most.
//
// Where the server is a node of a cluster, streams, sessions, recordings, relays, info and series may be asked for
// of another one, with ?node=NAME, the first three of all with ?node=all; a recording is deleted and pinned at the node
// that ?node=NAME names. Sessions of other nodes are NODE-ID there
// ("ref"). Bans, and kicks from a stream, are for all nodes; "unreached" are those that have not answered.
//
// The API is for programs and not for pages of a browser: it knows no cookies and answers no
// preflight. Nothing in it tells a secret; what a client showed of itself stands in JSON
// strings of bounded length, and is not to be trusted.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"sluice/httpflv/answer"
	"sluice/hub"
)

// Config says what the API is about. Hub and Token must be set. Its functions and parts may
// be called from any goroutine.
type Config struct {
	Hub Hub
	// Token returns the token that every request has to show, as it is now. One of less than
	// MinToken characters lets nobody in.
	Token func() string
	// Guard counts wrong tokens, also for what else it guards; nil for one of the API's own.
	Guard *Guard
	// Bans is the list of bans; nil where there is none, and then who is ended may come back.
	Bans Bans
	// Relays pulls and pushes; nil where nothing does.
	Relays Relays
	// Nodes are those of the cluster that the server is one of; nil where it is alone.
	Nodes Nodes
	// Recorder records by hand; nil where nothing is recorded.
	Recorder Recorder
	// Union has the recordings of all nodes; nil where this server is alone.
	Union Union
	// Archive has the recordings of this server; nil where there are none, of others neither.
	Archive Archive
	// Events returns at most max events that came after the one of a number, the number of
	// the last of them (after itself if there are none), and how many between are not kept
	// any more; nil where no events are kept.
	Events func(after uint64, max int) (events []json.RawMessage, next, missed uint64)
	// WaitEvents returns when there is an event after the one of a number, when ctx ends, or
	// when the server is about to end; nil where nobody can wait.
	WaitEvents func(ctx context.Context, after uint64) error
	// Monitor knows the figures of the last minutes, and what is wrong with publishers; nil where
	// nothing is measured.
	Monitor Monitor
	// Info returns what the API cannot know by itself; nil for nothing.
	Info func() Info
	// Ready is as for Health.
	Ready func() error
	// Logger gets a line for each action; slog.Default if nil.
	Logger *slog.Logger
}

// Hub is what the API needs of a *hub.Hub.
type Hub interface {
	Streams() []hub.StreamInfo
	Sessions() []hub.SessionInfo
	Examine([]hub.SessionInfo) []hub.ViewerInfo
	Totals() []hub.SessionTotals
	Live(hub.Key) bool
	Dismiss(who func(*hub.Session) bool, why *hub.Refusal) int
	Switch(hub.Key) error
}

// api answers everything that needs the token.
type api struct {
	Config
	self  func() (name, boot string) // of this node; "" where it is alone
	local bool                       // answers for this node alone
}

// Handler returns the handler of the API and of Health. It is safe for use by many
// goroutines, and starts none.
func Handler(c Config) http.Handler {
	a := newAPI(c)
	guarded, health := a.Guard.Require(a.routes(), a.Token), Health(a.Ready)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isHealth(r.URL.Path) {
			health.ServeHTTP(w, r)
			return
		}
		guarded.ServeHTTP(w, r)
	})
}

func newAPI(c Config) *api {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Info == nil {
		c.Info = func() Info { return Info{} }
	}
	if c.Guard == nil {
		c.Guard = NewGuard(c.Logger)
	}
	return &api{Config: c, self: self(&c)}
}

// recordingsPath is where recordings are.
const recordingsPath = "/api/v1/recordings/"

func (a *api) routes() chi.Router {
	r := chi.NewRouter()
	for path, handle := range map[string]func(*http.Request) (reply, error){
		"/api/v1/streams":      a.streams,
		"/api/v1/sessions":     a.sessions,
		"/api/v1/bans":         a.bans,
		"/api/v1/nodes":        a.nodes,
		"/api/v1/recordings":   a.recordings,
		"/api/v1/relays":       a.relays,
		"/api/v1/events":       a.events,
		"/api/v1/info":         a.info,
		"/api/v1/series":       a.series,
		"/api/v1/openapi.json": a.document,
	} {
		if _, ok := asked[path]; ok {
			handle = a.anywhere(handle)
		}
		r.Get(path, a.answer(handle))
		r.Head(path, a.answer(handle))
	}
	r.Get("/api/v1/sessions/{id}", a.answer(a.session))
	r.Head("/api/v1/sessions/{id}", a.answer(a.session))
	r.Delete("/api/v1/sessions/{id}", a.answer(a.endSession))
	r.Post("/api/v1/streams/kick", a.answer(a.kick))
	r.Post("/api/v1/streams/record", a.answer(a.record))
	r.Post("/api/v1/streams/switch", a.answer(a.switchPublisher))
	r.Post("/api/v1/bans", a.answer(a.addBan))
	r.Delete("/api/v1/bans/{id}", a.answer(a.removeBan))
	r.Post("/api/v1/relays", a.answer(a.addRelay))
	r.Delete("/api/v1/relays/{id}", a.answer(a.removeRelay))
	r.Delete(recordingsPath+"*", a.answer(a.onNode(a.deleteRecording)))
	r.Post(recordingsPath+"*", a.answer(a.onNode(a.pinRecording)))
	r.NotFound(a.answer(func(*http.Request) (reply, error) {
		return reply{}, refuse(http.StatusNotFound, "not found", "the API has no such path")
	}))
	r.MethodNotAllowed(func(w http.ResponseWriter, req *http.Request) {
		allow := slices.DeleteFunc([]string{"GET", "HEAD", "POST", "DELETE"}, func(method string) bool {
			return !r.Match(chi.NewRouteContext(), method, req.URL.Path)
		})
		w.Header().Set("Allow", strings.Join(allow, ", "))
		a.answer(func(*http.Request) (reply, error) {
			return reply{}, refuse(http.StatusMethodNotAllowed, "method not allowed", "this path takes "+strings.Join(allow, ", "))
		})(w, req)
	})
	return r
}

// reply is what is answered: a value as JSON, or nothing at all.
type reply struct {
	status int // 0 for 200
	body   any // nil for no content
}

// refusal is the error of a request that cannot be answered otherwise.
type refusal struct {
	status       int
	what, reason string
}

func (r *refusal) Error() string { return r.what + ": " + r.reason }

func refuse(status int, what, reason string) error { return &refusal{status, what, reason} }

func badRequest(reason string) error { return refuse(http.StatusBadRequest, "bad request", reason) }

// answer makes a handler of a function that answers, or refuses with a *refusal, or a
// *hub.Refusal. Any other error is a failure of the server and is not told.
func (a *api) answer(handle func(*http.Request) (reply, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer.BoundBody(w, r)
		said, err := handle(r)
		if err == nil {
			a.say(w, r, said)
			return
		}
		said = reply{status: http.StatusInternalServerError, body: problem{"internal error", "the server cannot do that now; its log says why"}}
		if own, ok := errors.AsType[*refusal](err); ok {
			said = reply{own.status, problem{own.what, own.reason}}
		} else if theirs, ok := errors.AsType[*hub.Refusal](err); ok {
			said = reply{theirs.Reason.HTTPStatus(), problem{theirs.Reason.String(), theirs.Detail}}
		} else {
			a.Logger.Error("an operator's request failed", "method", r.Method, "address", remote(r), "error", err)
		}
		a.say(w, r, said)
	}
}

// problem is the body of every answer that refuses.
type problem struct {
	Error  string `json:"error"`  // in words of a bounded set
	Reason string `json:"reason"` // a sentence for people
}

// say writes an answer.
func (a *api) say(w http.ResponseWriter, r *http.Request, said reply) { say(w, r, said, a.Logger) }

// say writes an answer. Only one that is known to encode as JSON needs no log.
func say(w http.ResponseWriter, r *http.Request, said reply, log *slog.Logger) {
	answer.Bound(w, r)
	if said.status == 0 {
		said.status = http.StatusOK
	}
	if said.body == nil {
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(said.status)
		return
	}
	body, err := json.Marshal(said.body)
	if err != nil {
		log.Error("an answer cannot be told as JSON", "error", err)
		said.status, body = http.StatusInternalServerError, []byte(`{"error":"internal error","reason":"the answer cannot be told"}`)
	}
	answer.JSON(w, said.status, append(body, '\n'))
}

// log writes the line of an action.
func (a *api) log(r *http.Request, does string, args ...any) {
	a.Logger.Info("operator", append([]any{"does", does, "address", remote(r).String()}, args...)...)
}

// remote returns the address of who asks, the zero Addr if it has none.
func remote(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}
