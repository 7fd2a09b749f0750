package httpflv

import "sync"

// serving counts what Handler.Wait waits for: calls of ServeHTTP, from their beginning
// on, and the goroutines and sessions that they leave behind. Unlike a sync.WaitGroup
// it may be asked for more while somebody waits, and then says no. The zero value is
// empty.
type serving struct {
	mu    sync.Mutex
	n     int
	over  bool          // nobody else comes in
	empty chan struct{} // closed when n is 0 and over; set with over
}

// enter counts the caller, unless somebody waits already. Leave follows.
func (s *serving) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.n++
	return true
}

// add counts one more, of a caller who is counted until it returns. Leave follows.
func (s *serving) add() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
}

// leave takes one back.
func (s *serving) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n--
	if s.over && s.n == 0 {
		close(s.empty)
	}
}

// Go runs f in a goroutine that is counted. The caller is, too, until it returns.
func (s *serving) Go(f func()) {
	s.add()
	go func() {
		defer s.leave()
		f()
	}()
}

// wait lets nobody in any more, and returns when all have left. It may be called again.
func (s *serving) wait() {
	s.mu.Lock()
	if !s.over {
		s.over, s.empty = true, make(chan struct{})
		if s.n == 0 {
			close(s.empty)
		}
	}
	s.mu.Unlock()
	<-s.empty
}
