package fanout

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"sluice/hub"
	"sluice/hub/rawconn"
)

// Conn is what an Outlet needs of a connection. One that is a syscall.Conn too, as
// TCP connections are, is written to directly where the platform allows, and so is a
// Sealer that is carried by one, or has one around it (NetConn).
type Conn interface {
	io.WriteCloser
	SetWriteDeadline(t time.Time) error
}

// ErrCongested is why an Outlet was closed for which too much waits: its session goes on
// writing to a peer that takes nothing.
var ErrCongested = errors.New("fanout: too much waits for a connection that takes nothing")

// Outlet is the write half of one connection. Its methods may be called from any
// goroutine, and but for Close and Abort never block on the connection.
//
//	            all of it taken
//	              ┌─────┐
//	              ▼     │  some of it not taken
//	NewOutlet ─▶ flowing ──────────────────────▶ draining, by a goroutine
//	              ▲                                 │
//	              └─────────────────────────────────┘ nothing left, nothing due
//
//	any ─▶ closed: Close, writing failed, nothing taken in time
//
// An outlet without direct writing is draining for good; its goroutine sleeps
// while nothing is due.
//
// Closing a connection may take its time: that of crypto/tls writes a last record,
// and waits up to 5 s for that. So an outlet is closed under its lock, and then its
// connection without any, in a goroutine of the pool; that ends a write under way.
type Outlet struct {
	// What a pass looks at comes first, and is close together: it stands in the
	// processor's cache for few of the viewers when their turn comes.

	mu    sync.Mutex
	fd    int32           // lent by the connection, to write to with mu held; or noDescriptor
	state outletState     // guarded by mu
	raw   syscall.RawConn // nil without direct writing
	seal  *sealing        // nil if what goes out is not encrypted
	first Subscription    // as a rule the only one; in use if its outlet is set

	// Guarded by mu.
	subs    *Subscription // and the others by their next
	rest    []byte        // goes out before anything else; empty while flowing
	pending *pendingRest  // then this; nil as a rule, and then whatever the subs are due
	behind  *congestion   // while draining
	err     error         // why it closed
	empty   chan struct{} // closed when nothing is left to write; nil if nobody waits for that
	gone    chan struct{} // closed when the connection is; set, for good, when the outlet closes

	pool   *Pool
	worker *worker
	conn   Conn
}

type outletState uint8

const (
	flowing outletState = iota
	draining
	closed
)

// NewOutlet makes the outlet of a connection to which nobody else may write from now
// on. The caller may close the connection; the outlet closes it too when writing
// fails.
func (p *Pool) NewOutlet(c Conn) *Outlet {
	c.SetWriteDeadline(time.Time{}) // which an earlier writer may have left
	o := &Outlet{
		pool:   p,
		worker: p.workers[int(p.next.Add(1))%len(p.workers)],
		conn:   c,
		fd:     noDescriptor,
	}
	sealer := sealerOf(c)
	if o.raw = rawOf(c, sealer); o.raw != nil {
		if sealer != nil {
			o.seal = &sealing{Sealer: sealer}
			sealer.Direct(o.flushSealed)
		}
		boundUnsent(o.raw, maxUnsent)
		o.borrow()
	} else {
		o.state, o.behind = draining, &congestion{since: time.Now(), kick: make(chan struct{}, 1)}
		p.running.Go(o.drain)
	}
	return o
}

// Write sends p, whole messages of the protocol, in order with whatever else goes
// through the outlet. What the connection does not take at once is copied and
// waits, up to a bound (ErrCongested). The error is why the outlet closed.
func (o *Outlet) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch o.state {
	case flowing:
		o.sendLocked(nil, p)
	case draining:
		if o.behind.own+len(p) > maxQueued {
			o.closeLocked(ErrCongested)
			break
		}
		o.behind.own += len(p)
		o.queueLocked(p)
		o.wakeDrainLocked()
	}
	if o.state == closed {
		return 0, o.err
	}
	return len(p), nil
}

