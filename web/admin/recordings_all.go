package admin

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"

	"sluice/hub/archive"
	"sluice/hub/archive/union"
)

// Union has the recordings of all nodes; a *union.Union is one.
type Union interface {
	Recordings(ctx context.Context, wanted union.Query) (union.Page, error)
}

// allRecordings answers GET /api/v1/recordings?node=all, the newest first, whichever node has them.
func (a *api) allRecordings(r *http.Request, values url.Values) (reply, error) {
	s, err := parseSelection(values.Encode(), "stream", "state")
	switch {
	case err != nil:
		return reply{}, err
	case a.Union == nil:
		return reply{}, errNoRecordings
	}
	wanted := union.Query{State: s.values.Get("state"), After: s.cursor, Limit: min(s.limit, maxAway)}
	if s.stream != nil {
		key, err := parseKey(s.values.Get("stream"))
		if wanted.Key = key; err != nil { // parseSelection has found that it is a pattern then
			wanted.Pattern = s.values.Get("stream")
		}
	}
	page, err := a.Union.Recordings(r.Context(), wanted)
	switch {
	case errors.Is(err, archive.ErrPlace):
		return reply{}, errCursor
	case err != nil:
		return reply{}, err
	}
	said := Recordings{Recordings: []RecordingInfo{}, Next: page.Next, Unreached: Unreached{page.Unreached}}
	for _, recording := range page.Recordings {
		info := recordingInfo(recording.Recording)
		info.Node = text(recording.Node)
		said.Recordings = append(said.Recordings, info)
	}
	return reply{body: said}, nil
}

// onNode does what is to be done to a recording at the node that the query names (?node=NAME), here without one.
func (a *api) onNode(handle func(*http.Request) (reply, error)) func(*http.Request) (reply, error) {
	if a.Nodes == nil {
		return handle
	}
	return func(r *http.Request) (reply, error) {
		values, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			return reply{}, badRequest("the query cannot be read")
		}
		node := values.Get("node")
		if name, boot := a.self(); a.local || cmp.Or(node, name) == name || node == boot {
			return handle(r)
		}
		if r.ContentLength != 0 {
			return reply{}, badRequest("this takes no body")
		}
		return a.forward(r, node, command{Method: r.Method, Path: r.URL.EscapedPath()})
	}
}
