package token

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// RemoteConfig is where the keys of a server come from.
type RemoteConfig struct {
	// Fetch asks the server for its keys, and must end when ctx does. It is called by one
	// goroutine at a time. Keys that are secrets are left out of what it returns: they would
	// not be any more.
	Fetch func(ctx context.Context) ([]Key, error)
	// Every is how often it is asked. 0 means 10 minutes.
	Every time.Duration
	// Timeout bounds a Fetch. 0 means 10 seconds.
	Timeout time.Duration
}

// Bounds on fetching.
const (
	// minInterval is the least time between two fetches, whatever is asked for.
	minInterval = 10 * time.Second
	// maxWait is how long a question waits for a fetch.
	maxWait = 5 * time.Second
	// maxWaiting is how many questions wait; others have what is there. A server of keys that
	// hangs must not hold all the places for questions.
	maxWaiting = 64
)

// Remote keeps the keys of a server, which are fetched in the background, and once more when a
// token names one that is not known. When that fails, those of before stay. Its methods may be
// called from any goroutine; somebody must have called Run.
type Remote struct {
	cfg  RemoteConfig
	wake chan struct{} // a fetch is wanted now

	mu      sync.Mutex
	keys    []Key // never changed, only replaced
	state   RemoteState
	next    chan struct{} // closed when the fetch is over that is wanted or under way; nil if none is
	waiting int
}

// RemoteState is how fetching goes.
type RemoteState struct {
	Keys    int       // how many there are
	Began   time.Time // when the last fetch began; zero before the first
	Loaded  time.Time // when the keys came that are used; zero before
	Err     error     // of the last fetch
	Fetches uint64
	Failed  uint64
}

// NewRemote returns a Remote without keys. Run fetches them.
func NewRemote(cfg RemoteConfig) *Remote {
	if cfg.Every == 0 {
		cfg.Every = 10 * time.Minute
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	return &Remote{cfg: cfg, wake: make(chan struct{}, 1)}
}

// State returns how fetching goes.
func (r *Remote) State() RemoteState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// Keys returns the keys that are there, and whether any have ever come.
func (r *Remote) Keys() (keys []Key, loaded bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keys, !r.state.Loaded.IsZero()
}

// Refresh is Keys after a fetch that it waits for: one that is under way, or else a new one, if
// the last began 10 seconds ago or earlier. It waits until ctx ends, for 5 seconds at the most,
// and not at all with 64 that do.
func (r *Remote) Refresh(ctx context.Context) (keys []Key, loaded bool) {
	if done := r.want(); done != nil {
		timer := time.NewTimer(maxWait)
		select {
		case <-done:
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
		r.mu.Lock()
		r.waiting--
		r.mu.Unlock()
	}
	return r.Keys()
}

// want returns what is closed when the next fetch is over, or nil if there is none to wait for.
func (r *Remote) want() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting >= maxWaiting {
		return nil
	}
	if r.next == nil {
		if time.Since(r.state.Began) < minInterval {
			return nil
		}
		r.next = make(chan struct{})
		r.wake <- struct{}{} // it is empty: whoever takes from it sets next to nil later
	}
	r.waiting++
	return r.next
}

// Run fetches the keys, at once, from time to time and when they are wanted, until ctx ends. It
// is called once.
func (r *Remote) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-r.wake:
		}
		timer.Reset(r.fetch(ctx))
	}
}

// fetch fetches once, and returns when to do so again: after a failure earlier, but never
// before minInterval.
func (r *Remote) fetch(ctx context.Context) time.Duration {
	r.mu.Lock()
	if r.next == nil {
		r.next = make(chan struct{})
	}
	r.state.Began = time.Now()
	r.state.Fetches++
	r.mu.Unlock()

	bounded, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	keys, err := r.cfg.Fetch(bounded)
	cancel()
	if err == nil {
		keys, err = usable(keys)
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.wake: // wanted since before the fetch began: this was it
	default:
	}
	close(r.next)
	r.next = nil
	if r.state.Err = err; err != nil {
		r.state.Failed++
		return max(minInterval, min(r.cfg.Every, time.Minute))
	}
	r.keys, r.state.Keys, r.state.Loaded = keys, len(keys), time.Now()
	return max(minInterval, r.cfg.Every)
}

// errNone is for a server that has no keys. Those of before stay: it has lost them rather than
// taken back each one of them.
var errNone = errors.New("the server has no keys for tokens")

// usable returns the public keys.
func usable(keys []Key) ([]Key, error) {
	if len(keys) > MaxKeys {
		return nil, fmt.Errorf("the server has more than %d keys", MaxKeys)
	}
	if keys = slices.DeleteFunc(slices.Clone(keys), Key.symmetric); len(keys) == 0 {
		return nil, errNone
	}
	return keys, nil
}
