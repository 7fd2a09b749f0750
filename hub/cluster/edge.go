package cluster

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"sluice/flv"
	"sluice/hub"
)

// Protocol is what the hub's figures call publishers that are copies of other nodes' streams.
const Protocol = "cluster"

// edge copies a stream of another node for the viewers of this one: one publish session of the hub from its first
// packet to the end of the stream, however often the owner changes or the connection breaks.
//
//	run: find the owner ─▶ open ─▶ Next ─▶ hub.Publisher.Put, and the number of each packet
//	         ▲                       │
//	         └── asked again ◀── broken off: goes on behind the last packet
//
// One goroutine runs it; hear may be called by any.
type edge struct {
	*Cluster
	name *name
	who  *hub.Session  // the first viewer; nil where it is not known, and once Config.Nowhere was told
	news chan struct{} // capacity 1: something was heard of the stream
	ctx  context.Context
	end  context.CancelCauseFunc // because of what the hub ended the publisher for

	pub      *hub.Publisher // nil before the first packet
	held     []flv.Tag      // metadata and headers before it
	heldSize int
	last     Position  // of the last packet, of which viewers may have had it; no incarnation for none
	apart    bool      // the log has others behind it, of another life of the stream
	broken   time.Time // since when nothing is copied
	tries    int       // in a row that brought nothing
	looked   time.Time // when it was last looked whether anybody watches
	state    atomic.Pointer[EdgeState]
	from     atomic.Pointer[connection] // which is being opened or read; nil for none
}

// connection is one to an owner.
type connection struct {
	owner *owner
	stop  func() // ends it, or its opening
	since time.Time
	came  atomic.Int64 // when media came last, in ns since then; 0 for none yet
}

// EdgeState is how a copy is.
type EdgeState struct {
	Node    string    // the owner's name; empty if there is none
	Copying bool      // media come
	Since   time.Time // when that last changed
	Breaks  int       // how often a connection broke
	Joined  int       // of them, how many went on with the next packet
	Lost    uint64    // packets that were lost since this node was slow, or since no log had them
	Session uint64    // of the hub; 0 before the first packet
	Detail  string    // why nothing comes
}

const (
	// startWithin bounds how long a node may take until it is known where a stream begins.
	startWithin = 3 * time.Second
	// findEvery is how far apart looks for the owner are while viewers wait, unless there is news.
	findEvery = time.Second
	// lookEvery is how far apart looks at whether anybody watches are.
	lookEvery = 500 * time.Millisecond
	// overAfter is for how long a stream of which there is no record any more may be about to have one
	// again.
	overAfter = 2 * time.Second
	// leastDelay and mostDelay bound the pauses between tries to open a connection.
	leastDelay = 20 * time.Millisecond
	mostDelay  = time.Second
	// maxHeldTags and maxHeldBytes bound what is held before the first packet.
	maxHeldTags  = 64
	maxHeldBytes = 1 << 20
)

func newEdge(c *Cluster, n *name, who *hub.Session) *edge {
	e := &edge{Cluster: c, name: n, who: who, news: make(chan struct{}, 1), broken: time.Now()}
	e.ctx, e.end = context.WithCancelCause(c.ctx)
	e.state.Store(&EdgeState{Since: time.Now()})
	return e
}

// resume has a copy that has not begun do so behind what viewers have had already: the stream was copied here before, or
// this node's own, as it may become again until the first packet is there.
func (e *edge) resume() {
	if head, _, held := e.cfg.Hub.Head(e.name.key); held {
		e.last, _ = e.name.numbers.last(head.Life)
	}
}

// turnTo has the copy go on behind what the log has of the life of the stream that an owner has, where that is another one than
// the last.
func (e *edge) turnTo(o *owner) {
	if e.last.Incarnation == o.Incarnation {
		return
	}
	head, _, held := e.cfg.Hub.Head(e.name.key)
	if at, had := e.name.numbers.lastOf(head.Life, o.Incarnation); held && had {
		e.last, e.apart = at, true
	}
}

// hear tells that another node may have become the owner. From the one before it nothing comes any more, though it may
// not say so: it stands still, or cannot be reached.
func (e *edge) hear(o *owner) {
	if c := e.from.Load(); c != nil && c.owner.before(o) {
		c.stop()
	}
	select {
	case e.news <- struct{}{}:
	default:
	}
}

// flowsFrom reports whether media have come from an owner just now: whatever else is heard of its node, it has the stream, and a
// publisher who has not fallen silent.
func (e *edge) flowsFrom(o *owner) bool {
	c := e.from.Load()
	return c != nil && c.owner.Boot == o.Boot && c.came.Load() > 0 && time.Since(c.since)-time.Duration(c.came.Load()) < silentAfter
}

// note changes what is shown.
func (e *edge) note(change func(*EdgeState)) {
	s := *e.state.Load()
	was := s.Copying
	if change(&s); s.Copying != was {
		s.Since = time.Now()
	}
	e.state.Store(&s)
}

// Why a copy ends, beside what the hub says.
var (
	errUnwatched = &hub.Refusal{Reason: hub.ReasonComplete, Detail: "nobody watches it"}
	errOver      = &hub.Refusal{Reason: hub.ReasonUnpublished}
	errOwn       = &hub.Refusal{Reason: hub.ReasonReplaced, Detail: "it is published at this node"}
)

