package door

import (
	"container/heap"
	"net/netip"
)

// queue is a list of connections, the oldest first.
type queue struct {
	first, last *visit
	n           int
}

func (q *queue) add(v *visit) {
	v.before, v.after = q.last, nil
	if q.last == nil {
		q.first = v
	} else {
		q.last.after = v
	}
	q.last = v
	q.n++
}

func (q *queue) remove(v *visit) {
	if v.before == nil {
		q.first = v.after
	} else {
		v.before.after = v.after
	}
	if v.after == nil {
		q.last = v.before
	} else {
		v.after.before = v.before
	}
	v.before, v.after = nil, nil
	q.n--
}

// address is what the door knows of an address that has connections.
type address struct {
	key     netip.Addr
	open    int
	pending queue
	place   int // in the crowd, counted from 1; 0 for not there
}

// crowd is a heap of addresses, that with the most pending connections first; of
// several with as many, that whose oldest is older.
type crowd []*address

// most returns the first one, nil if nothing is pending.
func (c crowd) most() *address {
	if len(c) == 0 {
		return nil
	}
	return c[0]
}

// changed puts an address where it belongs after a change of what it has pending.
func (c *crowd) changed(a *address) {
	switch {
	case a.place == 0 && a.pending.n > 0:
		heap.Push(c, a)
	case a.place > 0 && a.pending.n == 0:
		heap.Remove(c, a.place-1)
	case a.place > 0:
		heap.Fix(c, a.place-1)
	}
}

// What container/heap asks for.

func (c crowd) Len() int { return len(c) }

func (c crowd) Less(i, j int) bool {
	a, b := &c[i].pending, &c[j].pending
	if a.n != b.n {
		return a.n > b.n
	}
	return a.first.since < b.first.since
}

func (c crowd) Swap(i, j int) {
	c[i], c[j] = c[j], c[i]
	c[i].place, c[j].place = i+1, j+1
}

func (c *crowd) Push(x any) {
	a := x.(*address)
	*c = append(*c, a)
	a.place = len(*c)
}

func (c *crowd) Pop() any {
	last := len(*c) - 1
	a := (*c)[last]
	(*c)[last] = nil
	*c = (*c)[:last]
	a.place = 0
	return a
}
