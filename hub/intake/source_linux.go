package intake

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/hub/rawconn"
)

// Source is a connection in a pool. Wait and TryRead may be called only by its owner:
// that is the caller of Add until it calls Wait, and then each run. A run sees what
// happened before the Wait that it follows. Wake and Close may be called from any
// goroutine at any time.
type Source struct {
	pump *pump
	raw  syscall.RawConn
	run  func()

	opener Opener                    // nil if the descriptor's bytes are what is read
	read   func([]byte) (int, error) // tryRead, for opener

	// key is what the poller reports: a place in pump.sources, and a number that no
	// other source of the pump has, so that late reports of a source that is gone,
	// whose place and descriptor may be another's by now, find nothing.
	key sourceKey

	// Guarded by pump.mu.
	state   sourceState
	watched bool  // the poller reports bytes; otherwise nothing
	woken   bool  // Wake was called while the source was idle
	limit   int64 // when to run at the latest, on the pump's clock; 0 for never
	due     int64 // where it stands in pump.deadlines: at limit, or before it
	place   int   // in pump.deadlines, counted from 1; 0 for not there

	// empty says that the last TryRead took all there was: until the next run, the
	// next one need not ask.
	empty atomic.Bool
}

type sourceKey struct{ place, number int32 }

type sourceState uint8

const (
	idle sourceState = iota // it runs, or was just added
	waiting
	queued // about to be run
	gone
)

// Add takes a connection into the pool, which will call run, in a goroutine of the
// pool, once for each Wait. It returns an error that wraps errors.ErrUnsupported
// where c has no descriptor to wait for. The connection stays the caller's, to
// write to and to close. It need not be one of the operating system's own sort, but
// what TryRead reads are the descriptor's bytes, unless c is an Opener. That may have read
// more of them than were asked for: the first Wait after Add should follow a TryRead, or Wake.
//
// Closing the connection ends no Wait: call Wake too.
func (p *Pool) Add(c net.Conn, run func()) (*Source, error) {
	opener, _ := c.(Opener)
	if opener != nil {
		c = opener.NetConn()
	}
	sc, ok := c.(syscall.Conn)
	if !ok || len(p.pumps) == 0 {
		return nil, fmt.Errorf("intake: %T: %w", c, errors.ErrUnsupported)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("intake: %w", err)
	}
	s := &Source{
		pump: p.pumps[int(p.next.Add(1))%len(p.pumps)],
		raw:  raw,
		run:  run,
	}
	if opener != nil {
		s.opener, s.read = opener, s.tryRead
	}
	if err := s.pump.add(s); err != nil {
		return nil, fmt.Errorf("intake: %w", err)
	}
	return s, nil
}

// Wait has run called once: when there is something to read, or the end of it, or
// an error; at the deadline, if it is not zero; or after Wake, including one since
// the last run began. It does not block. In a run it is the last thing to do: the
// next run may begin before Wait returns.
func (s *Source) Wait(deadline time.Time) { s.pump.wait(s, deadline) }

// Wake has run called soon: at once if the source waits, otherwise when it does.
func (s *Source) Wake() { s.pump.wake(s) }

// Close takes the source out of the pool: unless it has begun, run is not called
// any more. Close the source before the connection. Further calls do nothing.
func (s *Source) Close() { s.pump.remove(s) }

// TryRead reads what is there, and never blocks: ErrNothing says that nothing is.
// The end is io.EOF. Deadlines of the connection don't count.
func (s *Source) TryRead(p []byte) (int, error) {
	if s.opener != nil {
		return s.opener.TryRead(p, s.read)
	}
	return s.tryRead(p)
}

// tryRead reads bytes of the descriptor.
func (s *Source) tryRead(p []byte) (int, error) {
	if s.empty.Load() {
		return 0, ErrNothing
	}
	n, err := rawconn.TryRead(s.raw, p)
	if err != nil {
		return 0, err
	}
	if n < len(p) {
		s.empty.Store(true)
		if n == 0 {
			return 0, ErrNothing
		}
	}
	return n, nil
}

// register makes the poller know the source without reporting anything of it.
func (s *Source) register(epoll int) error {
	return s.control(epoll, unix.EPOLL_CTL_ADD, unix.EPOLLET)
}

// watch makes the poller report bytes, and unwatch makes it stop. What can't be
// switched off, errors and the end of both directions, is reported once only
// (EPOLLET), and nobody looks at it.
func (s *Source) watch(epoll int) error { return s.control(epoll, unix.EPOLL_CTL_MOD, unix.EPOLLIN) }

func (s *Source) unwatch(epoll int) { s.control(epoll, unix.EPOLL_CTL_MOD, unix.EPOLLET) }

// unregister makes the poller forget the source. A descriptor that was closed is
// forgotten already.
func (s *Source) unregister(epoll int) { s.control(epoll, unix.EPOLL_CTL_DEL, 0) }

// control is epoll_ctl for the connection's descriptor, which is held meanwhile: it
// can't be closed and given to another.
func (s *Source) control(epoll, op int, events uint32) error {
	var err error
	closed := s.raw.Control(func(fd uintptr) {
		err = unix.EpollCtl(epoll, op, int(fd), &unix.EpollEvent{Events: events, Fd: s.key.place, Pad: s.key.number})
	})
	if closed != nil {
		return closed
	}
	return err
}
