package intake

import (
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds on how many reports are taken at once; the rest comes in the next pass.
const (
	minReports = 64
	maxReports = 4096
)

// pump waits for its share of the sources and runs them. It is a role that one
// goroutine has at a time: one that is stuck in a run loses it to a new goroutine.
//
//	gather ──▶ pass: run what is queued, one after the other ──▶ rest ──▶ gather …
//
// Sources are waited for with an epoll descriptor, which is itself waited for by
// Go's poller, so that no thread is blocked.
type pump struct {
	fd    int      // the epoll descriptor
	epoll *os.File // which it belongs to
	raw   syscall.RawConn
	epoch time.Time // when the pump's clock was 0
	done  chan struct{}
	// running counts the goroutines: the one that has the role, and stuck ones.
	running sync.WaitGroup
	// watch calls lookAfter, while something is run.
	watch *time.Timer

	// These belong to the goroutine that has the role.
	reports []unix.EpollEvent
	ready   int // how many of them are valid
	block   bool
	collect func(fd uintptr) bool // poll, bound once
	look    func(fd uintptr)
	pause   *time.Timer
	rested  time.Time // when what was used of the core is made up for

	mu        sync.Mutex
	role      uint64 // who has it
	closed    bool
	sources   []*Source // by place; nil where free
	free      []int32   // places
	number    int32     // of the last source
	queue     []*Source // to be run in the next pass
	batch     []*Source // to be run in this pass, from next on
	next      int
	deadlines deadlines
	polling   bool  // in the poller, or on the way there
	armed     int64 // when the poller is left, on the pump's clock; 0 for never
	runs      uint64
	seen      uint64 // runs, when the watch last looked; while passing
	passing   bool
}

func newPump() (*pump, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &pump{
		fd:      fd,
		epoll:   os.NewFile(uintptr(fd), "epoll"),
		epoch:   time.Now().Add(-time.Second), // so that now is never 0
		done:    make(chan struct{}),
		reports: make([]unix.EpollEvent, minReports),
		pause:   time.NewTimer(0),
	}
	p.collect = func(uintptr) bool { return p.poll() }
	p.look = func(uintptr) { p.poll() }
	if p.raw, err = p.epoll.SyscallConn(); err == nil {
		err = p.epoll.SetReadDeadline(time.Time{}) // fails if Go's poller does not take it
	}
	if err != nil {
		p.epoll.Close()
		return nil, err
	}
	p.watch = time.AfterFunc(stuckCheck, p.lookAfter)
	p.running.Go(func() { p.serve(0) })
	return p, nil
}

// close ends the pump and waits for it.
func (p *pump) close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.done)
		p.wakePollerLocked()
	}
	p.mu.Unlock()
	p.running.Wait()
	p.watch.Stop()
	p.epoll.Close()
}

// clock returns a time as the pump counts it, which is never 0.
func (p *pump) clock(t time.Time) int64 { return max(1, int64(t.Sub(p.epoch))) }

func (p *pump) add(s *Source) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return net.ErrClosed
	}
	if len(p.free) == 0 {
		p.free = append(p.free, int32(len(p.sources)))
		p.sources = append(p.sources, nil)
	}
	place := p.free[len(p.free)-1]
	p.number++
	s.key = sourceKey{place, p.number}
	if err := s.register(p.fd); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	p.free = p.free[:len(p.free)-1]
	p.sources[place] = s
	return nil
}

func (p *pump) remove(s *Source) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.state == gone {
		return
	}
	s.state = gone
	if !p.closed {
		s.unregister(p.fd)
	}
	p.deadlines.remove(s)
	p.sources[s.key.place] = nil
	p.free = append(p.free, s.key.place)
}

func (p *pump) wait(s *Source, deadline time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.state != idle || p.closed {
		return
	}
	s.state = waiting
	s.limit = 0
	if !deadline.IsZero() {
		s.limit = p.clock(deadline)
	}
	p.deadlines.set(s)
	if p.polling {
		p.armLocked()
	}
	if !s.watched {
		// A connection that was closed can't be watched: its run will see.
		s.watched = s.watch(p.fd) == nil
		s.woken = s.woken || !s.watched
	}
	if s.woken {
		p.queueLocked(s)
	}
}

func (p *pump) wake(s *Source) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch s.state {
	case idle:
		s.woken = true
	case waiting:
		p.queueLocked(s)
	}
}

// queueLocked has a waiting source run.
func (p *pump) queueLocked(s *Source) {
	s.state, s.woken, s.limit = queued, false, 0
	p.queue = append(p.queue, s)
	p.wakePollerLocked()
}

