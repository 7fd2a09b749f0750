package relay

import (
	"context"
	"sync"
	"time"

	"sluice/hub"
)

// Waits of the goroutine of run.
const (
	pushConnect = 20 * time.Second       // bounds the opening of a connection
	pushLook    = time.Second            // between two looks at a connection
	pushEarly   = 100 * time.Millisecond // likewise, until something was acknowledged
	pushIdle    = 5 * time.Second        // looks for a publisher of which it was not told
	pushMoves   = 10 * time.Second       // between two moves of a target
)

// pushRun is what run knows.
//
//	                  somebody publishes, and it is time
//	nothing ───────────────────────────────────────────────▶ opening
//	connected ◀─────────────────────────────────────────────  │
//	 ▲    ▲                     it failed                      │
//	 │    │ it broke, was refused, or takes no such codec      ▼
//	 │    └─────────────────────────────────────────────── connected ──▶ opening where the target
//	 │        nobody publishes for the hold: the end           │ ▲        asked to go, and going on
//	 └─────────────────────────────────────────────────────────┘ └─────── there once it is live
type pushRun struct {
	*push
	ctx     context.Context
	began   context.Context // of connections that are opened
	cancel  context.CancelFunc
	live    bool      // somebody publishes
	left    time.Time // since when nobody does
	over    bool      // and nobody will
	conn    *pushConn
	next    *pushConn // where the target asked to go, and not live yet
	opening *opening
	moved   time.Time // when it was asked to go on elsewhere last
	note    string    // why it did not
	last    string    // the last failure; "" for none ever
	logged  string    // the last one that was logged, until it works
	told    bool      // that it is live
	closing sync.WaitGroup
}

// opening is a connection that is opened.
type opening struct {
	url  URL
	move bool
	done chan opened // capacity 1
}

type opened struct {
	sink Sink
	err  error
}

func newPushRun(ctx context.Context, p *push) *pushRun {
	r := &pushRun{push: p, ctx: ctx, left: time.Now()}
	r.began, r.cancel = context.WithCancel(ctx)
	return r
}

// loop is run.
func (r *pushRun) loop() {
	for r.step(time.Now()) {
		r.show()
		r.wait()
	}
	r.finish()
}

// step does what is due. It reports false at the end.
func (r *pushRun) step(now time.Time) bool {
	if r.ctx.Err() != nil {
		return false
	}
	r.lookForPublisher(now)
	if !r.live && (r.over || now.Sub(r.left) >= r.cfg.Hold) {
		return false
	}
	r.tend(r.conn, now)
	r.tend(r.next, now)
	if r.next != nil && (r.conn == nil || r.next.acks.live) {
		r.change()
	}
	switch c := r.conn; {
	case c != nil && c.acks.healthy(now):
		r.retry.reset()
		r.logged = ""
	case c == nil && r.live && r.opening == nil && r.due(now):
		r.open(r.cfg.URL, false)
	}
	if c := r.conn; c != nil && c.acks.live && !r.told {
		r.told = true
		r.cfg.Logger.Info("a push is live", "remote", c.sink.Remote())
	}
	return true
}

// lookForPublisher asks the hub whether somebody publishes. What is another server's by now that one pushes.
func (r *pushRun) lookForPublisher(now time.Time) {
	live := r.cfg.Hub.PublisherOf(r.cfg.Key) != nil
	if _, own, held := r.cfg.Hub.Head(r.cfg.Key); held && !own {
		r.over = true
	}
	switch {
	case live && !r.live:
		r.over = false
		if c := r.conn; c != nil {
			c.heldAt, c.waiting = c.written.Load(), true
		}
	case !live && r.live:
		r.left = now
	}
	r.live = live
}

// due reports whether it is time to try.
func (r *pushRun) due(now time.Time) bool {
	if had := r.retry.codecs; had != nil {
		if is := r.codecs(); is != *had && is != (pushCodecs{}) {
			return true
		}
	}
	return !now.Before(r.retry.at)
}

func (r *pushRun) codecs() (c pushCodecs) {
	c.video, c.audio = r.cfg.Hub.Codecs(r.cfg.Key)
	return c
}

// open opens a connection.
func (r *pushRun) open(url URL, move bool) {
	o := &opening{url: url, move: move, done: make(chan opened, 1)}
	r.opening = o
	r.tries.Add(1)
	to := Sending{URL: url, Path: r.path()}
	go func() {
		ctx, cancel := context.WithTimeout(r.began, pushConnect)
		defer cancel()
		sink, err := r.cfg.Send(ctx, to)
		o.done <- opened{sink, err}
	}()
}

// opened takes the connection that was opened.
func (r *pushRun) opened(o opened) {
	was := r.opening
	r.opening = nil
	switch {
	case o.err != nil && was.move:
		r.stay(FailureOf(o.err))
		return
	case o.err != nil:
		r.failed(FailureOf(o.err), false)
		return
	}
	c := newPushConn(r.push, o.sink, was.url)
	if was.move && r.conn != nil {
		r.next = c
	} else {
		r.use(c)
	}
}

// use makes a connection the present one; nil for none.
func (r *pushRun) use(c *pushConn) {
	r.conn = c
	r.shown.Store(c)
	r.told = r.told && c != nil
}

