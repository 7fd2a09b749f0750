package vod

import (
	"container/list"
	"context"
	"errors"
	"sync"

	"sluice/flv"
	"sluice/flv/mp4"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/waitgroup"
)

// maxScans is how many files are scanned for their samples at a time. Each keeps a core
// busy; whoever waits for one that is scanned already needs no further one.
const maxScans = 2

// headKey names one state of one file.
type headKey struct {
	stream  hub.Key
	id, tag string
}

// heads makes the heads of MP4 files, each at most once at a time however many wait for it,
// and keeps those that were used last.
type heads struct {
	max   int64         // bytes that are kept
	scans chan struct{} // holds one for each scan under way

	mu      sync.Mutex
	size    int64
	recent  list.List // of *madeHead, the last used first
	made    map[headKey]*list.Element
	making  map[headKey]*making
	running waitgroup.Group
}

type madeHead struct {
	key  headKey
	head []byte
}

// making is a head that is made. It is given up when nobody waits for it any more.
type making struct {
	cancel  context.CancelFunc
	waiting int           // guarded by heads.mu
	done    chan struct{} // closed when head and err are set
	head    []byte
	err     error
}

func newHeads(max int64) *heads {
	return &heads{
		max: max, scans: make(chan struct{}, maxScans),
		made: make(map[headKey]*list.Element), making: make(map[headKey]*making),
	}
}

// get returns a head, which nobody may change, or has it made. The error is that of ctx, or
// of scan.
func (h *heads) get(ctx context.Context, key headKey, scan func(context.Context) ([]byte, error)) ([]byte, error) {
	h.mu.Lock()
	if e := h.made[key]; e != nil {
		h.recent.MoveToFront(e)
		h.mu.Unlock()
		return e.Value.(*madeHead).head, nil
	}
	m := h.making[key]
	if m == nil {
		m = h.makeLocked(key, scan)
	}
	m.waiting++
	h.mu.Unlock()
	select {
	case <-m.done:
		return m.head, m.err
	case <-ctx.Done():
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if m.waiting--; m.waiting == 0 && h.making[key] == m {
		m.cancel()
		delete(h.making, key) // whoever comes now has it made anew
	}
	return nil, ctx.Err()
}

func (h *heads) makeLocked(key headKey, scan func(context.Context) ([]byte, error)) *making {
	ctx, cancel := context.WithCancel(context.Background())
	m := &making{cancel: cancel, done: make(chan struct{})}
	h.making[key] = m
	h.running.Go(func() {
		defer cancel()
		select {
		case h.scans <- struct{}{}:
			m.head, m.err = scan(ctx)
			<-h.scans
		case <-ctx.Done():
			m.err = ctx.Err()
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.making[key] == m {
			delete(h.making, key)
		}
		if m.err == nil {
			h.keepLocked(key, m.head)
		}
		close(m.done)
	})
	return m
}

// keepLocked keeps a head, and lets go of those used least recently.
func (h *heads) keepLocked(key headKey, head []byte) {
	if int64(len(head)) > h.max || h.made[key] != nil {
		return
	}
	h.made[key] = h.recent.PushFront(&madeHead{key, head})
	h.size += int64(len(head))
	for h.size > h.max {
		oldest := h.recent.Remove(h.recent.Back()).(*madeHead)
		delete(h.made, oldest.key)
		h.size -= int64(len(oldest.head))
	}
}

// wait returns when nothing is made any more. Those who wait have left, or leave.
func (h *heads) wait() { h.running.Wait() }

// mp4Head returns the head of a finished file as MP4. The error is a *hub.Refusal, or that
// of ctx.
func (h *Handler) mp4Head(ctx context.Context, key hub.Key, id, tag string) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(h.closing, cancel)
	defer stop()
	head, err := h.heads.get(ctx, headKey{key, id, tag}, func(ctx context.Context) ([]byte, error) {
		return h.scan(ctx, key, id)
	})
	switch {
	case err == nil:
		return head, nil
	case h.closing.Err() != nil:
		return nil, refusal(hub.ReasonShuttingDown, "the server is shutting down")
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, archive.ErrNotFound):
		return nil, noRecording(key, id)
	case errors.Is(err, mp4.ErrNoTracks), errors.Is(err, mp4.ErrUnsupported), errors.Is(err, mp4.ErrTooLarge),
		errors.Is(err, flv.ErrFormat):
		return nil, refusal(hub.ReasonNotFound, "the recording cannot be had as MP4: "+err.Error())
	}
	return nil, h.unreadable(key, id, err)
}

// scan makes a head. It opens the file by itself, since whoever asked may have left.
func (h *Handler) scan(ctx context.Context, key hub.Key, id string) ([]byte, error) {
	f, _, err := h.cfg.Archive.Open(key, id)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	now, err := f.Content()
	if err != nil {
		return nil, err
	}
	index, err := mp4.Scan(ctx, f, fileSize(now))
	if err != nil {
		return nil, err
	}
	return index.Head(), nil
}
