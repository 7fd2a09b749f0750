package cluster

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sluice/hub"
	"sluice/hub/waitgroup"
)

// Config sets up a Cluster. Hub, Directory, Open, Node and Boot must be set.
type Config struct {
	Hub       *hub.Hub
	Directory Directory
	Open      Open
	Node      string // the name of this node, which it keeps when it starts again
	Boot      string // the id of this process: hub.Config.Node
	Media     string // HOST:PORT at which others reach the inner protocol of this node
	// ProofKey is what stands between an identity and what other nodes are told of it (hub.Session.Proof). All
	// nodes have the same.
	ProofKey []byte
	// Grace is how long the viewers of a stream are held whose owner is gone: hub.Config.PublisherGrace.
	Grace time.Duration
	// Hold is how long they are held where it is not known whether the owner is gone: 60 s if 0.
	Hold time.Duration
	// Idle is how long a copy is kept when its last viewer has left: 10 s if 0, not at all if negative.
	Idle time.Duration
	// MaxEdges is how many streams of other nodes are copied at a time, those that are looked for included:
	// 4096 if 0.
	MaxEdges int
	// Nowhere is told of a stream that viewers wait for, Session being the first, and no node has, as far as is
	// known: who can bring it from elsewhere may. It must not block, and may be nil.
	Nowhere func(hub.Key, *hub.Session)
	// Describe returns what this node says of itself; nil for nothing. It is called once a second.
	Describe func() Description
	// Obey does what another node wants (Order), and answers that; nil does nothing. The answer is of MaxMessage
	// at the most.
	Obey func(order []byte) []byte
	// Common is what all nodes are to have alike; nil for nothing.
	Common Common
	// Now is the wall clock, of which those of other nodes may differ: time.Now if nil.
	Now    func() time.Time
	Logger *slog.Logger // nil discards
}

// Times of the cluster (NATS.md has what they rest on).
const (
	// beatEvery is how far apart the signs of life of a node are, and silentAfter how long one is without
	// before it counts as gone.
	beatEvery   = 250 * time.Millisecond
	silentAfter = 1500 * time.Millisecond
	// standstill is how long this process may have stood still before it looks whether its streams are
	// still its own: others act after silentAfter.
	standstill = time.Second
	// sureWithin is how long it looks for that at the most, while what its publishers send waits.
	sureWithin = 3 * time.Second
	// muteAfter is how long a claim waits for the directory before it goes on without: for reading a record and writing it
	// together, so that a publisher does not wait twice where who decides is lost between the two. The write has
	// writeAtLeast of it, however late the answer to the first question was.
	muteAfter    = 300 * time.Millisecond
	writeAtLeast = 100 * time.Millisecond
	// askWithin bounds a question to another node.
	askWithin = 250 * time.Millisecond
	// repairEvery is how far apart looks at the records of this node's streams are.
	repairEvery = 30 * time.Second
	// claimedFor is how long a name is kept for a publisher that has claimed it, and has not begun.
	claimedFor = 5 * time.Second

	defaultHold     = 60 * time.Second
	defaultIdle     = 10 * time.Second
	defaultMaxEdges = 4096
)

// Cluster is this node's part of a cluster. Its methods may be called from any goroutine.
type Cluster struct {
	cfg     Config
	log     *slog.Logger
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running waitgroup.Group
	began   time.Time
	stops   []func() // end what is listened for

	doubtful map[string]uint64 // records that tidy has found to be nobody's, by their keys: their revisions. Only tidy has it

	mu     sync.Mutex
	names  map[hub.Key]*name
	peers  map[string]*peer // by the ids of their processes; without this one
	edges  int
	closed bool
	unsure bool // it is to be looked whether this node's streams are still its own

	said      NodeFigures // what was said last of this node, at described; guarded by mu
	described time.Time
	past      Figures // the sums of copies that have ended; guarded by mu
	alike     alike
}

// name is a stream of which this node has something to know.
type name struct {
	key     hub.Key
	turn    chan struct{} // capacity 1: who holds what is in it may change what this node owns
	numbers numbers

	// Guarded by Cluster.mu.
	users     int        // who must not find another one in its place
	owned     *ownership // nil where this node is not the owner, as far as it knows
	lets      int        // how often it ceased to be the owner for another one
	verifying bool       // since news contradict
	yielded   time.Time  // when this node let it go to another one that asked; zero if it has not
	lastWord  lastWord   // what that one was answered
	edge      *edge      // copies it, or looks for it; nil if nobody wants it here
	news      *sighting  // the last word of other nodes; nil without
}

// ownership is that this node owns a stream.
type ownership struct {
	owner
	revision uint64    // of the record; 0 as long as there is none: it is provisional
	since    time.Time // when it was claimed last
	from     string    // the process that it was taken over from, which was silent; empty for none
	// contested is when it was first seen that another process has the record, of which nothing was heard; zero
	// where none has.
	contested time.Time
}

// age returns how long ago the stream was claimed last, in ms.
func (o *ownership) age() int64 { return time.Since(o.since).Milliseconds() }

// sighting is what was heard of an owner.
type sighting struct {
	owner
	revision uint64 // 0 if it is provisional
}

