package fanout

import (
	"errors"
	"os"
	"sync"
	"time"

	"sluice/hub"
	"sluice/hub/rawconn"
)

// batches are for framing outside of a worker, which has a batch of its own.
var batches = sync.Pool{New: func() any { return new(hub.Batch) }}

func putBatch(b *hub.Batch) {
	b.Forget()
	batches.Put(b)
}

// wakeDrainLocked wakes the goroutine of an outlet without direct writing.
func (o *Outlet) wakeDrainLocked() {
	if o.behind == nil || o.behind.kick == nil {
		return
	}
	select {
	case o.behind.kick <- struct{}{}:
	default:
	}
}

// drain writes what waits for a draining outlet and what becomes due meanwhile,
// until its viewers have caught up. While it waits for a connection that is
// written to directly, the goroutine holds a copy of the rest of what it has
// framed last, or shares it (sharedRest), and nothing else: a viewer that takes
// nothing costs little more than a stack.
func (o *Outlet) drain() {
	for {
		b := batches.Get().(*hub.Batch)
		p, what, c := o.collect(b)
		var err error
		switch {
		case what == framed && (o.raw != nil || len(p) > largeRest):
			n := 0
			switch {
			case o.seal != nil:
				n, err = o.trySealed(p, false)
			case o.raw != nil:
				n, err = rawconn.TrySend(o.raw, p)
			}
			if err == nil && n < len(p) {
				err = o.keep(b, p, n)
			}
			putBatch(b)
		case what == framed:
			err = o.write(p, c)
			putBatch(b)
		default:
			putBatch(b)
			switch {
			case what != kept:
			case o.raw == nil:
				err = o.write(p, c)
			case o.seal != nil:
				err = o.writeSealed(p, c)
			default:
				err = o.writeDirectly(p, 0, c)
			}
		}
		switch {
		case err != nil:
			o.close(err)
			return
		case what == asleep:
			c.began.Store(0)
			<-c.kick
		case what == finished:
			return
		}
	}
}

type collection uint8

const (
	framed   collection = iota // into the batch
	kept                       // from before
	asleep                     // nothing, for an outlet without direct writing
	finished                   // nothing, for good or for now
)

// collect takes over what is to be written next, so that nothing is locked while it is
// written: what was kept, or else something framed into b. With nothing to write, the
// outlet flows again.
func (o *Outlet) collect(b *hub.Batch) ([]byte, collection, *congestion) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p, what := o.collectLocked(b)
	o.seal.setBusyLocked(what == framed || what == kept)
	return p, what, o.behind
}

func (o *Outlet) collectLocked(b *hub.Batch) ([]byte, collection) {
	if o.state == closed {
		return nil, finished
	}
	o.seal.setBusyLocked(false) // all that it had was written
	if o.seal.unsentLocked() {
		return nil, kept
	}
	if t := o.pending; t != nil && len(o.rest) == 0 {
		if p := t.bytes[t.written:]; len(p) > 0 {
			t.written = len(t.bytes) // it is, when this is called again
			return p, kept
		}
		o.dropPendingLocked()
	}
	if p := o.rest; len(p) > 0 {
		o.rest = nil
		if o.pending == nil {
			o.behind.own = 0
		}
		return p, kept
	}
	b.Bytes = b.Bytes[:0]
	for sub := o.subs; sub != nil; {
		next := sub.next
		if sub.end != hub.ReasonNone {
			o.finishLocked(sub, sub.end) // its last bytes were written
		} else {
			o.fillLocked(sub, b, drainLimit)
		}
		sub = next
	}
	switch {
	case len(b.Bytes) > 0:
		return b.Bytes, framed
	case o.endedLocked():
		// Ended without a last byte; the next look finishes it.
		return nil, framed
	}
	o.announceEmptyLocked()
	if o.raw == nil {
		return nil, asleep
	}
	o.conn.SetWriteDeadline(time.Time{})
	o.state, o.behind = flowing, nil
	o.pool.congested.Add(-1)
	return nil, finished
}

func (o *Outlet) endedLocked() bool {
	for sub := o.subs; sub != nil; sub = sub.next {
		if sub.end != hub.ReasonNone {
			return true
		}
	}
	return false
}

// write writes p in slices and gives the connection WriteTimeout for each, so that a
// slow peer can be told from one that takes nothing.
func (o *Outlet) write(p []byte, c *congestion) error {
	for len(p) > 0 {
		now := time.Now()
		c.begin(now, len(p))
		if err := o.conn.SetWriteDeadline(now.Add(o.pool.cfg.WriteTimeout)); err != nil {
			return err
		}
		n, err := o.conn.Write(p[:min(len(p), writeSlice)])
		if err != nil {
			return err
		}
		p = p[n:]
	}
	if c.left.Load() > 0 {
		c.end(time.Now())
	}
	return nil
}

// writeDirectly writes p to a connection that was full a moment ago. It gives up when
// the peer has taken nothing at all for WriteTimeout.
//
// The kernel accepts bytes long before the peer has read them, and then accepts no
// more until much of its buffer is gone, for which a slow peer may need several times
// WriteTimeout. So where the kernel tells how much the peer has not acknowledged, a
// decrease of that counts too. It is looked at several times within WriteTimeout.
//
// behind is how many more bytes wait for it.
func (o *Outlet) writeDirectly(p []byte, behind int, c *congestion) error {
	timeout := o.pool.cfg.WriteTimeout
	took := time.Now() // when the peer took something last
	held, _ := rawconn.Unacknowledged(o.raw)
	for len(p) > 0 {
		c.left.Store(int64(len(p) + behind))
		if err := o.conn.SetWriteDeadline(time.Now().Add(timeout / looks)); err != nil {
			return err
		}
		n, err := rawconn.SendWhenReady(o.raw, p)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		p = p[n:]
		now := time.Now()
		holds, _ := rawconn.Unacknowledged(o.raw)
		switch {
		case n > 0 || holds < held:
			took = now
		case now.Sub(took) >= timeout:
			return err
		}
		held = holds
	}
	c.left.Store(int64(behind))
	return nil
}