func (e *edge) run() {
	defer e.edgeOver(e.name)
	defer e.end(nil)
	why := e.follow()
	if cause, ok := errors.AsType[*hub.Refusal](context.Cause(e.ctx)); ok {
		why = cause
	}
	if e.pub != nil {
		e.pub.End(why)
	}
}

// follow copies the stream from one owner after the other. It returns why that ends.
func (e *edge) follow() *hub.Refusal {
	for e.ctx.Err() == nil {
		if e.pub == nil {
			e.resume()
		}
		o, revision, certain := e.find(e.ctx, e.name)
		if o != nil {
			e.turnTo(o)
		}
		switch {
		case e.isUnwatched():
			return errUnwatched
		case e.pub == nil && e.cfg.Hub.Live(e.name.key): // somebody else brings it
			return errUnwatched
		case e.pub == nil && e.ownedBy(e.name) != nil: // a publisher of this node's is about to begin, or has just left
			e.wait(beatEvery)
			continue
		case o == nil && e.pub == nil:
			e.nowhere()
			e.note(func(s *EdgeState) { s.Node = "" })
			e.wait(findEvery)
			continue
		case o == nil && certain && time.Since(e.broken) >= overAfter:
			return errOver
		case o == nil, e.isOld(o):
			if o != nil && certain && time.Since(e.broken) >= overAfter {
				e.ask(e.ctx, o, &question{Raise: true, Mine: e.last.Epoch})
			}
			if time.Since(e.broken) >= e.cfg.Hold {
				return errOver
			}
			e.wait(beatEvery)
			continue
		case o.Boot == e.cfg.Boot:
			if why := e.ownRecord(o, revision); why != nil {
				return why
			}
			e.wait(beatEvery)
			continue
		}
		e.note(func(s *EdgeState) { s.Node = o.Node })
		err := e.copyFrom(o)
		var ended *Ended
		switch refusal, refused := errors.AsType[*hub.Refusal](err); {
		case errors.As(err, &ended) && ended.Reason != hub.ReasonShuttingDown:
			return &hub.Refusal{Reason: ended.Reason}
		case refused && e.pub != nil:
			return refusal // the hub's: it takes no more
		}
		if errors.Is(err, ErrStale) {
			e.forgetNews(e.name, o)
		}
		if why := e.isHeld(o, revision, certain, err); why != nil {
			return why
		}
		if e.isSilent(o.Node, o.Boot) {
			e.cfg.Hub.StepUp(e.name.key) // who stands by here need not wait for its key frame
		}
		e.pause()
	}
	return errUnwatched
}

// nowhere tells, once, that no node has the stream.
func (e *edge) nowhere() {
	if who := e.who; who != nil && e.cfg.Nowhere != nil {
		e.who = nil
		e.cfg.Nowhere(e.name.key, who)
	}
}

// isBefore reports whether a later owner than that one was heard of.
func (e *edge) isBefore(o *owner) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.name.news != nil && o.before(&e.name.news.owner)
}

// isOld reports whether an owner is one of before the stream went over to another.
func (e *edge) isOld(o *owner) bool {
	return o.Incarnation == e.last.Incarnation && o.Epoch < e.last.Epoch
}

// ownRecord is where the record says that this node has the stream. It ends the copy where that is so; where it is
// not, the record is one that this process has forgotten.
func (e *edge) ownRecord(o *owner, revision uint64) *hub.Refusal {
	switch owned := e.ownedBy(e.name); {
	case owned != nil && e.cfg.Hub.PublisherOf(e.name.key) != nil:
		return errOwn
	case time.Since(e.broken) < e.cfg.Grace: // its publisher has yet to begin, or the record to become another node's
		return nil
	case owned == nil:
		e.bury(revision)
	}
	return errOver
}

// isHeld decides, after a connection that brought nothing or broke, whether viewers are held any longer.
func (e *edge) isHeld(o *owner, revision uint64, certain bool, err error) *hub.Refusal {
	away := time.Since(e.broken)
	detail := "the connection broke"
	if err != nil {
		detail = err.Error()
	}
	e.note(func(s *EdgeState) { s.Copying, s.Detail = false, detail })
	_, refused := errors.AsType[*notGiven](err)
	switch {
	case e.pub == nil:
		return nil // those who wait have a time of their own
	case !certain && away >= e.cfg.Hold:
		return errOver
	case !certain || away < e.cfg.Grace+silentAfter:
		return nil
	case e.isSilent(o.Node, o.Boot):
		e.bury(revision) // its publisher has not come back anywhere
		return errOver
	case refused, errors.Is(err, ErrStale), away >= e.cfg.Hold: // it does not have it, or cannot give it
		return errOver
	}
	return nil
}

// bury takes away the record of an owner that is gone.
func (e *edge) bury(revision uint64) { e.delete(e.ctx, e.name.key, revision) }

// isUnwatched reports whether nobody has watched the stream for Config.Idle, or nobody waits for one that has not begun.
func (e *edge) isUnwatched() bool {
	alone := e.cfg.Hub.Unwatched(e.name.key)
	return alone > e.cfg.Idle || e.pub == nil && alone > 0
}

// wait waits for news, or for a while.
func (e *edge) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-e.news:
	case <-timer.C:
	case <-e.ctx.Done():
	}
}

// pause waits before the next try.
func (e *edge) pause() {
	d := min(mostDelay, leastDelay<<min(e.tries, 10))
	e.tries++
	e.wait(d)
}
