package fanout

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/hub"
)

// worker is a pump: one goroutine that serves its share of the viewers, a group
// for each stream.
type worker struct {
	pool  *Pool
	wake  chan struct{} // capacity 1: some group is due
	batch hub.Batch     // the goroutine's own, as is pace
	pace  pace
	work  work

	mu     sync.Mutex
	groups map[*hub.Stream]*group
	due    []*group
	over   bool // it serves nobody any more
}

// group is a worker's viewers of one stream. The stream wakes it.
type group struct {
	worker *worker
	stream *hub.Stream
	news   atomic.Bool // its viewers have something to get
	listed atomic.Bool // stands in worker.due
	served atomic.Bool // since the last look at quiet peers

	joined, left []*Subscription // since the last settle; guarded by worker.mu
	subs         []*Subscription // the worker goroutine's own, each at its slot
}

func newWorker(p *Pool) *worker {
	return &worker{
		pool:   p,
		wake:   make(chan struct{}, 1),
		pace:   pace{coalesce: p.cfg.Coalesce},
		groups: make(map[*hub.Stream]*group),
	}
}

// add makes the worker serve a subscription, if it still serves anybody.
func (w *worker) add(sub *Subscription) bool {
	s := sub.viewer.Stream()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return false
	}
	g := w.groups[s]
	if g == nil {
		g = &group{worker: w, stream: s}
		w.groups[s] = g
		s.AddWaker(g)
	}
	sub.group = g
	g.joined = append(g.joined, sub)
	return true
}

// remove makes the worker let go of a subscription, if it has it.
func (w *worker) remove(sub *Subscription) {
	if sub.group == nil {
		return
	}
	w.mu.Lock()
	sub.group.left = append(sub.group.left, sub)
	w.mu.Unlock()
	w.list(sub.group)
}

// Wake notes that the group's viewers have something to get. It is called for
// every packet of the stream.
func (g *group) Wake() {
	if !g.news.Swap(true) {
		g.worker.list(g)
	}
}

// list makes the worker look at a group.
func (w *worker) list(g *group) {
	if g.listed.Swap(true) {
		return
	}
	w.mu.Lock()
	w.due = append(w.due, g)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run serves due groups until ctx ends, then breaks off the rest.
func (w *worker) run(ctx context.Context) {
	defer w.breakOff()
	quiet := time.NewTicker(quietCheck)
	defer quiet.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-quiet.C:
			w.checkQuiet()
			continue
		case <-w.wake:
		}
		if d := time.Until(w.pace.next); d > 0 {
			pause.Reset(d)
			select {
			case <-ctx.Done():
				return
			case <-pause.C:
			}
		}
		w.serve()
	}
}

// serve makes a pass: it serves the viewers of every group that is due.
func (w *worker) serve() {
	w.mu.Lock()
	due := w.due
	w.due = nil
	w.mu.Unlock()
	begun, served := time.Now(), 0
	for _, g := range due {
		g.listed.Store(false) // before what it says is taken up
		g.settle()
		if g.news.Swap(false) {
			served += len(g.subs)
			g.pass(&w.batch)
			g.settle()
		}
	}
	w.batch.Forget()
	ended := time.Now()
	w.pace.passed(begun, ended)
	w.work.passed(served, ended.Sub(begun))
}

// ahead is how many viewers are fetched at a time. What their writes bring into the
// processor's cache must not drive out those whose turn is still to come.
const ahead = 16

// pass serves every viewer of the group once.
func (g *group) pass(b *hub.Batch) {
	g.served.Store(true)
	for subs := range slices.Chunk(g.subs, ahead) {
		fetch(subs)
		for _, sub := range subs {
			sub.outlet.pump(sub, b)
		}
	}
}

// fetch brings into the processor's cache what serving these viewers will look at.
// Thousands of them do not fit in there. One after the other, each would be waited for
// several times, in the middle of work that depends on it; here the processor waits for
// all of them at once.
func fetch(subs []*Subscription) {
	for _, sub := range subs {
		// Nothing is read that changes once a viewer is served, so no lock is needed.
		runtime.KeepAlive(sub.outlet.raw)
		if s := sub.outlet.seal; s != nil {
			s.Fetch()
		}
		sub.viewer.Fetch()
	}
}

// settle takes in the subscriptions that were added and drops those that are gone,
// at a cost that depends on their number only. A group that has none left is dropped
// itself.
func (g *group) settle() {
	w := g.worker
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, sub := range g.joined {
		sub.slot = int32(len(g.subs))
		g.subs = append(g.subs, sub)
	}
	for _, sub := range g.left {
		last := len(g.subs) - 1
		g.subs[last].slot = sub.slot
		g.subs[sub.slot] = g.subs[last]
		g.subs[last] = nil
		g.subs = g.subs[:last]
		// Its memory may be the outlet's, which may live on: without the stream.
		sub.viewer, sub.framer, sub.appendEnd, sub.done = nil, nil, nil, nil
	}
	if len(g.left) > 0 && len(g.subs) < cap(g.subs)/4 {
		g.subs = slices.Clone(g.subs)
	}
	g.joined, g.left = nil, nil
	if len(g.subs) == 0 && w.groups[g.stream] == g {
		delete(w.groups, g.stream)
		g.stream.RemoveWaker(g)
	}
}

// checkQuiet looks at the peers of streams that have sent nothing for a while:
// only a write, or a look, tells that they are gone.
func (w *worker) checkQuiet() {
	for _, g := range w.snapshot() {
		if g.served.Swap(false) {
			continue
		}
		g.settle()
		for _, sub := range g.subs {
			if sub.quiet {
				sub.outlet.peek()
			}
		}
	}
}

func (w *worker) snapshot() []*group {
	w.mu.Lock()
	defer w.mu.Unlock()
	groups := make([]*group, 0, len(w.groups))
	for _, g := range w.groups {
		groups = append(groups, g)
	}
	return groups
}

// breakOff closes every outlet that serves somebody, and lets no other begin.
func (w *worker) breakOff() {
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
	for _, g := range w.snapshot() {
		g.settle()
		for _, sub := range g.subs {
			sub.outlet.close(errBrokenOff)
		}
	}
}
