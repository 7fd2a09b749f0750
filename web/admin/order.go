package admin

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// by is what the items of a list are sorted by: one of the two.
type by[T any] struct {
	number func(*T) int64
	text   func(*T) string
}

// order is how the items of a list are sorted. The zero order is that which the list has by itself.
type order[T any] struct {
	by      *by[T] // nil for the list's own
	falling bool
}

func (o order[T]) isOwn() bool { return o.by == nil }

// parseOrder reads the word for an order, which may have a "-" before it for the other way round.
// own is that for the order which the list has by itself.
func parseOrder[T any](said, own string, orders map[string]by[T]) (o order[T], err error) {
	word, falling := strings.CutPrefix(said, "-")
	of, known := orders[word]
	switch {
	case said == "", said == own:
		return o, nil
	case !known:
		words := slices.Sorted(maps.Keys(orders))
		return o, badRequest("sort is " + strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1] +
			`, with a "-" before it for the other way round`)
	}
	return order[T]{&of, falling}, nil
}

// page returns at most limit items from a place of the list on, which stand in their own order, and
// at which place the next page begins, 0 where none does.
func (o order[T]) page(items []T, from uint64, limit int) (page []T, next uint64) {
	begin := int(min(from, uint64(len(items))))
	end := min(begin+limit, len(items))
	for _, i := range o.sorted(items)[begin:end] {
		page = append(page, items[i])
	}
	if end < len(items) {
		next = uint64(end)
	}
	return page, next
}

// sorted returns which items stand one after the other in this order. Those that are alike stay in
// their own.
func (o order[T]) sorted(items []T) []int {
	type place struct {
		number int64
		text   string
		at     int
	}
	places := make([]place, len(items))
	for i := range items {
		places[i].at = i
		if o.by.number != nil {
			places[i].number = o.by.number(&items[i])
		} else {
			places[i].text = o.by.text(&items[i])
		}
	}
	slices.SortFunc(places, func(a, b place) int {
		c := cmp.Compare(a.number, b.number)
		if o.by.text != nil {
			c = strings.Compare(a.text, b.text)
		}
		if o.falling {
			c = -c
		}
		return cmp.Or(c, cmp.Compare(a.at, b.at))
	})
	sorted := make([]int, len(places))
	for i, p := range places {
		sorted[i] = p.at
	}
	return sorted
}
