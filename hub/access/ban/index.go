package ban

import (
	"iter"
	"slices"

	"sluice/hub"
	"sluice/hub/access/network"
)

// index has each ban in one place, by the first of these that it names: clients, a subject, a
// single stream. So a look takes as long with many bans as with few, unless those are for
// patterns of streams and for nothing else.
type index struct {
	clients  network.Table[[]*Ban]
	subjects map[string][]*Ban
	streams  map[string][]*Ban
	others   []*Ban
}

func (x *index) add(b *Ban) {
	stream, exact := b.stream.Exact()
	switch {
	case b.where.IsValid():
		x.clients.Set(b.where, append(x.clients.Get(b.where), b))
	case b.Subject != "":
		x.subjects = appended(x.subjects, b.Subject, b)
	case exact:
		x.streams = appended(x.streams, stream, b)
	default:
		x.others = append(x.others, b)
	}
}

func (x *index) remove(b *Ban) {
	stream, exact := b.stream.Exact()
	switch {
	case b.where.IsValid():
		if left := without(x.clients.Get(b.where), b); len(left) > 0 {
			x.clients.Set(b.where, left)
		} else {
			x.clients.Delete(b.where)
		}
	case b.Subject != "":
		removeFrom(x.subjects, b.Subject, b)
	case exact:
		removeFrom(x.streams, stream, b)
	default:
		x.others = without(x.others, b)
	}
}

// of yields the bans that may fit a session.
func (x *index) of(s *hub.Session) iter.Seq[[]*Ban] {
	return func(yield func([]*Ban) bool) {
		for bans := range x.clients.Of(s.Client().Address.Addr()) {
			if !yield(bans) {
				return
			}
		}
		_ = yield(x.subjects[s.Subject()]) && yield(x.streams[s.Key().String()]) && yield(x.others)
	}
}

func appended(bans map[string][]*Ban, key string, b *Ban) map[string][]*Ban {
	if bans == nil {
		bans = make(map[string][]*Ban)
	}
	bans[key] = append(bans[key], b)
	return bans
}

func removeFrom(bans map[string][]*Ban, key string, b *Ban) {
	if bans[key] = without(bans[key], b); len(bans[key]) == 0 {
		delete(bans, key)
	}
}

func without(bans []*Ban, b *Ban) []*Ban {
	return slices.DeleteFunc(bans, func(other *Ban) bool { return other == b })
}
