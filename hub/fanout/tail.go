package fanout

import (
	"bytes"
	"slices"
	"sync"

	"sluice/hub"
)

// largeRest is how much of a write, in bytes, a congested outlet keeps as a copy of its
// own: what it holds as a rule.
const largeRest = 64 << 10

// tail is what outlets keep of a large frame that their connections did not take as a
// whole. A key frame may have megabytes, and may find thousands of connections full at
// once, healthy ones among them: so those that wait for the same bytes hold them
// together.
type tail struct {
	key     hub.TailKey // zero for one of a single outlet
	bytes   []byte      // never changed
	holders map[*Outlet]struct{}
}

// waiting is a tail in the queue of one outlet.
type waiting struct {
	*tail
	written int    // so much of it
	after   []byte // what comes behind it
}

// cost is what the tail takes for each that holds it, in bytes.
func (t *tail) cost() int { return len(t.bytes) / len(t.holders) }

// tails are all tails of a pool. Together they have a bound: when there is no room for
// another, the one that costs most for each of its holders has to go, and these with
// it, since in the middle of a frame there is no other way on. So whoever has frames
// of many megabytes, and few that do not take them, is ended before a crowd that
// waits for the same frame.
type tails struct {
	most int64 // bytes

	mu     sync.Mutex
	held   int64
	all    map[*tail]struct{}
	shared map[hub.TailKey]*tail
}

// hold makes o a holder of p, which it copies unless somebody holds what goes by the
// same key. It returns the outlets that are to be closed for that; if o is one of them
// the tail is nil.
func (ts *tails) hold(o *Outlet, key hub.TailKey, p []byte) (t *tail, victims []*Outlet) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.all == nil {
		ts.all, ts.shared = make(map[*tail]struct{}), make(map[hub.TailKey]*tail)
	}
	if t = ts.shared[key]; t != nil {
		t.holders[o] = struct{}{}
		return t, nil
	}
	for ts.held+int64(len(p)) > ts.most {
		var dearest *tail
		for other := range ts.all {
			if dearest == nil || other.cost() > dearest.cost() {
				dearest = other
			}
		}
		if dearest == nil || dearest.cost() < len(p) {
			return nil, append(victims, o)
		}
		for other := range dearest.holders {
			victims = append(victims, other)
		}
		ts.dropLocked(dearest)
	}
	t = &tail{key: key, bytes: bytes.Clone(p), holders: map[*Outlet]struct{}{o: {}}}
	ts.all[t] = struct{}{}
	if key != (hub.TailKey{}) {
		ts.shared[key] = t
	}
	ts.held += int64(len(p))
	return t, victims
}

// release says that o does not hold t any more.
func (ts *tails) release(o *Outlet, t *tail) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	delete(t.holders, o)
	if _, kept := ts.all[t]; kept && len(t.holders) == 0 {
		ts.dropLocked(t)
	}
}

func (ts *tails) dropLocked(t *tail) {
	delete(ts.all, t)
	if ts.shared[t.key] == t {
		delete(ts.shared, t.key)
	}
	ts.held -= int64(len(t.bytes))
}

// keepLocked keeps what the connection did not take of p, n bytes of which it took: as
// the first that goes out, before what others have written meanwhile. p is b.Bytes, or
// b is nil. It reports false where there is no room.
func (o *Outlet) keepLocked(b *hub.Batch, p []byte, n int) bool {
	if len(p)-n <= largeRest {
		o.rest = slices.Concat(p[n:], o.rest)
		return true
	}
	key, from := hub.TailKey{}, n
	if b != nil {
		if k, at, ok := b.Tail(); ok {
			key, from = k, at
		}
	}
	t, victims := o.pool.tails.hold(o, key, p[from:])
	for _, victim := range victims {
		if victim != o { // its own lock is held
			o.pool.running.Go(func() { victim.close(ErrCongested) })
		}
	}
	if t == nil {
		return false
	}
	o.tail = &waiting{t, max(n, from) - from, o.rest}
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

// dropTailLocked lets go of the tail, which was written, or will never be.
func (o *Outlet) dropTailLocked() {
	if o.tail != nil {
		o.pool.tails.release(o, o.tail.tail)
		o.tail, o.rest = nil, o.tail.after
	}
}

// queueLocked appends a copy of p to all that waits.
func (o *Outlet) queueLocked(p []byte) {
	if o.tail != nil {
		o.tail.after = append(o.tail.after, p...)
	} else {
		o.rest = append(o.rest, p...)
	}
}
