package cluster

import (
	"context"
	"sync"
	"time"

	"sluice/hub"
)

// readLimit is about how many bytes of packets are read from a log at a time.
const readLimit = 256 << 10

// outflow is a stream of this node as another one gets it.
type outflow struct {
	*Cluster
	name        *name
	lets        int    // name.lets when it began
	epoch       uint64 // this node's own, the last that is known
	last        uint64 // the epoch of the last item, or where it began
	stale       bool   // what follows is no more of what it began with
	incarnation string // with which it began
	reader      *hub.Reader
	numbers     *numbers
	start       Start
	batch       hub.ReadBatch
	items       []Item
	first       []Item // read before it was known where it begins
	end         hub.Reason
	closing     sync.Once

	// Of packets that have no number, for the next one that has.
	lost           uint64
	restart, reset bool
}

var _ Outflow = (*outflow)(nil)

// Serve gives a stream that this node owns to another one (Streams).
func (c *Cluster) Serve(ctx context.Context, asker string, key hub.Key, from *Position) (Outflow, error) {
	n := c.enter(key)
	o, err := c.serve(ctx, n, from)
	if err != nil {
		c.leave(n)
		return nil, err
	}
	return o, nil
}

// serve is Serve for a name that its Close leaves.
func (c *Cluster) serve(ctx context.Context, n *name, from *Position) (*outflow, error) {
	key := n.key
	c.mu.Lock()
	own, lets := n.owned, n.lets
	if own != nil {
		o := *own
		own = &o
	}
	c.mu.Unlock()
	switch {
	case own == nil:
		return nil, ErrStale
	case from != nil && from.Incarnation == own.Incarnation && from.Epoch > own.Epoch:
		return nil, ErrStale
	}
	head, isOwn, held := c.cfg.Hub.Head(key)
	if !held || !isOwn {
		return nil, &hub.Refusal{Reason: hub.ReasonNotFound, Detail: "its publisher has not begun"}
	}
	opts := hub.ReadOptions{}
	if from != nil {
		local, follows, err := n.numbers.at(head.Life, *from)
		switch {
		case err != nil:
			return nil, err
		case follows:
			opts.From = &local
		}
	}
	reader, err := c.cfg.Hub.Read(key, opts)
	if err != nil {
		return nil, err
	}
	o := &outflow{Cluster: c, name: n, lets: lets, reader: reader, numbers: &n.numbers, epoch: own.Epoch, incarnation: own.Incarnation}
	o.start.Boot = c.cfg.Boot
	o.start.tracks(c.cfg.Hub.Codecs(key))
	if reader.Resumes() {
		at, _ := n.numbers.of(reader.Life(), *opts.From)
		o.start.At, o.start.Time, o.start.Joined, o.last = at, head.Time, true, at.Epoch
		return o, nil
	}
	for len(o.first) == 0 { // it begins where its first packet is
		if o.end != hub.ReasonNone {
			reader.Close()
			return nil, &hub.Refusal{Reason: hub.ReasonNotFound, Detail: "the stream is over"}
		}
		if err := reader.Wait(ctx); err != nil {
			reader.Close()
			return nil, &hub.Refusal{Reason: hub.ReasonNotFound, Detail: "its publisher has sent nothing to begin with"}
		}
		if o.first = o.read(); len(o.first) == 0 && (o.stale || o.isLet()) {
			reader.Close()
			return nil, ErrStale
		}
	}
	o.start.At, o.start.Time = o.first[0].At, o.first[0].Time
	o.start.tracks(c.cfg.Hub.Codecs(key))
	return o, nil
}

// Start returns where it begins.
func (o *outflow) Start() Start { return o.start }

// Close ends it.
func (o *outflow) Close() {
	o.closing.Do(func() {
		o.reader.Close()
		o.leave(o.name)
	})
}

// isLet reports whether the stream has gone over to another node since.
func (o *outflow) isLet() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.name.lets != o.lets
}

// Next waits for packets. When this node is the owner no more, the error is ErrStale: the stream goes on elsewhere.
func (o *outflow) Next(ctx context.Context, until time.Time) ([]Item, error) {
	if items := o.first; items != nil {
		o.first = nil
		return items, nil
	}
	wait, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	for {
		if items := o.read(); len(items) > 0 {
			return items, nil
		}
		switch {
		case o.stale, o.isLet():
			return nil, ErrStale
		case o.end != hub.ReasonNone:
			return nil, &Ended{o.end}
		}
		if o.reader.Wait(wait) != nil {
			return nil, ctx.Err()
		}
	}
}

// read returns what is due. A packet without a number is left out: it is of a time before this node was the owner. What
// it says beside goes to the next one. It ends where another life of the stream follows, or what this node copies since it is
// the owner no more: the new owner gives that, and may be the one that this goes to.
func (o *outflow) read() []Item {
	if o.end != hub.ReasonNone || o.stale {
		return nil
	}
	o.end = o.reader.Read(&o.batch, readLimit)
	o.items = o.items[:0]
	o.lost += o.batch.Lost
	for i := range o.batch.Packets {
		p := &o.batch.Packets[i]
		at, known := o.numbers.of(o.reader.Life(), p.Seq)
		o.restart, o.reset = o.restart || p.First, o.reset || p.Reset
		if !known {
			continue
		}
		o.items = append(o.items, Item{
			Tag: p.Tag, At: at, Time: p.Time, Header: p.Header, Reset: o.reset, First: o.restart, Lost: o.lost,
		})
		o.lost, o.restart, o.reset = 0, false, false
	}
	let := o.isLet()
	for i, it := range o.items {
		if it.At.Incarnation != o.incarnation || it.At.Epoch < o.last || let && it.At.Epoch > o.epoch {
			o.items, o.stale = o.items[:i], true
			break
		}
		o.last, o.epoch = it.At.Epoch, max(o.epoch, it.At.Epoch)
	}
	return o.items
}
