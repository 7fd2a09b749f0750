package event

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
)

// ringSize is how many events a Ring holds.
const ringSize = 1000

// Ring holds the last 1,000 events for those who ask for them. Updates are not among them: what
// they say is to be had at any time. Its methods may be called from any goroutine.
type Ring struct {
	mu     sync.Mutex
	events [ringSize]json.RawMessage // the one with number n at n % ringSize
	last   uint64                    // number of the newest; 0 without one
	more   chan struct{}             // closed and replaced when there is another one
	ending chan struct{}             // closed when nobody is to wait any more
}

func newRing() *Ring { return &Ring{more: make(chan struct{}), ending: make(chan struct{})} }

// errEnding says that the server is about to end.
var errEnding = errors.New("the server is shutting down")

// End lets nobody wait any more: the server is about to end.
func (r *Ring) End() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.ending:
	default:
		close(r.ending)
	}
}

// add takes an event.
func (r *Ring) add(e Event) {
	if e.Type == TypeUpdate {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e.Seq = r.last + 1
	b, err := json.Marshal(&e)
	if err != nil {
		return // there is no value in an event for which that can be
	}
	r.last = e.Seq
	r.events[r.last%ringSize] = b
	close(r.more)
	r.more = make(chan struct{})
}

// Since returns events in their order, at most max of them (1,000 if it is 0): those with numbers
// above seq. next is the seq for what follows them, and missed is how many are not there any
// more. With a seq that was never given, of an earlier start of the server for example, it begins
// with the oldest one. The caller must not change the events.
func (r *Ring) Since(seq uint64, max int) (events []json.RawMessage, next uint64, missed uint64) {
	if max <= 0 {
		max = ringSize
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	oldest := uint64(1)
	if r.last > ringSize {
		oldest = r.last - ringSize + 1
	}
	switch {
	case seq > r.last:
		seq = oldest - 1
	case seq+1 < oldest:
		missed = oldest - 1 - seq
		seq = oldest - 1
	}
	for ; seq < r.last && len(events) < max; seq++ {
		events = append(events, r.events[(seq+1)%ringSize])
	}
	return events, seq, missed
}

// Wait waits until Since(seq) has something to return. The error is that of ctx, or says that the
// server is about to end.
func (r *Ring) Wait(ctx context.Context, seq uint64) error {
	for {
		r.mu.Lock()
		there, more := r.last != seq && r.last > 0, r.more
		r.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-more:
		case <-r.ending:
			return errEnding
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
