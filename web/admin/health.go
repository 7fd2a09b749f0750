package admin

import (
	"net/http"

	"sluice/httpflv/answer"
)

// Paths of Health.
const (
	healthPath = "/healthz"
	readyPath  = "/readyz"
)

func isHealth(path string) bool { return path == healthPath || path == readyPath }

// Health returns the handler of GET /healthz, which answers 200 as long as the process serves,
// and of GET /readyz, which answers 503 with the words of ready's error while the server takes
// nobody more: it is full, or about to end. Whoever balances load asks for the latter, whoever
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
				a.say(w, r, reply{http.StatusServiceUnavailable, problem{"not ready", text(err.Error())}})
				return
			}
			fallthrough
		default:
			a.say(w, r, reply{body: health{"ok"}})
		}
	})
}

// health is the answer of a server that is well.
type health struct {
	Status string `json:"status"`
}