// Flush waits until everything that was written to the outlet was taken by the
// connection, or until the deadline. The error is why the outlet closed, or
// os.ErrDeadlineExceeded.
func (o *Outlet) Flush(deadline time.Time) error {
	timeout := time.NewTimer(time.Until(deadline))
	defer timeout.Stop()
	select {
	case <-o.Drained():
		return o.Err()
	case <-timeout.C:
		return os.ErrDeadlineExceeded
	}
}

func (o *Outlet) announceEmptyLocked() {
	if o.empty != nil {
		close(o.empty)
		o.empty = nil
	}
}

// Attach serves a viewer through the outlet, from now until Feed.Done is called.
func (o *Outlet) Attach(f Feed) *Subscription {
	o.mu.Lock()
	defer o.mu.Unlock()
	sub := &o.first
	if sub.outlet != nil {
		sub = new(Subscription)
	}
	sub.outlet, sub.quiet = o, f.Quiet
	sub.viewer, sub.framer, sub.appendEnd, sub.done = f.Viewer, f.Framer, f.AppendEnd, f.Done
	sub.next, o.subs = o.subs, sub
	f.Viewer.ServeBy(sub)
	if f.Lead != nil {
		l := &leading{lead: f.Lead, stop: make(chan struct{}), ended: make(chan struct{})}
		sub.leading = l
		o.pool.running.Go(func() { o.playLead(sub, l, f.Viewer, f.Framer, f.Head) })
	}
	if !o.worker.add(sub) {
		o.closeLocked(errBrokenOff)
	}
	switch {
	case o.state == closed:
		o.finishLocked(sub, reasonOf(o.err))
	case sub.leading != nil: // which comes first
	case o.state == draining:
		o.queueLocked(f.Head)
		o.wakeDrainLocked()
	default:
		b := batches.Get().(*hub.Batch)
		b.Bytes = append(b.Bytes[:0], f.Head...)
		o.serveLocked(sub, b, drainLimit)
		putBatch(b)
	}
	return sub
}

// Close ends everything that goes through the outlet, and returns when the connection
// is closed, which may take as long as its Close does.
func (o *Outlet) Close() {
	o.close(net.ErrClosed)
	<-o.gone
}

// Abort is Close for a peer that has to learn that something is missing: an encrypted one is not told
// that nothing follows (RFC 8446 §6.1).
func (o *Outlet) Abort() {
	o.close(errAborted)
	<-o.gone
}

var errAborted = errors.New("fanout: aborted")

// Fail ends everything that goes through the outlet because of err, such as that of whoever reads from
// the connection. It does not wait for the connection.
func (o *Outlet) Fail(err error) { o.close(err) }

// close closes the outlet because of err.
func (o *Outlet) close(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closeLocked(err)
}

func (o *Outlet) closeLocked(err error) {
	if o.state == closed {
		return
	}
	why := &closedError{reasonOf(err), err}
	last := o.lastLocked(err)
	o.dropPendingLocked()
	if o.state == draining && o.raw != nil {
		o.pool.congested.Add(-1)
	}
	gone := make(chan struct{})
	o.state, o.err, o.rest, o.gone = closed, why, nil, gone
	o.announceEmptyLocked()
	for o.subs != nil {
		o.finishLocked(o.subs, why.reason)
	}
	o.wakeDrainLocked()
	o.pool.running.Go(func() {
		defer close(gone)
		o.sendLast(last)
		o.conn.Close()
	})
}

var errBrokenOff = errors.New("fanout: pool closed")

// closedError is why an outlet closed: the hub's reason, and what happened.
type closedError struct {
	reason hub.Reason
	cause  error
}

func (e *closedError) Error() string { return e.reason.String() + ": " + e.cause.Error() }
func (e *closedError) Unwrap() error { return e.cause }

// reasonOf returns the reason for which an outlet's viewers end when it closes with
// err. A peer that closed its connection shows as one of several errors.
func reasonOf(err error) hub.Reason {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, ErrCongested):
		return hub.ReasonStalled
	case errors.Is(err, errBrokenOff):
		return hub.ReasonShuttingDown
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrClosedPipe), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return hub.ReasonClientLeft
	}
	return hub.ReasonConnection
}

