package door

import (
	"net"
	"time"
)

// visit is what the door knows of a connection.
type visit struct {
	door *Door
	conn net.Conn // that which was accepted, of which the visit is a part

	// Guarded by door.mu.
	state         state
	from          *address      // nil for who was turned away
	since         time.Duration // of being pending, on the door's clock
	before, after *visit        // in from.pending or door.turned
	wake          func()        // see OnGivenUp
}

type state uint8

const (
	pending state = iota
	settled
	turnedFull // to be answered that there are enough in all
	turnedAlike
	closed
)

// tcpConn is a connection with everything that a *net.TCPConn can do: who writes to
// descriptors, shuts one direction or sets options finds what it looks for.
type tcpConn struct {
	*net.TCPConn
	visit
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
	visit
}

// Close closes the connection and lets the door know.
func (c *plainConn) Close() error {
	err := c.Conn.Close()
	c.leave()
	return err
}

// wrap makes a visit of what a listener accepted.
func (d *Door) wrap(c net.Conn) *visit {
	if tcp, ok := c.(*net.TCPConn); ok {
		w := &tcpConn{TCPConn: tcp}
		w.visit = visit{door: d, conn: w}
		return &w.visit
	}
	w := &plainConn{Conn: c}
	w.visit = visit{door: d, conn: w}
	return &w.visit
}

func (v *visit) self() *visit { return v }

// visitOf finds the visit of a connection, also inside of others (NetConn, as of
// *tls.Conn); nil if it came through no door.
func visitOf(c net.Conn) *visit {
	for {
		switch t := c.(type) {
		case interface{ self() *visit }:
			return t.self()
		case interface{ NetConn() net.Conn }:
			c = t.NetConn()
		default:
			return nil
		}
	}
}

// Settle says that a connection has shown what it came for. From then on it is not
// given up. A connection that came through no door is left alone, here and below.
func Settle(c net.Conn) {
	if v := visitOf(c); v != nil {
		v.settle()
	}
}

// OnGivenUp has wake called when the door has closed the connection, or soon if it
// has already: for whoever waits for it otherwise than in a Read. wake must not
// block. It is forgotten when the connection settles.
func OnGivenUp(c net.Conn, wake func()) {
	v := visitOf(c)
	if v == nil {
		return
	}
	v.door.mu.Lock()
	gone := v.state == closed
	if v.state == pending {
		v.wake = wake
	}
	v.door.mu.Unlock()
	if gone {
		wake()
	}
}

// settle says that the connection has shown what it came for.
func (v *visit) settle() { v.asks(true) }

// asks says that there is a request on the connection, and whether it is whole. It
// returns what has been decided about the connection.
func (v *visit) asks(whole bool) state {
	d := v.door
	d.mu.Lock()
	defer d.mu.Unlock()
	if v.state == pending && whole {
		v.from.pending.remove(v)
		d.pending--
		d.crowd.changed(v.from)
		v.state, v.wake = settled, nil
	}
	return v.state
}

// pend makes a settled connection a pending one, as if it had just come.
func (v *visit) pend() {
	d := v.door
	d.mu.Lock()
	defer d.mu.Unlock()
	if v.state == settled {
		v.since = d.nowLocked()
		d.pendLocked(v)
	}
}

func (d *Door) pendLocked(v *visit) {
	v.state = pending
	v.from.pending.add(v)
	d.pending++
	d.crowd.changed(v.from)
}

// leave takes a connection that was closed out of the counts. Further calls do
// nothing.
func (v *visit) leave() {
	v.door.mu.Lock()
	defer v.door.mu.Unlock()
	v.door.leaveLocked(v)
}

func (d *Door) leaveLocked(v *visit) {
	was := v.state
	v.state = closed
	switch was {
	case closed:
		return
	case turnedFull, turnedAlike:
		d.turned.remove(v)
		return
	case pending:
		v.from.pending.remove(v)
		d.pending--
		d.crowd.changed(v.from)
	}
	d.figures.Open--
	v.from.open--
	if v.from.open == 0 {
		delete(d.addresses, v.from.key)
	}
}

// giveUp closes a connection that is out of the counts, or never was in them, at
// once and for good: nothing is kept for a peer that takes its time, not even by the
// kernel.
func (v *visit) giveUp() {
	if c, ok := v.conn.(interface{ SetLinger(sec int) error }); ok {
		c.SetLinger(0)
	}
	v.conn.Close()
	v.door.mu.Lock()
	wake := v.wake
	v.wake = nil
	v.door.mu.Unlock()
	if wake != nil {
		wake()
	}
}
