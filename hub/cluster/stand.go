package cluster

import (
	"slices"
	"time"

	"sluice/hub"
)

// A publisher that stands by at some node is to follow when the one that is shown ends, or its node does, and nobody comes
// before it: at one node it would be shown in the same moment. So each node tells with its signs of life for which streams one
// stands by there, and others who come wait for a while until that one has asked.

// followWithin is how long one that stands by may take to ask, once it is known that the other is gone.
const followWithin = 2 * time.Second

// maxStanding bounds the streams of which a sign of life tells that, so that it fits a message: others do not wait for those
// beyond it.
const maxStanding = 4096

// standing returns the streams for which a publisher stands by here, as keys of their records; maxStanding at the most.
func (c *Cluster) standing() (streams []string) {
	c.mu.Lock()
	var copied []hub.Key
	for key, n := range c.names {
		if n.edge != nil {
			copied = append(copied, key)
		}
	}
	c.mu.Unlock()
	for _, key := range copied {
		if len(streams) < maxStanding && c.cfg.Hub.StandsBy(key) {
			streams = append(streams, recordKey(key))
		}
	}
	return streams
}

// followsSoon reports whether the publisher of a stream that this node owns has just ended, while one stands by for it at another
// node.
func (c *Cluster) followsSoon(n *name) bool {
	since, vacant := c.cfg.Hub.Vacant(n.key)
	return vacant && since < followWithin && c.isBacked(n.key)
}

// followsSilent reports whether the owner of a stream has only just fallen silent, while one stands by for it, here or
// at another node.
func (c *Cluster) followsSilent(n *name, o *owner) bool {
	here := c.cfg.Hub.StandsBy(n.key)
	c.mu.Lock()
	defer c.mu.Unlock()
	return (here || c.standsByLocked(n.key)) && c.silenceLocked(o.Boot) < silentAfter+followWithin
}

// isBacked reports whether a publisher stands by for a stream at another node that gives signs of life (hub.Claim.Backed).
func (c *Cluster) isBacked(key hub.Key) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.standsByLocked(key)
}

// standsByLocked reports whether a publisher stands by for a stream at another node that gives signs of life.
func (c *Cluster) standsByLocked(key hub.Key) bool {
	record := recordKey(key)
	for _, p := range c.peers {
		if slices.Contains(p.Standby, record) && !c.isSilentLocked(p.Node, p.Boot) {
			return true
		}
	}
	return false
}
