package cluster

import (
	"encoding/json"
	"time"

	"sluice/hub"
)

// Subjects of messages.
const (
	subjectBeat = "beat" // signs of life
	subjectNews = "news" // owners of streams
	subjectNode = "node" // node.BOOT.QUESTION

	questionClaim = "claim"
)

// subjectOf returns the subject of a question to one process.
func subjectOf(boot, question string) string { return subjectNode + "." + boot + "." + question }

// beat is a node's sign of life.
type beat struct {
	Node     string `json:"node"`
	Boot     string `json:"boot"`
	Media    string `json:"media"`
	Started  int64  `json:"started"` // ms since 1970
	Time     int64  `json:"time"`    // ms since 1970, by its clock
	Draining bool   `json:"draining,omitempty"`
	Gone     bool   `json:"gone,omitempty"` // it is the last one: the process ends

	// Standby are the streams, as keys of their records, for which a publisher stands by there.
	Standby []string `json:"standby,omitempty"`

	Figures NodeFigures `json:"figures"`
}

// peer is another node, as this one hears it.
type peer struct {
	beat
	heard time.Time
}

// sendBeat sends a sign of life, the last one where gone is set.
func (c *Cluster) sendBeat(gone bool) {
	figures := c.figures()
	c.send(subjectBeat, &beat{
		Node: c.cfg.Node, Boot: c.cfg.Boot, Media: c.cfg.Media,
		Started: c.began.UnixMilli(), Time: c.cfg.Now().UnixMilli(),
		Draining: figures.Draining, Gone: gone, Standby: c.standing(), Figures: figures,
	})
}

// send sends a message that may be lost.
func (c *Cluster) send(subject string, message any) {
	_ = c.cfg.Directory.Send(subject, encode(message))
}

// encode returns a record or a message as it is written: of texts, numbers and bytes, which cannot fail.
func encode(what any) []byte {
	b, err := json.Marshal(what)
	if err != nil {
		panic(err)
	}
	return b
}

// maxPeers bounds the processes that are remembered: nodes that start again and again are others each
// time.
const maxPeers = 1000

func (c *Cluster) heardBeat(data []byte) {
	var b beat
	if json.Unmarshal(data, &b) != nil || !hub.IsNodeID(b.Boot) || b.Boot == c.cfg.Boot {
		return
	}
	if c.hears(&b) {
		c.remind(b.Boot)
	}
}

// hears notes a sign of life, and reports whether the process has been silent.
func (c *Cluster) hears(b *beat) (back bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.peers[b.Boot]
	if back = p != nil && time.Since(p.heard) >= silentAfter; back {
		c.unsure = true // it may have taken for silent this node, too
	}
	if p == nil {
		if len(c.peers) >= maxPeers {
			c.forgetPeerLocked()
		}
		p = new(peer)
		c.peers[b.Boot] = p
	}
	p.beat, p.heard = *b, time.Now()
	return back
}

// Messages may be lost: a process that is back is reminded of what it has lost so often, so far apart.
const (
	reminders   = 5
	remindEvery = 300 * time.Millisecond
)

// remind tells a process that is back what this node has taken over from it, which it may not know.
func (c *Cluster) remind(boot string) {
	c.mu.Lock()
	var taken []*name
	for _, n := range c.names {
		if n.owned != nil && n.owned.from == boot {
			n.users++
			taken = append(taken, n)
		}
	}
	c.mu.Unlock()
	if len(taken) == 0 {
		return
	}
	c.goRun(func() {
		for range reminders {
			for _, n := range taken {
				if o := c.ownedBy(n); o != nil && o.from == boot {
					c.tell(true, o)
				}
			}
			select {
			case <-time.After(remindEvery):
			case <-c.ctx.Done():
			}
		}
		for _, n := range taken {
			c.leave(n)
		}
	})
}

