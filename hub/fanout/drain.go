package fanout

import (
	"errors"
	"os"
	"sync"
	"time"

	"sluice/hub"
)

var batches = sync.Pool{New: func() any { return new(hub.Batch) }}

// wakeDrain wakes the goroutine of an outlet without direct writing.
func (o *Outlet) wakeDrain() {
	if o.kick == nil {
		return
	}
	select {
	case o.kick <- struct{}{}:
	default:
	}
}

// drain writes what waits for a draining outlet and what becomes due meanwhile,
// blocking, until its viewers have caught up.
func (o *Outlet) drain() {
	b := batches.Get().(*hub.Batch)
	defer batches.Put(b)
	for {
		switch o.collect(b) {
		case collected:
			if err := o.write(b.Bytes); err != nil {
				o.close(err)
				return
			}
		case asleep:
			<-o.kick
		case finished:
			return
		}
	}
}

type collection uint8

const (
	collected collection = iota
	asleep
	finished
)

// collect takes over what is to be written next, in a buffer of the goroutine's
// own, so that nothing is locked while it is written. With nothing to write, the
// outlet flows again.
func (o *Outlet) collect(b *hub.Batch) collection {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state == closed {
		return finished
	}
	b.Bytes = append(b.Bytes[:0], o.rest...)
	o.rest, o.own = nil, 0
	if len(b.Bytes) > 0 {
		return collected
	}
	for i := 0; i < len(o.subs); {
		sub := o.subs[i]
		if sub.end != hub.ReasonNone {
			o.finishLocked(sub, sub.end) // its last bytes were written
			continue
		}
		o.fillLocked(sub, b, drainLimit)
		i++
	}
	switch {
	case len(b.Bytes) > 0:
		return collected
	case o.endedLocked():
		// Ended without a last byte; the next look finishes it.
		return collected
	}
	o.announceEmptyLocked()
	if o.raw == nil {
		return asleep
	}
	o.conn.SetWriteDeadline(time.Time{})
	o.state = flowing
	return finished
}

func (o *Outlet) endedLocked() bool {
	for _, sub := range o.subs {
		if sub.end != hub.ReasonNone {
			return true
		}
	}
	return false
}

// write writes p, giving the connection WriteTimeout for each slice of it, so that
// a slow one is told from one that takes nothing. It takes its buffer's content
// for taken long before its peer has read it, and then takes no more until much of
// that is gone, for which a slow peer may need several times WriteTimeout. So
// where the kernel tells what the peer takes, that is what counts.
func (o *Outlet) write(p []byte) error {
	for len(p) > 0 {
		held, known := o.backlog()
		if err := o.conn.SetWriteDeadline(time.Now().Add(o.pool.cfg.WriteTimeout)); err != nil {
			return err
		}
		n, err := o.conn.Write(p[:min(len(p), writeSlice)])
		if err != nil && !(known && errors.Is(err, os.ErrDeadlineExceeded) && o.took(held+n)) {
			return err
		}
		p = p[n:]
	}
	return nil
}

// backlog returns how many bytes the peer of an outlet with direct writing has
// still to take, if that is known.
func (o *Outlet) backlog() (n int, known bool) {
	if o.raw == nil {
		return 0, false
	}
	return backlog(o.raw)
}

// took reports whether the peer has taken any of so many bytes that it had to take.
func (o *Outlet) took(bytes int) bool {
	held, known := o.backlog()
	return known && held < bytes
}
