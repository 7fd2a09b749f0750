package web

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/archive/union"
)

// Recordings is the answer to GET /api/v1/recordings, the newest first:
//
//	?stream=APP/NAME   of one stream; of all without it
//	&limit=N           at most so many, 1 to 1000; 100 without it
//	&after=NEXT        what follows the answer with that "next"
//
//	{
//	  "recordings": [{
//	    "id": "20261128T170500.123Z", "stream": "live/demo", "app": "live", "name": "demo",
//	    "begin": "2026-11-28T17:05:00.123Z", "duration": 3601.52, "bytes": 1287331123,
//	    "video": {"codec": "H.264", "width": 1280, "height": 720}, "audio": {"codec": "AAC"},
//	    "gaps": 0, "gap_seconds": 0,
//	    "state": "finished",
//	    "url": "/rec/live/demo/20261128T170500.123Z.flv"
//	  }],
//	  "next": "…"
//	}
//
// In a cluster the list is that of all nodes: "node" is who has a recording, and "url" leads there. Nodes that
// have not answered are named in "unreached".
//
// Where the list is nobody's business, it is empty and "private" is true; what one may watch
// is found all the same.
//
// An answer may have fewer than limit though more follow, since a client is told nothing of
// streams that it may not watch; the last one has no "next". GET
// /api/v1/recordings/APP/NAME/ID is one of them, by itself; ID may be "latest".
type Recordings struct {
	Recordings []Recording `json:"recordings"`     // never null
	Next       string      `json:"next,omitempty"` // for after; left out behind the last
	Private    bool        `json:"private,omitempty"`
	Unreached  []string    `json:"unreached,omitempty"` // nodes whose recordings are missing
}

// Recording is one recording.
type Recording struct {
	ID     string `json:"id"`
	Stream string `json:"stream"` // App/Name
	App    string `json:"app"`
	Name   string `json:"name"`

	Begin    *Time          `json:"begin"`    // null if the file does not say
	Duration float64        `json:"duration"` // seconds
	Bytes    int64          `json:"bytes"`
	Video    *RecordedVideo `json:"video"` // null: no such track
	Audio    *RecordedAudio `json:"audio"` // likewise

	Gaps       int     `json:"gaps"`        // where something is missing that a slow disk cost
	GapSeconds float64 `json:"gap_seconds"` // of all of them together

	// State is "recording", "finished", or "disk full": finished because the disk was full.
	State string `json:"state"`
	URL   string `json:"url"` // the file, as a path, or a URL if another node has it; the same with .mp4 at its end, when it is finished
	Node  string `json:"node,omitempty"`
}

