package main

import (
	"net"
	"runtime"
	"time"
)

// A gate is a listener that accepts a connection when the scheduler has nothing
// else to run, so that clients who join can't delay those who watch.
//
// Without it, thousands of connections that arrive at once are accepted as fast as
// possible, and become thousands of goroutines in front of those that carry the streams:
// the scheduler's queues are first in, first out. The place for them to wait is the
// kernel's queue (net.core.somaxconn). A goroutine that yields comes back at once if no
// other wants to run, and behind the others if some do; the gate yields until it comes
// back at once. It needs to know nothing about the work that a connection will make, so
// it serves every protocol, and a client that connects and says nothing keeps nobody else
// waiting.
//
// Thousands of such clients would do so on a machine that has no quiet moment: they come
// faster than the gate lets them in, and fill the kernel's queue. So the gate waits less
// while there are too many of them; each is less work than a client who joins.
type gate struct {
	net.Listener
	overloaded func() bool // whether too many connections have shown nothing yet
	yield      func()      // runtime.Gosched, except in tests
}

const (
	// gateIdle is the longest that a yield takes if nothing else had to run: about a
	// microsecond, while a join takes hundreds.
	gateIdle = 50 * time.Microsecond
	// gateWait is how long a connection is kept waiting at most, on a machine that
	// has no quiet moment.
	gateWait = 5 * time.Millisecond
	// overloadedWait is the same while overloaded: at least 2,000 a second get in.
	overloadedWait = 500 * time.Microsecond
)

func newGate(l net.Listener, overloaded func() bool) net.Listener {
	return &gate{l, overloaded, runtime.Gosched}
}

// Accept waits for a quiet moment and then for a connection.
func (g *gate) Accept() (net.Conn, error) {
	wait := gateWait
	if g.overloaded() {
		wait = overloadedWait
	}
	for began := time.Now(); time.Since(began) < wait; {
		yielded := time.Now()
		g.yield()
		if time.Since(yielded) < gateIdle {
			break
		}
	}
	return g.Listener.Accept()
}
