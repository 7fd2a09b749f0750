package cluster

import (
	"context"
	"strings"
	"time"

	"sluice/hub"
)

// tidyWithin bounds a look at all records.
const tidyWithin = 10 * time.Second

// tidy takes records away that are nobody's any more: those of processes that have been silent for so long that no
// publisher of theirs comes back to go on, and those of this process that it knows nothing of. The latter are
// of changes that the directory has made after this node had given up waiting for it. A record of another process is
// looked at twice, repairEvery apart: after this node was parted from others it may not hear all of them again yet.
func (c *Cluster) tidy() {
	ctx, cancel := context.WithTimeout(c.ctx, tidyWithin)
	defer cancel()
	all, err := c.cfg.Directory.List(ctx)
	if err != nil {
		return // next time
	}
	doubtful := c.doubtful
	c.doubtful = make(map[string]uint64)
	for _, entry := range all {
		if ctx.Err() != nil {
			return
		}
		key, o, ok := streamOf(&entry)
		switch {
		case !ok:
		case o.Boot == c.cfg.Boot:
			c.tidyOwn(ctx, key, entry.Revision)
		case !c.isGone(o.Node, o.Boot):
		case doubtful[entry.Key] == entry.Revision:
			c.delete(ctx, key, entry.Revision)
		default:
			c.doubtful[entry.Key] = entry.Revision
		}
	}
}

// streamOf returns what the record of a stream says, false if it is none.
func streamOf(entry *Entry) (key hub.Key, o owner, ok bool) {
	stream := streamName(entry.Value)
	if !strings.HasPrefix(entry.Key, recordPrefix) || stream == "" {
		return key, o, false
	}
	key, err := hub.NewKey("", stream)
	if err != nil || recordKey(key) != entry.Key {
		return key, o, false
	}
	o, err = readOwner(key, entry.Value)
	return key, o, err == nil
}

// tidyOwn takes a record of this process away, if it does not own the stream.
func (c *Cluster) tidyOwn(ctx context.Context, key hub.Key, revision uint64) {
	n := c.enter(key)
	defer c.leave(n)
	if n.lock(ctx) != nil {
		return
	}
	defer n.unlock()
	if c.ownedBy(n) == nil && !c.hasYielded(n) {
		c.delete(ctx, key, revision)
	}
}

// delete takes a record away, unless it has changed, or the directory is mute.
func (c *Cluster) delete(ctx context.Context, key hub.Key, revision uint64) {
	ctx, cancel := context.WithTimeout(ctx, muteAfter)
	defer cancel()
	_ = c.cfg.Directory.Delete(ctx, recordKey(key), revision)
}

// isGone reports whether a process has been silent for so long that its publishers do not come back.
func (c *Cluster) isGone(node, boot string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.isSilentLocked(node, boot) && c.silenceLocked(boot) >= c.cfg.Grace+silentAfter
}
