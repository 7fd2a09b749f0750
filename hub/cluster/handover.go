package cluster

import (
	"context"
	"time"

	"sluice/hub"
)

// Handover is what has become of the streams of a node that ends.
type Handover struct {
	Asked int // publishers who were asked to go on at another node
	Ended int // publishers who cannot do so by themselves
	Moved int // streams that another node owns by now
	Left  int // streams that are still published here, or whose viewers here do not see them again yet
}

// HandOver has clients publish at other nodes, as this one is about to end: no client is let in any more, and
// publishers leave (hub.Hub.HandOver). Viewers stay, and are served from the new owners. It returns when no client publishes a
// stream of this node's here any more (one that stands by for another node's may) and its viewers here see it again, or ctx
// ends. Where there is no other node to go to it does nothing, and ok is false.
func (c *Cluster) HandOver(ctx context.Context) (h Handover, ok bool) {
	if !c.hasOthers() {
		return h, false
	}
	own := c.ownedKeys()
	h.Asked, h.Ended = c.cfg.Hub.HandOver()
	tick := time.NewTicker(again)
	defer tick.Stop()
	for {
		if h.Left = c.countLeft(own); h.Left == 0 || !c.hasOthers() {
			break
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		}
		break
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range own {
		if n := c.names[key]; n == nil || n.owned == nil {
			h.Moved++
		}
	}
	return h, true
}

// hasOthers reports whether there is another node to go to: one that gives signs of life, and is not about to end
// itself.
func (c *Cluster) hasOthers() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.peers {
		if !p.Draining && !c.isSilentLocked(p.Node, p.Boot) {
			return true
		}
	}
	return false
}

// ownedKeys returns the streams that this node owns.
func (c *Cluster) ownedKeys() (keys []hub.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, n := range c.names {
		if n.owned != nil {
			keys = append(keys, key)
		}
	}
	return keys
}

// countLeft returns how many of these streams have not gone over.
func (c *Cluster) countLeft(keys []hub.Key) (left int) {
	for _, key := range keys {
		if c.cfg.Hub.IsLeft(key) {
			left++
		}
	}
	return left
}
