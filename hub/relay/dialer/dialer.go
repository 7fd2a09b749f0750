// Package dialer opens the connections of relays: a bounded number at a time, to addresses that
// are asked for anew each time, and, where somebody else says where to go, to public ones only.
package dialer

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"sluice/hub/relay"
)

// DefaultMax is how many dials are under way at a time unless New is told otherwise.
const DefaultMax = 64

// timeout bounds one dial, the question for the address included, so that servers that do not
// answer don't keep others waiting.
const timeout = 5 * time.Second

// keepAlive finds out within a minute that the other end is gone.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 20 * time.Second, Interval: 10 * time.Second, Count: 4}

// Dialer opens connections. Its methods may be called from any goroutine.
//
// At most half of the dials that may be under way go to one address, so that one server that does
// not answer, but from which a thousand streams are wanted, leaves room for others.
type Dialer struct {
	// Resolver finds the addresses of names; nil for that of the net package.
	Resolver *net.Resolver

	slots   chan struct{}
	each    int
	mayDial func(netip.Addr) bool // isPublic, but in tests

	mu   sync.Mutex
	busy map[string]*share // by address
}

// share are the dials to one address.
type share struct {
	slots chan struct{}
	users int // that have a slot or wait for one
}

// New makes a Dialer of max dials at a time, or DefaultMax if that is not positive.
func New(max int) *Dialer {
	if max <= 0 {
		max = DefaultMax
	}
	return &Dialer{
		slots: make(chan struct{}, max), each: (max + 1) / 2,
		mayDial: isPublic, busy: make(map[string]*share),
	}
}

// Dial connects to a HOST:PORT, as net.Dialer does, and waits for its turn before. The addresses of
// a name are asked for at each call. Unless the address is trusted, since it is of the
// configuration, what is dialled must be a public address (isPublic), whatever it is called.
// The error is a *relay.Failure, of CauseURL where the address may not be dialled; it does not name
// the host.
func (d *Dialer) Dial(ctx context.Context, network, address string, trusted bool) (net.Conn, error) {
	leave, err := d.enter(ctx, address)
	if err != nil {
		return nil, failure(err)
	}
	defer leave()
	nd := net.Dialer{Timeout: timeout, KeepAliveConfig: keepAlive, Resolver: d.Resolver}
	if !trusted {
		nd.ControlContext = d.check
	}
	nc, err := nd.DialContext(ctx, network, address)
	if err != nil {
		return nil, failure(err)
	}
	return nc, nil
}

// enter waits for the caller's turn. leave ends it.
func (d *Dialer) enter(ctx context.Context, address string) (leave func(), _ error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	s := d.busy[address]
	if s == nil {
		s = &share{slots: make(chan struct{}, d.each)}
		d.busy[address] = s
	}
	s.users++
	d.mu.Unlock()
	release := func() {
		d.mu.Lock()
		if s.users--; s.users == 0 {
			delete(d.busy, address)
		}
		d.mu.Unlock()
	}
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		release()
		return nil, ctx.Err()
	}
	select {
	case d.slots <- struct{}{}:
	case <-ctx.Done():
		<-s.slots
		release()
		return nil, ctx.Err()
	}
	return func() {
		<-d.slots
		<-s.slots
		release()
	}, nil
}

// errPrivate is the error of an address that may not be dialled.
var errPrivate = errors.New("not a public address")

// check refuses what is not public. It is called with each address that is dialled, in numbers.
func (d *Dialer) check(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || !d.mayDial(ap.Addr()) {
		return errPrivate
	}
	return nil
}

// failure says why there is no connection.
func failure(err error) *relay.Failure {
	f := relay.FailureOf(err)
	var timed net.Error
	switch {
	case errors.Is(err, errPrivate):
		f.Cause, f.Detail = relay.CauseURL, "leads to a private address"
	case errors.As(err, &timed) && timed.Timeout() && !errors.As(err, new(*net.DNSError)):
		f.Detail = "could not connect in time"
	}
	return f
}
