package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
)

// Bounds on HTTP requests and on ordinary answers. A viewer's answer may last
// for days; whoever writes it sets a deadline for each write.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 60 * time.Second
	answerTimeout     = 30 * time.Second
	maxHeaderBytes    = 32 << 10
)

// newHTTPServer returns the server of everything that is HTTP: streams answers
// paths that end in .flv, page the rest.
func newHTTPServer(page, streams http.Handler, log *slog.Logger) *http.Server {
	srv := &http.Server{
		Handler:           routes(page, streams),
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(httpLog{log.Handler()}, slog.LevelDebug),
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

// routes says which part answers which path. The ending decides first, so that
// an app may be called "assets" or "api".
func routes(page, streams http.Handler) http.Handler {
	r := chi.NewRouter()
	r.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, ".flv") {
				streams.ServeHTTP(w, r)
				return
			}
			// net/http takes both back after the answer
			c, deadline := http.NewResponseController(w), time.Now().Add(answerTimeout)
			c.SetReadDeadline(deadline)
			c.SetWriteDeadline(deadline)
			next.ServeHTTP(w, r)
		})
	})
	r.Handle("/", page)
	r.Handle("/assets/*", page)
	r.Handle("/api/v1/*", page)
	r.NotFound(notFound)
	return r
}

// notFound answers for paths that nobody serves, in the form of all refusals.
func notFound(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.WriteHeader(http.StatusNotFound)
	json.NewEncoder(w).Encode(map[string]string{
		"error":  "not found",
		"reason": "nothing is served here; streams are at /APP/NAME.flv",
	})
}

// httpLog takes what net/http logs: noise from clients that break off stays at
// the level of the record, debug, but a panic in a handler is an error.
type httpLog struct{ slog.Handler }

// Enabled lets every record pass to Handle, which knows its text.
func (h httpLog) Enabled(context.Context, slog.Level) bool { return true }

// Handle passes r on, a panic as an error.
func (h httpLog) Handle(ctx context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "panic serving") {
		r.Level = slog.LevelError
	}
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}
