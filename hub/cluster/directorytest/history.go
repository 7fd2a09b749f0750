package directorytest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/hub/cluster"
)

// Load is what Race does.
type Load struct {
	Seed    uint64
	Prefix  string        // of keys, which no other test may use
	Keys    int           // how many records are fought for
	Callers int           // goroutines of each node
	Calls   int           // of each goroutine
	Timeout time.Duration // of each call
	Pause   time.Duration // the longest between two calls of a goroutine; 0 for none
}

// Race has all nodes read, make, change and take away the same records at random, and checks that what
// they were told of it is the story of one set of records: each change follows on one other, none has its effect twice
// or after ErrConflict, and nobody reads what is old. Calls may fail with ErrMute, and may have
// had their effect: so it runs also while the cluster suffers faults. Behind the calls it reads the last state from all nodes, and
// tries for 20 s where it gets no answer.
func Race(t *testing.T, nodes []cluster.Directory, load Load) {
	t.Helper()
	h := run(nodes, load)
	t.Log(h)
	problems := h.problems()
	for _, problem := range problems[:min(len(problems), 10)] {
		t.Error(problem)
	}
}

// run makes the calls.
func run(nodes []cluster.Directory, load Load) *history {
	h := &history{}
	var running sync.WaitGroup
	for i, node := range nodes {
		for j := range load.Callers {
			caller := &caller{
				history: h, node: node, load: load, name: fmt.Sprintf("%d-%d", i, j),
				random: rand.New(rand.NewPCG(load.Seed, uint64(i)<<32|uint64(j))),
				known:  map[string]uint64{},
			}
			running.Go(func() {
				for range load.Calls {
					caller.call()
				}
			})
		}
	}
	running.Wait()
	end := time.Now().Add(patience)
	for _, node := range nodes {
		last := &caller{history: h, node: node, load: load, name: "last", known: map[string]uint64{}}
		for k := range load.Keys {
			for last.get(last.key(k)).outcome == mute && time.Now().Before(end) {
				time.Sleep(5 * time.Millisecond)
			}
		}
	}
	return h
}

type outcome int

const (
	done outcome = iota
	conflict
	none // Get found no record
	mute // nothing is known
)

// op is a call with what came of it.
type op struct {
	kind       string // get, create, update or delete
	key        string
	value      string // that was given, or was read; new with each change
	given      uint64 // the revision that was given
	revision   uint64 // that was returned, or read
	outcome    outcome
	begin, end int64 // places in the order of all beginnings and ends
	caller     string
}

func (o *op) String() string {
	return fmt.Sprintf("%s %s of %s by %s [%d,%d] given %d: outcome %d, revision %d", o.kind, o.key, o.value, o.caller, o.begin, o.end, o.given, o.outcome, o.revision)
}

// history is what all callers have seen.
type history struct {
	clock atomic.Int64
	mu    sync.Mutex
	ops   []*op
	other []error // that no call may return
}

// caller is one goroutine that makes calls.
type caller struct {
	*history
	node   cluster.Directory
	load   Load
	name   string
	random *rand.Rand
	count  int
	known  map[string]uint64 // revisions that it has seen last
}

func (c *caller) key(k int) string { return fmt.Sprintf("%s.k%d", c.load.Prefix, k) }

// call makes a call at random. Most change what the caller has seen last, so that some are late.
func (c *caller) call() {
	if c.load.Pause > 0 {
		time.Sleep(time.Duration(c.random.Int64N(int64(c.load.Pause))))
	}
	key := c.key(c.random.IntN(c.load.Keys))
	switch choice := c.random.IntN(10); {
	case choice < 3:
		c.get(key)
	case c.known[key] == 0 && choice < 9:
		c.change("create", key)
	case choice < 7:
		c.change("update", key)
	case choice < 8:
		c.change("delete", key)
	case choice < 9:
		c.change("create", key)
	default:
		c.list()
	}
}

func (c *caller) get(key string) *op {
	o := &op{kind: "get", key: key}
	c.make(o, func(ctx context.Context) error {
		entry, err := c.node.Get(ctx, key)
		o.value, o.revision = string(entry.Value), entry.Revision
		return err
	})
	c.known[key] = o.revision
	return o
}

func (c *caller) change(kind, key string) {
	c.count++
	o := &op{kind: kind, key: key, value: fmt.Sprint(c.name, "/", c.count), given: c.known[key]}
	c.make(o, func(ctx context.Context) (err error) {
		switch kind {
		case "create":
			o.revision, err = c.node.Create(ctx, key, []byte(o.value))
		case "update":
			o.revision, err = c.node.Update(ctx, key, []byte(o.value), o.given)
		case "delete":
			err = c.node.Delete(ctx, key, o.given)
		}
		return err
	})
	if o.outcome == done {
		c.known[key] = o.revision
	}
}

