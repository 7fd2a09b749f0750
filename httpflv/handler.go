// Package httpflv serves the hub's streams as HTTP-FLV and, on the same URLs, as
// WebSocket-FLV:
//
//	GET /APP/NAME.flv[?onlyaudio=1|onlyvideo=1]  the other track is left out
//	                 [&start=live|&back=SECONDS]  begin at the live edge, or further back
//	                 [&track=N|&track=all]        one track of several, or all as sent
//	                 [&hevc=legacy|enhanced]      the form of HEVC
//	                 [&chunked=0]                 no chunks in an HTTP/1.1 body
//
// Without any of them, a viewer gets the newest GOP of track 0, in the form that
// players in browsers read ([flv.FormBrowser]). All but chunked are those of
// [hub.WatchOptions.ReadQuery]; other parameters mean nothing.
//
// An answer is a status with a JSON reason, or an endless FLV file that begins
// with metadata, codec headers and the current GOP. WebSocket clients get their
// 101 at once and learn everything else by close code and reason, since a browser
// shows a script nothing of a failed upgrade.
package httpflv

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/fanout"
	"sluice/hub/intake"
)

// Suffix ends the path of every stream that this package serves.
const Suffix = ".flv"

// Handler serves streams. Hub and Pool must be set; the rest may be zero.
//
// Connections are taken over from the HTTP server where it allows that, so that
// http.Server.Shutdown does not see them: hub.Shutdown ends them, and Wait waits.
type Handler struct {
	Hub  *hub.Hub
	Pool *fanout.Pool
	// Intake waits for what WebSocket clients say, which is seldom anything; if nil,
	// or where it can't, a goroutine for each does.
	Intake *intake.Pool
	// Logger gets a line when a viewer begins and one when it ends; nil discards
	// them.
	Logger *slog.Logger

	sessions sync.WaitGroup
	lastID   atomic.Uint64
}

// Wait returns when every viewer has ended and its connection is closed.
func (h *Handler) Wait() { h.sessions.Wait() }

func (h *Handler) logger() *slog.Logger {
	if h.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return h.Logger
}

// ServeHTTP serves one viewer, or refuses it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	allowAnyOrigin(w.Header(), r)
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		w.Header().Set("Allow", allowedMethods)
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		w.Header().Set("Allow", allowedMethods)
		writeRefusal(w, http.StatusMethodNotAllowed, &hub.Refusal{
			Reason: hub.ReasonBadRequest, Detail: "a stream can be fetched with GET only",
		})
		return
	}
	key, opts, err := parseRequest(r)
	opts.Protocol = "http-flv"
	if wantsWebSocket(r) {
		h.serveWebSocket(w, r, key, opts, err)
		return
	}
	if err == nil && r.Method == http.MethodHead {
		err = h.head(w, key)
	} else if err == nil {
		err = h.serveBody(w, r, key, opts)
	}
	if err != nil {
		h.logRefusal(opts, key, err)
		refuse(w, err)
	}
}

// logRefusal notes that a viewer was refused, or left before its stream began.
func (h *Handler) logRefusal(opts hub.WatchOptions, key hub.Key, err error) {
	h.logger().Info("viewer refused", "protocol", opts.Protocol, "remote", opts.Remote,
		"stream", key.String(), "reason", err.Error())
}

// head answers HEAD: what GET would begin with, for a stream that is live now.
func (h *Handler) head(w http.ResponseWriter, key hub.Key) error {
	if !h.Hub.Live(key) {
		return &hub.Refusal{Reason: hub.ReasonNotFound, Detail: "nobody publishes " + key.String() + " now"}
	}
	streamHeader(w.Header())
	w.WriteHeader(http.StatusOK)
	return nil
}

// parseRequest reads stream and wishes from a request's URL. Whatever a player
// puts into headers (Range, Icy-MetaData) or further parameters means nothing.
func parseRequest(r *http.Request) (hub.Key, hub.WatchOptions, error) {
	opts := hub.WatchOptions{Remote: r.RemoteAddr, FixedCodecs: true}
	opts.Shape.Form = flv.FormBrowser
	path, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/"), Suffix)
	if !ok {
		return hub.Key{}, opts, &hub.Refusal{Reason: hub.ReasonNotFound, Detail: "streams are at /APP/NAME" + Suffix}
	}
	app, name := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		app, name = path[:i], path[i+1:]
	}
	key, err := hub.NewKey(app, name)
	if err != nil {
		return hub.Key{}, opts, err
	}
	return key, opts, opts.ReadQuery(r.URL.Query())
}

// allowedMethods is what a stream's URL answers to.
const allowedMethods = "GET, HEAD, OPTIONS"

// allowAnyOrigin lets a page of any origin read the answer, whatever it is.
// Credentials are not allowed with it, and nothing here reads any.
func allowAnyOrigin(header http.Header, r *http.Request) {
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("Access-Control-Expose-Headers", "*")
	if r.Method != http.MethodOptions {
		return
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
}

// streamHeader sets the header fields of a body that is a stream.
func streamHeader(header http.Header) {
	header.Set("Content-Type", "video/x-flv")
	header.Set("Cache-Control", "no-cache, no-store")
	header.Set("X-Accel-Buffering", "no") // nginx passes the body on as it comes
	header.Set("X-Content-Type-Options", "nosniff")
}

// refuse answers with the status and the words of err. A client that went away
// gets nothing: the connection is broken off, since net/http would make an empty
// stream of an answer without a status.
func refuse(w http.ResponseWriter, err error) {
	refusal, ok := errors.AsType[*hub.Refusal](err)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	writeRefusal(w, refusal.Reason.HTTPStatus(), refusal)
}

func writeRefusal(w http.ResponseWriter, status int, refusal *hub.Refusal) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{
		"error":  refusal.Reason.String(),
		"reason": refusal.Detail,
	})
}
