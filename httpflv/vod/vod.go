// Package vod serves recordings over HTTP and WebSocket:
//
//	GET /rec/APP/NAME/ID.flv[?follow=1]    the file, by ranges too; while it is written, what
//	                                       there is by now. follow goes on to the end of the
//	                                       file, without ranges
//	GET /rec/APP/NAME/ID.mp4               the same as MP4, when it is finished
//	ws  /rec/APP/NAME/ID.flv[?start=SEC]   played at its own pace, from the key frame at or
//	                                       before, with times that start at 0
//	                        [&track=, &hevc=, &onlyaudio=1, &onlyvideo=1]  as for a stream
//
// ?download=1 has a browser save the file in place of playing it. ID may be "latest", which
// leads to the newest recording.
//
// Who may have a recording is asked as for its stream, with the recording's id
// (hub.Client.Recording). Whoever gets one has a session like a viewer's.
package vod

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"sluice/flv"
	"sluice/httpflv"
	"sluice/httpflv/answer"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/archive/flvfile"
	"sluice/hub/archive/union"
)

// Prefix begins the path of every recording. The app of that name is reserved while
// recordings are served.
const Prefix = "/rec/"

// File is an open recording; an *archive.File is one.
type File interface {
	Info() flvfile.Info
	Growing() bool
	Content() (*flvfile.Content, error)
	Cursor() *flvfile.Cursor
	io.ReaderAt
	Reopen() (*os.File, error)
	io.Closer
}

// Archive is where recordings come from; FromArchive makes one of a Folder.
type Archive interface {
	union.Archive
	Open(key hub.Key, id string) (File, archive.Recording, error)
}

// Folder is an *archive.Archive, or an archive.None.
type Folder interface {
	union.Archive
	Open(key hub.Key, id string) (*archive.File, archive.Recording, error)
}

// FromArchive returns an archive as the Handler needs it.
func FromArchive(a Folder) Archive { return folder{a} }

type folder struct{ Folder }

func (f folder) Open(key hub.Key, id string) (File, archive.Recording, error) {
	file, recording, err := f.Folder.Open(key, id)
	if err != nil {
		return nil, recording, err // and no nil *archive.File in an interface
	}
	return file, recording, nil
}

// Others are the other nodes of a cluster; a *union.Union is one.
type Others interface {
	// Find returns a recording that another node has. The error is archive.ErrNotFound, a *hub.Refusal, or that of ctx.
	Find(ctx context.Context, key hub.Key, id string) (union.Recording, error)
	// Recordings returns a page of the list of all nodes.
	Recordings(ctx context.Context, wanted union.Query) (union.Page, error)
}

// Config sets up a Handler. Archive and Streams must be set; the rest may be zero.
type Config struct {
	Archive Archive
	// Streams serves the live streams; it lends what both need: the hub, origins,
	// admission, WebSockets. Its Wait waits for those who are served here too.
	Streams *httpflv.Handler
	// Others have recordings, too, to which clients are redirected; nil if this server is alone.
	Others Others
	// StallTimeout is how long a client may take nothing before it is cut off: 30 s if 0.
	// Over WebSocket the pool of Streams has a bound of its own.
	StallTimeout time.Duration
	// MP4CacheBytes bounds the heads of MP4 files that are kept in memory when nobody uses
	// them, in bytes: 64 MiB if 0. One that is larger is made anew by who comes then. While
	// downloads use more than four times as much, no further one is made.
	MP4CacheBytes int64
	// Logger gets a line where a recording cannot be read; nil for slog.Default.
	Logger *slog.Logger
}

const (
	defaultStallTimeout  = 30 * time.Second
	defaultMP4CacheBytes = 64 << 20
)

// Handler serves recordings. Its methods may be called from any goroutine.
type Handler struct {
	cfg   Config
	hub   *hub.Hub
	heads *heads
	log   *slog.Logger

	// closing ends when the hub begins to shut down, or at Close.
	closing context.Context
	close   context.CancelFunc
	running sync.WaitGroup
}

