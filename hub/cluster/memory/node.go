package memory

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/hub/cluster"
)

// Node is one node's directory.
type Node struct {
	engine *Engine
	name   string
	// stopped is closed when the node has ended. running are the goroutines of its listeners and answers.
	stopped chan struct{}
	running sync.WaitGroup

	// Guarded by the engine's mutex.
	ended        bool
	frozen       chan struct{} // closed when it thaws; nil while it is awake
	listeners    []*listener   // in the order in which they began
	answerers    []*answerer
	disconnected bool
	since        time.Time // when disconnected last changed
	writable     bool
	roundtrip    time.Duration
}

var _ cluster.Directory = (*Node)(nil)

// errStopped is the error of all calls of a node that has stopped.
var errStopped = fmt.Errorf("%w: the node has left: %w", cluster.ErrMute, net.ErrClosed)

// muteBy is the error of a call whose context has ended.
func muteBy(ctx context.Context) error {
	return fmt.Errorf("%w: %w", cluster.ErrMute, context.Cause(ctx))
}

// Name returns the name that the node has joined with.
func (n *Node) Name() string { return n.name }

// Get implements cluster.Directory.
func (n *Node) Get(ctx context.Context, key string) (cluster.Entry, error) {
	if err := checkRecord(key, nil); err != nil {
		return cluster.Entry{}, err
	}
	return record(ctx, n, false, func(e *Engine) (cluster.Entry, error) {
		entry, err := e.getLocked(key)
		entry.Value = slices.Clone(entry.Value)
		return entry, err
	})
}

// Create implements cluster.Directory.
func (n *Node) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	return n.put(ctx, key, value, 0)
}

// Update implements cluster.Directory.
func (n *Node) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if revision == 0 {
		return 0, cluster.ErrConflict // no record has it
	}
	return n.put(ctx, key, value, revision)
}

func (n *Node) put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if err := checkRecord(key, value); err != nil {
		return 0, err
	}
	value = slices.Clone(value)
	return record(ctx, n, true, func(e *Engine) (uint64, error) { return e.putLocked(key, value, revision) })
}

// Delete implements cluster.Directory.
func (n *Node) Delete(ctx context.Context, key string, revision uint64) error {
	if err := checkRecord(key, nil); err != nil {
		return err
	}
	_, err := record(ctx, n, true, func(e *Engine) (struct{}, error) { return struct{}{}, e.deleteLocked(key, revision) })
	return err
}

// List implements cluster.Directory. The records are ordered by key.
func (n *Node) List(ctx context.Context) ([]cluster.Entry, error) {
	return record(ctx, n, false, func(e *Engine) ([]cluster.Entry, error) {
		all := e.listLocked()
		for i := range all {
			all[i].Value = slices.Clone(all[i].Value)
		}
		return all, nil
	})
}

// record has f called with the engine locked, as soon and in so far as faults let it.
func record[T any](ctx context.Context, n *Node, changes bool, f func(*Engine) (T, error)) (result T, err error) {
	if err := n.awake(); err != nil {
		return result, err
	}
	began := time.Now()
	answered, err := func() (bool, error) {
		e := n.engine
		e.mu.Lock()
		delay := e.drawLocked(e.delays.Records)
		e.mu.Unlock()
		if ctx.Err() != nil || !n.sleep(ctx, delay/2) {
			return false, n.hang(ctx)
		}
		e.mu.Lock()
		e.catchUpLocked()
		if n.ended || changes && e.undecided || !e.writableLocked(e.groupLocked(n.name)) {
			if changes && e.chanceLocked(e.late) {
				e.pending = append(e.pending, lateChange{
					due:   time.Now().Add(e.drawLocked(e.lateAfter)),
					group: func() int { return e.groupLocked(n.name) },
					apply: func() { _, _ = f(e) },
				})
			}
			e.mu.Unlock()
			return false, n.hang(ctx)
		}
		answer, err := f(e)
		doubt := e.chanceLocked(e.doubt)
		e.mu.Unlock()
		if doubt || !n.sleep(ctx, delay-delay/2) {
			return false, n.hang(ctx)
		}
		result = answer
		return true, err
	}()
	if stopped := n.awake(); stopped != nil { // frozen on the way: what it knows by now is old
		var none T
		return none, stopped
	}
	n.engine.mu.Lock()
	defer n.engine.mu.Unlock()
	n.writable = answered
	if answered {
		n.roundtrip = time.Since(began)
	}
	return result, err
}

// Health implements cluster.Directory.
func (n *Node) Health() cluster.Health {
	_ = n.awake()
	e := n.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	h := cluster.Health{
		Connected: e.connectedLocked(n),
		Writable:  n.writable && !n.ended,
		Current:   true, // the records are everybody's
		Voters:    len(e.votersLocked()),
		Since:     n.since,
		Roundtrip: n.roundtrip,
	}
	if h.Connected {
		group := e.groupLocked(n.name)
		h.Leader, h.Reachable = e.leaderLocked(group), e.reachableLocked(group)
	}
	switch {
	case n.ended:
		h.Detail = "the node has left"
	case !h.Connected:
		h.Detail = "the engine cannot be reached"
	case h.Leader == "":
		h.Detail = "nobody decides on records"
	}
	return h
}

// Close implements cluster.Directory. It waits for calls of listeners and answers that are under way; a frozen
// node is not waited for.
func (n *Node) Close(ctx context.Context) error {
	n.engine.mu.Lock()
	n.engine.catchUpLocked()
	n.endLocked()
	n.engine.electLocked()
	n.engine.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		n.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// endLocked ends the node. Ending twice is harmless.
func (n *Node) endLocked() {
	if n.ended {
		return
	}
	n.ended, n.since = true, time.Now()
	close(n.stopped)
	n.engine.nodes = slices.DeleteFunc(n.engine.nodes, func(other *Node) bool { return other == n })
}

// checkRecord returns what is wrong with a record.
func checkRecord(key string, value []byte) error {
	if len(key) > cluster.MaxKey {
		return fmt.Errorf("cluster: a key has up to %d bytes", cluster.MaxKey)
	}
	return check(key, value)
}

// check returns what is wrong with a key, or a subject, and what it comes with.
func check(name string, data []byte) error {
	if len(data) > cluster.MaxMessage {
		return fmt.Errorf("cluster: %d bytes are too many, up to %d go", len(data), cluster.MaxMessage)
	}
	for part := range strings.SplitSeq(name, ".") {
		if part == "" || len(part) > cluster.MaxKey || strings.ContainsFunc(part, isForbidden) {
			return fmt.Errorf("cluster: a key or subject consists of letters, digits, - and _, with dots between its parts")
		}
	}
	return nil
}

func isForbidden(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
}
