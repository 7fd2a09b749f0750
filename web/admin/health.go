package admin

import (
	"errors"
	"net/http"

	"sluice/httpflv/answer"
)

// Paths of Health.
const (
	healthPath = "/healthz"
	readyPath  = "/readyz"
)

func isHealth(path string) bool { return path == healthPath || path == readyPath }

// Draining is the error of Config.Ready, and of Health's ready, of a server that is told to end:
// what that has come to.
type Draining string

func (d Draining) Error() string { return string(d) }

// Health returns the handler of GET /healthz, which answers 200 as long as the process serves,
// and of GET /readyz, which answers 503 with the words of ready's error while the server takes
// nobody more: it is full, or about to end (Draining). Whoever balances load asks for the latter, whoever
// restarts what hangs for the former; neither needs a token. ready may be nil.
func Health(ready func() error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := &api{}
		switch {
		case !isHealth(r.URL.Path):
			a.say(w, r, reply{http.StatusNotFound, problem{"not found", "there is nothing here"}})
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			answer.BoundBody(w, r)
			w.Header().Set("Allow", "GET, HEAD")
			a.say(w, r, reply{http.StatusMethodNotAllowed, problem{"method not allowed", "this path takes GET and HEAD"}})
		case r.URL.Path == readyPath && ready != nil:
			if err := ready(); err != nil {
				what := "not ready"
				if isDraining(err) {
					what = "draining"
				}
				a.say(w, r, reply{http.StatusServiceUnavailable, problem{what, text(err.Error())}})
				return
			}
			fallthrough
		default:
			a.say(w, r, reply{body: health{"ok"}})
		}
	})
}

func isDraining(err error) bool {
	_, ok := errors.AsType[Draining](err)
	return ok
}

// health is the answer of a server that is well.
type health struct {
	Status string `json:"status"`
}
