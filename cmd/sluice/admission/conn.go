package admission

import (
	"net"
	"net/netip"
	"slices"
	"time"
)

// conn is what the control knows of a connection.
type conn struct {
	control *Control
	nc      net.Conn // the tcpConn or plainConn that holds this conn
	tally   *tally   // of its listener

	// Guarded by control.mu.
	state         state
	from          *address      // nil if it was turned away, or is idle
	since         time.Duration // when it became pending, asking or idle, by nowLocked
	before, after *conn         // in from.pending, from.asking, control.idle or control.turned
	wake          func()        // see OnGivenUp

	ofProxy bool // it is a trusted proxy's, and from whoever its request is from
}

type state uint8

const (
	arriving state = iota // not decided about yet
	idle                  // of a trusted proxy, without a request
	pending
	asking
	active
	turnedFull // turned away, and to be told that there are enough in all
	turnedByAddress
	closed
)

// Proxied is a connection that a proxy made for a client, which comes first in its
// RemoteAddr. What it is admitted as is the connection itself, with the client's address.
type Proxied interface {
	net.Conn
	// ProxyConn returns the connection itself, from which nothing is taken off on the way.
	ProxyConn() *net.TCPConn
}

// tcpConn is an accepted connection that can do everything that a *net.TCPConn can:
// raw reads and writes, shutting one direction, socket options.
type tcpConn struct {
	*net.TCPConn
	conn
	first  firstRead
	loan   loan
	client net.Addr // of a Proxied; else nil
}

// Read reads from the connection.
func (c *tcpConn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	return c.first.passed(c, b, n, err)
}

// RemoteAddr returns the client's address, also where a proxy made the connection.
func (c *tcpConn) RemoteAddr() net.Addr {
	if c.client != nil {
		return c.client
	}
	return c.TCPConn.RemoteAddr()
}

// Close closes the connection and takes it out of the counts.
func (c *tcpConn) Close() error {
	c.loan.end()
	err := c.TCPConn.Close()
	c.leave()
	return err
}

// plainConn is an accepted connection of any other type.
type plainConn struct {
	net.Conn
	conn
	first firstRead
}

// Read reads from the connection.
func (c *plainConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return c.first.passed(c, b, n, err)
}

// Close closes the connection and takes it out of the counts.
func (c *plainConn) Close() error {
	err := c.Conn.Close()
	c.leave()
	return err
}

// wrap wraps a connection that a listener accepted. look may be nil.
func (a *Control) wrap(nc net.Conn, look First) *conn {
	var client net.Addr
	if p, ok := nc.(Proxied); ok {
		nc, client = p.ProxyConn(), p.RemoteAddr()
	}
	if tcp, ok := nc.(*net.TCPConn); ok {
		w := &tcpConn{TCPConn: tcp, client: client, first: firstRead{look}}
		w.conn = conn{control: a, nc: w}
		return &w.conn
	}
	w := &plainConn{Conn: nc, first: firstRead{look}}
	w.conn = conn{control: a, nc: w}
	return &w.conn
}

func (c *conn) self() *conn { return c }

// connOf finds the conn of a connection, also inside a wrapper that has a NetConn method
// (*tls.Conn); nil if there is none.
func connOf(nc net.Conn) *conn {
	for {
		switch t := nc.(type) {
		case interface{ self() *conn }:
			return t.self()
		case interface{ NetConn() net.Conn }:
			nc = t.NetConn()
		default:
			return nil
		}
	}
}

// MarkAsking says that a connection has shown what it came for, and that it is not
// decided yet whether it may have that: somebody is being asked, which may take
// seconds. It has no effect on a connection that is active already. A connection that
// this package did not admit is left alone, here and below.
func MarkAsking(nc net.Conn) { become(nc, asking, pending) }

// MarkActive says that a connection has what it came for. From then on it is not given
// up.
func MarkActive(nc net.Conn) { become(nc, active, pending, asking) }

// MarkPending says that the answer to what was asked is no: the connection has yet to
// show what else it came for. It has no effect on one that is active already.
func MarkPending(nc net.Conn) { become(nc, pending, asking) }

func become(nc net.Conn, to state, from ...state) {
	if c := connOf(nc); c != nil {
		c.become(to, from...)
	}
}

// OnGivenUp has wake called when the connection has been given up, or at once if it is
// closed already. It is for a caller that waits for the connection in another way than
// by reading from it. wake must not block. It is forgotten when the connection becomes
// active.
func OnGivenUp(nc net.Conn, wake func()) {
	c := connOf(nc)
	if c == nil {
		return
	}
	c.control.mu.Lock()
	gone := c.state == closed
	if c.state == pending || c.state == asking {
		c.wake = wake
	}
	c.control.mu.Unlock()
	if gone {
		wake()
	}
}

// become puts the connection into another state, if it is in one of those that are
// named.
func (c *conn) become(to state, from ...state) {
	c.control.mu.Lock()
	defer c.control.mu.Unlock()
	if slices.Contains(from, c.state) {
		c.control.setLocked(c, to)
	}
}

// current returns the state of the connection.
func (c *conn) current() state {
	c.control.mu.Lock()
	defer c.control.mu.Unlock()
	return c.state
}

// setLocked puts an admitted connection into another state. One that becomes pending, asking
// or idle is the youngest of these.
func (a *Control) setLocked(c *conn, to state) {
	switch c.state {
	case idle:
		a.idle.remove(c)
	case pending:
		a.pending.remove(&c.from.pending, c)
	case asking:
		a.asking.remove(&c.from.asking, c)
	}
	c.tally.move(c.state, to)
	c.state = to
	switch to {
	case idle:
		c.since = a.nowLocked()
		a.idle.add(c)
		c.wake = nil
	case pending:
		c.since = a.nowLocked()
		a.pending.add(&c.from.pending, c)
	case asking:
		c.since = a.nowLocked()
		a.asking.add(&c.from.asking, c)
	case active:
		c.wake = nil
	}
}

// leave takes a closed connection out of the counts. Further calls do nothing.
func (c *conn) leave() {
	c.control.mu.Lock()
	defer c.control.mu.Unlock()
	c.control.leaveLocked(c)
}

func (a *Control) leaveLocked(c *conn) {
	switch c.state {
	case closed:
		return
	case turnedFull, turnedByAddress:
		a.turned.remove(c)
		c.state = closed
		return
	}
	a.setLocked(c, closed)
	a.figures.Open--
	a.dropAddressLocked(c)
}

// addressLocked counts a connection at an address.
func (a *Control) addressLocked(c *conn, from netip.Addr) {
	addr := a.addresses[from]
	if addr == nil {
		addr = &address{key: from}
		addr.pending.of, addr.asking.of = addr, addr
		a.addresses[from] = addr
	}
	c.from = addr
	addr.open++
}

// dropAddressLocked ends that.
func (a *Control) dropAddressLocked(c *conn) {
	if c.from == nil {
		return
	}
	c.from.open--
	if c.from.open == 0 {
		delete(a.addresses, c.from.key)
	}
	c.from = nil
}

// giveUp closes a connection that is not counted any more, or never was. It does so at
// once, by a reset where that is possible, so that the kernel keeps nothing for a peer
// that takes its time.
func (c *conn) giveUp() {
	if s, ok := c.nc.(interface{ SetLinger(sec int) error }); ok {
		s.SetLinger(0)
	}
	c.nc.Close()
	c.control.mu.Lock()
	wake := c.wake
	c.wake = nil
	c.control.mu.Unlock()
	if wake != nil {
		wake()
	}
}