// forgetPeerLocked forgets the process that has been silent for longest.
func (c *Cluster) forgetPeerLocked() {
	var oldest *peer
	for _, p := range c.peers {
		if oldest == nil || p.heard.Before(oldest.heard) {
			oldest = p
		}
	}
	if oldest != nil {
		delete(c.peers, oldest.Boot)
	}
}

// isSilent reports whether a process, of a node by that name, gives no signs of life, or has ended. One that was never heard
// of is silent when this node has listened for long enough.
func (c *Cluster) isSilent(node, boot string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.isSilentLocked(node, boot)
}

func (c *Cluster) isSilentLocked(node, boot string) bool {
	return c.silenceLocked(boot) >= silentAfter || c.hasEndedLocked(node, boot)
}

// silenceLocked returns for how long nothing was heard of a process, or for how long this node has listened in vain.
func (c *Cluster) silenceLocked(boot string) time.Duration {
	if p := c.peers[boot]; p != nil {
		return time.Since(p.heard)
	}
	return time.Since(c.began)
}

// hasEndedLocked reports whether a process has said that it ends, or its node has started again, as which this process counts.
func (c *Cluster) hasEndedLocked(node, boot string) bool {
	p := c.peers[boot]
	if p == nil || p.Gone {
		return p != nil || node == c.cfg.Node && boot != c.cfg.Boot
	}
	for _, other := range c.peers {
		if other.Node == node && other.Boot != boot && other.Started > p.Started && time.Since(other.heard) < silentAfter {
			return true
		}
	}
	return false
}

// clockOf returns what time it is by the clock of a process, as far as this node has heard it; its own time
// where it has not.
func (c *Cluster) clockOf(boot string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.peers[boot]
	if p == nil {
		return c.cfg.Now()
	}
	return time.UnixMilli(p.Time).Add(time.Since(p.heard))
}

// maxNames bounds the streams of which something is known that nobody wants here.
const maxNames = 100_000

// story is news of a stream's owner.
type story struct {
	Up       bool   `json:"up"` // else it is over
	Owner    owner  `json:"owner"`
	Revision uint64 `json:"revision"`         // of the record; 0 if there is none yet
	Vacant   bool   `json:"vacant,omitempty"` // its publisher has ended
}

func (c *Cluster) tell(up bool, o *ownership) {
	c.send(subjectNews, &story{Up: up, Owner: o.owner, Revision: o.revision})
}

func (c *Cluster) heardNews(data []byte) {
	var s story
	if json.Unmarshal(data, &s) != nil || s.Owner.Boot == c.cfg.Boot || !s.Owner.isUsable() {
		return
	}
	key, err := hub.NewKey("", s.Owner.Stream)
	if err != nil || key.String() != s.Owner.Stream {
		return
	}
	if e := c.learn(key, &s); e != nil {
		e.hear(&s.Owner)
	}
	if s.Vacant { // who stands by here may have come just now, before anything is copied
		c.goRun(func() { c.cfg.Hub.StepUp(key) })
	}
}

// learn notes news of a stream. It returns what copies the stream here.
func (c *Cluster) learn(key hub.Key, s *story) *edge {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.names[key] == nil && (!s.Up || len(c.names) >= maxNames) {
		return nil // who wants it will ask the directory
	}
	n := c.enterLocked(key)
	n.users--
	switch {
	case !s.Up && n.news != nil && n.news.same(&s.Owner):
		n.news = nil
	case s.Up && (n.news == nil || n.news.before(&s.Owner) || !s.Owner.before(&n.news.owner) && s.Revision >= n.news.revision):
		n.news = &sighting{s.Owner, s.Revision}
	}
	e := n.edge
	if n.owned != nil && s.Up && s.Revision > n.owned.revision && n.owned.revision > 0 && !n.verifying {
		n.verifying = true // for all who contradict at once
		n.users++
		c.goRun(func() {
			c.verifyName(c.ctx, key, verifyWithin)
			c.mu.Lock()
			n.verifying = false
			c.mu.Unlock()
			c.leave(n)
		})
	}
	c.forgetLocked(n)
	return e
}
