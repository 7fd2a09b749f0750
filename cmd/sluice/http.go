package main

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"

	"sluice/cmd/sluice/admission"
	"sluice/httpflv"
	"sluice/httpflv/answer"
	"sluice/httpflv/vod"
	"sluice/hub"
	"sluice/web"
	"sluice/web/admin"
)

// Bounds on HTTP requests and on ordinary answers; those of bodies and refusals are in
// package answer. The answer to a viewer may last for days: httpflv sets deadlines for it.
const (
	// readHeaderTimeout is how long a client has to send the header of a request: from
	// when it connected, or from the first bytes of a further request.
	readHeaderTimeout = 10 * time.Second
	// maxHeaderBytes bounds a request's first line and header; net/http allows 4 KB more.
	maxHeaderBytes = 32 << 10
	// answerTimeout is how long a client may take for a whole page, script or the like.
	answerTimeout = 30 * time.Second
	// idleTimeout is how long a connection is kept open for a further request.
	idleTimeout = 60 * time.Second
)

// Bounds on connections of HTTP/2, each of whose streams is a request.
const (
	// maxHTTP2Streams is how many requests a connection may have at a time, viewers among them. A
	// further one waits in the browser, or takes another connection.
	maxHTTP2Streams = 32
	// http2Buffer bounds what a connection may send of the bodies of its requests that nobody has read,
	// in bytes. It is the least that there can be.
	http2Buffer = 64 << 10
	// http2Ping is after how much silence a client is asked whether it is still there, and
	// http2PingTimeout how long it has for the answer.
	http2Ping, http2PingTimeout = 30 * time.Second, 15 * time.Second
)

// http2Config returns how HTTP/2 is spoken. A connection to which nothing at all can be written is
// closed after as long as any viewer's.
func http2Config(cfg *config) *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams:          maxHTTP2Streams,
		MaxReceiveBufferPerConnection: http2Buffer, MaxReceiveBufferPerStream: http2Buffer,
		SendPingTimeout: http2Ping, PingTimeout: http2PingTimeout, WriteByteTimeout: cfg.StallTimeout,
	}
}

// site is everything that is HTTP.
type site struct {
	streams http.Handler // serves the paths that end in .flv; checks origins itself
	// recordings serves the paths below /rec/, and checks origins itself; nil where nothing is
	// recorded.
	recordings http.Handler
	page       http.Handler   // serves the page and its API
	health     http.Handler   // serves /healthz and /readyz
	origins    answer.Origins // whose pages may have the page and its API
}

// newHTTP returns the server of HTTP.
func (s *service) newHTTP(cfg *config, l listeners, log *slog.Logger) *http.Server {
	s.flv = &httpflv.Handler{
		Hub: s.hub, Pool: s.pool, Intake: s.intake, AllowOrigins: cfg.AllowOrigins,
		Asking: admission.Asking, Active: admission.Active, OnGivenUp: admission.OnGivenUp,
		Rewind: s.rewind,
	}
	recorded, api := s.recordings.serve(*cfg, s.flv, log)
	page := web.Handler(web.Config{
		Recordings:   api,
		Stills:       stills(s.hub),
		Streams:      func() []web.Stream { return web.FromHub(s.hub.Streams(), time.Now()) },
		RTMP:         rtmpAddresses(cfg, l),
		Public:       cfg.public(),
		Version:      versionText(),
		Private:      cfg.permission != nil && cfg.permission.isPrivate(cfg),
		AllowOrigins: cfg.AllowOrigins,
		Embed:        cfg.EmbedOrigins,
		Secure:       httpflv.IsSecure,
		Logger:       log,

		PublishPrivate: cfg.permission != nil && !cfg.permission.policy.Open(hub.RolePublish),
	})
	site := site{streams: s.flv, recordings: recorded, page: page, origins: cfg.AllowOrigins, health: admin.Health(s.ready)}
	srv := newHTTPServer(site, log)
	srv.HTTP2 = http2Config(cfg)
	if cfg.certificates != nil {
		srv.Handler = cfg.certificates.Challenge(srv.Handler)
	}
	s.admission.Guard(srv, site.decides)
	forwarded(srv, cfg)
	return srv
}

// newHTTPServer returns the server of a site.
func newHTTPServer(s site, log *slog.Logger) *http.Server {
	srv := &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: readHeaderTimeout,
		WriteTimeout:      answerTimeout, // also of what net/http answers by itself
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(httpLog{log.Handler()}, slog.LevelDebug),
		// It waits for a body without a deadline.
		DisableGeneralOptionsHandler: true,
	}
	var silent silentConns
	srv.ConnState = silent.note
	srv.RegisterOnShutdown(silent.close)
	return srv
}

