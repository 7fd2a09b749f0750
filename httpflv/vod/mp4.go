package vod

import (
	"context"
	"errors"

	"sluice/flv"
	"sluice/flv/mp4"
	"sluice/hub"
	"sluice/hub/archive"
)

// mp4Head returns the head of a finished file as MP4, and what is to be called when it is used
// no more. The error is a *hub.Refusal, or that of ctx.
func (h *Handler) mp4Head(ctx context.Context, key hub.Key, id, tag string) (head []byte, release func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(h.closing, cancel)
	defer stop()
	head, release, err = h.heads.get(ctx, headKey{key, id, tag}, func(ctx context.Context) ([]byte, error) {
		return h.scan(ctx, key, id, tag)
	})
	switch {
	case err == nil:
		return head, release, nil
	case h.closing.Err() != nil:
		return nil, nil, refusal(hub.ReasonShuttingDown, "the server is shutting down")
	case ctx.Err() != nil:
		return nil, nil, ctx.Err()
	case errors.Is(err, archive.ErrNotFound):
		return nil, nil, noRecording(key, id)
	case errors.Is(err, errChanged):
		return nil, nil, refusal(hub.ReasonBusy, "the recording has just been gone on with")
	case errors.Is(err, errManyHeads):
		return nil, nil, refusal(hub.ReasonTooMany, "too many long recordings are downloaded as MP4")
	case errors.Is(err, mp4.ErrNoTracks), errors.Is(err, mp4.ErrUnsupported), errors.Is(err, mp4.ErrTooLarge),
		errors.Is(err, flv.ErrFormat):
		return nil, nil, refusal(hub.ReasonNotFound, "the recording cannot be had as MP4: "+err.Error())
	}
	return nil, nil, h.unreadable(key, id, err)
}

// errChanged says that a file is not what it was when its head was asked for.
var errChanged = errors.New("vod: the recording has changed")

// scan makes the head of a file in the state of that tag. It opens the file by itself, since
// whoever asked may have left.
func (h *Handler) scan(ctx context.Context, key hub.Key, id, tag string) ([]byte, error) {
	f, _, err := h.cfg.Archive.Open(key, id)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	now, err := f.Content()
	if err != nil {
		return nil, err
	}
	if now.ETag != tag {
		return nil, errChanged
	}
	index, err := mp4.Scan(ctx, f, fileSize(now))
	if err != nil {
		return nil, err
	}
	return index.Head(), nil
}
