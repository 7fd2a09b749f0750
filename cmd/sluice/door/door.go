// Package door admits connections, of several listeners together. It bounds how
// many there are, in all and from one address, and sees to it that those who come
// to block the way are those who have to go.
//
// A connection is pending until it has shown what it came for: over RTMP by
// beginning to publish or to play, over HTTP by a whole request; between two
// requests it is pending again. To be pending costs a client nothing, so what is
// pending is what the door gives up when there is too much of it:
//
//	accepted ──▶ pending ◀──Pend── settled ──▶ closed
//	   │           │  └────Settle────▲
//	   │           └──▶ given up: closed by the door
//	   └──▶ turned away: closed at once, or answered first where that is possible
//
// Who has to go comes from the address that has the most pending connections, and
// of these it is the oldest. One that is younger than Patience stays, so that a
// crowd of honest clients at the same moment loses nobody, unless the server is
// full and the pending ones are too many. A settled one is never given up.
//
// The door knows every connection by what it counts, and has no goroutine, timer or
// buffer for it. Admission takes the time of a few steps in a heap of addresses, and
// no lock is held while anything is closed.
package door

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
)

// Door admits connections. Its methods may be called from any goroutine.
type Door struct {
	cfg                  Config
	maxPending, maxAlike int // in all, of one address
	began                time.Time

	mu        sync.Mutex
	last      time.Duration // what the clock said
	addresses map[netip.Addr]*address
	crowd     crowd // those of which something is pending
	pending   int
	turned    queue // being answered; part of no other number
	figures   Figures
	report    report
}

// Figures are how many connections there are, and what became of those there were.
type Figures struct {
	Open    int // admitted and not closed
	Pending int // of these

	Admitted    uint64
	GivenUp     uint64 // admitted, but pending for too long or one too many
	TurnedFull  uint64 // turned away, since there were enough in all
	TurnedAlike uint64 // turned away, since there were enough from their address
}

// New makes a door. It must be closed.
func New(cfg Config) *Door {
	if cfg.Patience <= 0 {
		cfg.Patience = defaultPatience
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Door{
		cfg:        cfg,
		maxPending: maxPending,
		maxAlike:   maxPendingPerAddress,
		began:      time.Now(),
		addresses:  make(map[netip.Addr]*address),
	}
	if n := cfg.MaxConnections; n > 0 {
		d.maxPending = max(minPending, min(d.maxPending, n/pendingShare))
		d.maxAlike = max(minPending, min(d.maxAlike, n/pendingPerAddressShare))
	}
	return d
}

// Figures returns the numbers of now.
func (d *Door) Figures() Figures {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.figuresLocked()
}

// Thronged reports whether more is pending than may be for long.
func (d *Door) Thronged() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.throngedLocked()
}

func (d *Door) throngedLocked() bool {
	a := d.crowd.most()
	return a != nil && (a.pending.n > d.maxAlike || d.pending > d.maxPending)
}

func (d *Door) figuresLocked() Figures {
	f := d.figures
	f.Pending = d.pending
	return f
}

// nowLocked is the door's clock. It is later at each call, so that of two
// connections one is the older.
func (d *Door) nowLocked() time.Duration {
	d.last = max(d.last+1, time.Since(d.began))
	return d.last
}

// Listen returns a listener that accepts what the door admits of l. Where answers
// is true, some of those who are turned away are accepted too, for a handler of
// Guard to tell them why.
func (d *Door) Listen(l net.Listener, answers bool) net.Listener {
	return &listener{l, d, answers}
}

type listener struct {
	net.Listener
	door    *Door
	answers bool
}

// Accept waits for a connection and admits it, or turns it away and waits for the
// next one.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		v := l.door.wrap(c)
		ok, gone := l.door.enter(v, addressOf(c), l.answers)
		for _, v := range gone {
			if v != nil {
				v.giveUp()
			}
		}
		if ok {
			return v.conn, nil
		}
		v.giveUp()
	}
}

// addressOf returns what the connections of one client have in common.
func addressOf(c net.Conn) netip.Addr {
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	a := tcp.AddrPort().Addr().Unmap().WithZone("")
	if a.Is6() {
		const network = 64 // bits that a client does not choose
		p, _ := a.Prefix(network)
		a = p.Addr()
	}
	return a
}

// enter decides about a newcomer: whether it is accepted, and who is to be closed
// for it.
func (d *Door) enter(v *visit, from netip.Addr, answers bool) (accept bool, gone [goneForOne]*visit) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.nowLocked()
	v.since = now
	if why := d.makeRoomLocked(from, now, &gone[0]); why != admitted {
		d.countLocked(why)
		if !answers {
			v.state = closed
			return false, gone
		}
		return d.turnAwayLocked(v, why, now, &gone[0]), gone
	}
	a := d.addresses[from]
	if a == nil {
		a = &address{key: from}
		d.addresses[from] = a
	}
	v.from = a
	a.open++
	d.figures.Open++
	d.figures.Admitted++
	d.pendLocked(v)
	for i := range gone {
		if gone[i] == nil {
			gone[i] = d.thinLocked(now)
		}
	}
	return true, gone
}

// makeRoomLocked says whether a newcomer may come in, and who is closed for it
// where a bound on connections is reached.
func (d *Door) makeRoomLocked(from netip.Addr, now time.Duration, gone **visit) verdict {
	if a := d.addresses[from]; d.cfg.MaxPerAddress > 0 && a != nil && a.open >= d.cfg.MaxPerAddress {
		if !d.isOld(a.pending.first, now) {
			return tooManyAlike
		}
		*gone = d.giveUpLocked(a.pending.first)
	}
	if d.cfg.MaxConnections > 0 && d.figures.Open >= d.cfg.MaxConnections {
		a := d.crowd.most()
		if a == nil {
			return full
		}
		many := a.pending.n >= d.maxAlike || d.pending >= d.maxPending
		if !many && !d.isOld(a.pending.first, now) {
			return full
		}
		*gone = d.giveUpLocked(a.pending.first)
	}
	return admitted
}

// thinLocked gives one up if too many are pending, and one is old enough.
func (d *Door) thinLocked(now time.Duration) *visit {
	if !d.throngedLocked() || !d.isOld(d.crowd.most().pending.first, now) {
		return nil
	}
	return d.giveUpLocked(d.crowd.most().pending.first)
}

// isOld reports whether v, which may be nil, has been pending for too long.
func (d *Door) isOld(v *visit, now time.Duration) bool {
	return v != nil && now-v.since > d.cfg.Patience
}

// giveUpLocked takes v out of the counts. Its giveUp follows, without the lock.
func (d *Door) giveUpLocked(v *visit) *visit {
	d.countLocked(givenUp)
	d.leaveLocked(v)
	return v
}

// turnAwayLocked keeps a newcomer for an answer, if there are not too many of these
// already.
func (d *Door) turnAwayLocked(v *visit, why verdict, now time.Duration, gone **visit) bool {
	if d.turned.n >= maxTurned {
		if !d.isOld(d.turned.first, now) {
			v.state = closed
			return false
		}
		*gone = d.turned.first
		d.leaveLocked(*gone)
	}
	v.state = turnedFull
	if why == tooManyAlike {
		v.state = turnedAlike
	}
	d.turned.add(v)
	return true
}
