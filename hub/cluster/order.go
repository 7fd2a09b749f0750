package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"sluice/hub"
)

const (
	subjectOrder  = "order"  // what all nodes are to have alike has changed
	questionOrder = "order"  // do something, or tell
	questionAlike = "common" // what is it that all are to have alike

	// orderWithin bounds an order to another node, from the question to the answer.
	orderWithin = 3 * time.Second
)

// Order has a node do what Config.Obey does there, and returns what that answered. The node is named by its
// name, or by the id of its process; this one may be it. The error is ErrNobody where no such node gives signs
// of life, ErrLarge, and what the directory returns otherwise: the node may have done it all the same.
func (c *Cluster) Order(ctx context.Context, node string, order []byte) ([]byte, error) {
	boot := c.bootOf(node)
	switch {
	case boot == "":
		return nil, ErrNobody
	case boot == c.cfg.Boot:
		return c.obey(order), nil
	case len(order) > MaxMessage:
		return nil, ErrLarge
	}
	ctx, cancel := context.WithTimeout(ctx, orderWithin)
	defer cancel()
	return c.cfg.Directory.Ask(ctx, subjectOf(boot, questionOrder), order)
}

// ErrLarge is the error of an order that no message can hold.
var ErrLarge = fmt.Errorf("cluster: a message holds %d bytes", MaxMessage)

// obey does what another node wants.
func (c *Cluster) obey(order []byte) []byte {
	if c.cfg.Obey == nil {
		return nil
	}
	return c.cfg.Obey(order)
}

// bootOf returns the id of the process of a node that gives signs of life, empty if there is none.
func (c *Cluster) bootOf(node string) string {
	if node == c.cfg.Node || node == c.cfg.Boot {
		return c.cfg.Boot
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var found *peer
	for boot, p := range c.peers {
		if (boot == node || p.Node == node) && !c.isSilentLocked(p.Node, boot) && (found == nil || p.Started > found.Started) {
			found = p
		}
	}
	if found == nil {
		return ""
	}
	return found.Boot
}

// Common is what each node has for itself, and all are to have alike, whichever of them it changes at: the list of
// bans. Its methods may be called from any goroutine.
type Common interface {
	// Digest is the same where what two nodes have is the same.
	Digest() uint64
	// Page returns a part of it, of half of MaxMessage at the most: the first one after 0, and the next one after
	// what is returned; 0 behind the last.
	Page(after uint64) (data []byte, next uint64)
	// Take takes what Page has returned, or what Share was given, at another node. It does so as often as it comes,
	// and in any order.
	Take(data []byte) error
}

// Share tells the other nodes of a change to Config.Common. Where the message is lost, they notice it by the digest.
func (c *Cluster) Share(data []byte) { c.send(subjectOrder, &shared{c.cfg.Boot, data}) }

// shared is a message with a change.
type shared struct {
	Boot string `json:"boot"`
	Data []byte `json:"data"`
}

func (c *Cluster) heardShared(data []byte) {
	var s shared
	if json.Unmarshal(data, &s) != nil || s.Boot == c.cfg.Boot || !hub.IsNodeID(s.Boot) {
		return
	}
	c.takeCommon(s.Boot, s.Data)
}

func (c *Cluster) takeCommon(from string, data []byte) {
	if c.cfg.Common == nil {
		return
	}
	if err := c.cfg.Common.Take(data); err != nil {
		c.log.Warn("what another node has cannot be taken over", "boot", from, "error", err)
	}
}

// How nodes whose digests differ come to have the same: each asks the other one for all of it, some time after it
// has first seen that, and ever more rarely where that does not help, since one of them has no room.
const (
	alikeAfter   = 2 * time.Second
	alikeAtLeast = 5 * time.Minute
	maxPages     = 1000
)

// alike is how far this node has come with others that have something else. It has a mutex of its own.
type alike struct {
	mu    sync.Mutex
	since map[string]*unlike // by the ids of their processes
}

// unlike is another node that has something else.
type unlike struct {
	next   time.Time
	pause  time.Duration
	asking bool
}

// compare asks those nodes for what they have that have something else, when it is time to.
func (c *Cluster) compare() {
	if c.cfg.Common == nil {
		return
	}
	own := c.figures().Common
	differ := make(map[string]bool)
	c.mu.Lock()
	for boot, p := range c.peers {
		if p.Figures.Common != own && !c.isSilentLocked(p.Node, boot) {
			differ[boot] = true
		}
	}
	c.mu.Unlock()
	for _, boot := range c.alike.due(differ, time.Now()) {
		c.goRun(func() {
			defer c.alike.asked(boot)
			c.askCommon(boot)
		})
	}
}

// due returns who is to be asked, of those that differ.
func (a *alike) due(differ map[string]bool, now time.Time) (boots []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for boot, u := range a.since {
		if !differ[boot] && !u.asking {
			delete(a.since, boot)
		}
	}
	for boot := range differ {
		u := a.since[boot]
		if u == nil {
			if a.since == nil {
				a.since = make(map[string]*unlike)
			}
			a.since[boot] = &unlike{next: now.Add(alikeAfter), pause: alikeAfter}
			continue
		}
		if !u.asking && !now.Before(u.next) {
			u.asking = true
			boots = append(boots, boot)
		}
	}
	return boots
}

// asked notes that a node has been asked.
func (a *alike) asked(boot string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := a.since[boot]
	u.asking = false
	u.pause = min(2*u.pause, alikeAtLeast)
	u.next = time.Now().Add(u.pause)
}

// page is a part of what a node has.
type page struct {
	Data []byte `json:"data"`
	Next uint64 `json:"next"`
}

// askCommon asks a node for all that it has.
func (c *Cluster) askCommon(boot string) {
	after := uint64(0)
	for range maxPages {
		ctx, cancel := context.WithTimeout(c.ctx, orderWithin)
		reply, err := c.cfg.Directory.Ask(ctx, subjectOf(boot, questionAlike), encode(after))
		cancel()
		var p page
		if err != nil || json.Unmarshal(reply, &p) != nil {
			return
		}
		c.takeCommon(boot, p.Data)
		if after = p.Next; after == 0 {
			return
		}
	}
}

// answerCommon answers askCommon.
func (c *Cluster) answerCommon(data []byte) []byte {
	var after uint64
	if c.cfg.Common == nil || json.Unmarshal(data, &after) != nil {
		return nil
	}
	var p page
	p.Data, p.Next = c.cfg.Common.Page(after)
	return encode(&p)
}
