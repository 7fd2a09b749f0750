package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/archive/union"
	"sluice/rtmp"
)

// Archive is what the Handler needs of an *archive.Archive, or of an archive.None.
type Archive interface {
	Recording(key hub.Key, id string) (archive.Recording, error)
	Open(key hub.Key, id string) (*archive.File, archive.Recording, error)
}

// recordings is the app under which recordings are played: rec/APP/NAME/ID.
const recordings = "rec"

// isRecording reports whether a client asks for something among the recordings.
func (h *Handler) isRecording(r *rtmp.Request) bool {
	return h.isReserved(r.App)
}

// isReserved reports whether an app is for recordings.
func (h *Handler) isReserved(app string) bool {
	first, _, _ := strings.Cut(app, "/")
	return h.Archive != nil && first == recordings
}

// errReserved refuses publishers in the app of recordings, and those whom the policy sends there.
var errReserved = &hub.Refusal{Reason: hub.ReasonBadRequest, Detail: "the app rec is for recordings"}

// find notes which recording a client asks for, and returns the key of its stream. One that
// is not there is found out when it is opened: only who may watch it is told.
func (a *asked) find(from Archive, role hub.Role, r *rtmp.Request) (hub.Key, error) {
	if role == hub.RolePublish {
		return hub.Key{}, errReserved
	}
	path := strings.TrimPrefix(r.App, recordings)
	app, name := "", ""
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		app, name = path[1:i], path[i+1:]
	}
	key, err := hub.NewKey(app, name)
	switch {
	case app == "":
		return hub.Key{}, &hub.Refusal{Reason: hub.ReasonBadRequest, Detail: "a recording is rec/APP/NAME/ID"}
	case err != nil:
		return hub.Key{}, err
	case r.Name == hub.AnyRecording: // the policy would take it for a look at the list
		return hub.Key{}, errNoRecording(r.Name)
	}
	a.recording, a.key = r.Name, key
	if rec, err := from.Recording(key, r.Name); err == nil {
		a.latest = r.Name == archive.Latest
		a.recording, a.length = rec.ID, rec.Duration // "latest" may be another one soon
	}
	return key, nil
}

// follow looks for the recording once more if permission was given for another stream than
// was asked for.
func (a *asked) follow(from Archive) {
	if a.session.Key() == a.key {
		return
	}
	id := a.recording
	if a.latest {
		id = archive.Latest
	}
	a.length = 0
	if rec, err := from.Recording(a.session.Key(), id); err == nil {
		a.recording, a.length = rec.ID, rec.Duration
	}
}

func errNoRecording(id string) *hub.Refusal {
	id, _, _ = strings.Cut(id, "?") // what was escaped may hold a secret
	return &hub.Refusal{Reason: hub.ReasonNotFound, Detail: fmt.Sprintf("there is no recording %q", id)}
}

// StreamLength answers how long a recording is, to those who may watch it.
func (h *Handler) StreamLength(
	ctx context.Context, s *rtmp.ServerStream, r *rtmp.Request, answer func(time.Duration),
) {
	if !h.isRecording(r) {
		answer(0)
		return
	}
	a, err := h.request(hub.RoleWatch, s, r)
	if err != nil {
		answer(0)
		return
	}
	a.session.Ask(ctx, func(err error) {
		a.refused = err
		r.Value = a
		if err == nil {
			a.follow(h.Archive)
			answer(a.length)
		} else {
			answer(0)
		}
		a.refuseWith(ctx)
	})
}

// Forget is called when nobody plays a recording whose length was asked for.
func (h *Handler) Forget(r *rtmp.Request, err error) { granted(r).session.Refuse(ending(err)) }

// open opens the recording. The error is a *hub.Refusal, and has been told.
func (p *filePlayer) open() error {
	p.asked.follow(p.archive)
	if p.asked.latest {
		if why := p.elsewhere(archive.Latest); why != nil {
			p.asked.session.Refuse(why)
			return why
		}
	}
	file, _, err := p.archive.Open(p.asked.session.Key(), p.asked.recording)
	switch {
	case errors.Is(err, archive.ErrNotFound):
		if err = p.elsewhere(p.asked.recording); err == nil {
			err = errNoRecording(p.asked.recording)
		}
	case err != nil:
		p.stream.Logger().Warn("a recording cannot be read", "recording", p.asked.recording, "error", err)
		err = errUnreadable
	}
	if err != nil {
		p.asked.session.Refuse(err)
		return err
	}
	if p.session, err = p.asked.session.Begin(); err != nil {
		return errors.Join(err, file.Close())
	}
	p.file, p.cursor = file, file.Cursor()
	return nil
}

// elsewhere returns the refusal that tells a player where another node has a recording: RTMP has no redirect that
// players follow. It is nil where none has it, as far as is known.
func (p *filePlayer) elsewhere(id string) error {
	if p.others == nil {
		return nil
	}
	key := p.asked.session.Key()
	away, err := p.others(p.ctx, key, id)
	switch {
	case err == nil && away.RTMP == "":
		return union.ErrUnreachable
	case err == nil:
		at := url.URL{Path: "/" + recordings + "/" + key.String() + "/" + away.ID}
		return &hub.Refusal{Reason: hub.ReasonNotFound, Detail: "the recording is at another node: " + away.RTMP + at.EscapedPath()}
	case errors.Is(err, archive.ErrNotFound), id == archive.Latest: // there may be one here
		return nil
	}
	if why, ok := errors.AsType[*hub.Refusal](err); ok {
		return why
	}
	return nil // the player has left
}

// errUnreadable ends a player whose recording cannot be read.
var errUnreadable = &hub.Refusal{Reason: hub.ReasonConnection, Detail: "the recording cannot be read"}
