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

// address is what the door knows of an address that has connections.
type address struct {
	key     netip.Addr
	open    int
	pending queue
	place   int // in the byAddress, counted from 1; 0 for not there
}

// byAddress is a heap of addresses, that with the most pending connections first; of
// several with as many, that whose oldest is older.
type byAddress []*address

// most returns the first one, nil if nothing is pending.
func (b byAddress) most() *address {
	if len(b) == 0 {
		return nil
	}
	return b[0]
}

// changed puts an address where it belongs after a change of what it has pending.
func (b *byAddress) changed(a *address) {
	switch {
	case a.place == 0 && a.pending.n > 0:
		heap.Push(b, a)
	case a.place > 0 && a.pending.n == 0:
		heap.Remove(b, a.place-1)
	case a.place > 0:
		heap.Fix(b, a.place-1)
	}
}

// What container/heap asks for.

func (b byAddress) Len() int { return len(b) }

func (b byAddress) Less(i, j int) bool {
	x, y := &b[i].pending, &b[j].pending
	if x.n != y.n {
		return x.n > y.n
	}
	return x.first.since < y.first.since
}

func (b byAddress) Swap(i, j int) {
	b[i], b[j] = b[j], b[i]
	b[i].place, b[j].place = i+1, j+1
}

func (b *byAddress) Push(x any) {
	a := x.(*address)
	*b = append(*b, a)
	a.place = len(*b)
}

func (b *byAddress) Pop() any {
	last := len(*b) - 1
	a := (*b)[last]
	(*b)[last] = nil
	*b = (*b)[:last]
	a.place = 0
	return a
}
