// Package waitgroup has a wait group for work that others may begin at any time, also
// while somebody waits for its end, which sync.WaitGroup does not allow.
package waitgroup

import "sync"

// Group counts work that is under way. The zero value has none. Its methods may be
// called from any goroutine.
type Group struct {
	mu     sync.Mutex
	n      int
	closed bool          // Wait was called: nobody else enters
	none   chan struct{} // closed when n is 0; nil if nobody waits for that
}

// Enter counts the caller, unless Wait was called already. If it returns true, Done is
// to follow.
func (g *Group) Enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.n++
	return true
}

// Add counts one more, at any time. Done is to follow. Wait certainly waits for it if the
// caller is itself counted until Add returns.
func (g *Group) Add() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n++
}

// Done takes one back.
func (g *Group) Done() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n--
	if g.n == 0 && g.none != nil {
		close(g.none)
		g.none = nil
	}
}

// Go runs f in a goroutine that is counted, as by Add.
func (g *Group) Go(f func()) {
	g.Add()
	go func() {
		defer g.Done()
		f()
	}()
}

// Wait makes Enter return false from now on, and returns when nothing is counted, for a
// moment at least. It may be called again.
func (g *Group) Wait() {
	g.mu.Lock()
	g.closed = true
	if g.n > 0 && g.none == nil {
		g.none = make(chan struct{})
	}
	none := g.none
	g.mu.Unlock()
	if none != nil {
		<-none
	}
}
