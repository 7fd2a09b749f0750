// Package admission decides which connections a server takes, over several listeners
// together. It bounds how many there are, in all and from one address, and sees to it
// that connections which only take up room are the ones that have to make room.
//
// A connection is pending until it has shown what it came for: over RTMP by asking to
// publish or to play, over HTTP by a whole request; between two requests it is pending
// again. To be pending costs a client nothing, so pending connections are given up when
// there are too many of them. A connection is asking while somebody decides whether it
// may have what it came for, which can take seconds; then it is active.
//
//	accepted ──▶ pending ──MarkAsking──▶ asking ──MarkActive──▶ active ──▶ closed
//	   │           │ │ ▲                   │ │                   ▲  │
//	   │           │ │ ├────MarkPending────┘ │                   │  │
//	   │           │ │ └────────────── next request ─────────────┼──┘
//	   │           │ └───────────────── MarkActive ──────────────┘
//	   │           └──▶ given up ◀───────────┘
//	   └──▶ turned away: closed at once, or answered first where that is possible
//
// The connection that is given up comes from the address with the most pending ones, and
// is the oldest of these. One that is younger than Patience stays, so that many honest
// clients who come at the same moment lose nobody, unless the server is full and too
// many are pending. A connection that is asking is not counted among these: all viewers
// behind one proxy may be asking at a time. It gives way only where a bound on
// connections is reached and nothing is pending, after it has been asking for some
// seconds. An active one is never given up.
//
// There is no goroutine, timer or buffer for a connection here. To admit one takes a few
// steps in a heap of addresses, and no lock is held while anything is closed.
package admission

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"sluice/httpflv"
)

// Config says how many connections there may be. The zero value bounds only what
// is pending.
type Config struct {
	// MaxConnections bounds the connections, of all listeners together: no bound
	// if 0. Some dozens more may be open for a moment, which are being answered
	// that they are too many.
	MaxConnections int
	// MaxPerAddress bounds those of one address: no bound if 0. The addresses of
	// one IPv6 /64 network count as one, since one client has as many of them as it
	// likes.
	MaxPerAddress int
	// Patience is how long a connection may be pending before it is given up for
	// others: 2 s if 0.
	Patience time.Duration
	// AllowOrigins lists the origins whose pages may read an answer by HTTP; empty
	// allows any.
	AllowOrigins httpflv.Origins
	// Logger gets a line now and then while connections are given up or turned
	// away; nil discards it.
	Logger *slog.Logger
}

// Bounds on what is pending.
const (
	// maxPendingPerAddress is how many connections of one address may be pending
	// before the oldest are given up. A page opens 6, a proxy keeps some dozens.
	maxPendingPerAddress = 256
	// maxPending is the same for all addresses together: with some 10 KB each, 40
	// MB.
	maxPending = 4096
	// Where MaxConnections is small, they are these shares of it, but never less
	// than minPending.
	pendingShare, pendingPerAddressShare = 4, 8
	minPending                           = 8
	// goneForOne is how many are given up for a newcomer at most, where too many
	// are pending: with more than one, their number shrinks.
	goneForOne = 2
	// maxTurned is how many connections may be open that are being answered that
	// they are too many, besides MaxConnections. Further ones are just closed.
	maxTurned = 64

	defaultPatience = 2 * time.Second
	// askingPatience is how long a connection may be asking before it gives way to a
	// newcomer, where a bound on connections is reached: longer than most answers take,
	// or a full server that asks slowly would let nobody in.
	askingPatience = 5 * time.Second
)

// Control admits connections. Its methods may be called from any goroutine.
type Control struct {
	cfg                      Config
	maxPending, maxOfAddress int // in all, of one address
	began                    time.Time

	mu        sync.Mutex
	last      time.Duration // what the clock said
	addresses map[netip.Addr]*address
	pending   waiting
	asking    waiting
	turned    queue // being answered; part of no other number
	figures   Figures
	report    report
}

// Figures are how many connections there are, and what became of those there were.
type Figures struct {
	Open    int // admitted and not closed
	Pending int // of these
	Asking  int // of these, too

	Admitted        uint64
	GivenUp         uint64 // admitted, but pending for too long or one too many
	TurnedFull      uint64 // turned away, since there were enough in all
	TurnedByAddress uint64 // turned away, since there were enough from their address
}

// New makes a door. It must be closed.
func New(cfg Config) *Control {
	if cfg.Patience <= 0 {
		cfg.Patience = defaultPatience
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Control{
		cfg:          cfg,
		maxPending:   maxPending,
		maxOfAddress: maxPendingPerAddress,
		began:        time.Now(),
		addresses:    make(map[netip.Addr]*address),
	}
	if n := cfg.MaxConnections; n > 0 {
		a.maxPending = max(minPending, min(a.maxPending, n/pendingShare))
		a.maxOfAddress = max(minPending, min(a.maxOfAddress, n/pendingPerAddressShare))
	}
	return a
}

// Figures returns the numbers of now.
func (a *Control) Figures() Figures {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.figuresLocked()
}

// Overloaded reports whether more is pending than may be for long.
func (a *Control) Overloaded() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.overloadedLocked()
}