// silentConns are the connections that have not sent a request yet. Browsers
// keep such ones in reserve, and http.Server.Shutdown would wait 5 s for them.
// The zero value is ready.
type silentConns struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// note is for http.Server.ConnState.
func (s *silentConns) note(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state != http.StateNew {
		delete(s.conns, c)
		return
	}
	if s.conns == nil {
		s.conns = make(map[net.Conn]struct{})
	}
	s.conns[c] = struct{}{}
}

// close closes them all.
func (s *silentConns) close() {
	s.mu.Lock()
	conns := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
}

// routes returns the handler of all paths. Where there are recordings, /rec/ is theirs alone;
// then the ending .flv is looked at, so that an app may be called "assets" or "api".
func (s site) routes() http.Handler {
	r := chi.NewRouter()
	r.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answer.BoundBody(w, r)
			if media := s.media(r); media != nil {
				media.ServeHTTP(w, r)
				return
			}
			// Without a list, pages of other origins may read refusals, but not the page and
			// the API.
			denied := len(s.origins) > 0 && !s.origins.Answer(w.Header(), r)
			switch {
			case !isPath(r):
				s.refuse(w, r, http.StatusBadRequest, "bad request", "the target is neither a path nor a URL")
			case denied:
				s.refuse(w, r, http.StatusForbidden, hub.ReasonDenied.String(), answer.DeniedOrigin)
			default:
				next.ServeHTTP(w, r)
			}
		})
	})
	r.Handle("/healthz", s.health)
	r.Handle("/readyz", s.health)
	r.Handle("/", s.page)
	r.Handle("/assets/*", s.page)
	r.Handle("/embed/*", s.page)
	r.Handle("/api/v1/*", s.page)
	r.NotFound(s.notFound)
	r.MethodNotAllowed(s.notAllowed)
	return r
}

// media returns the handler of a request for a recording or a stream, which asks the policy by
// itself; nil if it is for neither.
func (s site) media(r *http.Request) http.Handler {
	switch {
	case s.recordings != nil && isPath(r) && strings.HasPrefix(r.URL.Path, vod.Prefix):
		return s.recordings
	case isStream(r):
		return s.streams
	}
	return nil
}

// decides reports whether the handler of a request says by itself what its connection is, for
// the admission.
func (s site) decides(r *http.Request) bool { return s.media(r) != nil }

// isPath reports whether the target of a request is a path, or a URL with one.
func isPath(r *http.Request) bool { return r.URL.Opaque == "" }

// isStream reports whether a request is for the handler of streams.
func isStream(r *http.Request) bool {
	return isPath(r) && strings.HasSuffix(r.URL.Path, httpflv.Suffix)
}

// notFound answers for paths at which nothing is served. Who looks at that of a stream in a browser
// is led to its page.
func (s site) notFound(w http.ResponseWriter, r *http.Request) {
	if web.ToPage(w, r) {
		return
	}
	s.refuse(w, r, http.StatusNotFound, "not found", "nothing is served here; a stream is at /APP/NAME.flv, and its page at /?stream=APP/NAME")
}

// notAllowed answers methods that HTTP does not have.
func (s site) notAllowed(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Allow", "GET, HEAD")
	s.refuse(w, r, http.StatusMethodNotAllowed, "method not allowed", "there is no such method; everything here takes GET")
}

// refuse answers with a refusal, which any page may read where there is no list of
// origins.
func (s site) refuse(w http.ResponseWriter, r *http.Request, status int, what, reason string) {
	s.origins.Refuse(w, r, answer.Refusal{Status: status, Error: what, Reason: reason})
}

// httpLog handles what net/http logs: noise from clients that break off keeps the level
// of the record, debug, but a panic in a handler is an error.
type httpLog struct{ slog.Handler }

// Enabled lets every record pass to Handle, which knows its text.
func (h httpLog) Enabled(context.Context, slog.Level) bool { return true }

// Handle passes r on, a panic as an error. Parts of the text may come from a client, so
// it is an attribute.
func (h httpLog) Handle(ctx context.Context, r slog.Record) error {
	level := r.Level
	if strings.Contains(r.Message, "panic serving") {
		level = slog.LevelError
	}
	if !h.Handler.Enabled(ctx, level) {
		return nil
	}
	record := slog.NewRecord(r.Time, level, "http server", r.PC)
	record.Add("says", r.Message)
	return h.Handler.Handle(ctx, record)
}
