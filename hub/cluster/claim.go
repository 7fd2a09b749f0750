package cluster

import (
	"context"
	"errors"
	"time"

	"sluice/hub"
)

// Who may publish a name. A publisher at B has passed the policy:
//
//	B owns it               the rules of its hub decide, as on a single server
//	no record               Create
//	A owns it, and answers  A's hub decides, by the same rules, and lets the stream go: B has A's epoch + 1, a
//	                        number that nobody has had, and the time that A has come to. Update
//	A has the other of two  B's stands by for it (hub/stepup.go), and nothing is written. It claims again where it
//	                        would be shown if both were at one node
//	A is silent             as a publisher who has left: Update, epoch + 1. Where the other of two stands by for it at some
//	                        node, that one goes first (stand.go). A is not as long as its media come to B
//	A neither answers nor   B asks again until one of the two
//	is silent
//	the directory is mute   B goes on as if it had been first, if nobody is known to own the name, or A has let it go:
//	                        provisionally. What comes of it is settled when the directory answers again
//
// Whoever changes a record does so by its revision, so of two that change it at once one is first, and
// the other looks again.

// Claim asks whether a publisher may have its stream, for all nodes (hub.Config.Claim). The error is a *hub.Refusal.
func (c *Cluster) Claim(ctx context.Context, s *hub.Session) (hub.Claim, error) {
	n := c.enter(s.Key())
	defer c.leave(n)
	who := claimant{Session: s, began: time.Now()}
	return c.repeat(ctx, func() (hub.Claim, error) { return c.claim(ctx, n, who) })
}

// repeat claims until the error is another one than errAgain.
func (c *Cluster) repeat(ctx context.Context, claim func() (hub.Claim, error)) (hub.Claim, error) {
	for {
		claimed, err := claim()
		if !errors.Is(err, errAgain) {
			return claimed, err
		}
		if err := c.pause(ctx); err != nil {
			return hub.Claim{}, err
		}
	}
}

// claim tries once to claim a name for a publisher that comes. The error is errAgain where it is to be tried again.
func (c *Cluster) claim(ctx context.Context, n *name, s claimant) (hub.Claim, error) {
	if err := n.lock(ctx); err != nil {
		return hub.Claim{}, errClaim
	}
	defer n.unlock()
	if o := c.ownedBy(n); o != nil {
		switch {
		case c.followsSoon(n):
			return hub.Claim{}, errAgain
		case c.hasBegun(n.key) || time.Since(o.since) < claimedFor: // or its publisher is just about to begin, perhaps in the place of a copy
			c.touch(n)
			return hub.Claim{Backed: c.isBacked(n.key)}, nil
		}
		if err := c.release(ctx, n); err != nil { // what was is over, and this is another one
			return hub.Claim{}, errClaim
		}
	}
	return c.take(ctx, n, s)
}

// StepUp asks whether a publisher that stands by for one at another node may go on in its place (hub.Config.StepUp). What could
// not be found out in time it may ask again.
func (c *Cluster) StepUp(ctx context.Context, s *hub.Session, asked bool) (hub.Claim, error) {
	n := c.enter(s.Key())
	defer c.leave(n)
	who := claimant{Session: s, began: time.Now(), stepsUp: true, asked: asked}
	claim, err := c.repeat(ctx, func() (hub.Claim, error) { return c.stepUp(ctx, n, who) })
	if errors.Is(err, errClaim) {
		return hub.Claim{StandsBy: true}, nil
	}
	return claim, err
}

// stepUp is claim for one that stands by.
func (c *Cluster) stepUp(ctx context.Context, n *name, s claimant) (hub.Claim, error) {
	if n.lock(ctx) != nil {
		return hub.Claim{}, errClaim
	}
	defer n.unlock()
	if c.ownedBy(n) != nil { // for another one that has yet to begin here, if it does: they are two at one node
		c.touch(n)
		return hub.Claim{}, nil
	}
	claim, err := c.take(ctx, n, s)
	c.mu.Lock()
	defer c.mu.Unlock()
	if n.owned != nil && errors.Is(ctx.Err(), context.Canceled) { // it has ended meanwhile: the name is kept for nobody
		n.owned.since = n.owned.since.Add(-claimedFor)
	}
	return claim, err
}

