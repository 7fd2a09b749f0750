package cluster

import (
	"context"
	"time"

	"sluice/hub"
)

// Observe is told what happens in the hub (hub.Config.Observe).
func (c *Cluster) Observe(e hub.Event) {
	switch e.Kind {
	case hub.EventWanted:
		c.want(e.Key, e.Session)
	case hub.EventPublished, hub.EventSwitched:
		switch {
		case e.Session.Protocol() == Protocol:
		case e.Standby:
			c.standsBy(e.Key)
		default:
			c.published(e.Key)
		}
	case hub.EventUnpublished:
		if e.Session.Protocol() != Protocol { // one that was yet to be shown, too
			c.vacated(e.Key)
		}
	case hub.EventLost:
		for _, s := range c.cfg.Hub.Sessions() {
			switch {
			case s.Session.Role() == hub.RoleWatch && s.State == hub.SessionWaiting:
				c.want(s.Session.Key(), s.Session)
			case s.Standby:
				c.standsBy(s.Session.Key())
			}
		}
	}
}

// vacated tells others that the publisher of a stream has ended here, so that one that stands by for it follows at once.
func (c *Cluster) vacated(key hub.Key) {
	n := c.enter(key)
	defer c.leave(n)
	if o := c.ownedBy(n); o != nil && c.cfg.Hub.PublisherOf(key) == nil {
		c.send(subjectNews, &story{Up: true, Owner: o.owner, Revision: o.revision, Vacant: true})
	}
}

// standsBy copies a stream for a publisher that stands by for that of another node.
func (c *Cluster) standsBy(key hub.Key) {
	n := c.enter(key)
	defer c.leave(n)
	c.wantWhereWatched(n)
}

// published tells others that a stream has begun, so that those who wait for it need not look.
func (c *Cluster) published(key hub.Key) {
	n := c.enter(key)
	defer c.leave(n)
	if o := c.ownedBy(n); o != nil {
		c.tell(true, o)
		return
	}
	c.goRun(func() { c.displaceLate(key) })
}

// displaceLate ends a publisher that has begun when its node had lost the stream already, which it had when the publisher
// claimed it.
func (c *Cluster) displaceLate(key hub.Key) {
	n := c.enter(key)
	defer c.leave(n)
	if n.lock(c.ctx) != nil {
		return
	}
	defer n.unlock()
	if c.ownedBy(n) == nil {
		c.cfg.Hub.Displace(key, &hub.Refusal{Reason: hub.ReasonReplaced, Detail: errElsewhere.Detail}, nil)
		c.wantWhereWatched(n)
	}
}

// Locate returns how long it is worth waiting for a stream that nobody publishes here (hub.Config.Locate): 0 where
// no node has it, as far as this one knows.
func (c *Cluster) Locate(key hub.Key) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.names[key]; n != nil && n.news != nil {
		return c.cfg.Grace + silentAfter
	}
	return 0
}

// IsElsewhere reports whether another node has a stream that gives signs of life, as far as this one knows: it does not ask.
func (c *Cluster) IsElsewhere(key hub.Key) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.names[key]
	return n != nil && n.owned == nil && n.news != nil && !c.isSilentLocked(n.news.Node, n.news.Boot)
}

// want copies a stream that viewers wait for, as soon as a node has it.
func (c *Cluster) want(key hub.Key, who *hub.Session) {
	if key.IsCheck() {
		return
	}
	n := c.enter(key)
	defer c.leave(n)
	if !c.begin(n, who) {
		c.cfg.Hub.GiveUp(key, errManyEdges)
	}
}

// errManyEdges refuses viewers of what would be one stream too many.
var errManyEdges = &hub.Refusal{Reason: hub.ReasonTooMany, Detail: "too many streams are copied from other nodes"}

// begin begins to copy a stream, if that is not under way. It returns false if there are too many.
func (c *Cluster) begin(n *name, who *hub.Session) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed, n.edge != nil:
		return true
	case c.edges >= c.cfg.MaxEdges:
		return false
	}
	c.edges++
	e := newEdge(c, n, who)
	n.edge = e
	c.goRun(e.run)
	return true
}

// edgeOver notes that a copy has ended.
func (c *Cluster) edgeOver(n *name) {
	c.mu.Lock()
	c.past.add(n.edge.state.Load())
	n.edge = nil
	c.edges--
	c.forgetLocked(n)
	c.mu.Unlock()
	c.wantWhereWatched(n) // somebody may have come as it ended
}

// wantWhereWatched copies a stream that viewers watch here, or wait for, or for which a publisher stands by here, and nobody
// publishes here.
func (c *Cluster) wantWhereWatched(n *name) {
	if c.ctx.Err() != nil || c.cfg.Hub.Unwatched(n.key) > 0 || c.cfg.Hub.Live(n.key) {
		return
	}
	c.begin(n, nil)
}

// forgetNews forgets an owner that says itself that it is none.
func (c *Cluster) forgetNews(n *name, o *owner) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n.news != nil && n.news.same(o) {
		n.news = nil
	}
}

// find returns who owns a stream, nil if nobody, and whether that is certain: where the directory is mute it is what was
// heard.
func (c *Cluster) find(ctx context.Context, n *name) (o *owner, revision uint64, certain bool) {
	known, entry, err := c.record(ctx, n.key)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil && known != nil && n.news != nil && n.news.revision == 0 && known.before(&n.news.owner) &&
		!c.isSilentLocked(n.news.Node, n.news.Boot): // it took the stream over while nothing could be written
		return &n.news.owner, 0, false
	case err == nil && known != nil:
		n.news = &sighting{*known, entry.Revision}
		return known, entry.Revision, true
	case n.news != nil && (err != nil || n.news.revision == 0 || !c.isSilentLocked(n.news.Node, n.news.Boot)):
		return &n.news.owner, n.news.revision, false
	case err != nil:
		return nil, 0, false
	}
	n.news = nil
	return nil, 0, true
}
