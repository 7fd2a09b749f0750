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
// A trusted proxy keeps connections over HTTP that carry the requests of many clients, one
// after the other. Such a connection is idle until a request comes, and counts for no
// address; with the head of a request it is pending for the address that the request is
// from, and goes on as above. So what bounds an address bounds each client, and neither the
// number of the proxy's connections nor that of those it keeps in reserve.
//
//	accepted ──▶ idle ──request──▶ pending ···▶ active
//	              │ ▲ │                │            │
//	              │ │ └──▶ refused ────┤            │
//	              │ └── next request ──┴────────────┘
//	              └──▶ given up: the oldest, where there is MaxConnections and no pending
//	                   one has to go
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

	"sluice/httpflv/answer"
	"sluice/hub"
)

// Config says how many connections there may be. The zero value bounds only the pending
// ones.
type Config struct {
	// MaxConnections bounds the open connections of all listeners together; 0 is no
	// bound. For a moment some dozens more may be open, which are being told that they
	// are too many.
	MaxConnections int
	// MaxPerAddress bounds those of one address; 0 is no bound. The addresses of one
	// IPv6 /64 network count as one, since one client can use as many of them as it
	// likes.
	MaxPerAddress int
	// Patience is how long a connection may be pending before it can be given up to
	// make room for others; 0 means 2 s.
	Patience time.Duration
	// Trusted reports whether the peer at an address, unmapped and without a zone, is a
	// proxy that tells the addresses of its clients over HTTP; nil is nobody. It may be
	// called by several goroutines at a time.
	Trusted func(netip.Addr) bool
	// AllowOrigins lists the origins whose pages may read an answer over HTTP; empty
	// allows any.
	AllowOrigins answer.Origins
	// Logger gets a line now and then while connections are given up or turned
	// away; nil discards it.
	Logger *slog.Logger
}

// Bounds on pending connections and on those that are turned away.
const (
	// maxPendingPerAddress is how many connections of one address may be pending before
	// the oldest of them are given up. A page opens 6, a proxy keeps some dozens.
	maxPendingPerAddress = 256
	// maxPending is the same for all addresses together: 40 MB at some 10 KB each.
	maxPending = 4096
	// Where MaxConnections is small, the two bounds are these fractions of it instead
	// (1/4 and 1/8), but never less than minPending.
	pendingShare, pendingPerAddressShare = 4, 8
	minPending                           = 8
	// goneForOne is how many are given up at most when a newcomer comes in while too
	// many are pending. It has to be more than one for their number to shrink.
	goneForOne = 2
	// maxTurned is how many connections may be open, beyond MaxConnections, that are
	// being told that they are too many. Further ones are just closed.
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
	maxPending, maxOfAddress int // pending connections: in all, of one address
	began                    time.Time

	mu        sync.Mutex
	last      time.Duration // what nowLocked returned last
	addresses map[netip.Addr]*address
	pending   waiting
	asking    waiting
	idle      queue
	turned    queue // turned away and being told why; part of no other number
	figures   Figures
	report    report
}

// Figures count the connections that there are and those that there have been.
type Figures struct {
	Open    int `json:"open"` // admitted and not closed: pending, asking, active or idle
	Pending int `json:"pending"`
	Asking  int `json:"asking"`
	Idle    int `json:"idle"` // of trusted proxies, without a request

	Admitted        uint64 `json:"admitted"`
	GivenUp         uint64 `json:"given_up"`          // admitted, and closed to make room for others
	TurnedFull      uint64 `json:"turned_full"`       // turned away: there were enough in all
	TurnedByAddress uint64 `json:"turned_by_address"` // turned away: there were enough from their address
}

// Plus returns the sums of two Figures, those of several listeners.
func (f Figures) Plus(other Figures) Figures {
	return Figures{
		Open: f.Open + other.Open, Pending: f.Pending + other.Pending, Asking: f.Asking + other.Asking, Idle: f.Idle + other.Idle,
		Admitted: f.Admitted + other.Admitted, GivenUp: f.GivenUp + other.GivenUp,
		TurnedFull: f.TurnedFull + other.TurnedFull, TurnedByAddress: f.TurnedByAddress + other.TurnedByAddress,
	}
}

// New returns an admission control. It must be closed.
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

// Figures returns the present numbers.
func (a *Control) Figures() Figures {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.figuresLocked()
}

// Overloaded reports whether more connections are pending than may be for long.
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
	f.Pending, f.Asking, f.Idle = a.pending.n, a.asking.n, a.idle.n
	return f
}

// nowLocked returns the time since the beginning. Each call returns a later time than
// the one before, so that of two connections one is always older.
func (a *Control) nowLocked() time.Duration {
	a.last = max(a.last+1, time.Since(a.began))
	return a.last
}

// Listen returns a listener that accepts the connections of l that are admitted. Where
// answers is true, it also accepts some of those that are turned away, so that the
// server of Guard can tell them why.
func (a *Control) Listen(l net.Listener, answers bool) *Listener {
	return &Listener{Listener: l, control: a, answers: answers}
}

