package access

import (
	"container/list"
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"time"

	"sluice/hub"
)

// Rate is a number in a time; the zero Rate is no bound.
type Rate struct {
	Most   int
	Within time.Duration
}

const (
	// failurePause is for how long an address is refused that has shown too many wrong secrets.
	failurePause = time.Minute
	// maxFailing bounds the addresses about which something is known; the oldest gives way.
	maxFailing = 65536
	// maxLists bounds the lists that are known to be counted; further ones count for each of
	// their streams.
	maxLists = 16
)

// failures counts wrong secrets by address.
type failures struct {
	rate Rate

	mu    sync.Mutex
	known map[netip.Addr]*list.Element // of *failing
	order list.List                    // by when they began, the oldest first
}

// failing is what is known of an address.
type failing struct {
	addr  netip.Addr
	began time.Time // of the time in which is counted
	n     int
	until time.Time // it is refused; zero if it is not
	// lists are the questions about lists of recordings that were counted in this time.
	lists []uint64
}

func newFailures(rate Rate) *failures {
	return &failures{rate: rate, known: make(map[netip.Addr]*list.Element)}
}

// refused reports whether an address is refused at present.
func (f *failures) refused(addr netip.Addr, now time.Time) bool {
	if f.rate.Most <= 0 {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.known[addr]
	return e != nil && now.Before(e.Value.(*failing).until)
}

// add counts a wrong secret, and reports whether the address is refused from now on, or was since
// somebody else has added one: of those who are asked about at a time, no more are told than Most. Of
// the questions for one list, which is not 0, only the first counts: it asks about each stream, and
// who may see some of them has guessed nothing.
func (f *failures) add(addr netip.Addr, list uint64, now time.Time) (begins, was bool) {
	if f.rate.Most <= 0 {
		return false, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.ofLocked(addr, now)
	if now.Before(a.until) {
		return false, true
	}
	if list != 0 {
		if slices.Contains(a.lists, list) {
			return false, false
		}
		if len(a.lists) < maxLists {
			a.lists = append(a.lists, list)
		}
	}
	a.n++
	if a.n >= f.rate.Most {
		a.n, a.until = 0, now.Add(failurePause)
		return true, false
	}
	return false, false
}

// listSeed makes listQuestion's numbers nobody's to guess.
var listSeed = maphash.MakeSeed()

// listQuestion returns what the questions about the streams of one list, or for their stills, have
// in common: all that a client can show a secret in. It is 0 for a question about something else.
func listQuestion(c *hub.Client) uint64 {
	if c.Recording != hub.AnyRecording && !c.Still {
		return 0
	}
	return max(1, maphash.String(listSeed, c.Authorization+"\n"+c.Query.Encode()))
}

// ofLocked returns what is known of an address, in the time that runs now.
func (f *failures) ofLocked(addr netip.Addr, now time.Time) *failing {
	if e := f.known[addr]; e != nil {
		a := e.Value.(*failing)
		if now.Sub(a.began) >= f.rate.Within {
			a.began, a.n, a.lists = now, 0, nil
			f.order.MoveToBack(e)
		}
		return a
	}
	if f.order.Len() >= maxFailing {
		oldest := f.order.Front()
		delete(f.known, oldest.Value.(*failing).addr)
		f.order.Remove(oldest)
	}
	a := &failing{addr: addr, began: now}
	f.known[addr] = f.order.PushBack(a)
	return a
}