// wakePollerLocked ends a wait in the poller.
func (p *pump) wakePollerLocked() {
	if p.polling {
		p.polling = false
		p.armed = -1
		p.epoll.SetReadDeadline(past)
	}
}

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// armLocked makes the poller return when the first source is due.
func (p *pump) armLocked() {
	due := p.deadlines.next()
	switch {
	case due == p.armed:
		return
	case due == 0:
		p.epoll.SetReadDeadline(time.Time{})
	default:
		p.epoll.SetReadDeadline(p.epoch.Add(time.Duration(due)))
	}
	p.armed = due
}

// serve is the pump, for a goroutine that has the role.
func (p *pump) serve(role uint64) {
	for {
		begun := time.Now()
		if !p.pass(role) {
			return
		}
		if !p.rest(begun, time.Now()) || !p.gather() {
			return
		}
	}
}

// pass runs what is queued. It returns false if the role was lost.
func (p *pump) pass(role uint64) bool {
	for {
		s, ok := p.take(role)
		if s == nil {
			return ok
		}
		s.empty.Store(false)
		s.run()
	}
}

// take returns the next source to run in this pass; nil and false if the role was
// lost, nil and true at the end.
func (p *pump) take(role uint64) (s *Source, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.role != role {
		return nil, false
	}
	p.runs++
	for p.next < len(p.batch) && !p.closed {
		s := p.batch[p.next]
		p.batch[p.next] = nil
		p.next++
		if s.state == queued {
			s.state = idle
			return s, true
		}
	}
	p.passing = false
	p.watch.Stop()
	return nil, true
}

// lookAfter takes the role from a goroutine that is stuck in a run.
func (p *pump) lookAfter() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.passing || p.closed {
		return
	}
	if p.seen == p.runs {
		p.role++
		role := p.role
		p.running.Go(func() { p.serve(role) })
	}
	p.seen = p.runs
	p.watch.Reset(stuckCheck)
}

// rest pauses after a pass, so that the pump keeps to its share of a core. It
// returns false if the pump was closed.
func (p *pump) rest(begun, ended time.Time) bool {
	if p.rested.Before(begun) {
		p.rested = begun
	}
	p.rested = p.rested.Add(time.Duration(float64(ended.Sub(begun)) / share))
	pause := min(p.rested.Sub(ended), maxPause)
	if pause < minPause {
		return true
	}
	p.pause.Reset(pause)
	select {
	case <-p.pause.C:
		p.rested = time.Time{}
		return true
	case <-p.done:
		return false
	}
}

// gather waits until something is to be run and makes it the next batch. It
// returns false if the pump was closed.
func (p *pump) gather() bool {
	p.mu.Lock()
	p.block = len(p.queue) == 0
	p.polling = p.block
	if p.block {
		p.armLocked()
	}
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return false
	}
	p.ready = 0
	if !p.block || p.raw.Read(p.collect) != nil {
		// Something is queued or due: see what else there is.
		p.block = false
		p.raw.Control(p.look)
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	p.polling = false
	if p.closed {
		return false
	}
	for _, r := range p.reports[:p.ready] {
		p.reportedLocked(sourceKey{r.Fd, r.Pad})
	}
	now := p.clock(time.Now())
	for s := p.deadlines.pop(now); s != nil; s = p.deadlines.pop(now) {
		if s.state == waiting {
			p.queueLocked(s)
		}
	}
	if p.ready == len(p.reports) && p.ready < maxReports {
		p.reports = make([]unix.EpollEvent, 2*p.ready)
	}
	p.batch, p.queue, p.next = p.queue, p.batch[:0], 0
	p.passing, p.seen = true, p.runs
	p.watch.Reset(stuckCheck)
	return true
}

// reportedLocked is told that there is something to read.
func (p *pump) reportedLocked(key sourceKey) {
	s := p.sources[key.place]
	if s == nil || s.key != key {
		return
	}
	switch s.state {
	case waiting:
		p.queueLocked(s)
	case idle:
		// Its run takes long, and need not be told again and again.
		if s.watched {
			s.unwatch(p.fd)
			s.watched = false
		}
	}
}

// poll asks the system which sources have bytes. It returns false if there are none
// and the caller should wait for some.
func (p *pump) poll() bool {
	for {
		n, err := unix.EpollWait(p.fd, p.reports, 0)
		if err == unix.EINTR {
			continue
		}
		p.ready = max(n, 0)
		return err != nil || n > 0 || !p.block
	}
}