// Listener accepts the connections of one listener of a Control that are admitted.
type Listener struct {
	net.Listener
	// First, if not nil, looks at what each connection sends first. It is set before Accept is
	// called.
	First   First
	control *Control
	answers bool
	tally   tally // guarded by control.mu
}

// Figures returns the present numbers of this listener's connections.
func (l *Listener) Figures() Figures {
	l.control.mu.Lock()
	defer l.control.mu.Unlock()
	return l.tally.figures()
}

// Accept returns the next connection that is admitted. It closes those that are turned
// away, and those that are given up for a newcomer.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := l.control.wrap(nc, l.First)
		c.tally = &l.tally
		c.ofProxy = l.answers && l.control.trusts(nc)
		ok, gone := l.control.enter(c, addressOf(nc), l.answers)
		gone.giveUp()
		if ok {
			return c.nc, nil
		}
		c.giveUp()
	}
}

// trusts reports whether a connection is from a proxy that tells its clients.
func (a *Control) trusts(nc net.Conn) bool {
	tcp, ok := nc.RemoteAddr().(*net.TCPAddr)
	return ok && a.cfg.Trusted != nil && a.cfg.Trusted(tcp.AddrPort().Addr().Unmap().WithZone(""))
}

// addressOf returns what the addresses of one client have in common.
func addressOf(nc net.Conn) netip.Addr {
	tcp, ok := nc.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return hub.ClientAddress(tcp.AddrPort().Addr())
}

// goners are connections to be given up when the lock is free; some may be nil.
type goners [goneForOne]*conn

func (g *goners) giveUp() {
	for _, c := range g {
		if c != nil {
			c.giveUp()
		}
	}
}

// enter decides whether a newcomer is accepted, and which connections the caller has to
// give up for it.
func (a *Control) enter(c *conn, from netip.Addr, answers bool) (accept bool, gone goners) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.nowLocked()
	c.since = now
	if why := a.makeRoomLocked(c.ofProxy, from, now, &gone[0]); why != admitted {
		a.countLocked(c, why)
		if !answers {
			c.state = closed
			return false, gone
		}
		return a.turnAwayLocked(c, why, now, &gone[0]), gone
	}
	a.figures.Open++
	a.figures.Admitted++
	c.tally.count(admitted)
	if c.ofProxy {
		a.setLocked(c, idle)
	} else {
		a.addressLocked(c, from)
		a.setLocked(c, pending)
	}
	a.thinAllLocked(now, &gone)
	return true, gone
}

// makeRoomLocked decides whether a newcomer is admitted. Where a bound on connections
// is reached, it sets gone to the connection that is given up for it.
func (a *Control) makeRoomLocked(ofProxy bool, from netip.Addr, now time.Duration, gone **conn) verdict {
	if !ofProxy && !a.makeRoomOfAddressLocked(from, now, gone) {
		return fullOfAddress
	}
	if a.cfg.MaxConnections > 0 && a.figures.Open >= a.cfg.MaxConnections {
		most := a.pending.most()
		c := a.givesWay(most.oldest(), a.asking.most().oldest(), now)
		switch {
		case most != nil && (most.n >= a.maxOfAddress || a.pending.n >= a.maxPending):
			c = most.first // however young
		case (c == nil || c.state == asking) && a.isOld(a.idle.first, now):
			c = a.idle.first
		}
		if c == nil {
			return full
		}
		*gone = a.giveUpLocked(c)
	}
	return admitted
}

// makeRoomOfAddressLocked is makeRoomLocked for what bounds one address.
func (a *Control) makeRoomOfAddressLocked(from netip.Addr, now time.Duration, gone **conn) bool {
	addr := a.addresses[from]
	if a.cfg.MaxPerAddress <= 0 || addr == nil || addr.open < a.cfg.MaxPerAddress {
		return true
	}
	c := a.givesWay(addr.pending.first, addr.asking.first, now)
	if c != nil {
		*gone = a.giveUpLocked(c)
	}
	return c != nil
}

// givesWay chooses between the oldest connection that is pending and the oldest that is
// asking; either may be nil. It returns the one that gives way to a newcomer, or nil if
// neither does.
func (a *Control) givesWay(pending, asking *conn, now time.Duration) *conn {
	if pending == nil && asking != nil && now-asking.since > askingPatience {
		return asking
	}
	if a.isOld(pending, now) {
		return pending
	}
	return nil
}

// thinAllLocked fills gone up with pending connections, as long as there are too many.
func (a *Control) thinAllLocked(now time.Duration, gone *goners) {
	for i := range gone {
		if gone[i] == nil {
			gone[i] = a.thinLocked(now)
		}
	}
}

// thinLocked gives up a pending connection if there are too many and one is old enough.
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

// giveUpLocked takes c out of the counts. The caller closes it by giveUp, without the
// lock.
func (a *Control) giveUpLocked(c *conn) *conn {
	a.countLocked(c, givenUp)
	a.leaveLocked(c)
	return c
}

// turnAwayLocked reports whether a newcomer that is turned away can be told why. If too
// many are being told already, the oldest of them may have to go: then it sets gone.
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
