// Package memory has a cluster.Directory in memory, for tests: several nodes in one process, and everything
// that can go wrong between them.
//
//	Engine     what the nodes have in common: the records, who sees whom, faults
//	Node       one node's cluster.Directory
//
// It runs in a bubble of testing/synctest, if the engine is made in it: whatever waits, waits for a channel
// or a timer. Chances are drawn with a seed.
package memory

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/hub/cluster"
)

// Config says how an Engine is. That of the zero value has no faults and takes no time.
type Config struct {
	// Seed is that of all chances.
	Seed uint64
	// Outside says that the engine is a server outside of the nodes, as an existing NATS is: no node
	// votes, and it is in the first group of a partition. Otherwise the nodes vote: the first three
	// names that have joined, of five or more the first five. Records can be had where more than
	// half of these are, neither stopped nor frozen.
	Outside bool
	// Notice is how long a partition goes unnoticed: until then an Ask from one side to the other waits
	// for its context, afterwards it is answered with ErrNobody.
	Notice time.Duration
}

// Engine is what the nodes of a cluster in memory have in common. All methods may be called at any time, by
// several goroutines at once.
type Engine struct {
	cfg Config

	mu       sync.Mutex
	records  map[string]cluster.Entry
	revision uint64   // of the last change
	names    []string // of all nodes that have ever joined, in that order
	nodes    []*Node  // those that run, in the order in which they joined
	random   *rand.Rand

	groups  map[string]int // of names in the partition; the rest is in group rest
	rest    int
	parted  time.Time // when that was last changed
	gone    bool
	mute    bool
	leader  string
	lost    float64
	doubt   float64
	delays  Delays
	changes uint64 // of records, so that tests see that there was none
}

// New returns an engine without nodes.
func New(cfg Config) *Engine {
	return &Engine{
		cfg:     cfg,
		records: map[string]cluster.Entry{},
		random:  rand.New(rand.NewPCG(cfg.Seed, 0x5151)),
	}
}

// Join returns a node's directory. A node of that name that runs is stopped before, as by Stop. The name's
// place in a partition stays.
func (e *Engine) Join(name string) *Node {
	n := &Node{engine: e, name: name, stopped: make(chan struct{}), since: time.Now(), writable: true}
	e.Stop(name)
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Contains(e.names, name) {
		e.names = append(e.names, name)
	}
	e.nodes = append(e.nodes, n)
	return n
}

// Records returns a copy of all records, by key, whatever faults there are.
func (e *Engine) Records() map[string]cluster.Entry {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := maps.Clone(e.records)
	for key, entry := range all {
		entry.Value = slices.Clone(entry.Value)
		all[key] = entry
	}
	return all
}

// Changes returns how often records have been made, changed or taken away.
func (e *Engine) Changes() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.changes
}

// votersLocked returns the names that vote.
func (e *Engine) votersLocked() []string {
	switch {
	case e.cfg.Outside:
		return nil
	case len(e.names) >= 5:
		return e.names[:5]
	default:
		return e.names[:min(3, len(e.names))]
	}
}

// runningLocked returns the node of that name, or nil.
func (e *Engine) runningLocked(name string) *Node {
	for _, n := range e.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}

// groupLocked returns a name's group of the partition.
func (e *Engine) groupLocked(name string) int {
	if group, ok := e.groups[name]; ok {
		return group
	}
	return e.rest
}

// reachableLocked returns how many voters a node can reach.
func (e *Engine) reachableLocked(n *Node) (count int) {
	for _, name := range e.votersLocked() {
		if e.reachesLocked(n, name) {
			count++
		}
	}
	return count
}

// reachesLocked says whether the node of that name runs, is awake and in the same group as n.
func (e *Engine) reachesLocked(n *Node, name string) bool {
	other := e.runningLocked(name)
	return other != nil && other.frozen == nil && !e.gone && e.groupLocked(name) == e.groupLocked(n.name)
}

// quorateLocked says whether a node can have records read and written.
func (e *Engine) quorateLocked(n *Node) bool {
	switch {
	case e.mute || e.gone:
		return false
	case e.cfg.Outside:
		return e.groupLocked(n.name) == 0
	default:
		return e.reachableLocked(n)*2 > len(e.votersLocked())
	}
}

// connectedLocked says whether a node has the engine: one that runs in the node is always there.
func (e *Engine) connectedLocked(n *Node) bool {
	return !e.gone && !n.ended && !(e.cfg.Outside && e.groupLocked(n.name) != 0)
}

// leaderLocked returns who decides on records, as n knows: the one that has for as long as it can, then the
// first voter that can.
func (e *Engine) leaderLocked(n *Node) string {
	if !e.quorateLocked(n) {
		return ""
	}
	if e.cfg.Outside {
		return "outside"
	}
	if !e.reachesLocked(n, e.leader) {
		for _, name := range e.votersLocked() {
			if e.reachesLocked(n, name) {
				e.leader = name
				break
			}
		}
	}
	return e.leader
}

// getLocked returns a record, whose value is the engine's.
func (e *Engine) getLocked(key string) (cluster.Entry, error) {
	entry, ok := e.records[key]
	if !ok {
		return cluster.Entry{}, cluster.ErrNone
	}
	return entry, nil
}

// putLocked makes or changes the record with that revision, 0 for none.
func (e *Engine) putLocked(key string, value []byte, revision uint64) (uint64, error) {
	if e.records[key].Revision != revision {
		return 0, cluster.ErrConflict
	}
	e.revision++
	e.changes++
	e.records[key] = cluster.Entry{Key: key, Value: value, Revision: e.revision}
	return e.revision, nil
}

// deleteLocked takes the record with that revision away. Revisions are counted up, as engines do that leave
// a marker.
func (e *Engine) deleteLocked(key string, revision uint64) error {
	if revision == 0 || e.records[key].Revision != revision {
		return cluster.ErrConflict
	}
	e.revision++
	e.changes++
	delete(e.records, key)
	return nil
}

// listLocked returns all records, by key.
func (e *Engine) listLocked() []cluster.Entry {
	all := slices.Collect(maps.Values(e.records))
	slices.SortFunc(all, func(a, b cluster.Entry) int { return strings.Compare(a.Key, b.Key) })
	return all
}
