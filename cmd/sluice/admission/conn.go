package admission

import (
	"net"
	"time"
)

// conn is what the door knows of a connection.
type conn struct {
	control *Control
	nc      net.Conn // that which was accepted, of which the conn is a part

	// Guarded by door.mu.
	state         state
	from          *address      // nil for who was turned away
	since         time.Duration // of being pending, on the door's clock
	before, after *conn         // in from.pending or door.turned
	wake          func()        // see OnGivenUp
}

type state uint8

const (
	pending state = iota
	active
	turnedFull // to be answered that there are enough in all
	turnedByAddress
	closed
)

// tcpConn is a connection with everything that a *net.TCPConn can do: who writes to
// descriptors, shuts one direction or sets options finds what it looks for.
type tcpConn struct {
	*net.TCPConn
	conn
}

// Close closes the connection and lets the door know.
func (c *tcpConn) Close() error {
	err := c.TCPConn.Close()
	c.leave()
	return err
}

// plainConn is a connection of another sort.
type plainConn struct {
	net.Conn
	conn
}

// Close closes the connection and lets the door know.
func (c *plainConn) Close() error {
	err := c.Conn.Close()
	c.leave()
	return err
}

// wrap makes a conn of what a listener accepted.
func (a *Control) wrap(nc net.Conn) *conn {
	if tcp, ok := nc.(*net.TCPConn); ok {
		w := &tcpConn{TCPConn: tcp}
		w.conn = conn{control: a, nc: w}
		return &w.conn
	}
	w := &plainConn{Conn: nc}
	w.conn = conn{control: a, nc: w}
	return &w.conn
}

func (c *conn) self() *conn { return c }

// connOf finds the conn of a connection, also inside of others (NetConn, as of
// *tls.Conn); nil if it came through no door.
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

// MarkActive says that a connection has shown what it came for. From then on it is not
// given up. A connection that came through no door is left alone, here and below.
func MarkActive(nc net.Conn) {
	if c := connOf(nc); c != nil {
		c.markActive()
	}
}

// OnGivenUp has wake called when the door has closed the connection, or soon if it
// has already: for whoever waits for it otherwise than in a Read. wake must not
// block. It is forgotten when the connection becomes active.
func OnGivenUp(nc net.Conn, wake func()) {
	c := connOf(nc)
	if c == nil {
		return
	}
	c.control.mu.Lock()
	gone := c.state == closed
	if c.state == pending {
		c.wake = wake
	}
	c.control.mu.Unlock()
	if gone {
		wake()
	}
}

// markActive says that the connection has shown what it came for.
func (c *conn) markActive() { c.asks(true) }

// asks says that there is a request on the connection, and whether it is whole. It
// returns what has been decided about the connection.
func (c *conn) asks(whole bool) state {
	a := c.control
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.state == pending && whole {
		c.from.pending.remove(c)
		a.pending--
		a.byAddress.changed(c.from)
		c.state, c.wake = active, nil
	}
	return c.state
}

// pend makes a active connection a pending one, as if it had just come.
func (c *conn) pend() {
	a := c.control
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.state == active {
		c.since = a.nowLocked()
		a.pendLocked(c)
	}
}

func (a *Control) pendLocked(c *conn) {
	c.state = pending
	c.from.pending.add(c)
	a.pending++
	a.byAddress.changed(c.from)
}

// leave takes a connection that was closed out of the counts. Further calls do
// nothing.
func (c *conn) leave() {
	c.control.mu.Lock()
	defer c.control.mu.Unlock()
	c.control.leaveLocked(c)
}

func (a *Control) leaveLocked(c *conn) {
	was := c.state
	c.state = closed
	switch was {
	case closed:
		return
	case turnedFull, turnedByAddress:
		a.turned.remove(c)
		return
	case pending:
		c.from.pending.remove(c)
		a.pending--
		a.byAddress.changed(c.from)
	}
	a.figures.Open--
	c.from.open--
	if c.from.open == 0 {
		delete(a.addresses, c.from.key)
	}
}

// giveUp closes a connection that is out of the counts, or never was in them, at
// once and for good: nothing is kept for a peer that takes its time, not even by the
// kernel.
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
