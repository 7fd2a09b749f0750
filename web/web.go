// Package web is what a browser shows: the list of streams, the player, and
// the small JSON endpoint that feeds both.
//
// [Handler] answers these paths:
//
//	/                   the page; /?stream=APP/NAME is the player of one stream,
//	                    /?recording=APP/NAME/ID that of a recording; what else its query
//	                    shows so that its viewer may watch (key, token, sign, …), the page
//	                    hands on to these, and to nobody else
//	                    /?wall=APP/NAME&wall=… are several streams at a time
//	/embed/APP/NAME     a stream's picture and nothing else, for other pages to frame
//	/assets/…           script, style and icon of the page, and mpegts.js
//	/api/v1/streams     the streams as JSON, see [Streams]
//	/api/v1/recordings  the recordings, see [Recordings]
//	/api/v1/still       the newest key frame of a stream, see [StillsConfig]
//
// Everything is embedded in the binary. The one part that is not ours,
// mpegts.js, is fetched from npm by
//
//	go generate ./web
//
// into a folder that git ignores. A binary built without it runs all the same,
// and its page says which command is missing.
package web

import (
	"cmp"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"sluice/httpflv/answer"
	"sluice/web/asset"
)

//go:generate go run ./internal/fetch

// Config says what the page shows. Its zero value is a page without streams.
type Config struct {
	// Streams returns the present streams in the order in which they are to be
	// shown; the caller owns the slice. Those that are only waited for are shown to
	// nobody: a viewer who waits may have made up the name, or know one that others
	// do not. It is called at most once in [maxAge], however many browsers ask, and
	// never by two goroutines at once. nil means that there are none.
	Streams func() []Stream

	// Private keeps the lists of streams and recordings to the server: watching needs
	// permission, and so does the knowledge of what there is. The page says so.
	Private bool

	// PublishPrivate says that publishing needs permission, which the page's own lines for that
	// do not have. The page says so.
	PublishPrivate bool

	// Recordings is where the API's recordings come from; the zero value where nothing is
	// recorded.
	Recordings RecordingsConfig

	// Stills are the newest pictures of streams.
	Stills StillsConfig

	// RTMP is where publishers and RTMP players connect, one address of each scheme at the most:
	// rtmp://:PORT, rtmps://:PORT or both. The host is that under which the browser reached the
	// page. nil means rtmp and [DefaultRTMPPort]; an empty list, that there is no RTMP.
	RTMP []string

	// Public is how the world reaches the server. It stands in the addresses that are shown,
	// shared and copied in place of RTMP, and of the host under which the browser reached the
	// page, from where the page still plays.
	Public Public

	// Version is shown at the foot of the page; empty means "devel".
	Version string

	// AllowOrigins lists the origins whose pages may read refusals; empty allows any.
	// Which pages may read the rest is for the caller of Handler to say.
	AllowOrigins answer.Origins

	// Embed lists the origins whose pages may frame /embed/APP/NAME, beside the server's own.
	Embed answer.Ancestors

	// Secure reports whether the connection of a request's client is TLS, which a proxy may
	// know; nil goes by the request's own.
	Secure func(*http.Request) bool

	// Logger gets one warning when the player is missing from the build;
	// nil means [slog.Default].
	Logger *slog.Logger

	// Now is the clock; nil means [time.Now].
	Now func() time.Time

	// assets replaces the embedded files, for tests.
	assets *asset.Files
}

// Handler returns the handler for the page, its assets and its API. It is safe
// for use by many goroutines, and starts none.
func Handler(c Config) http.Handler {
	c.Version = cmp.Or(c.Version, "devel")
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Secure == nil {
		c.Secure = func(r *http.Request) bool { return r.TLS != nil }
	}
	files := c.assets
	if files == nil {
		files = embedded()
	}
	if !files.Has(playerFile) {
		c.Logger.Warn("the browser player is not in this build", "remedy", generateCommand)
	}
	page := newRenderer(c, files)
	api := &api{config: c}
	if c.Stills.Take != nil {
		api.stills = newStillCache(c.Stills.Take)
	}

	r := chi.NewRouter()
	r.Use(secure)
	for path, handler := range map[string]http.HandlerFunc{
		"/":             page.index,
		embedPath + "*": page.embed,
		"/assets/*": func(w http.ResponseWriter, req *http.Request) {
			if !files.Serve(w, req, strings.TrimPrefix(req.URL.Path, "/assets/")) {
				c.notFound(w, req)
			}
		},
		"/api/v1/streams":     api.streams,
		recordingsPath:        api.recordings,
		recordingsPath + "/*": api.oneRecording,
		stillPath:             api.still,
	} {
		r.Get(path, handler)
		r.Head(path, handler) // chi's GetHead does not work in a mounted router
	}
	r.NotFound(c.notFound)
	r.MethodNotAllowed(c.notAllowed)
	return r
}

// secure sets the headers that every answer carries.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		// The query of the page's address may hold a permission: no request repeats it.
		h.Set("Referrer-Policy", "strict-origin")
		next.ServeHTTP(w, r)
	})
}

// refuse answers with a refusal.
func (c Config) refuse(w http.ResponseWriter, r *http.Request, status int, what, reason string) {
	c.AllowOrigins.Refuse(w, r, answer.Refusal{Status: status, Error: what, Reason: reason})
}

func (c Config) notFound(w http.ResponseWriter, r *http.Request) {
	reason := "there is nothing here; the page is at /, a stream at /APP/NAME.flv"
	if strings.HasPrefix(r.URL.Path, "/api/") {
		reason = "the API has no such path"
	}
	c.refuse(w, r, http.StatusNotFound, "not found", reason)
}

// notAllowed answers wrong methods; chi has set Allow.
func (c Config) notAllowed(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Allow", "GET, HEAD")
	c.refuse(w, r, http.StatusMethodNotAllowed, "method not allowed", "this path takes GET and HEAD")
}
