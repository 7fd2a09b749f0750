package union

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"

	"sluice/hub/archive"
	"sluice/hub/cluster"
)

// mark is a place in the list of all nodes: by time, the newest first, then by the names of the nodes, and there as that
// node has it.
type mark struct {
	begin int64 // ms since 1970
	node  string
	seq   uint64
}

func (m mark) compare(other mark) int {
	return cmp.Or(cmp.Compare(other.begin, m.begin), strings.Compare(m.node, other.node), cmp.Compare(other.seq, m.seq))
}

// String returns it as a cursor.
func (m mark) String() string { return archive.PlaceOf(m.begin, m.seq) + "." + m.node }

// parseMark reads a cursor. The error is archive.ErrPlace.
func parseMark(text string) (m mark, err error) {
	first, rest, _ := strings.Cut(text, ".")
	second, node, ok := strings.Cut(rest, ".")
	if m.begin, m.seq, err = archive.ParsePlace(first + "." + second); err == nil && !ok {
		err = archive.ErrPlace
	}
	m.node = node
	return m, err
}

// after returns where a node's own list goes on behind a place in the list of all.
func (m mark) after(node string) string {
	switch c := strings.Compare(node, m.node); {
	case c < 0: // all that began at that time is before it
		return archive.PlaceOf(m.begin, 0)
	case c > 0:
		return archive.PlaceOf(m.begin, math.MaxUint64)
	}
	return archive.PlaceOf(m.begin, m.seq)
}

// after returns where the list of the node that is asked begins. The error is archive.ErrPlace.
func (q question) after(node string) (string, error) {
	if q.After == "" {
		return "", nil
	}
	m, err := parseMark(q.After)
	if err != nil {
		return "", err
	}
	return m.after(node), nil
}

// placed is a recording where it stands.
type placed struct {
	Recording
	mark
}

// Recordings returns a page of the list of all nodes. The error is archive.ErrPlace, or that of this node's archive.
func (u *Union) Recordings(ctx context.Context, wanted Query) (Page, error) {
	q := question{Pattern: wanted.Pattern, State: wanted.State, After: wanted.After, Limit: bounded(wanted.Limit)}
	if wanted.Key.Name != "" {
		q.Stream = wanted.Key.String()
	}
	self := u.Self()
	if _, err := q.after(self); err != nil {
		return Page{}, err
	}
	own, err := u.answer(q)
	if err != nil {
		return Page{}, err
	}
	var page Page
	e, ok := u.ask(ctx, q)
	if !ok {
		e = new(exchange)
		for _, n := range u.others() {
			e.unreached = append(e.unreached, n.Name)
		}
	}
	page.Unreached = e.unreached
	var all []placed
	var ends []mark // where the nodes' parts end, of those that have more
	take := func(a answer, node cluster.NodeInfo, of func(item, cluster.NodeInfo) Recording) {
		at := func(place string) mark {
			begin, seq, _ := archive.ParsePlace(place) // which was looked at
			return mark{begin, node.Name, seq}
		}
		for _, i := range a.Items {
			all = append(all, placed{of(i, node), at(i.Recording.Place)})
		}
		if a.Next != "" {
			ends = append(ends, at(a.Next))
		}
	}
	take(own, cluster.NodeInfo{Name: self}, func(i item, n cluster.NodeInfo) Recording {
		return Recording{Recording: i.Recording, Node: n.Name}
	})
	for _, a := range e.answers {
		take(a.answer, a.node, away)
	}
	slices.SortFunc(all, func(a, b placed) int { return a.mark.compare(b.mark) })
	if len(ends) > 0 { // of what is behind the first of them, a node may have something before it
		end := slices.MinFunc(ends, mark.compare)
		n, _ := slices.BinarySearchFunc(all, end, func(p placed, m mark) int { return p.mark.compare(m) })
		if n < len(all) && all[n].mark == end {
			n++
		}
		all, page.Next = all[:n], end.String()
	}
	if len(all) > q.Limit {
		all = all[:q.Limit]
		page.Next = all[q.Limit-1].mark.String()
	}
	for _, p := range all {
		page.Recordings = append(page.Recordings, p.Recording)
	}
	return page, nil
}