// list counts as a Get of each record that is in it.
func (c *caller) list() {
	var all []cluster.Entry
	o := &op{kind: "list"}
	c.make(o, func(ctx context.Context) (err error) {
		all, err = c.node.List(ctx)
		return err
	})
	if o.outcome != done {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, entry := range all {
		if !strings.HasPrefix(entry.Key, c.load.Prefix+".") {
			continue
		}
		c.ops = append(c.ops, &op{
			kind: "get", key: entry.Key, value: string(entry.Value), revision: entry.Revision,
			begin: o.begin, end: o.end, caller: c.name,
		})
	}
}

// make makes a call and notes it.
func (c *caller) make(o *op, f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), c.load.Timeout)
	defer cancel()
	o.caller, o.begin = c.name, c.clock.Add(1)
	err := f(ctx)
	o.end = c.clock.Add(1)
	switch {
	case err == nil:
	case errors.Is(err, cluster.ErrMute):
		o.outcome = mute
	case errors.Is(err, cluster.ErrConflict) && o.kind != "get":
		o.outcome = conflict
	case errors.Is(err, cluster.ErrNone) && o.kind == "get":
		o.outcome = none
	default:
		o.outcome = mute
		c.mu.Lock()
		c.other = append(c.other, err)
		c.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ops = append(c.ops, o)
}

// String returns how many calls there were.
func (h *history) String() string {
	outcomes := map[outcome]int{}
	for _, o := range h.ops {
		outcomes[o.outcome]++
	}
	return fmt.Sprintf("%d calls: %d done, %d conflicts, %d found none, %d had no answer",
		len(h.ops), outcomes[done], outcomes[conflict], outcomes[none], outcomes[mute])
}

// problems returns where the history is not one of a directory.
func (h *history) problems() (all []string) {
	if len(h.other) > 0 {
		all = append(all, fmt.Sprintf("calls returned %v", h.other[:min(len(h.other), 3)]))
	}
	byKey := map[string][]*op{}
	for _, o := range h.ops {
		if o.kind != "list" {
			byKey[o.key] = append(byKey[o.key], o)
		}
	}
	report := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	for _, ops := range byKey {
		slices.SortStableFunc(ops, func(a, b *op) int { return cmp.Compare(a.begin, b.begin) })
		checkVersions(report, ops)
		checkSuccessors(report, ops)
		checkOrder(report, ops)
	}
	return all
}

// reporter is told a problem.
type reporter func(format string, args ...any)

// checkVersions: a revision has one value, which one change has given it, that had begun and was not refused.
func checkVersions(report reporter, ops []*op) {
	writers := map[string]*op{}
	for _, o := range ops {
		if o.kind == "create" || o.kind == "update" {
			writers[o.value] = o
		}
	}
	seen, revisions := map[uint64]*op{}, map[string]*op{}
	for _, o := range ops {
		if o.outcome != done || o.kind == "delete" {
			continue
		}
		if before := seen[o.revision]; before != nil && before.value != o.value {
			report("one revision, two values: %v and %v", before, o)
		}
		if before := revisions[o.value]; before != nil && before.revision != o.revision {
			report("a change had its effect twice: %v and %v", before, o)
		}
		seen[o.revision], revisions[o.value] = o, o
		switch writer := writers[o.value]; {
		case writer == nil:
			report("nobody has written that: %v", o)
		case writer.outcome == conflict:
			report("a change was refused and made: %v, seen by %v", writer, o)
		case writer.begin > o.end:
			report("seen before it was written: %v by %v", writer, o)
		}
	}
}

// checkSuccessors: a revision is followed by one change, and a change is refused only where there was another one.
func checkSuccessors(report reporter, ops []*op) {
	followed := map[uint64]*op{}
	for _, o := range ops {
		if o.kind != "update" && o.kind != "delete" || o.outcome != done {
			continue
		}
		if before := followed[o.given]; before != nil {
			report("two changes follow on one revision: %v and %v", before, o)
		}
		followed[o.given] = o
		if o.kind == "update" && o.revision <= o.given {
			report("the revision does not grow: %v", o)
		}
	}
	for _, o := range ops {
		if o.outcome != conflict {
			continue
		}
		if !slices.ContainsFunc(ops, func(other *op) bool {
			if other == o || other.begin > o.end || other.outcome != done && other.outcome != mute {
				return false
			}
			if o.kind == "create" {
				return other.kind == "create"
			}
			return other.kind != "create" && other.kind != "get" && other.given == o.given
		}) {
			report("refused without another one: %v", o)
		}
	}
}

// checkOrder: who calls after another call has ended sees what that one saw, or what came after it.
func checkOrder(report reporter, ops []*op) {
	byEnd := slices.Clone(ops)
	slices.SortFunc(byEnd, func(a, b *op) int { return cmp.Compare(a.end, b.end) })
	var newest *op // of the calls that ended before o began, the one that has seen the latest
	least := func(o *op) uint64 {
		switch {
		case o.outcome != done:
			return 0
		case o.kind == "delete":
			return o.given + 1
		default:
			return o.revision
		}
	}
	for _, o := range ops { // by their beginning
		for len(byEnd) > 0 && byEnd[0].end < o.begin {
			if newest == nil || least(byEnd[0]) > least(newest) {
				newest = byEnd[0]
			}
			byEnd = byEnd[1:]
		}
		if newest == nil {
			continue
		}
		switch {
		case o.outcome == done && o.kind != "delete" && o.revision < least(newest):
			report("old: %v, after %v", o, newest)
		case o.outcome == none && least(newest) > 0 && !slices.ContainsFunc(ops, func(other *op) bool {
			return other.kind == "delete" && other.begin < o.end && other.given+1 >= least(newest) &&
				(other.outcome == done || other.outcome == mute)
		}):
			report("it is gone without a Delete: %v, after %v", o, newest)
		}
	}
}
