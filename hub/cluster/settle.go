package cluster

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"sluice/hub"
)

// What this node owns and what the directory says can be parted: by a directory that was mute when a name was
// claimed, that has lost its records, by nodes that did not see each other, by a process that stood still. Each
// name is looked at while it is provisional, when the directory is there again, every 30 s, and when other
// nodes' news contradict:
//
//	the record is this node's     nothing
//	there is none                 it is made anew
//	it is another node's          confirmed here before: that one has taken it over, and this one has not
//	                              noticed. Provisional here: the recorded owner stays, unless it is gone, has
//	                              nothing, or lets the stream go, as it does to the later session of its own
//	                              publisher
//
// Who loses a name ends its publisher, or has it stand by if it is the other one of two, and copies the stream for its viewers from
// then on.

// settleEvery is how far apart tries to settle a provisional name are.
const settleEvery = 500 * time.Millisecond

// settle looks after a provisional name until it is none.
func (c *Cluster) settle(key hub.Key) {
	n := c.enter(key)
	defer c.leave(n)
	for c.ctx.Err() == nil {
		if o := c.ownedBy(n); o == nil || o.revision != 0 {
			return
		}
		c.verifyName(c.ctx, key, verifyWithin)
		select {
		case <-time.After(settleEvery):
		case <-c.ctx.Done():
		}
	}
}

// verifyWithin bounds a look at a name: a record to be read, another node to be asked, perhaps twice, and a record to be written.
const verifyWithin = 2*muteAfter + 2*askWithin

// verifyName looks at a name by its key, for so long at the most.
func (c *Cluster) verifyName(ctx context.Context, key hub.Key, within time.Duration) {
	n := c.enter(key)
	defer c.leave(n)
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	c.verify(ctx, n)
}

// verifiers is how many names are looked at at a time.
const verifiers = 32

// verifyAll looks at all names that this node owns, and returns when it has, or when its time is over.
func (c *Cluster) verifyAll(within time.Duration) {
	c.mu.Lock()
	var keys []hub.Key
	for key, n := range c.names {
		if n.owned != nil {
			keys = append(keys, key)
		}
	}
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(c.ctx, within)
	defer cancel()
	var wg sync.WaitGroup
	for part := range slices.Chunk(keys, max(1, (len(keys)+verifiers-1)/verifiers)) {
		wg.Go(func() {
			for _, key := range part {
				c.verifyName(ctx, key, verifyWithin)
			}
		})
	}
	wg.Wait()
}

// verify looks at a name that this node owns.
func (c *Cluster) verify(ctx context.Context, n *name) {
	if n.lock(ctx) != nil { // it is being claimed, or looked at, or there was no time left
		c.doubt()
		return
	}
	defer n.unlock()
	o := c.ownedBy(n)
	if o == nil {
		return
	}
	known, entry, err := c.record(ctx, n.key)
	if err != nil {
		c.doubt()
		return
	}
	switch {
	case known != nil && known.same(&o.owner):
		c.confirm(n, o, entry.Revision)
	case known == nil && o.revision == 0 && o.Epoch > 1: // somebody may have had this epoch whose record is gone by now
		c.goOn(ctx, n, o, o.Epoch+skippedEpochs, entry)
	case known == nil, known.Boot == c.cfg.Boot, o.revision != 0 && known.before(&o.owner):
		c.rewrite(ctx, n, o, known, entry)
	case o.revision != 0:
		c.lose(ctx, n, known)
	default:
		c.settleWith(ctx, n, o, known, entry)
	}
}

// skippedEpochs is how many epochs are left out by an owner that had no answer from the directory as it began, and finds no
// record: so many others may have gone by of which it does not know.
const skippedEpochs = 1000

// rewrite puts what this node owns in the place of a record that says nothing against it. That may be one of its own that it
// does not know: of a change that seemed to have failed.
func (c *Cluster) rewrite(ctx context.Context, n *name, o *ownership, known *owner, in *Entry) {
	if known != nil && o.before(known) { // by nobody else's hand: what others may have seen of that epoch is this node's
		c.goOn(ctx, n, o, known.Epoch+1, in)
		return
	}
	if revision, err := c.write(ctx, n.key, &o.owner, in); err == nil {
		c.confirm(n, o, revision)
	}
}

// goOn has this node own a name in a later epoch, in the place of a record.
func (c *Cluster) goOn(ctx context.Context, n *name, o *ownership, epoch uint64, in *Entry) bool {
	next := *o
	next.Epoch = epoch
	revision, err := c.write(ctx, n.key, &next.owner, in)
	if err != nil {
		return false // if it was written all the same, the next look sees that
	}
	head, _, held := c.cfg.Hub.Head(n.key)
	if held { // others had numbers of that epoch
		n.numbers.cease(head.Life, head.Seq)
	}
	n.numbers.become(head.Life, head.Seq, &next.owner)
	c.confirm(n, &next, revision)
	return true
}

// raise has this node own a name whose turn the caller has in an epoch that is not before the given one.
func (c *Cluster) raise(ctx context.Context, n *name, o *ownership, epoch uint64) bool {
	known, entry, err := c.record(ctx, n.key)
	if err != nil || known != nil && known.Boot != c.cfg.Boot {
		return false
	}
	if known != nil {
		epoch = max(epoch, known.Epoch+1)
	}
	return c.goOn(ctx, n, o, epoch, entry)
}

// confirm notes the record of what this node owns.
func (c *Cluster) confirm(n *name, o *ownership, revision uint64) {
	if o.revision == revision {
		return
	}
	c.mu.Lock()
	n.owned.owner, n.owned.revision = o.owner, revision
	told := *n.owned
	c.mu.Unlock()
	c.tell(true, &told)
}

