package cluster

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"sluice/hub"
)

// NodeInfo is a node of the cluster, as this one hears it.
type NodeInfo struct {
	Name, Boot string
	Self       bool
	Media      string // HOST:PORT of its inner protocol
	Started    time.Time
	Heard      time.Time     // its last sign of life
	Silent     bool          // it counts as gone
	Draining   bool          // it is about to end
	Clock      time.Duration // how far its clock is ahead of this node's, less the way of its message
	NodeFigures
}

// NodeFigures are what a node says of itself with its signs of life: they are a second old at the most when it
// sends them.
type NodeFigures struct {
	Description
	Owned       int `json:"owned"`       // streams that are published there
	Provisional int `json:"provisional"` // of them, those of which there is no record yet
	Copied      int `json:"copied"`      // streams of other nodes that it has for its viewers, or looks for
	// Common is the digest of what all nodes are to have alike.
	Common uint64 `json:"common,omitempty"`
}

// Description is what a node can say of itself that is nothing of the cluster's.
type Description struct {
	Version     string `json:"version,omitempty"`
	Sessions    int    `json:"sessions"`
	Connections int    `json:"connections"`
	// HTTP and RTMP are where clients reach it, http(s)://HOST[:PORT] and rtmp(s)://HOST[:PORT]; empty where they do not.
	HTTP     string `json:"http,omitempty"`
	RTMP     string `json:"rtmp,omitempty"`
	Draining bool   `json:"-"` // it is about to end
}

// describeEvery is how far apart looks at what a node says of itself are, and maxVersion bounds what one says, in
// bytes.
const (
	describeEvery = time.Second
	maxVersion    = 128
)

// figures returns what this node says of itself.
func (c *Cluster) figures() NodeFigures {
	c.mu.Lock()
	if !c.described.IsZero() && time.Since(c.described) < describeEvery {
		defer c.mu.Unlock()
		return c.said
	}
	var f NodeFigures
	f.Owned, f.Provisional = c.countOwnedLocked()
	f.Copied = c.edges
	c.mu.Unlock()
	if c.cfg.Describe != nil {
		f.Description = c.cfg.Describe()
	}
	if c.cfg.Common != nil {
		f.Common = c.cfg.Common.Digest()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said, c.described = f, time.Now()
	return f
}

// countOwnedLocked returns how many streams this node owns, and of how many of them there is no record yet.
func (c *Cluster) countOwnedLocked() (owned, provisional int) {
	for _, n := range c.names {
		if n.owned != nil {
			owned++
			if n.owned.revision == 0 {
				provisional++
			}
		}
	}
	return owned, provisional
}

// Nodes returns the nodes that were ever heard of, this one included, by name. Of processes of one node that
// have ended, there is the last one where none has come after it.
func (c *Cluster) Nodes() []NodeInfo {
	now, own := c.cfg.Now(), c.figures()
	all := []NodeInfo{{
		Name: c.cfg.Node, Boot: c.cfg.Boot, Self: true, Media: c.cfg.Media, Started: now.Add(-time.Since(c.began)),
		Heard: now, Draining: own.Draining, NodeFigures: own,
	}}
	c.mu.Lock()
	defer c.mu.Unlock()
	newest := map[string]string{c.cfg.Node: c.cfg.Boot}
	for _, p := range c.peers {
		if at, ok := newest[p.Node]; !ok || at != c.cfg.Boot && p.heard.After(c.peers[at].heard) {
			newest[p.Node] = p.Boot
		}
	}
	for _, p := range c.peers {
		silent := c.isSilentLocked(p.Node, p.Boot)
		if silent && newest[p.Node] != p.Boot {
			continue
		}
		ago := time.Since(p.heard)
		info := NodeInfo{
			Name: p.Node, Boot: p.Boot, Media: p.Media, Started: time.UnixMilli(p.Started), Heard: now.Add(-ago),
			Silent: silent, Draining: p.beat.Draining, Clock: time.UnixMilli(p.Time).Sub(now.Add(-ago)),
			NodeFigures: p.Figures,
		}
		info.Description.check() // here and not at each beat, where it would be a tenth of what an idle node does
		info.Version = strings.ToValidUTF8(info.Version[:min(len(info.Version), maxVersion)], "")
		all = append(all, info)
	}
	slices.SortFunc(all, NodeInfo.Compare)
	return all
}

// Compare orders nodes by name, and processes of one node by their ids.
func (n NodeInfo) Compare(other NodeInfo) int {
	return cmp.Or(strings.Compare(n.Name, other.Name), strings.Compare(n.Boot, other.Boot))
}

// Health returns how the engine is.
func (c *Cluster) Health() Health { return c.cfg.Directory.Health() }

// StreamInfo is a stream that this node owns, copies or looks for.
type StreamInfo struct {
	Key         hub.Key
	Owned       bool   // it is published at this node
	Node, Boot  string // the owner, as far as this node knows; empty for none
	Incarnation string
	Epoch       uint64
	Provisional bool       // there is no record of the owner yet
	Copy        *EdgeState // of one that is copied; nil where it is owned
}

// Streams returns the streams that this node owns, copies or looks for, by app and name.
func (c *Cluster) Streams() []StreamInfo {
	c.mu.Lock()
	var all []StreamInfo
	for key, n := range c.names {
		if info, ok := n.infoLocked(); ok {
			info.Key = key
			all = append(all, info)
		}
	}
	c.mu.Unlock()
	slices.SortFunc(all, func(a, b StreamInfo) int { return strings.Compare(a.Key.String(), b.Key.String()) })
	return all
}

func (n *name) infoLocked() (info StreamInfo, ok bool) {
	of := func(o *owner, revision uint64) {
		info.Node, info.Boot, info.Incarnation, info.Epoch = o.Node, o.Boot, o.Incarnation, o.Epoch
		info.Provisional = revision == 0
	}
	switch {
	case n.owned != nil:
		info.Owned = true
		of(&n.owned.owner, n.owned.revision)
	case n.edge != nil:
		info.Copy = n.edge.state.Load()
		if n.news != nil {
			of(&n.news.owner, n.news.revision)
		}
	default:
		return info, false
	}
	return info, true
}

// Figures are sums of what this node does in the cluster.
type Figures struct {
	Nodes, Silent              int // that were heard of, this one included; of them, those that are silent
	Owned, Provisional, Copied int
	// Of copies that go on, and of those that have ended.
	Breaks, Joined, Lost uint64
}

// Figures returns the sums. Counters never decrease.
func (c *Cluster) Figures() Figures {
	var f Figures
	for _, n := range c.Nodes() {
		f.Nodes++
		if n.Silent {
			f.Silent++
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f.Breaks, f.Joined, f.Lost = c.past.Breaks, c.past.Joined, c.past.Lost
	f.Owned, f.Provisional = c.countOwnedLocked()
	f.Copied = c.edges
	for _, n := range c.names {
		if n.edge != nil {
			f.add(n.edge.state.Load())
		}
	}
	return f
}

// add adds the sums of a copy.
func (f *Figures) add(s *EdgeState) {
	f.Breaks += uint64(s.Breaks)
	f.Joined += uint64(s.Joined)
	f.Lost += s.Lost
}
