package memory

import (
	"context"
	"slices"
	"time"
)

// Part parts the nodes: each sees only those of its own group. Those that no group names are together in one
// more. Without groups everybody sees everybody again. Messages and answers that are under way arrive.
func (e *Engine) Part(groups ...[]string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.catchUpLocked()
	e.groups = map[string]int{}
	for i, names := range groups {
		for _, name := range names {
			e.groups[name] = i
		}
	}
	e.rest = len(groups)
	e.parted = time.Now()
	e.noteConnectedLocked()
	e.electLocked()
}

// Heal ends a partition.
func (e *Engine) Heal() { e.Part() }

// Mute has all record calls of all nodes wait for their context, without an effect, as while the one who
// decides on them is gone and no other is found. Those that wait go on to, also when it is over. Messages
// come and go.
func (e *Engine) Mute(mute bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.catchUpLocked()
	e.mute = mute
}

// Undecided is Mute for changes of records only: as where the one who decides is gone, and replicas still say what the
// records were.
func (e *Engine) Undecided(undecided bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.catchUpLocked()
	e.undecided = undecided
}

// Gone takes the engine away from all nodes, and brings it back, with its records: record calls and asks wait
// for their context, messages are lost.
func (e *Engine) Gone(gone bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.catchUpLocked()
	e.gone = gone
	e.noteConnectedLocked()
}

// Freeze stops nodes as SIGSTOP does: each of their calls waits until Thaw or Stop, those under way at their end.
// Messages and questions to them wait with them.
func (e *Engine) Freeze(names ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.catchUpLocked()
	for _, n := range e.nodes {
		if n.frozen == nil && slices.Contains(names, n.name) {
			n.frozen = make(chan struct{})
		}
	}
	e.electLocked()
}

// Thaw has frozen nodes go on; without names all.
func (e *Engine) Thaw(names ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.catchUpLocked()
	for _, n := range e.nodes {
		if n.frozen != nil && (len(names) == 0 || slices.Contains(names, n.name)) {
			close(n.frozen)
			n.frozen = nil
		}
	}
	e.electLocked()
}

// Stop kills nodes, frozen ones too: their calls end with net.ErrClosed, and their listeners are called
// no more. It waits for none of them.
func (e *Engine) Stop(names ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.catchUpLocked()
	for _, n := range slices.Clone(e.nodes) {
		if slices.Contains(names, n.name) {
			n.endLocked()
		}
	}
	e.electLocked()
}

// Lose has that part of all messages, questions and answers from one node to another be lost, between 0 and 1.
func (e *Engine) Lose(part float64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lost = part
}

// Doubt has that part of the record calls wait for their context after they have had their effect, between 0
// and 1.
func (e *Engine) Doubt(part float64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.doubt = part
}

// Late has that part of the changes of records that find nobody to make them, between 0 and 1, be made afterwards:
// that long after the call at the least, and as soon as they can be made, whatever its node has been told by
// then, and also when it has stopped. An engine does so that keeps what it cannot send, or is
// frozen with it.
func (e *Engine) Late(part float64, after Delay) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.late, e.lateAfter = part, after
}

// Delay is how long something takes: anything between the two. Max is Min if it is less.
type Delay struct{ Min, Max time.Duration }

// Delays are those of an engine.
type Delays struct {
	// Records is the delay of a record call, which has its effect in the middle of it.
	Records Delay
	// Messages is the delay of a message, and of a question and its answer each. Messages of one sender
	// stay in order.
	Messages Delay
}

// Delay sets how long everything takes that begins from now on.
func (e *Engine) Delay(delays Delays) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.delays = delays
}

// drawLocked returns a delay.
func (e *Engine) drawLocked(d Delay) time.Duration {
	if d.Max <= d.Min {
		return d.Min
	}
	return d.Min + time.Duration(e.random.Int64N(int64(d.Max-d.Min)+1))
}

// chanceLocked says yes for that part of all calls.
func (e *Engine) chanceLocked(part float64) bool { return part > 0 && e.random.Float64() < part }

// noteConnectedLocked notes when each node's connection has changed.
func (e *Engine) noteConnectedLocked() {
	for _, n := range e.nodes {
		if now := e.connectedLocked(n); now == n.disconnected {
			n.disconnected, n.since = !now, time.Now()
		}
	}
}

// awake waits while the node is frozen. The error is that of a node that has stopped.
func (n *Node) awake() error {
	for {
		n.engine.mu.Lock()
		frozen, ended := n.frozen, n.ended
		n.engine.mu.Unlock()
		switch {
		case ended:
			return errStopped
		case frozen == nil:
			return nil
		}
		select {
		case <-frozen:
		case <-n.stopped:
		}
	}
}

// hang waits for ctx, and returns the error of a call that has no answer.
func (n *Node) hang(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return muteBy(ctx)
	case <-n.stopped:
		return errStopped
	}
}

// sleep waits for d, or until ctx ends or the node has stopped; false then.
func (n *Node) sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-n.stopped:
	}
	return false
}
