package hub

import (
	"container/heap"
	"container/list"
	"net/netip"
)

// askQueue holds the questions of one role that wait for their turn: first in, first out. It
// knows how many each address has in it. The zero askQueue is empty.
type askQueue struct {
	questions list.List // of *question, the oldest first
	addresses map[netip.Addr]*queuedAddress
	greediest greediest
}

// queuedAddress are the questions of one address in the queue.
type queuedAddress struct {
	from      netip.Addr
	questions list.List // the oldest first
	place     int       // in askQueue.greediest
}

// greediest is a heap of the addresses in the queue, that with the most questions first.
type greediest []*queuedAddress

// What container/heap asks for.

func (g greediest) Len() int           { return len(g) }
func (g greediest) Less(i, j int) bool { return g[i].questions.Len() > g[j].questions.Len() }

func (g greediest) Swap(i, j int) {
	g[i], g[j] = g[j], g[i]
	g[i].place, g[j].place = i, j
}

func (g *greediest) Push(x any) {
	a := x.(*queuedAddress)
	a.place = len(*g)
	*g = append(*g, a)
}

func (g *greediest) Pop() any {
	last := len(*g) - 1
	a := (*g)[last]
	(*g)[last] = nil
	*g = (*g)[:last]
	return a
}

// giveWay returns the question that is refused where the queue is full: the last one
// of the address that has most in it, which is taken out of the queue, or the newcomer, if
// its address would have as many then. Where all have the same, the one that waits already stays:
// otherwise a flood from many addresses would push everybody out again and again.
func (a *askQueue) giveWay(newcomer *question) *question {
	most, own := a.greediest[0], 0
	if of := a.addresses[newcomer.from]; of != nil {
		own = of.questions.Len()
	}
	if own+1 >= most.questions.Len() {
		return newcomer
	}
	last := most.questions.Back().Value.(*question)
	a.remove(last)
	return last
}

// oldest returns the question that has waited longest, nil if there is none.
func (a *askQueue) oldest() *question {
	if oldest := a.questions.Front(); oldest != nil {
		return oldest.Value.(*question)
	}
	return nil
}

func (a *askQueue) add(q *question) {
	q.state = questionQueued
	q.place = a.questions.PushBack(q)
	of := a.addresses[q.from]
	if of == nil {
		if a.addresses == nil {
			a.addresses = make(map[netip.Addr]*queuedAddress)
		}
		of = &queuedAddress{from: q.from}
		a.addresses[q.from] = of
		heap.Push(&a.greediest, of)
	}
	q.alike = of.questions.PushBack(q)
	heap.Fix(&a.greediest, of.place)
}

func (a *askQueue) remove(q *question) {
	a.questions.Remove(q.place)
	of := a.addresses[q.from]
	of.questions.Remove(q.alike)
	if of.questions.Len() > 0 {
		heap.Fix(&a.greediest, of.place)
		return
	}
	heap.Remove(&a.greediest, of.place)
	delete(a.addresses, q.from)
}

// ClientAddress returns what the addresses that one client may have are counted as: an IPv4
// address itself, also a mapped one, and of an IPv6 address its /64, without a zone.
func ClientAddress(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		const bits = 64 // that a client can't choose
		network, _ := a.Prefix(bits)
		a = network.Addr()
	}
	return a
}