// claimant is a publisher here that wants a name, since began. stepsUp says that it has stood by for one at another node, and
// asked that an operator wants it to go on.
type claimant struct {
	*hub.Session
	began          time.Time
	stepsUp, asked bool
}

// Refusals of publishers.
var (
	errClaim = &hub.Refusal{
		Reason: hub.ReasonBusy, Detail: "it could not be found out in time whether another node has the stream",
	}
	errElsewhere = &hub.Refusal{Reason: hub.ReasonBusy, Detail: "the stream is being published at another node"}
)

// errAgain is the error of a claim that is to be made again in a while: others may have the name's turn meanwhile.
var errAgain = errors.New("cluster: to be claimed again")

// touch notes that a name that this node owns has been claimed again.
func (c *Cluster) touch(n *name) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n.owned.since = time.Now()
}

// taking is what comes of looking at a name that this node does not own.
type taking struct {
	next  owner
	from  string // the process that owns it still, as far as it knows: it is silent; empty for none
	time  int64  // that the stream has come to
	stale bool   // who was asked is not the owner any more
	waits bool   // the publisher stands by for that of the owner
}

// take makes this node the owner of a name whose turn the caller has. The error is a *hub.Refusal, or errAgain.
func (c *Cluster) take(ctx context.Context, n *name, s claimant) (hub.Claim, error) {
	for ctx.Err() == nil {
		asked := time.Now()
		known, entry, err := c.record(ctx, n.key)
		patience := max(muteAfter-time.Since(asked), writeAtLeast)
		mute := err != nil
		known = c.belief(n, known, mute || entry == nil) // a directory that has lost its records says that there is none
		t, goOn, err := c.mayTake(ctx, n, s, known, mute)
		if (err != nil || t.waits) && entry != nil && known != nil {
			c.remember(n, &sighting{*known, entry.Revision})
		}
		switch {
		case err != nil:
			return hub.Claim{}, err
		case t.waits:
			return hub.Claim{StandsBy: true}, nil
		case goOn:
			if t.stale && !mute { // the record says more than what was heard
				c.forgetNews(n, known)
			}
			return hub.Claim{}, errAgain
		}
		revision := uint64(0)
		if !mute {
			switch revision, err = c.writeWithin(ctx, patience, n.key, &t.next, entry); {
			case errors.Is(err, ErrConflict):
				continue
			case err != nil: // it may have been written
				revision = 0
			}
		}
		c.own(n, &t, revision)
		return hub.Claim{Time: t.time}, nil
	}
	return hub.Claim{}, errClaim
}

// record returns the record of a stream, nil if there is none, or none that can be read. The error is one of
// the directory, which is mute.
func (c *Cluster) record(ctx context.Context, key hub.Key) (*owner, *Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, muteAfter)
	defer cancel()
	e, err := c.cfg.Directory.Get(ctx, recordKey(key))
	switch {
	case errors.Is(err, ErrNone):
		return nil, nil, nil
	case err != nil:
		return nil, nil, err
	}
	o, err := readOwner(key, e.Value)
	if err != nil {
		return nil, &e, nil
	}
	return &o, &e, nil
}

// write puts a record in the place of another one, or where there is none.
func (c *Cluster) write(ctx context.Context, key hub.Key, o *owner, in *Entry) (revision uint64, err error) {
	return c.writeWithin(ctx, muteAfter, key, o, in)
}

func (c *Cluster) writeWithin(
	ctx context.Context, patience time.Duration, key hub.Key, o *owner, in *Entry,
) (revision uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if in == nil {
		return c.cfg.Directory.Create(ctx, recordKey(key), encode(o))
	}
	return c.cfg.Directory.Update(ctx, recordKey(key), encode(o), in.Revision)
}

// belief returns who owns a name, nil for nobody, by its record, or where there is none, or none to be had, by what was
// heard. An owner that could not write its record comes before who has one of before: nodes that still read it may be many.
func (c *Cluster) belief(n *name, known *owner, none bool) *owner {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch heard := n.news; {
	case heard == nil:
	case none, heard.revision == 0 && (known == nil || known.before(&heard.owner)):
		return &heard.owner
	}
	return known
}

// again is how long a claim waits before it looks again.
const again = 50 * time.Millisecond

