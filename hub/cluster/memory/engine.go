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
	// Election is how long records are mute when the node that decides on them has stopped, is frozen, or is
	// on the smaller side of a partition.
	Election Delay
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

	groups    map[string]int // of names in the partition; the rest is in group rest
	rest      int
	parted    time.Time // when that was last changed
	gone      bool
	mute      bool
	undecided bool
	leader    string // the voter that decides on records, or did last
	elected   time.Time
	lost      float64
	doubt     float64
	late      float64
	lateAfter Delay
	pending   []lateChange
	delays    Delays
	changes   uint64 // of records
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
	e.mu.Lock()
	defer e.mu.Unlock()
	defer e.electLocked()
	e.catchUpLocked()
	if old := e.runningLocked(name); old != nil {
		old.endLocked()
	}
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
	e.catchUpLocked()
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
	e.catchUpLocked()
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

// reachableLocked returns how many voters a group reaches: those in it that run and are awake.
func (e *Engine) reachableLocked(group int) (count int) {
	for _, name := range e.votersLocked() {
		if e.reachesLocked(group, name) {
			count++
		}
	}
	return count
}

// reachesLocked says whether a group reaches the node of that name.
func (e *Engine) reachesLocked(group int, name string) bool {
	n := e.runningLocked(name)
	return n != nil && n.frozen == nil && !e.gone && e.groupLocked(name) == group
}

// majorityLocked says whether a group has the voters to read and write records.
func (e *Engine) majorityLocked(group int) bool {
	if e.cfg.Outside {
		return group == 0 && !e.gone
	}
	return e.reachableLocked(group)*2 > len(e.votersLocked())
}

// writableLocked says whether a group can read and write records now.
func (e *Engine) writableLocked(group int) bool {
	return !e.mute && e.majorityLocked(group) && !time.Now().Before(e.elected)
}

// electLocked finds another leader where the one there was is out of reach of the majority. It is called behind
// all that changes who reaches whom.
func (e *Engine) electLocked() {
	if e.cfg.Outside {
		return
	}
	for _, name := range append([]string{e.leader}, e.votersLocked()...) {
		group := e.groupLocked(name)
		if !e.majorityLocked(group) || !e.reachesLocked(group, name) {
			continue
		}
		if e.leader != name {
			if e.leader != "" {
				e.elected = time.Now().Add(e.drawLocked(e.cfg.Election))
			}
			e.leader = name
		}
		return
	}
}

// connectedLocked says whether a node has the engine: one that runs in the node is always there.
func (e *Engine) connectedLocked(n *Node) bool {
	return !e.gone && !n.ended && !(e.cfg.Outside && e.groupLocked(n.name) != 0)
}

// leaderLocked returns who decides on records, as a group knows; nobody where it cannot have any.
func (e *Engine) leaderLocked(group int) string {
	switch {
	case !e.writableLocked(group):
		return ""
	case e.cfg.Outside:
		return "outside"
	default:
		return e.leader
	}
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

// lateChange is a change of a record that has had no answer.
type lateChange struct {
	due   time.Time
	group func() int // that of its node
	apply func()
}

// catchUpLocked makes the late changes that are due and can be made. It is called before all that reads or
// changes records, or says whether that is possible, so that nobody can tell that they were not made when they
// were due.
func (e *Engine) catchUpLocked() {
	now := time.Now()
	e.pending = slices.DeleteFunc(e.pending, func(change lateChange) bool {
		if now.Before(change.due) || !e.writableLocked(change.group()) {
			return false
		}
		change.apply()
		return true
	})
}