// RecordedVideo is the format of a recording's video track; what is not known is zero.
type RecordedVideo struct {
	Codec  string `json:"codec"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
}

// RecordedAudio is the format of a recording's audio track.
type RecordedAudio struct {
	Codec string `json:"codec"`
}

// Time is a moment as the API writes it: RFC 3339, UTC, three digits of a second.
type Time time.Time

// MarshalText returns the text.
func (t Time) MarshalText() ([]byte, error) {
	return time.Time(t).UTC().AppendFormat(nil, "2006-01-02T15:04:05.000Z07:00"), nil
}

// UnmarshalText reads it.
func (t *Time) UnmarshalText(b []byte) error { return (*time.Time)(t).UnmarshalText(b) }

// RecordingsConfig says where the API's recordings come from. Its functions may be called
// from any goroutine, with the request of the client that asks; their errors are a
// *hub.Refusal, or say that the client has left.
type RecordingsConfig struct {
	// List returns a page of those that the client may know of, the newest first.
	List func(r *http.Request, key hub.Key, after string, limit int) (union.Page, error)
	// Find returns one; id may be "latest".
	Find func(r *http.Request, key hub.Key, id string) (union.Recording, error)
	// Origins returns where other nodes have theirs, http(s)://HOST[:PORT], for pages that fetch them; nil for nowhere.
	Origins func() []string
	// Path returns the path of a recording's file.
	Path func(key hub.Key, id string) string
}

// origins returns Origins, none where there is no such function.
func (c *RecordingsConfig) origins() []string {
	if c.Origins == nil {
		return nil
	}
	return c.Origins()
}

// Bounds on how many recordings are listed at a time.
const (
	defaultRecordings = 100
	maxRecordings     = 1000
	// maxAfter bounds where a page begins, in bytes.
	maxAfter = 2 << 10
)

// recordingsPath is where the API's recordings are.
const recordingsPath = "/api/v1/recordings"

// recordings answers /api/v1/recordings.
func (a *api) recordings(w http.ResponseWriter, r *http.Request) {
	if a.config.Recordings.List == nil {
		a.config.refuse(w, r, http.StatusNotFound, "not found", "nothing is recorded here")
		return
	}
	query := r.URL.Query()
	key, limit, err := parseList(query)
	if err == nil && a.config.Private {
		a.say(w, r, Recordings{Recordings: []Recording{}, Private: true})
		return
	}
	if err == nil {
		var page union.Page
		page, err = a.config.Recordings.List(r, key, query.Get("after"), limit)
		if err == nil {
			said := Recordings{Recordings: make([]Recording, 0, len(page.Recordings)), Next: page.Next, Unreached: page.Unreached}
			for _, recording := range page.Recordings {
				said.Recordings = append(said.Recordings, a.recording(recording))
			}
			a.say(w, r, said)
			return
		}
	}
	a.refuse(w, r, err)
}

// parseList reads which recordings are asked for. The error is a *hub.Refusal.
func parseList(query url.Values) (key hub.Key, limit int, err error) {
	bad := func(reason string) error { return &hub.Refusal{Reason: hub.ReasonBadRequest, Detail: reason} }
	if query.Has("stream") {
		app, name := cutLast(query.Get("stream"))
		if key, err = hub.NewKey(app, name); err != nil {
			return key, 0, err
		}
	}
	limit = defaultRecordings
	if text := query.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxRecordings {
			return key, 0, bad("limit is a number from 1 to " + strconv.Itoa(maxRecordings))
		}
	}
	if len(query.Get("after")) > maxAfter {
		return key, 0, bad(`after is the "next" of another answer`)
	}
	return key, limit, nil
}

// cutLast cuts a path at its last slash.
func cutLast(path string) (before, after string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}

// oneRecording answers /api/v1/recordings/APP/NAME/ID.
func (a *api) oneRecording(w http.ResponseWriter, r *http.Request) {
	if a.config.Recordings.Find == nil {
		a.config.refuse(w, r, http.StatusNotFound, "not found", "nothing is recorded here")
		return
	}
	path := strings.TrimPrefix(r.URL.Path, recordingsPath+"/")
	stream, id := cutLast(path)
	app, name := cutLast(stream)
	key, err := hub.NewKey(app, name)
	if err == nil && id == "" {
		err = &hub.Refusal{Reason: hub.ReasonBadRequest, Detail: "a recording is at " + recordingsPath + "/APP/NAME/ID"}
	}
	if err == nil {
		var found union.Recording
		if found, err = a.config.Recordings.Find(r, key, id); err == nil {
			a.say(w, r, a.recording(found))
			return
		}
	}
	a.refuse(w, r, err)
}

// recording converts a recording to that of the API.
func (a *api) recording(r union.Recording) Recording {
	said := FromArchive(r.Recording)
	said.Node, said.URL = r.Node, a.config.Recordings.Path(r.Key, r.ID)
	if r.Away {
		said.URL = r.HTTP + said.URL // where that is not known, this node says so
	}
	return said
}

// FromArchive converts a recording to that of the API, without its URL.
func FromArchive(r archive.Recording) Recording {
	said := Recording{
		ID: r.ID, Stream: r.Key.String(), App: r.Key.App, Name: r.Key.Name,
		Duration: r.Duration.Seconds(), Bytes: r.Size,
		Gaps: r.Gaps, GapSeconds: r.GapTime.Seconds(),
		State: string(r.State),
	}
	if !r.Begin.IsZero() {
		said.Begin = new(Time(r.Begin))
	}
	if r.Video != flv.Codec(0) {
		said.Video = &RecordedVideo{Codec: r.Video.String(), Width: r.Width, Height: r.Height}
	}
	if r.Audio != flv.Codec(0) {
		said.Audio = &RecordedAudio{Codec: r.Audio.String()}
	}
	return said
}

// refuse answers with what a function of RecordingsConfig has to say.
func (a *api) refuse(w http.ResponseWriter, r *http.Request, err error) {
	refusal, ok := errors.AsType[*hub.Refusal](err)
	switch {
	case ok && refusal.Reason == hub.ReasonClientLeft, r.Context().Err() != nil:
		panic(http.ErrAbortHandler)
	case ok:
		what := refusal.Reason.String()
		a.config.refuse(w, r, refusal.Reason.HTTPStatus(), what, cmp.Or(refusal.Detail, what))
	default:
		a.config.Logger.Error("recordings cannot be listed", "error", err)
		a.config.refuse(w, r, http.StatusInternalServerError, "internal error", "the recordings cannot be listed")
	}
}
