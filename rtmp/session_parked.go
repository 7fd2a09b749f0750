package rtmp

import (
	"errors"
	"net"
	"syscall"
	"time"

	"sluice/rtmp/internal/chunk"
)

// Polled is one connection among many for which a pool waits, see Server.Poll.
// Wait and TryRead are called by the goroutine that runs the session at the time,
// Wake and Close by any.
type Polled interface {
	// Wait has run called once: when there is something to read, or the end, or at
	// the deadline unless it is zero, or after Wake, even if that came first. It
	// does not block, and run may begin before it returns.
	Wait(deadline time.Time)
	// Wake has run called soon.
	Wake()
	// TryRead reads what there is and never blocks. When there is nothing yet, the
	// error is a timeout, as of a net.Error.
	TryRead(p []byte) (int, error)
	// Close makes sure that run is not called again. It is called before the
	// connection is closed.
	Close()
}

// errParked ends a turn of a session that has nothing to do until something comes,
// or has had its share.
var errParked = chunk.ErrNothing

// Bounds on one turn of a session for which a pool waits: a peer that sends faster
// than it can be read must not keep its turn from others. What is left is for the
// next turn, which comes after those of the others. Each is less than a
// millisecond's work, and of no consequence for a publisher: a pool so busy that it
// gives a turn every 50 ms only still takes 40 Mbit/s from each.
const (
	turnBytes    = 256 << 10
	turnMessages = 500
	// minRead is how many bytes a read counts as, at least: of TLS it may have read many records that
	// hold little or nothing.
	minRead = 128
)

// park ends a turn.
func (s *session) park() {
	yields, deaf := s.yields, s.deaf
	s.spent, s.yields, s.deaf = 0, false, false
	if deaf {
		s.sleep(s.wakeAt, s.turn)
		return
	}
	if yields {
		s.polled.Wake()
	}
	s.polled.Wait(s.wakeAt)
}

// startPolling has the server's Poll wait for bytes from now on, if it can.
func (s *session) startPolling() {
	if s.srv.Poll == nil {
		return
	}
	w, err := s.srv.Poll(s.nc, s.turn)
	if err != nil {
		if !errors.Is(err, errors.ErrUnsupported) {
			s.debug("rtmp session keeps its goroutine", "error", err)
		}
		return
	}
	s.armMu.Lock()
	defer s.armMu.Unlock()
	s.polled = w
	// Nothing that was posted is lost: it is done before the first Wait.
	s.interrupted, s.armed = false, time.Time{}
	s.nc.SetReadDeadline(time.Time{})
}

// turn goes on with a session that was parked. It is called by what waits for it.
func (s *session) turn() {
	err := s.serve()
	if err == errParked {
		s.park()
		return
	}
	// The end may take its time, which others need not share.
	go func() {
		s.end(err)
		s.srv.over(s)
	}()
}

// wakingConn is the connection of a parked session: since no read is under way that
// would fail, its Close wakes the session.
type wakingConn struct {
	net.Conn
	c *conn
}

// Close closes the connection and lets its session know.
func (c *wakingConn) Close() error {
	err := c.Conn.Close()
	c.c.interrupt()
	return err
}

// NetConn returns the connection that was accepted.
func (c *wakingConn) NetConn() net.Conn { return c.Conn }

// SyscallConn gives access to the connection itself, for writing.
func (c *wakingConn) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := c.Conn.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// connForOthers returns the connection for others to write to and to close.
func (c *conn) connForOthers() net.Conn {
	c.armMu.Lock()
	defer c.armMu.Unlock()
	if c.polled == nil {
		return c.nc
	}
	return &wakingConn{c.nc, c}
}