// New joins the cluster. It must be closed. The error is that of the directory.
func New(cfg Config) (*Cluster, error) {
	cfg.Hold = cmp.Or(cfg.Hold, defaultHold)
	cfg.Idle = max(0, cmp.Or(cfg.Idle, defaultIdle))
	cfg.MaxEdges = cmp.Or(cfg.MaxEdges, defaultMaxEdges)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Cluster{
		cfg: cfg, log: cfg.Logger, began: time.Now(),
		names: make(map[hub.Key]*name), peers: make(map[string]*peer),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	var errs []error
	listen := func(stop func(), err error) {
		if err != nil {
			errs = append(errs, err)
			return
		}
		c.stops = append(c.stops, stop)
	}
	listen(cfg.Directory.Listen(subjectBeat, c.heardBeat))
	listen(cfg.Directory.Listen(subjectNews, c.heardNews))
	listen(cfg.Directory.Answer(subjectOf(cfg.Boot, questionClaim), c.answerClaim))
	listen(cfg.Directory.Listen(subjectOrder, c.heardShared))
	listen(cfg.Directory.Answer(subjectOf(cfg.Boot, questionOrder), c.obey))
	listen(cfg.Directory.Answer(subjectOf(cfg.Boot, questionAlike), c.answerCommon))
	if err := errors.Join(errs...); err != nil {
		c.Close()
		return nil, err
	}
	cfg.Hub.Beat(time.Now())
	c.goRun(c.run)
	return c, nil
}

// goRun runs something that Close waits for.
func (c *Cluster) goRun(f func()) {
	if c.running.Enter() {
		go func() {
			defer c.running.Done()
			f()
		}()
	}
}

// Close leaves the cluster: what this node copies ends. What it owns stays its own, as far as records say, for
// publishers that come back at another node, which takes that over at once. Publishers and viewers are the hub's,
// and have ended before. The directory is closed by whoever opened it.
func (c *Cluster) Close() {
	c.mu.Lock()
	was := c.closed
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	for _, stop := range c.stops {
		stop()
	}
	c.running.Wait()
	if !was {
		c.sendBeat(true)
	}
}

// enter returns what is known of a stream, for somebody who lets go of it with leave.
func (c *Cluster) enter(key hub.Key) *name {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.enterLocked(key)
}

func (c *Cluster) enterLocked(key hub.Key) *name {
	n := c.names[key]
	if n == nil {
		n = &name{key: key, turn: make(chan struct{}, 1)}
		c.names[key] = n
	}
	n.users++
	return n
}

// leave lets go of a name, which is forgotten if there is nothing to know.
func (c *Cluster) leave(n *name) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n.users--
	c.forgetLocked(n)
}

func (c *Cluster) forgetLocked(n *name) {
	if n.users == 0 && n.owned == nil && n.edge == nil && n.news == nil && c.names[n.key] == n {
		delete(c.names, n.key)
	}
}

// lock waits for a name's turn. The error is that of ctx.
func (n *name) lock(ctx context.Context) error {
	select {
	case n.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (n *name) unlock() { <-n.turn }

// ownedBy returns what this node owns of a name, nil if nothing. It is a copy.
func (c *Cluster) ownedBy(n *name) *ownership {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n.owned == nil {
		return nil
	}
	o := *n.owned
	return &o
}

// run gives signs of life, and looks after what this node owns.
func (c *Cluster) run() {
	tick := time.NewTimer(beatIn(time.Now()))
	defer tick.Stop()
	last, repaired := time.Now(), time.Now()
	connected := true
	var repairing atomic.Bool
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		tick.Reset(beatIn(now))
		if now.Sub(last) > standstill {
			c.log.Warn("the process stood still", "seconds", now.Sub(last).Seconds())
			now = c.lookAgain(now)
			repaired = now
		}
		last = now
		c.cfg.Hub.Beat(now)
		c.sendBeat(false)
		c.compare()
		c.sweep()
		was := connected
		connected = c.cfg.Directory.Health().Connected
		if connected && !was {
			c.doubt()
		}
		whole := now.Sub(repaired) >= repairEvery
		if !whole && !c.isUnsure() || !repairing.CompareAndSwap(false, true) {
			continue
		}
		if whole {
			repaired = now
		}
		c.goRun(func() {
			defer repairing.Store(false)
			c.repair(whole)
		})
	}
}

// beatIn returns how long after now the next sign of life is due: where the wall clock has a multiple of beatEvery, or one
// later if that is at once, since a timer may fire a little early by that clock. So the nodes give theirs at the same time, as far
// as their clocks agree, and each of them wakes once for all.
func beatIn(now time.Time) time.Duration {
	in := now.Truncate(beatEvery).Add(beatEvery).Sub(now)
	if in < beatEvery/10 {
		in += beatEvery
	}
	return in
}

// repair looks whether this node's streams are still its own, and at what is nobody's in the directory, too, where
// that is to be whole.
func (c *Cluster) repair(whole bool) {
	c.setUnsure(false)
	c.verifyAll(repairEvery / 2)
	if whole {
		c.tidy()
		return
	}
	select { // what could not be found out is looked at again
	case <-time.After(settleEvery):
	case <-c.ctx.Done():
	}
}

// doubt has it looked whether this node's streams are still its own.
func (c *Cluster) doubt() { c.setUnsure(true) }

func (c *Cluster) setUnsure(unsure bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unsure = unsure
}

func (c *Cluster) isUnsure() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unsure
}

// lookAgain looks whether this node's streams are still its own, when the process has stood still, and until it did
// not do so meanwhile. What cannot be found out is looked at again for sureWithin: the directory has to find this node again,
// too. It returns when it has last begun to look.
func (c *Cluster) lookAgain(now time.Time) time.Time {
	woke := now
	for c.ctx.Err() == nil {
		c.setUnsure(false)
		c.verifyAll(verifyWithin)
		if time.Since(now) <= standstill && (!c.isUnsure() || time.Since(woke) >= sureWithin) {
			break
		}
		now = time.Now()
		select {
		case <-time.After(again):
		case <-c.ctx.Done():
		}
	}
	return now
}
