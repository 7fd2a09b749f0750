package vod

import (
	"container/list"
	"context"
	"errors"
	"sync"

	"sluice/hub"
	"sluice/hub/waitgroup"
)

// maxScans is how many files are scanned for their samples at a time. Each keeps a core
// busy; whoever waits for one that is scanned already needs no further one.
const maxScans = 2

// usedFactor bounds the heads that downloads use at a time: to so many times what is kept. A
// head may have a hundred megabytes (a day, at irregular times), and a slow client uses it
// for long.
const usedFactor = 4

// errManyHeads says that so many heads are in use that no further one is made.
var errManyHeads = errors.New("vod: too many heads of MP4 files are in use")

// headKey names one state of one file.
type headKey struct {
	stream  hub.Key
	id, tag string
}

// heads makes the heads of MP4 files, each at most once at a time however many wait for it,
// and keeps those that were used last. One that is in use is in memory once.
//
//	get ─▶ making ─▶ used ──the last release──▶ idle ──room is needed──▶ gone
//	                  ▲                          │
//	                  └──────────get─────────────┘
type heads struct {
	max   int64         // bytes of idle ones
	scans chan struct{} // holds one for each scan under way

	mu      sync.Mutex
	size    int64     // bytes of idle ones
	used    int64     // bytes of those in use
	idle    list.List // of *madeHead, the last used first
	made    map[headKey]*madeHead
	making  map[headKey]*making
	running waitgroup.Group
}

// madeHead is a head that is used, or kept. It is guarded by heads.mu, but for what it holds.
type madeHead struct {
	key   headKey
	head  []byte
	users int
	place *list.Element // in heads.idle; nil while there are users
}

// making is a head that is made. It is given up when nobody waits for it any more.
type making struct {
	cancel  context.CancelFunc
	waiting int           // guarded by heads.mu
	done    chan struct{} // closed when made and err are set
	made    *madeHead     // used by all who wait
	err     error
}

func newHeads(max int64) *heads {
	return &heads{
		max: max, scans: make(chan struct{}, maxScans),
		made: make(map[headKey]*madeHead), making: make(map[headKey]*making),
	}
}

// get returns a head, which nobody may change, or has it made; release must be called when it
// is used no more. The error is that of ctx, of scan, or errManyHeads.
func (h *heads) get(ctx context.Context, key headKey, scan func(context.Context) ([]byte, error)) (head []byte, release func(), err error) {
	h.mu.Lock()
	if e := h.made[key]; e != nil {
		h.useLocked(e, 1)
		h.mu.Unlock()
		return e.head, h.releaser(e), nil
	}
	m := h.making[key]
	if m == nil {
		m = h.makeLocked(key, scan)
	}
	m.waiting++
	h.mu.Unlock()
	select {
	case <-m.done:
		if m.err != nil {
			return nil, nil, m.err
		}
		return m.made.head, h.releaser(m.made), nil
	case <-ctx.Done():
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch m.waiting--; {
	case m.made != nil: // it was done at that moment
		h.releaseLocked(m.made)
	case m.waiting == 0 && h.making[key] == m:
		m.cancel()
		delete(h.making, key) // whoever comes now has it made anew
	}
	return nil, nil, ctx.Err()
}

func (h *heads) makeLocked(key headKey, scan func(context.Context) ([]byte, error)) *making {
	ctx, cancel := context.WithCancel(context.Background())
	m := &making{cancel: cancel, done: make(chan struct{})}
	h.making[key] = m
	h.running.Go(func() {
		defer cancel()
		var head []byte
		var err error
		select {
		case h.scans <- struct{}{}:
			if err = h.admit(); err == nil {
				head, err = scan(ctx)
			}
			<-h.scans
		case <-ctx.Done():
			err = ctx.Err()
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.making[key] == m {
			delete(h.making, key)
		}
		if m.err = err; err == nil {
			m.made = h.madeLocked(key, head, m.waiting)
		}
		close(m.done)
	})
	return m
}

// admit reports whether there is room for a further head.
func (h *heads) admit() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.used > usedFactor*h.max {
		return errManyHeads
	}
	return nil
}

// madeLocked takes a head that so many use.
func (h *heads) madeLocked(key headKey, head []byte, users int) *madeHead {
	e := h.made[key]
	if e == nil { // or it was made anew by those who came after all had left
		e = &madeHead{key: key, head: head}
		h.made[key] = e
	}
	if h.useLocked(e, users); e.users == 0 {
		h.keepLocked(e)
	}
	return e
}

// useLocked notes that further ones use a head.
func (h *heads) useLocked(e *madeHead, users int) {
	if e.users == 0 && users > 0 {
		h.used += int64(len(e.head))
		if e.place != nil {
			h.idle.Remove(e.place)
			e.place = nil
			h.size -= int64(len(e.head))
		}
	}
	e.users += users
}

// releaser returns a function that lets go of a head, once.
func (h *heads) releaser(e *madeHead) func() {
	return sync.OnceFunc(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.releaseLocked(e)
	})
}

func (h *heads) releaseLocked(e *madeHead) {
	if e.users--; e.users == 0 {
		h.used -= int64(len(e.head))
		h.keepLocked(e)
	}
}

// keepLocked keeps a head that nobody uses, and lets go of those used least recently.
func (h *heads) keepLocked(e *madeHead) {
	if e.place != nil {
		return
	}
	if int64(len(e.head)) > h.max {
		delete(h.made, e.key)
		return
	}
	e.place = h.idle.PushFront(e)
	h.size += int64(len(e.head))
	for h.size > h.max {
		oldest := h.idle.Remove(h.idle.Back()).(*madeHead)
		oldest.place = nil
		delete(h.made, oldest.key)
		h.size -= int64(len(oldest.head))
	}
}

// wait returns when nothing is made any more. Those who wait have left, or leave.
func (h *heads) wait() { h.running.Wait() }
