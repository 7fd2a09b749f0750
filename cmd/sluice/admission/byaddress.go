package admission

import (
	"container/heap"
	"net/netip"
)

// queue is a list of connections, the oldest first.
type queue struct {
	first, last *conn
	n           int
}

func (q *queue) add(c *conn) {
	c.before, c.after = q.last, nil
	if q.last == nil {
		q.first = c
	} else {
		q.last.after = c
	}
	q.last = c
	q.n++
}

func (q *queue) remove(c *conn) {
	if c.before == nil {
		q.first = c.after
	} else {
		c.before.after = c.after
	}
	if c.after == nil {
		q.last = c.before
	} else {
		c.after.before = c.before
	}
	c.before, c.after = nil, nil
	q.n--
}

// address is what is known of an address that has connections.
type address struct {
	key             netip.Addr
	open            int
	pending, asking group
}

// group is the connections of one address that are in one state.
type group struct {
	queue
	of    *address
	place int // in byAddress, counted from 1; 0 while the group is empty
}

// oldest returns the oldest connection of a group; nil if there is none, or no group.
func (g *group) oldest() *conn {
	if g == nil {
		return nil
	}
	return g.first
}

// waiting is all connections in one state, pending or asking.
type waiting struct {
	n         int
	byAddress byAddress
}

// add puts a connection into the group of its address.
func (w *waiting) add(g *group, c *conn) {
	g.add(c)
	w.n++
	w.byAddress.changed(g)
}

// remove takes it out again.
func (w *waiting) remove(g *group, c *conn) {
	g.remove(c)
	w.n--
	w.byAddress.changed(g)
}

// most returns the largest group, nil if there is no connection.
func (w *waiting) most() *group {
	if len(w.byAddress) == 0 {
		return nil
	}
	return w.byAddress[0]
}

// byAddress is a heap of groups that are not empty. The largest comes first; of several
// equally large ones, the one with the oldest connection.
type byAddress []*group

// changed moves a group to its place after connections were added or removed.
func (b *byAddress) changed(g *group) {
	switch {
	case g.place == 0 && g.n > 0:
		heap.Push(b, g)
	case g.place > 0 && g.n == 0:
		heap.Remove(b, g.place-1)
	case g.place > 0:
		heap.Fix(b, g.place-1)
	}
}

// What container/heap asks for.

func (b byAddress) Len() int { return len(b) }

func (b byAddress) Less(i, j int) bool {
	if b[i].n != b[j].n {
		return b[i].n > b[j].n
	}
	return b[i].first.since < b[j].first.since
}

func (b byAddress) Swap(i, j int) {
	b[i], b[j] = b[j], b[i]
	b[i].place, b[j].place = i+1, j+1
}

func (b *byAddress) Push(x any) {
	g := x.(*group)
	*b = append(*b, g)
	g.place = len(*b)
}

func (b *byAddress) Pop() any {
	last := len(*b) - 1
	g := (*b)[last]
	(*b)[last] = nil
	*b = (*b)[:last]
	g.place = 0
	return g
}
