package httpflv

import (
	"net/http"
	"net/url"

	"sluice/flv"
	"sluice/hub"
)

// Header fields between servers that relay streams to each other.
const (
	// PathHeader holds, in the request of a server that relays, the ids of the servers that it
	// wants the stream for (hub.ParsePath).
	PathHeader = "Sluice-Path"
	// NodeHeader holds the id of the server that answers such a request.
	NodeHeader = "Sluice-Node"
)

// tellNode tells a server that relays who answers it, whatever the answer will be.
func (h *Handler) tellNode(header http.Header, r *http.Request) {
	if node := h.Hub.Node(); node != "" && r.Header.Get(PathHeader) != "" {
		header.Set(NodeHeader, node)
	}
}

// readPath adds to a client what one that relays says of itself. The error is a *hub.Refusal.
func readPath(c *hub.Client, r *http.Request) error {
	path, err := hub.ParsePath(r.Header.Get(PathHeader))
	if err != nil {
		return badRequest("%s is %v", PathHeader, err)
	}
	c.Path = path
	return nil
}

// serveRelay makes the viewer of a server that relays one of everything as it was sent, unless its
// query asks for something else. It passes on what changes in the stream, which so needs no end.
func (q *request) serveRelay(query url.Values) {
	if !query.Has("track") && !query.Has("hevc") && !query.Has("onlyaudio") && !query.Has("onlyvideo") {
		q.opts.Shape.Form = flv.FormAsSent
	}
	q.opts.FixedCodecs = q.opts.Shape.Form != flv.FormAsSent
}

// appendRelayEnd is appendLastChunk for a server that relays: it goes on with another server, or
// with this one when it is back, since the stream is not over.
func appendRelayEnd(dst []byte, end hub.Reason) []byte {
	if end == hub.ReasonShuttingDown {
		return dst
	}
	return appendLastChunk(dst, end)
}
