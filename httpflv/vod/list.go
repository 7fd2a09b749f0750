package vod

import (
	"errors"
	"net/http"

	"golang.org/x/sync/errgroup"

	"sluice/httpflv"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/archive/union"
)

// maxAsking is for how many streams of one page of the list the policy is asked at a time.
const maxAsking = 8

// List returns a page of the list of recordings, those of other nodes included, without
// those of streams that the client of a request may not know of: the policy is asked once
// for each stream. A page may therefore have fewer than limit though others follow.
func (h *Handler) List(r *http.Request, key hub.Key, after string, limit int) (union.Page, error) {
	page, err := h.list(r.Context(), key, after, limit)
	if errors.Is(err, archive.ErrPlace) {
		return union.Page{}, refusal(hub.ReasonBadRequest, `after is the "next" of another answer`)
	}
	if err != nil || !h.hub.HasPolicy() {
		return page, err
	}
	may := make(map[hub.Key]*bool)
	var asking errgroup.Group
	asking.SetLimit(maxAsking)
	for _, recording := range page.Recordings {
		if may[recording.Key] != nil {
			continue
		}
		granted := new(bool)
		may[recording.Key] = granted
		asking.Go(func() error {
			// One who is given another stream cannot have this one's recordings.
			key, err := h.ask(r, recording.Key, hub.AnyRecording)
			*granted = err == nil && key == recording.Key
			return nil
		})
	}
	asking.Wait()
	if err := r.Context().Err(); err != nil {
		return union.Page{}, err
	}
	var known []union.Recording
	for _, recording := range page.Recordings {
		if *may[recording.Key] {
			known = append(known, recording)
		}
	}
	page.Recordings = known
	return page, nil
}

// Find returns one recording, or the newest with "latest". The error is a *hub.Refusal, or
// says that the client has left.
func (h *Handler) Find(r *http.Request, key hub.Key, id string) (union.Recording, error) {
	if id == hub.AnyRecording { // the policy would take it for a look at the list
		return union.Recording{}, noRecording(key, id)
	}
	asked := id
	own, missing := h.cfg.Archive.Recording(key, id)
	if missing == nil {
		asked = own.ID
	}
	granted, err := h.ask(r, key, asked)
	if err != nil { // even if there is none: that is nobody else's business
		return union.Recording{}, err
	}
	return h.find(r.Context(), granted, id) // other nodes are asked for those who may know only
}

// ask asks the policy whether the client of a request may know of a recording. It returns the
// stream for which that is granted, which may be another one.
func (h *Handler) ask(r *http.Request, key hub.Key, id string) (granted hub.Key, err error) {
	client := httpflv.ClientOf(r)
	client.Protocol, client.Recording, client.Inquiry = protocolHTTP, id, true
	s := h.hub.NewSession(hub.RoleWatch, key, client)
	err = s.AskAndWait(r.Context())
	return s.Key(), err
}