// mayTake finds out whether a publisher may have a name that another node owns, or nobody. mute says that the directory
// has not been heard about that. goOn says that it is to be looked at again; the error is a *hub.Refusal.
func (c *Cluster) mayTake(
	ctx context.Context, n *name, s claimant, known *owner, mute bool,
) (t taking, goOn bool, err error) {
	now := c.cfg.Now()
	t.next = owner{
		Stream: n.key.String(), Node: c.cfg.Node, Boot: c.cfg.Boot, Media: c.cfg.Media,
		Incarnation: newIncarnation(), Epoch: 1, Anchor: now.UnixMilli(),
	}
	if known == nil {
		if head, _, held := c.cfg.Hub.Head(n.key); mute && held { // the stream that was copied here until now
			if at, ok := n.numbers.last(head.Life); ok {
				t.next.Incarnation, t.next.Epoch, t.next.Anchor = at.Incarnation, at.Epoch+1, now.UnixMilli()-head.Time
			}
		}
		return t, false, nil
	}
	t.next.Epoch = known.Epoch + 1
	goesOn := func(at int64) {
		t.next.Incarnation, t.next.Anchor = known.Incarnation, known.Anchor
		t.next.Epoch = max(t.next.Epoch, n.numbers.epoch(known.Incarnation)+1)
		t.time = at
	}
	if known.Boot == c.cfg.Boot { // by a write of which this node does not know, or it has let it go
		if c.hasYielded(n) {
			return t, true, nil
		}
		goesOn(0)
		return t, false, nil
	}
	switch a := c.askToYield(ctx, known, s); a.What {
	case answerYields:
		goesOn(a.Time)
		t.next.Anchor = now.UnixMilli() - a.Time
	case answerStandsBy:
		t.waits = true
	case answerKeeps:
		return t, false, &hub.Refusal{Reason: hub.ReasonBusy, Detail: a.Detail}
	case answerGone: // another stream begins
	case answerStale:
		t.stale = true
		return t, true, nil
	default:
		if !c.isSilent(known.Node, known.Boot) || !s.stepsUp && c.followsSilent(n, known) {
			return t, true, nil
		}
		if !s.stepsUp && c.flows(n, known) {
			if time.Since(s.began) < silentAfter { // it may have left that node just now
				return t, true, nil
			}
			return t, false, errElsewhere
		}
		at := known.reached(c.clockOf(known.Boot))
		goesOn(at)
		t.from = known.Boot
		t.next.Anchor = now.UnixMilli() - at
		c.log.Info("a stream is taken over from a node that is silent", "stream", n.key.String(), "node", known.Node)
	}
	return t, false, nil
}

// flows reports whether media of a stream come to this node from its owner, of whom nothing else may be heard: messages have
// another way than media. What comes from a node that has said that it ends does not count.
func (c *Cluster) flows(n *name, from *owner) bool {
	c.mu.Lock()
	e, ended := n.edge, c.hasEndedLocked(from.Node, from.Boot)
	c.mu.Unlock()
	return e != nil && !ended && e.flowsFrom(from)
}

// remember notes who owns a name, where nothing was heard of that.
func (c *Cluster) remember(n *name, seen *sighting) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n.news == nil {
		n.news = seen
	}
}

// pause waits a little. The error is a refusal where ctx ends.
func (c *Cluster) pause(ctx context.Context) error {
	select {
	case <-time.After(again):
		return nil
	case <-ctx.Done():
		return errClaim
	}
}

// own makes this node the owner of a name whose turn the caller has.
func (c *Cluster) own(n *name, t *taking, revision uint64) {
	head, _, _ := c.cfg.Hub.Head(n.key) // the zero value where it has yet to begin
	t.time = max(t.time, head.Time)
	n.numbers.become(head.Life, head.Seq, &t.next)
	o := &ownership{owner: t.next, revision: revision, since: time.Now(), from: t.from}
	c.mu.Lock()
	n.owned, n.yielded, n.news = o, time.Time{}, nil
	c.mu.Unlock()
	c.log.Debug("this node owns a stream", "stream", n.key.String(), "epoch", o.Epoch, "provisional", revision == 0)
	c.tell(true, o)
	if revision == 0 {
		c.goRun(func() { c.settle(n.key) })
	}
}
