package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// crowd is the viewers of one round.
type crowd struct {
	o         *options
	loop      *loop       // nil if somebody else publishes
	pubs      *publishers // nil as well then
	counter   counter
	files     *filePlayers // nil without
	checks    []*checking
	measuring atomic.Bool
	leaving   atomic.Bool
	reading   sync.WaitGroup
	joined    atomic.Int64
	left      sync.Once
	periods   []atomic.Int32 // by URL: the one that it is in, of checker.worst; from 1 on

	mu     sync.Mutex
	failed tally
	opened histogram // how long opening took
	shaken histogram // of it the handshake, of encrypted viewers
}

// checking is a viewer that checks everything.
type checking struct {
	checker
	watch, stream int
	v             *viewer
	asked         time.Time // when it began to open
	ended         string    // why it ended, empty if it left

	before, after int64 // bytes received, when the window began and ended
}

// newCrowd returns a crowd that nobody has joined yet. It must leave.
func newCrowd(o *options, l *loop, pubs *publishers) *crowd {
	return &crowd{o: o, loop: l, pubs: pubs, counter: newCounter(), failed: tally{}, periods: make([]atomic.Int32, len(o.watch))}
}

// paced calls f for each of n numbers, in goroutines of their own, at most rate a
// second and maxOpening at a time, and waits for them.
func paced(ctx context.Context, n int, rate float64, f func(i int)) {
	limit := make(chan struct{}, maxOpening)
	var opening sync.WaitGroup
	defer opening.Wait()
	start := time.Now()
	for i := range n {
		sleepUntil(ctx, start.Add(time.Duration(float64(i)/rate*float64(time.Second))))
		select {
		case limit <- struct{}{}:
		case <-ctx.Done():
			return
		}
		opening.Go(func() {
			defer func() { <-limit }()
			f(i)
		})
	}
}

// sleepUntil returns at t, or when ctx ends.
func sleepUntil(ctx context.Context, t time.Time) {
	wait := time.Until(t)
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// join makes all viewers join.
func (c *crowd) join(ctx context.Context) {
	checks := c.o.checkNumbers()
	paced(ctx, c.o.viewers, c.o.joinRate, func(i int) {
		watch, stream := c.o.place(i)
		if err := c.joinOne(ctx, watch, stream, checks[i]); err != nil && ctx.Err() == nil {
			c.fail(err)
		}
	})
}

// fail counts a viewer that could not join.
func (c *crowd) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed[reason(err)]++
}

// joinOne makes one viewer join.
func (c *crowd) joinOne(ctx context.Context, watch, stream int, check bool) error {
	t := c.o.watch[watch]
	asked := time.Now()
	v, err := opener{tls: &c.o.tls}.open(ctx, t.target, stream)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.opened.add(time.Since(asked))
	if t.secure {
		c.shaken.add(v.took.handshake)
	}
	c.mu.Unlock()
	if !check {
		v.prepare(c.o.wordsFor())
		if err := c.counter.add(v, watch, stream); err != nil {
			return err
		}
		c.joined.Add(1)
		return nil
	}
	x := &checking{checker: c.newChecker(stream), watch: watch, stream: stream, v: v, asked: asked}
	x.period = &c.periods[watch]
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checks = append(c.checks, x)
	c.joined.Add(1)
	c.reading.Go(func() { c.read(x) })
	return nil
}

// newChecker returns a checker of a stream, which the viewer has just joined.
func (c *crowd) newChecker(stream int) checker {
	k := checker{joined: moment(time.Now()), measuring: c.measuring.Load}
	if c.pubs != nil && c.pubs.list[stream].sink != nil {
		k.loop, k.from = c.loop, c.pubs.list[stream]
	}
	return k
}

// read checks what a viewer is sent until the stream ends, or the viewer leaves.
func (c *crowd) read(x *checking) {
	r := x.v.reader()
	for {
		t, err := r.ReadTag()
		if err != nil {
			if !c.leaving.Load() {
				x.ended = reason(err)
			}
			x.v.close()
			return
		}
		x.tag(t, x.v.conn.lastRead)
	}
}

// begin starts the window.
func (c *crowd) begin(d time.Duration) {
	c.counter.begin(d)
	if c.files != nil {
		c.files.begin(d)
	}
	for _, x := range c.checks {
		x.before = x.v.conn.received.Load()
	}
	c.measuring.Store(true)
}

// finish ends the window; cut tells that it is before its time.
func (c *crowd) finish(cut bool) {
	c.measuring.Store(false)
	for _, x := range c.checks {
		x.after = x.v.conn.received.Load()
	}
	if c.files != nil {
		c.files.finish(cut)
	}
	c.counter.finish(cut)
}

// status says how many viewers are there still.
func (c *crowd) status() string {
	alive, received := c.counter.status()
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("%s, %d check, %d failed, %.0f MB counted",
		numbered(alive, "viewer"), len(c.checks), c.failed.total(), float64(received)/1e6)
}

// leave ends all viewers; calls but the first do nothing.
func (c *crowd) leave() {
	c.left.Do(func() {
		c.leaving.Store(true)
		c.counter.close()
		if c.files != nil {
			c.files.leave()
		}
		for _, x := range c.checks {
			x.v.close()
		}
		c.reading.Wait()
	})
}
