package fanout

import (
	"sync/atomic"
	"time"

	"sluice/hub"
)

// congestion is what an outlet has while a goroutine of its own drains it. That alone changes
// what it tells of its work.
type congestion struct {
	since time.Time    // when it began to drain; zero for one that does so for good
	left  atomic.Int64 // bytes that are being written
	// Without direct writing, Unix times in ns:
	began atomic.Int64 // since when there has always been something to write; 0 while there is nothing
	wrote atomic.Int64 // when something was last taken; 0 before that

	kick chan struct{} // wakes the goroutine of an outlet without direct writing, for good; nil of others
}

// begin notes that a write of some of so many bytes begins: that of those before it was taken.
func (c *congestion) begin(now time.Time, bytes int) {
	if c.left.Swap(int64(bytes)) > 0 {
		c.wrote.Store(now.UnixNano())
	}
	c.began.CompareAndSwap(0, now.UnixNano())
}

// end notes that all of that was taken.
func (c *congestion) end(now time.Time) {
	c.wrote.Store(now.UnixNano())
	c.left.Store(0)
}

// Delivery implements hub.Link.
func (s *Subscription) Delivery() hub.Delivery {
	o := s.outlet
	d := hub.Delivery{Unacknowledged: -1}
	o.mu.Lock()
	c, raw := o.behind, o.raw
	d.Unwritten = len(o.rest)
	if p := o.pending; p != nil {
		d.Unwritten += len(p.bytes) - p.written + len(p.after)
	}
	d.Rewinding = s.leading != nil
	open := o.state != closed
	o.mu.Unlock()
	if c != nil {
		d.Unwritten += int(c.left.Load())
		d.Congested = c.since
		if began := c.began.Load(); began != 0 {
			d.Congested = time.Unix(0, began)
		}
		if wrote := c.wrote.Load(); wrote != 0 {
			d.Written = time.Unix(0, wrote)
		}
	}
	if open && raw != nil {
		look(raw, &d)
	}
	return d
}
