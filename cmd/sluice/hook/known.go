package hook

import (
	"container/list"
	"crypto/sha256"
	"time"

	"sluice/hub"
)

// digest stands for a question, or for a publisher: a SHA-256.
type digest [sha256.Size]byte

// Bounds of what a Question knows, in entries of a few hundred bytes.
const (
	maxCached     = 10_000 // answers
	maxPublishers = 10_000 // that were granted
	maxAsked      = 10_000 // sessions that the server was asked about, and has not heard of since
)

// table is a map with a bound: the oldest entry makes room for a new one. It has no lock.
type table[K comparable, V any] struct {
	most    int
	entries map[K]*list.Element
	order   list.List // of entry, the oldest first
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

// put sets a value, as the newest one. It returns what had to go.
func (t *table[K, V]) put(key K, value V) (gone *entry[K, V]) {
	t.drop(key)
	if len(t.entries) >= t.most {
		gone = t.order.Front().Value.(*entry[K, V])
		t.drop(gone.key)
	}
	if t.entries == nil {
		t.entries = make(map[K]*list.Element)
	}
	t.entries[key] = t.order.PushBack(&entry[K, V]{key, value})
	return gone
}

// get returns a value that may be changed, nil for none.
func (t *table[K, V]) get(key K) *V {
	e := t.entries[key]
	if e == nil {
		return nil
	}
	return &e.Value.(*entry[K, V]).value
}

// drop forgets a value, and reports whether there was one.
func (t *table[K, V]) drop(key K) bool {
	e := t.entries[key]
	if e == nil {
		return false
	}
	t.order.Remove(e)
	delete(t.entries, key)
	return true
}

// cached is an answer that holds for a while.
type cached struct {
	verdict verdict
	until   time.Time
}

// publisher is one that was granted.
type publisher struct {
	verdict verdict
	session uint64    // the last one that was granted
	until   time.Time // zero while it publishes: then the end of its grace
}

// known is what is known without asking. It has no lock.
type known struct {
	answers    table[digest, cached]
	publishers table[digest, publisher]
	sessions   map[uint64]digest      // of publishers, by publisher.session
	asked      table[uint64, hub.Key] // sessions, with what the server calls their streams
}

func newKnown() known {
	k := known{sessions: make(map[uint64]digest)}
	k.answers.most, k.publishers.most, k.asked.most = maxCached, maxPublishers, maxAsked
	return k
}

// answer returns an answer that still holds.
func (k *known) answer(to digest, now time.Time) (verdict, bool) {
	c := k.answers.get(to)
	switch {
	case c == nil:
		return verdict{}, false
	case !now.Before(c.until):
		k.answers.drop(to)
		return verdict{}, false
	}
	return c.verdict, true
}

// keep has an answer hold for so long, and no longer than its permission.
func (k *known) keep(to digest, v verdict, now time.Time, hold time.Duration) {
	c := cached{v, now.Add(hold)}
	if !v.until.IsZero() && v.until.Before(c.until) {
		c.until = v.until
	}
	k.answers.put(to, c)
}

// granted notes that a publisher was granted.
func (k *known) granted(who digest, session uint64, v verdict) {
	k.forget(who)
	if gone := k.publishers.put(who, publisher{verdict: v, session: session}); gone != nil {
		delete(k.sessions, gone.value.session)
	}
	k.sessions[session] = who
}

// forget notes that a publisher is none any more.
func (k *known) forget(who digest) {
	if p := k.publishers.get(who); p != nil {
		delete(k.sessions, p.session)
		k.publishers.drop(who)
	}
}

// ended notes that a session is over: its publisher is known for a grace time yet.
func (k *known) ended(session uint64, until time.Time) {
	k.asked.drop(session)
	who, ok := k.sessions[session]
	if !ok {
		return
	}
	delete(k.sessions, session)
	if p := k.publishers.get(who); p != nil {
		p.until = until
	}
}

// returning returns what a publisher was granted that published when it came, or had done so
// until just before.
func (k *known) returning(who digest, came, now time.Time) (verdict, bool) {
	p := k.publishers.get(who)
	if p == nil {
		return verdict{}, false
	}
	over := func(end, at time.Time) bool { return !end.IsZero() && !at.Before(end) }
	if over(p.until, came) || over(p.verdict.until, now) {
		k.forget(who)
		return verdict{}, false
	}
	return p.verdict, true
}
