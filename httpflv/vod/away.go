package vod

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"sluice/httpflv"
	"sluice/httpflv/answer"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/archive/flvfile"
	"sluice/hub/archive/union"
)

// sentParameter is in the query of those whom another node has sent here, with its name of this one. They are never sent
// on: what is not here is nowhere for them, so that nobody goes in a circle.
const sentParameter = "node"

// isMissing reports whether a recording could not be opened since there is none here.
func isMissing(err error) bool {
	why, ok := err.(*hub.Refusal)
	return ok && why.Reason == hub.ReasonNotFound
}

// elsewhere returns the recording that another node has. The error is a *hub.Refusal, or that of ctx.
func (h *Handler) elsewhere(ctx context.Context, key hub.Key, id string, q request) (union.Recording, error) {
	if h.cfg.Others == nil || q.sent {
		return union.Recording{}, noRecording(key, id)
	}
	away, err := h.cfg.Others.Find(ctx, key, id)
	switch {
	case errors.Is(err, archive.ErrNotFound):
		err = noRecording(key, id)
	case err == nil && away.HTTP == "":
		err = union.ErrUnreachable
	}
	return away, err
}

// redirectAway leads to the node that has a recording, with the query that the client has shown. The session ends here.
func (h *Handler) redirectAway(w http.ResponseWriter, r *http.Request, s *hub.Session, away union.Recording, suffix string) error {
	location := away.HTTP + strings.TrimSuffix(Path(away.Key, away.ID), flvfile.Suffix) + suffix
	if httpflv.WantsWebSocket(r) {
		location = "ws" + strings.TrimPrefix(location, "http")
	}
	why := refusal(hub.ReasonNotFound, "the recording is at another node, "+location)
	s.Refuse(why)
	query := r.URL.Query()
	query.Set(sentParameter, away.Node)
	w.Header().Set("Location", location+"?"+query.Encode())
	w.Header().Set("Cache-Control", "no-store")
	h.cfg.Streams.AllowOrigins.Refuse(w, r, answer.Refusal{
		Status: http.StatusTemporaryRedirect, Error: "elsewhere", Reason: why.Detail})
	return nil
}

// first returns what answers a request for a WebSocket before the upgrade: where another node has the recording, by the
// redirect that it would be over HTTP. Browsers don't follow one, so that their pages have to ask the API where it is.
func (h *Handler) first(w http.ResponseWriter, r *http.Request, q request) func(*hub.Session) (bool, error) {
	if h.cfg.Others == nil || q.sent {
		return nil
	}
	return func(s *hub.Session) (answered bool, err error) {
		id := q.id
		if q.latest {
			id = archive.Latest
		}
		_, missing := h.cfg.Archive.Recording(s.Key(), id)
		if missing == nil && !q.latest {
			return false, nil
		}
		away, err := h.elsewhere(r.Context(), s.Key(), id, q)
		switch {
		case err == nil:
			return true, h.redirectAway(w, r, s, away, flvfile.Suffix)
		case missing == nil:
			return false, nil
		}
		return false, err
	}
}

// list returns a page of the list of all nodes, or of this server where it is alone.
func (h *Handler) list(ctx context.Context, key hub.Key, after string, limit int) (page union.Page, err error) {
	if h.cfg.Others != nil {
		return h.cfg.Others.Recordings(ctx, union.Query{Key: key, After: after, Limit: limit})
	}
	own, next, err := h.cfg.Archive.Recordings(key, after, limit)
	page.Next = next
	for _, r := range own {
		page.Recordings = append(page.Recordings, union.Recording{Recording: r})
	}
	return page, err
}

// find returns one recording of this node or of another one. The error is a *hub.Refusal, or that of ctx.
func (h *Handler) find(ctx context.Context, key hub.Key, id string) (union.Recording, error) {
	own, err := h.cfg.Archive.Recording(key, id)
	if err == nil && (id != archive.Latest || h.cfg.Others == nil) {
		return union.Recording{Recording: own}, nil
	}
	away, missing := h.elsewhere(ctx, key, id, request{})
	if missing != nil && err == nil {
		return union.Recording{Recording: own}, nil
	}
	return away, missing
}
