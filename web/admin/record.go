package admin

import (
	"errors"
	"net/http"
	"strings"

	"sluice/hub"
	"sluice/hub/archive"
)

// Recorder is what the API needs of a *record.Recorder.
type Recorder interface {
	Records(hub.Key) bool
	Start(hub.Key)
	Stop(hub.Key)
}

// Archive is what the API needs of an *archive.Archive, or of an archive.None.
type Archive interface {
	Recordings(key hub.Key, after string, limit int) (page []archive.Recording, next string, err error)
	Delete(key hub.Key, id string) error
	Pin(key hub.Key, id string, on bool) error
}

var errNoRecordings = refuse(http.StatusNotFound, "not found", "nothing is recorded here")

// recordRequest is the body of POST /api/v1/streams/record.
type recordRequest struct {
	Stream string `json:"stream"`
	Action string `json:"action"` // "start" or "stop"
}

// Recording is the answer to it. A stream that is not live is recorded when it is next
// published.
type Recording struct {
	Stream string `json:"stream"`
	Action string `json:"action"`
	Live   bool   `json:"live"`
}

// record answers POST /api/v1/streams/record. What it says holds until the server ends,
// whatever the configuration says.
func (a *api) record(r *http.Request) (reply, error) {
	var asked recordRequest
	if err := parseBody(r, &asked); err != nil {
		return reply{}, err
	}
	key, err := parseKey(asked.Stream)
	switch {
	case err != nil:
		return reply{}, err
	case asked.Action != "start" && asked.Action != "stop":
		return reply{}, badRequest("action is start or stop")
	case a.Recorder == nil:
		return reply{}, errNoRecordings
	case asked.Action == "start":
		a.Recorder.Start(key)
	default:
		a.Recorder.Stop(key)
	}
	a.log(r, "record", "stream", key.String(), "action", asked.Action)
	return reply{body: Recording{key.String(), asked.Action, a.Hub.Live(key)}}, nil
}

// deleteRecording answers DELETE /api/v1/recordings/APP/NAME/ID.
func (a *api) deleteRecording(r *http.Request) (reply, error) {
	return a.withRecording(r, r.URL.Path, "delete", func(key hub.Key, id string) error { return a.Archive.Delete(key, id) })
}

// pinRecording answers POST /api/v1/recordings/APP/NAME/ID/pin and /unpin.
func (a *api) pinRecording(r *http.Request) (reply, error) {
	path, does := cutLast(r.URL.Path)
	if does != "pin" && does != "unpin" {
		return reply{}, refuse(http.StatusNotFound, "not found", "a recording is pinned at "+recordingsPath+"APP/NAME/ID/pin, and the contrary is unpin")
	}
	return a.withRecording(r, path, does, func(key hub.Key, id string) error { return a.Archive.Pin(key, id, does == "pin") })
}

// withRecording does something to the recording at a path.
func (a *api) withRecording(r *http.Request, path, does string, do func(key hub.Key, id string) error) (reply, error) {
	if a.Archive == nil {
		return reply{}, errNoRecordings
	}
	stream, id := cutLast(strings.TrimPrefix(path, recordingsPath))
	key, err := parseKey(stream)
	if err != nil {
		return reply{}, err
	}
	if r.ContentLength != 0 {
		return reply{}, badRequest("this takes no body")
	}
	err = do(key, id)
	switch {
	case errors.Is(err, archive.ErrNotFound):
		return reply{}, refuse(http.StatusNotFound, "not found", "there is no such recording")
	case errors.Is(err, archive.ErrInUse):
		return reply{}, refuse(http.StatusConflict, "conflict", "the recording is being written; end it first")
	case err != nil:
		return reply{}, err
	}
	a.log(r, does+" recording", "stream", key.String(), "id", text(id))
	return reply{status: http.StatusNoContent}, nil
}