// settleWith finds out which of two owners stays, of which the other one has the record.
func (c *Cluster) settleWith(ctx context.Context, n *name, o *ownership, known *owner, entry *Entry) {
	q := &question{Both: true, Age: o.age()}
	if s := c.cfg.Hub.PublisherOf(n.key); s != nil {
		q.Proof, q.Backup, q.Yields = s.Proof(c.cfg.ProofKey), s.IsBackup(), s.Yields()
	}
	if o.Incarnation == known.Incarnation {
		q.Mine = o.Epoch
	}
	switch a := c.ask(ctx, known, q); a.What {
	case answerYields, answerGone:
	case answerKeeps:
		c.lose(ctx, n, known)
		return
	default:
		if !c.hasLeft(n, o, known) {
			return // it will answer, or have
		}
	}
	c.goOn(ctx, n, o, max(o.Epoch, known.Epoch)+1, entry)
}

// heardAfter is how long it may take until all nodes hear each other when the directory answers again: their connections come
// back one by one, and an old one may have to be given up first.
const heardAfter = 20 * time.Second

// hasLeft reports whether the other owner of a name, which gives no answer, is gone, and not only out of reach still.
func (c *Cluster) hasLeft(n *name, o *ownership, known *owner) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.isSilentLocked(known.Node, known.Boot):
		return false
	case o.from == known.Boot, c.hasEndedLocked(known.Node, known.Boot):
		return true // it was taken over from that one as it was silent
	case n.owned.contested.IsZero():
		n.owned.contested = time.Now()
	}
	return time.Since(n.owned.contested) >= heardAfter
}

// lose notes that another node owns a name whose turn the caller has. Its publisher here ends, or stands by for that one's.
func (c *Cluster) lose(ctx context.Context, n *name, to *owner) {
	standsBy := c.mayStandBy(ctx, n.key, to)
	c.log.Info("another node owns a stream by now", "stream", n.key.String(), "node", to.Node)
	head, _, _ := c.cfg.Hub.Head(n.key)
	c.cfg.Hub.Displace(n.key, &hub.Refusal{
		Reason: hub.ReasonReplaced, Detail: "the stream is published at node " + to.Node + " by now",
	}, standsBy)
	c.mu.Lock()
	n.news = &sighting{owner: *to}
	c.mu.Unlock()
	c.let(n, head)
}

// mayStandBy asks the owner of a stream whether the publisher here is the other one of the two, and returns its session; nil where
// it is not, or no answer came.
func (c *Cluster) mayStandBy(ctx context.Context, key hub.Key, to *owner) *hub.Session {
	s := c.cfg.Hub.PublisherOf(key)
	if s == nil || s.Yields() {
		return nil
	}
	q := &question{Proof: s.Proof(c.cfg.ProofKey), Backup: s.IsBackup(), CanWait: true, StandsBy: true, Raise: true}
	if len(q.Proof) == 0 || c.ask(ctx, to, q).What != answerStandsBy {
		return nil
	}
	return s
}

// sweep gives up what this node owns and nobody publishes here any more, unless that is since the server ends: its publishers
// come back elsewhere.
func (c *Cluster) sweep() {
	if c.cfg.Hub.RefusesNew() {
		return
	}
	c.mu.Lock()
	var keys []hub.Key
	for key, n := range c.names {
		switch {
		case n.owned != nil && time.Since(n.owned.since) >= claimedFor:
			keys = append(keys, key)
		case n.news != nil && n.edge == nil:
			if p := c.peers[n.news.Boot]; p != nil && time.Since(p.heard) > forgetAfter {
				n.news = nil
				c.forgetLocked(n)
			}
		}
	}
	c.mu.Unlock()
	for _, key := range keys {
		if !c.hasBegun(key) {
			c.goRun(func() { c.releaseName(key) })
		}
	}
}

// forgetAfter is for how long the streams of a node are remembered that is silent.
const forgetAfter = time.Minute

// releaseName gives up a name that nobody publishes here any more.
func (c *Cluster) releaseName(key hub.Key) {
	n := c.enter(key)
	defer c.leave(n)
	ctx, cancel := context.WithTimeout(c.ctx, muteAfter)
	defer cancel()
	if n.lock(ctx) != nil {
		return // and it is looked at again
	}
	defer n.unlock()
	if o := c.ownedBy(n); o == nil || c.hasBegun(key) || time.Since(o.since) < claimedFor {
		return
	}
	_ = c.release(ctx, n) // and it is looked at again
}

// release gives up a name whose turn the caller has. The error is one of the directory, which is mute:
// then it stays. A provisional one does not; if there is a record of it all the same, tidy finds that.
func (c *Cluster) release(ctx context.Context, n *name) error {
	o := c.ownedBy(n)
	if err := c.remove(ctx, n.key, o.revision); err != nil && o.revision != 0 {
		return err
	}
	head, _, _ := c.cfg.Hub.Head(n.key)
	n.numbers.cease(head.Life, head.Seq)
	c.mu.Lock()
	n.owned = nil
	c.mu.Unlock()
	c.tell(false, o)
	return nil
}

// remove takes the record of a stream away that this node has, which may be another one than it knows, by a change that
// seemed to have failed. The error is one of the directory, which is mute.
func (c *Cluster) remove(ctx context.Context, key hub.Key, revision uint64) error {
	ctx, cancel := context.WithTimeout(ctx, muteAfter)
	defer cancel()
	for {
		if revision != 0 {
			err := c.cfg.Directory.Delete(ctx, recordKey(key), revision)
			if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrNone) {
				return err
			}
		}
		known, entry, err := c.record(ctx, key)
		if err != nil || known == nil || known.Boot != c.cfg.Boot {
			return err
		}
		revision = entry.Revision
	}
}
