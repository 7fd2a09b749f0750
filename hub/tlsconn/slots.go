package tlsconn

import (
	"net"
	"runtime"
)

// Bound is how many handshakes may compute at the same time, those of all listeners together that have
// it in their Config.
type Bound chan struct{}

// NewBound returns a bound of n handshakes; half as many as there are cores, and one at least, if n is 0.
func NewBound(n int) Bound {
	if n <= 0 {
		n = max(1, runtime.GOMAXPROCS(0)/2)
	}
	return make(Bound, n)
}

// slots is the part of a handshake in the bound on how many compute at a time. It belongs to the
// goroutine of the handshake: it has a slot while it computes, and none while it waits for its peer.
// nil is no bound.
type slots struct {
	all  chan struct{}
	held bool
}

// enter waits for a slot, if there is none.
func (s *slots) enter() {
	if s == nil || s.held {
		return
	}
	s.all <- struct{}{}
	s.held = true
}

// leave gives it back.
func (s *slots) leave() {
	if s == nil || !s.held {
		return
	}
	<-s.all
	s.held = false
}

// slotsOf returns those of the connection that crypto/tls knows.
func slotsOf(nc net.Conn) *slots {
	if w, ok := nc.(*wire); ok {
		return w.slots
	}
	return nil
}
