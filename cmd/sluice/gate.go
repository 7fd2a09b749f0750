package main

import (
	"net"
	"runtime"
	"time"
)

// A gate is a listener that accepts a connection when the scheduler has nothing
// else to run, so that those who join can't delay those who watch.
//
// Without it, thousands of connections that arrive at once are accepted as fast as
// that can be, and become thousands of goroutines in front of those that carry the
// streams: the scheduler's queues are first in, first out. The place for them to
// wait is the kernel's queue (net.core.somaxconn). A goroutine that yields comes
// back at once if nobody else wants to run, and behind the others if somebody
// does; the gate yields until it comes back at once. That is all it knows of a
// connection's work, so it serves every protocol, and a client that connects and
// says nothing keeps nobody waiting.
//
// Thousands that connect and say nothing would, on a machine that has no quiet
// moment: they come faster than the gate lets them in, and fill the kernel's queue.
// So it waits less while they do; each of them is less work than a client who joins.
type gate struct {
	net.Listener
	overloaded func() bool // whether too many say nothing
	yield      func()      // runtime.Gosched, but for tests
}

const (
	// gateIdle is what a yield takes at most when there was nothing to run: it is
	// a microsecond then, and a join takes hundreds.
	gateIdle = 50 * time.Microsecond
	// gateWait is how long a connection is kept waiting at most, for a machine
	// that has no quiet moment.
	gateWait = 5 * time.Millisecond
	// overloadedWait is the same while too many say nothing: 2,000 of them a second
	// get in at least.
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