func (a *Control) overloadedLocked() bool {
	most := a.pending.most()
	return most != nil && (most.n > a.maxOfAddress || a.pending.n > a.maxPending)
}

func (a *Control) figuresLocked() Figures {
	f := a.figures
	f.Pending, f.Asking = a.pending.n, a.asking.n
	return f
}

// nowLocked is the door's clock. It is later at each call, so that of two
// connections one is the older.
func (a *Control) nowLocked() time.Duration {
	a.last = max(a.last+1, time.Since(a.began))
	return a.last
}

// Listen returns a listener that accepts what the door admits of l. Where answers
// is true, some of those who are turned away are accepted too, for a handler of
// Guard to tell them why.
func (a *Control) Listen(l net.Listener, answers bool) net.Listener {
	return &listener{l, a, answers}
}

type listener struct {
	net.Listener
	control *Control
	answers bool
}

// Accept waits for a connection and admits it, or turns it away and waits for the
// next one.
func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := l.control.wrap(nc)
		ok, gone := l.control.enter(c, addressOf(nc), l.answers)
		for _, c := range gone {
			if c != nil {
				c.giveUp()
			}
		}
		if ok {
			return c.nc, nil
		}
		c.giveUp()
	}
}

// addressOf returns what the connections of one client have in common.
func addressOf(nc net.Conn) netip.Addr {
	tcp, ok := nc.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	if addr.Is6() {
		const network = 64 // bits that a client does not choose
		p, _ := addr.Prefix(network)
		addr = p.Addr()
	}
	return addr
}

// enter decides about a newcomer: whether it is accepted, and who is to be closed
// for it.
func (a *Control) enter(c *conn, from netip.Addr, answers bool) (accept bool, gone [goneForOne]*conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.nowLocked()
	c.since = now
	if why := a.makeRoomLocked(from, now, &gone[0]); why != admitted {
		a.countLocked(why)
		if !answers {
			c.state = closed
			return false, gone
		}
		return a.turnAwayLocked(c, why, now, &gone[0]), gone
	}
	addr := a.addresses[from]
	if addr == nil {
		addr = &address{key: from}
		addr.pending.of, addr.asking.of = addr, addr
		a.addresses[from] = addr
	}
	c.from = addr
	addr.open++
	a.figures.Open++
	a.figures.Admitted++
	a.setLocked(c, pending)
	for i := range gone {
		if gone[i] == nil {
			gone[i] = a.thinLocked(now)
		}
	}
	return true, gone
}

// makeRoomLocked says whether a newcomer may come in, and which connection is closed
// for it where a bound on connections is reached.
func (a *Control) makeRoomLocked(from netip.Addr, now time.Duration, gone **conn) verdict {
	if addr := a.addresses[from]; a.cfg.MaxPerAddress > 0 && addr != nil && addr.open >= a.cfg.MaxPerAddress {
		c := a.givesWay(addr.pending.first, addr.asking.first, now)
		if c == nil {
			return fullOfAddress
		}
		*gone = a.giveUpLocked(c)
	}
	if a.cfg.MaxConnections > 0 && a.figures.Open >= a.cfg.MaxConnections {
		most := a.pending.most()
		c := a.givesWay(most.oldest(), a.asking.most().oldest(), now)
		if most != nil && (most.n >= a.maxOfAddress || a.pending.n >= a.maxPending) {
			c = most.first // however young
		}
		if c == nil {
			return full
		}
		*gone = a.giveUpLocked(c)
	}
	return admitted
}

// givesWay returns the connection that gives way to a newcomer, nil if none does:
// pending, or, only where none is, asking. Both may be nil.
func (a *Control) givesWay(pending, asking *conn, now time.Duration) *conn {
	if pending == nil && asking != nil && now-asking.since > askingPatience {
		return asking
	}
	if a.isOld(pending, now) {
		return pending
	}
	return nil
}

// thinLocked gives one up if too many are pending, and one is old enough.
func (a *Control) thinLocked(now time.Duration) *conn {
	if !a.overloadedLocked() || !a.isOld(a.pending.most().first, now) {
		return nil
	}
	return a.giveUpLocked(a.pending.most().first)
}

// isOld reports whether c, which may be nil, has been pending for too long.
func (a *Control) isOld(c *conn, now time.Duration) bool {
	return c != nil && now-c.since > a.cfg.Patience
}

// giveUpLocked takes c out of the counts. Its giveUp follows, without the lock.
func (a *Control) giveUpLocked(c *conn) *conn {
	a.countLocked(givenUp)
	a.leaveLocked(c)
	return c
}

// turnAwayLocked keeps a newcomer for an answer, if there are not too many of these
// already.
func (a *Control) turnAwayLocked(c *conn, why verdict, now time.Duration, gone **conn) bool {
	if a.turned.n >= maxTurned {
		if !a.isOld(a.turned.first, now) {
			c.state = closed
			return false
		}
		*gone = a.turned.first
		a.leaveLocked(*gone)
	}
	c.state = turnedFull
	if why == fullOfAddress {
		c.state = turnedByAddress
	}
	a.turned.add(c)
	return true
}
