package fanout

import (
	"context"
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
	batch hub.Batch     // the goroutine's own

	mu     sync.Mutex
	groups map[*hub.Stream]*group
	due    []*group
}

// group is a worker's viewers of one stream. The stream wakes it.
type group struct {
	worker *worker
	stream *hub.Stream
	due    atomic.Bool // stands in worker.due
	served atomic.Bool // since the last look at quiet peers

	added []*Subscription // guarded by worker.mu
	subs  []*Subscription // the worker goroutine's own
}

func newWorker(p *Pool) *worker {
	return &worker{
		pool:   p,
		wake:   make(chan struct{}, 1),
		groups: make(map[*hub.Stream]*group),
	}
}

// add makes the worker serve a subscription.
func (w *worker) add(sub *Subscription) {
	s := sub.feed.Viewer.Stream()
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.groups[s]
	if g == nil {
		g = &group{worker: w, stream: s}
		w.groups[s] = g
		s.AddWaker(g)
	}
	sub.group = g
	g.added = append(g.added, sub)
}

// Wake notes that the group is due. It is called for every packet of the stream.
func (g *group) Wake() {
	if g.due.Swap(true) {
		return
	}
	w := g.worker
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
	var due []*group
	for {
		select {
		case <-ctx.Done():
			return
		case <-quiet.C:
			w.checkQuiet()
			continue
		case <-w.wake:
		}
		select { // not before the pause after the last pass is over
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		w.mu.Lock()
		due, w.due = w.due, due[:0]
		w.mu.Unlock()
		begun := time.Now()
		for _, g := range due {
			g.due.Store(false)
			g.pass(&w.batch)
		}
		clear(due)
		pause.Reset(w.pause(time.Since(begun)))
	}
}

// pause returns how long to wait after a pass that took so long.
func (w *worker) pause(took time.Duration) time.Duration {
	if w.pool.cfg.Coalesce != Auto {
		return max(0, w.pool.cfg.Coalesce-took)
	}
	return min(maxPause, time.Duration(float64(took)*(1/autoShare-1)))
}

// pass serves every viewer of the group once, and lets go of those that are gone.
func (g *group) pass(b *hub.Batch) {
	g.served.Store(true)
	g.settle()
	for _, sub := range g.subs {
		sub.outlet.pump(sub, b)
	}
	g.settle()
}

// settle takes in the subscriptions that were added and drops the dead ones; the
// last one takes the group with it.
func (g *group) settle() {
	w := g.worker
	w.mu.Lock()
	defer w.mu.Unlock()
	g.subs = append(g.subs, g.added...)
	g.added = g.added[:0]
	live := g.subs[:0]
	for _, sub := range g.subs {
		if !sub.dead.Load() {
			live = append(live, sub)
		}
	}
	clear(g.subs[len(live):])
	g.subs = live
	if len(live) == 0 && w.groups[g.stream] == g {
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
			if sub.feed.Quiet {
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

// breakOff closes every outlet that serves somebody.
func (w *worker) breakOff() {
	for _, g := range w.snapshot() {
		g.settle()
		for _, sub := range g.subs {
			sub.outlet.close(errBrokenOff)
		}
	}
}