// tend looks after a connection.
func (r *pushRun) tend(c *pushConn, now time.Time) {
	if c == nil {
		return
	}
	if c.done == nil && r.live {
		c.read()
	}
	if c.waiting && c.written.Load() > c.heldAt {
		c.waiting = false
	}
	blocked := c.blocked(now)
	c.acks.look(c.sink, c.written.Load(), blocked, now)
	if silent := max(blocked, c.acks.stale(now)); silent >= pushBlocked {
		r.broke(c, Failed(CauseConnection, "the target took nothing for %v", pushBlocked))
	}
}

// carried takes how the carrying of a stream ended.
func (r *pushRun) carried(c *pushConn, out pushOutcome) {
	c.carried()
	switch {
	case out.codecs:
		r.unfit(c, out.failure)
	case out.failure != nil:
		r.broke(c, out.failure)
	case out.end == hub.ReasonShuttingDown:
		r.over = true
	}
}

// broke notes that a connection failed.
func (r *pushRun) broke(c *pushConn, f *Failure) {
	select {
	case <-c.sink.Ended(): // which says more than a write that failed
		f = FailureOf(c.sink.Err())
	default:
	}
	healthy := c.acks.healthy(time.Now())
	c.abort()
	if c == r.next {
		r.next = nil
		r.stay(f)
		return
	}
	if c.acks.ever {
		r.breaks.Add(1)
	}
	r.use(nil)
	r.failed(f, healthy)
}

// unfit ends a connection to a target that does not take what there is.
func (r *pushRun) unfit(c *pushConn, f *Failure) {
	if c == r.next {
		r.next = nil
		r.stay(f)
		r.closing.Go(func() { c.close(0) })
		return
	}
	if c.acks.ever {
		r.breaks.Add(1)
	}
	r.use(nil)
	r.failed(f, false)
	codecs := r.codecs()
	r.retry.codecs = &codecs
	r.show()
	c.close(0) // before another connection is opened: it would be refused as a second publisher
}

// failed notes a failure, after which it is tried again.
func (r *pushRun) failed(f *Failure, healthy bool) {
	now := time.Now()
	f = r.cfg.URL.failure(f)
	r.retry.failed(f, healthy, r.cfg.Several, now)
	level := r.cfg.Logger.Warn
	if r.logged == f.Detail {
		level = r.cfg.Logger.Debug // one line for a target that stays away
	}
	r.last, r.logged = f.Detail, f.Detail
	level("a push failed, and is tried again", "reason", f.Detail, "in", r.retry.at.Sub(now).Round(time.Millisecond))
}

// asked takes a target's request to go on elsewhere: it is sent media there before it is left here.
func (r *pushRun) asked(m Move, now time.Time) {
	r.moved = now
	if m.URL.IsZero() {
		r.note = "the target asked to go on elsewhere, which is not followed: " + r.cfg.URL.hide(m.Detail)
		return
	}
	r.note = ""
	r.cfg.Logger.Info("a push goes on elsewhere: its target asked for it", "to", m.URL.String())
	r.open(m.URL, true)
}

// stay notes that it cannot go on where the target asked it to.
func (r *pushRun) stay(f *Failure) {
	f = r.cfg.URL.failure(f)
	r.note = "the target asked to go on elsewhere, which failed: " + f.Detail
	r.cfg.Logger.Warn("a push could not go on elsewhere", "reason", f.Detail)
}

// change goes on where the target asked to go.
func (r *pushRun) change() {
	old := r.conn
	r.use(r.next)
	r.next = nil
	if old != nil {
		r.closing.Go(func() { old.close(0) })
	}
}

// finish closes everything.
func (r *pushRun) finish() {
	r.cancel()
	drain := pushDrain
	if r.ctx.Err() != nil {
		drain = 0
	}
	for _, c := range []*pushConn{r.conn, r.next} {
		if c != nil {
			r.closing.Go(func() { c.close(drain) })
		}
	}
	if o := r.opening; o != nil {
		if got := <-o.done; got.sink != nil {
			got.sink.Abort()
		}
	}
	r.closing.Wait()
	if r.conn != nil {
		r.cfg.Logger.Info("a push ends", "remote", r.conn.sink.Remote(), "bytes", r.conn.written.Load())
	}
	r.conn, r.next, r.opening, r.live, r.note = nil, nil, nil, false, ""
	r.shown.Store(nil)
	r.show()
}

// wait waits until something happens, or it is time to look again.
func (r *pushRun) wait() {
	now := time.Now()
	timer := time.NewTimer(r.until(now))
	defer timer.Stop()
	var done chan opened
	if r.opening != nil {
		done = r.opening.done
	}
	a, b := watch(r.conn), watch(r.next)
	var moves <-chan Move
	if r.conn != nil && r.live && r.next == nil && r.opening == nil && now.Sub(r.moved) >= pushMoves {
		moves = r.conn.sink.Moved()
	}
	select {
	case <-r.ctx.Done():
	case <-timer.C:
	case <-r.news:
	case o := <-done:
		r.opened(o)
	case <-a.news:
	case <-b.news:
	case out := <-a.done:
		r.carried(r.conn, out)
	case out := <-b.done:
		r.carried(r.next, out)
	case <-a.ended:
		r.broke(r.conn, nil)
	case <-b.ended:
		r.broke(r.next, nil)
	case m, ok := <-moves:
		if ok {
			r.asked(m, now)
		}
	}
}

// watched are the channels of a connection; nil for none.
type watched struct {
	news  <-chan struct{}
	done  <-chan pushOutcome
	ended <-chan struct{}
}

func watch(c *pushConn) watched {
	if c == nil {
		return watched{}
	}
	return watched{c.news, c.done, c.sink.Ended()}
}
