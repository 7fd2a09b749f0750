package fanout

import (
	"bytes"
	"slices"
	"sync"

	"sluice/hub"
)

// largeRest is the most of a write, in bytes, that a congested outlet keeps as a copy of
// its own. As a rule it is less than that.
const largeRest = 64 << 10

// sharedRest is what outlets keep of a large frame that their connections did not take
// whole. A key frame may have megabytes and find thousands of connections full at once,
// healthy ones among them, so all outlets that wait for the same bytes hold one copy.
type sharedRest struct {
	key     hub.FrameKey // zero if it belongs to a single outlet
	bytes   []byte       // never change
	holders map[*Outlet]struct{}
}

// pendingRest is a sharedRest in the queue of one outlet.
type pendingRest struct {
	*sharedRest
	written int    // bytes of it that are written
	after   []byte // what goes out behind it
}

// cost is its memory for each outlet that holds it, in bytes.
func (r *sharedRest) cost() int { return len(r.bytes) / len(r.holders) }

// sharedRests holds the rests of a pool, which have a bound together. When there is no
// room for another, the one with the highest cost goes, and the outlets that hold it are
// closed, since nothing but the rest of a frame can follow its beginning. So a few viewers
// that each wait for many megabytes are ended before a crowd that waits for one frame.
type sharedRests struct {
	most int64 // bytes

	mu     sync.Mutex
	held   int64
	all    map[*sharedRest]struct{}
	shared map[hub.FrameKey]*sharedRest
}

// hold makes o a holder of p, which it copies unless a rest with the same key is held
// already. It returns the outlets that have to be closed for it; if o is one of them, the
// rest is nil.
func (rs *sharedRests) hold(o *Outlet, key hub.FrameKey, p []byte) (r *sharedRest, victims []*Outlet) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.all == nil {
		rs.all, rs.shared = make(map[*sharedRest]struct{}), make(map[hub.FrameKey]*sharedRest)
	}
	if r = rs.shared[key]; r != nil {
		r.holders[o] = struct{}{}
		return r, nil
	}
	for rs.held+int64(len(p)) > rs.most {
		var costliest *sharedRest
		for other := range rs.all {
			if costliest == nil || other.cost() > costliest.cost() {
				costliest = other
			}
		}
		if costliest == nil || costliest.cost() < len(p) {
			return nil, append(victims, o)
		}
		for other := range costliest.holders {
			victims = append(victims, other)
		}
		rs.dropLocked(costliest)
	}
	r = &sharedRest{key: key, bytes: bytes.Clone(p), holders: map[*Outlet]struct{}{o: {}}}
	rs.all[r] = struct{}{}
	if key != (hub.FrameKey{}) {
		rs.shared[key] = r
	}
	rs.held += int64(len(p))
	return r, victims
}

// release says that o no longer holds r.
func (rs *sharedRests) release(o *Outlet, r *sharedRest) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	delete(r.holders, o)
	if _, kept := rs.all[r]; kept && len(r.holders) == 0 {
		rs.dropLocked(r)
	}
}

func (rs *sharedRests) dropLocked(r *sharedRest) {
	delete(rs.all, r)
	if rs.shared[r.key] == r {
		delete(rs.shared, r.key)
	}
	rs.held -= int64(len(r.bytes))
}

// keepLocked keeps what follows the first n bytes of p, which the connection did not
// take. It goes out before anything that was queued meanwhile. p is b.Bytes, or b is nil.
// It reports false if there is no room.
func (o *Outlet) keepLocked(b *hub.Batch, p []byte, n int) bool {
	if len(p)-n <= largeRest {
		o.rest = slices.Concat(p[n:], o.rest)
		return true
	}
	key, from := hub.FrameKey{}, n
	if b != nil {
		if k, at, ok := b.LargeFrame(); ok {
			key, from = k, at
		}
	}
	r, victims := o.pool.rests.hold(o, key, p[from:])
	for _, victim := range victims {
		if victim != o { // its own lock is held
			o.pool.running.Go(func() { victim.close(ErrCongested) })
		}
	}
	if r == nil {
		return false
	}
	o.pending = &pendingRest{r, max(n, from) - from, o.rest}
	o.rest = bytes.Clone(p[n:max(n, from)])
	return true
}

// keep is keepLocked for the goroutine of a draining outlet.
func (o *Outlet) keep(b *hub.Batch, p []byte, n int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.state == closed:
		return o.err
	case !o.keepLocked(b, p, n):
		return ErrCongested
	}
	return nil
}

// dropPendingLocked lets go of the shared rest, which was written or never will be.
func (o *Outlet) dropPendingLocked() {
	if o.pending != nil {
		o.pool.rests.release(o, o.pending.sharedRest)
		o.pending, o.rest = nil, o.pending.after
	}
}

// queueLocked appends a copy of p to all that waits.
func (o *Outlet) queueLocked(p []byte) {
	if o.pending != nil {
		o.pending.after = append(o.pending.after, p...)
	} else {
		o.rest = append(o.rest, p...)
	}
}