// pump serves one viewer in a pass.
func (o *Outlet) pump(sub *Subscription, b *hub.Batch) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case sub.dead, sub.leading != nil:
	case o.state == flowing:
		b.Bytes = b.Bytes[:0]
		o.serveLocked(sub, b, passLimit)
	case o.raw == nil:
		o.wakeDrainLocked()
	}
}

// serveLocked sends b.Bytes and all that is due to a viewer of a flowing outlet, in
// writes of about limit bytes.
func (o *Outlet) serveLocked(sub *Subscription, b *hub.Batch, limit int) {
	for {
		more := o.fillLocked(sub, b, limit)
		if len(b.Bytes) > 0 && !o.sendLocked(b, b.Bytes) {
			return
		}
		if !more {
			break
		}
		b.Bytes = b.Bytes[:0]
	}
	if sub.end != hub.ReasonNone {
		o.finishLocked(sub, sub.end)
	}
}

// fillLocked appends to b.Bytes what is due to the viewer, its last bytes
// included.
func (o *Outlet) fillLocked(sub *Subscription, b *hub.Batch, limit int) (more bool) {
	if sub.end != hub.ReasonNone || sub.leading != nil {
		return false
	}
	before := len(b.Bytes)
	more, end := sub.viewer.Fill(b, (*framing)(sub), limit)
	if end != hub.ReasonNone {
		sub.end = end
		if sub.appendEnd != nil {
			b.Bytes = sub.appendEnd(b.Bytes, end)
		}
	}
	sub.viewer.Sent(len(b.Bytes) - before)
	return more
}

// sendLocked writes p, which is b.Bytes unless b is nil, to a flowing outlet and
// reports whether all of it was taken. Otherwise the outlet is draining, or closed.
func (o *Outlet) sendLocked(b *hub.Batch, p []byte) bool {
	if o.seal != nil {
		return o.sendSealedLocked(b, p)
	}
	n, err := o.trySend(p)
	if err != nil {
		o.closeLocked(err)
		return false
	}
	if n == len(p) {
		return true
	}
	o.becomeDrainingLocked(b, p, n)
	return false
}

// trySend makes one write. It returns how much was taken.
func (o *Outlet) trySend(p []byte) (int, error) {
	if o.fd != noDescriptor {
		return rawconn.SendNow(int(o.fd), p)
	}
	return rawconn.TrySend(o.raw, p)
}

// becomeDrainingLocked keeps what follows the first n bytes of p, which is b.Bytes unless b is nil,
// and has the outlet drained.
func (o *Outlet) becomeDrainingLocked(b *hub.Batch, p []byte, n int) {
	if !o.keepLocked(b, p, n) {
		o.closeLocked(ErrCongested)
		return
	}
	o.state, o.behind = draining, &congestion{since: time.Now()}
	o.pool.congested.Add(1)
	o.pool.running.Go(o.drain)
}

// finishLocked ends a subscription.
func (o *Outlet) finishLocked(sub *Subscription, why hub.Reason) {
	if sub.dead {
		return
	}
	sub.dead = true
	link := &o.subs
	for *link != sub {
		link = &(*link).next
	}
	*link, sub.next = sub.next, nil
	done, gone, l := sub.done, o.gone, sub.leading
	if l != nil {
		close(l.stop)
	}
	o.worker.remove(sub) // after which the worker may take its feed away
	if done == nil {
		return
	}
	o.pool.running.Go(func() {
		if gone != nil {
			<-gone
		}
		if l != nil {
			<-l.ended
		}
		done(why)
	})
}

// peek finds out whether the peer of a connection that nobody reads is still there.
func (o *Outlet) peek() {
	o.mu.Lock()
	raw, state := o.raw, o.state
	o.mu.Unlock()
	if raw == nil || state != flowing {
		return // writing will tell
	}
	if _, err := rawconn.TryRead(raw, make([]byte, 512)); err != nil { // what it says means nothing
		o.close(err)
	}
}