// New returns a handler, which must be closed. Everything that it serves ends when the hub
// begins to shut down.
func New(cfg Config) *Handler {
	cfg.StallTimeout = cmp.Or(cfg.StallTimeout, defaultStallTimeout)
	h := &Handler{cfg: cfg, hub: cfg.Streams.Hub, log: cfg.Logger}
	if h.log == nil {
		h.log = slog.Default()
	}
	h.closing, h.close = context.WithCancel(context.Background())
	h.heads = newHeads(cmp.Or(cfg.MP4CacheBytes, defaultMP4CacheBytes))
	h.running.Go(func() {
		select {
		case <-h.hub.Closing():
			h.close()
		case <-h.closing.Done():
		}
	})
	return h
}

// Close ends everything that is served, and waits for the handler's own goroutines. The
// Wait of Config.Streams waits for the rest.
func (h *Handler) Close() {
	h.close()
	h.running.Wait()
	h.heads.wait()
}

// ServeHTTP serves one recording, or refuses it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.cfg.Streams.ServeResource(w, r, func() httpflv.Resource {
		q, err := h.parse(r)
		client := httpflv.ClientOf(r)
		client.Recording, client.Protocol = q.id, protocolHTTP
		if httpflv.WantsWebSocket(r) {
			client.Protocol = protocolWebSocket
			if err == nil && q.mp4 {
				err = refusal(hub.ReasonBadRequest, "over WebSocket a recording is played as FLV")
			}
		} else if q.latest { // which is answered by a redirect
			client.Inquiry = true
		}
		return httpflv.Resource{
			Key: q.key, Client: client, Err: err,
			First: h.first(w, r, q),
			Body:  func(s *hub.Session) error { return h.answer(w, r, s, q) },
			Play:  func(s *hub.Session, socket *httpflv.Socket) *hub.Refusal { return h.play(s, socket, q) },
		}
	})
}

// What sessions here are called.
const (
	protocolHTTP      = "http-file"
	protocolWebSocket = "ws-file"
)

// open opens the recording that was asked for, of the stream for which permission was
// given. The error is a *hub.Refusal. The file must be closed.
func (h *Handler) open(s *hub.Session, id string) (File, archive.Recording, error) {
	f, recording, err := h.cfg.Archive.Open(s.Key(), id)
	switch {
	case errors.Is(err, archive.ErrNotFound):
		return nil, recording, noRecording(s.Key(), id)
	case err != nil:
		return nil, recording, h.unreadable(s.Key(), id, err)
	}
	return f, recording, nil
}

func noRecording(key hub.Key, id string) *hub.Refusal {
	if id == archive.Latest {
		return refusal(hub.ReasonNotFound, "there is no recording of "+key.String())
	}
	return refusal(hub.ReasonNotFound, "there is no such recording of "+key.String())
}

// unreadable notes why a recording cannot be read, and returns what its client is told.
func (h *Handler) unreadable(key hub.Key, id string, err error) *hub.Refusal {
	if errors.Is(err, flv.ErrFormat) { // which somebody has put there
		return refusal(hub.ReasonNotFound, "the recording is damaged")
	}
	h.log.Error("a recording cannot be read", "stream", key.String(), "recording", id, "error", err)
	return refusal(reasonUnreadable, "the recording cannot be read")
}

// reasonUnreadable is the reason of a mistake of ours: over WebSocket its code says so, and
// over HTTP the status does.
const reasonUnreadable = hub.ReasonConnection

// answer answers GET and HEAD. It returns an error if the answer has not begun.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, s *hub.Session, q request) error {
	err := h.serveBody(w, r, s, q)
	if why, ok := err.(*hub.Refusal); ok && why.Reason == reasonUnreadable {
		s.Refuse(why)
		h.cfg.Streams.AllowOrigins.Refuse(w, r, answer.Refusal{
			Status: http.StatusInternalServerError, Error: "internal error", Reason: why.Detail})
		return nil
	}
	return err
}

func refusal(reason hub.Reason, detail string) *hub.Refusal {
	return &hub.Refusal{Reason: reason, Detail: detail}
}
