package web

import (
	"bytes"
	"cmp"
	"errors"
	"net/http"
	"time"

	"sluice/flv/mp4"
	"sluice/hub"
)

// StillsConfig says where stills come from; its zero value has none. Its functions may be called
// from any goroutine.
type StillsConfig struct {
	// Permit asks whether the client of a request may watch a stream, and returns the stream for
	// which that is granted, which may be another one. The error is a *hub.Refusal, or says that
	// the client has left. nil permits everything.
	Permit func(r *http.Request, key hub.Key) (hub.Key, error)
	// Take returns the newest key frame of a stream, as hub.Hub.Still does.
	Take func(key hub.Key, have hub.StillMark) (hub.Still, error)
	// Private says that not everybody may have them: then no cache on the way keeps one.
	Private bool
}

// stillPath is where stills are:
//
//	GET /api/v1/still?stream=APP/NAME[&…]   the newest key frame, as an MP4 file of one picture,
//	                                        which a <video> element shows
//
// Who may watch the stream may have it, and shows the same in the query. It is made at most once
// in [stillMaxAge] for all who ask, and has an ETag by what is in it. Without a picture it is 404,
// with a reason. Who asks is no viewer, and counts nowhere.
const stillPath = "/api/v1/still"

// maxStillQuery bounds the query of a request for a still, in bytes, as that of a request for a
// stream is bounded.
const maxStillQuery = 4 << 10

// still answers requests for stills.
func (a *api) still(w http.ResponseWriter, r *http.Request) {
	s, release, err := a.askStill(r)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	defer release()
	h := w.Header()
	scope := "public"
	if a.config.Stills.Private {
		scope = "private"
	}
	h.Set("Cache-Control", scope+", max-age=1")
	h.Set("Content-Type", "video/mp4")
	h.Set("ETag", s.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.body))
}

// askStill returns the still that a request asks for, if its client may have it.
func (a *api) askStill(r *http.Request) (s *madeStill, release func(), err error) {
	if a.stills == nil {
		return nil, nil, noStill("there are no stills here")
	}
	if len(r.URL.RawQuery) > maxStillQuery {
		return nil, nil, &hub.Refusal{Reason: hub.ReasonBadRequest, Detail: "the query is too long"}
	}
	app, name := cutLast(r.URL.Query().Get("stream"))
	key, err := hub.NewKey(app, name)
	if err != nil {
		return nil, nil, err
	}
	if permit := a.config.Stills.Permit; permit != nil {
		// Whether there is such a stream is nobody else's business.
		if key, err = permit(r, key); err != nil {
			return nil, nil, err
		}
	}
	return a.stills.get(key)
}

// makeStill returns the MP4 file of a still. The error is a *hub.Refusal.
func makeStill(key hub.Key, s hub.Still) ([]byte, error) {
	size := stillHead + len(s.Config.Data)
	for _, frame := range s.Frames {
		size += len(frame.Data)
	}
	body, err := mp4.AppendStill(make([]byte, 0, size), s.Config, s.Frames...)
	switch {
	case errors.Is(err, mp4.ErrUnsupported):
		return nil, noStill("no still can be made of the codec of " + key.String())
	case err != nil:
		return nil, noStill("no still can be made of the key frames of " + key.String())
	}
	return body, nil
}

// stillHead is what an MP4 file of one picture has at the most beside the picture and its codec
// header, in bytes.
const stillHead = 1 << 10

func noStill(reason string) error {
	return &hub.Refusal{Reason: hub.ReasonNotFound, Detail: cmp.Or(reason, "there is no still")}
}
