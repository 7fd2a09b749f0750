package fanout

import (
	"sync/atomic"
	"time"

	"sluice/hub"
)

// congestion is what an outlet has while a goroutine of its own drains it. That alone changes
// what it tells of its work.
type congestion struct {
	since time.Time    // when it began to drain
	left  atomic.Int64 // bytes that are being written
	own   int          // bytes of what waits that are the session's own messages; guarded by Outlet.mu
	// Without direct writing, moments:
	began atomic.Int64 // since when there has always been something to write; 0 while there is nothing
	wrote atomic.Int64 // when something was last taken; 0 before that

	kick chan struct{} // wakes the goroutine of an outlet without direct writing, for good; nil of others
}

// moment returns a time as a moment: in ns from since on, and never 0. It does not change when
// somebody sets the clock.
func (c *congestion) moment(t time.Time) int64 { return int64(t.Sub(c.since)) + 1 }

// at returns the time of a moment.
func (c *congestion) at(moment int64) time.Time { return c.since.Add(time.Duration(moment - 1)) }

// begin notes that a write of some of so many bytes begins: that of those before it was taken.
func (c *congestion) begin(now time.Time, bytes int) {
	if c.left.Swap(int64(bytes)) > 0 {
		c.wrote.Store(c.moment(now))
	}
	c.began.CompareAndSwap(0, c.moment(now))
}

// end notes that all of that was taken.
func (c *congestion) end(now time.Time) {
	c.wrote.Store(c.moment(now))
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
		if raw != nil {
			d.Congested = c.since
		} else if began := c.began.Load(); began != 0 {
			d.Congested = c.at(began)
		}
		if wrote := c.wrote.Load(); wrote != 0 {
			d.Written = c.at(wrote)
		}
	}
	if open && raw != nil {
		look(raw, &d)
	}
	return d
}
