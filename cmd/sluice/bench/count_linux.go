package bench

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// newCounter returns a counter.
func newCounter() counter { return newDrain() }

// Times of a drain. A viewer's socket is emptied every drainPeriod, which its
// receive buffer must be good for; the viewers are spread over it in steps. One
// that has just joined, whose GOP is coming in, is seen to at each step.
const (
	drainPeriod = 250 * time.Millisecond
	drainStep   = 10 * time.Millisecond
	drainSlots  = int(drainPeriod / drainStep)
	freshFor    = 2 * time.Second
)

// drain is a counter whose viewers cost a system call every drainPeriod: their
// sockets are outside Go's poller, and the kernel drops what is in them without
// copying it (MSG_TRUNC, tcp(7)).
type drain struct {
	stop    chan struct{}
	running sync.WaitGroup

	state    atomic.Int32 // windowState
	left     atomic.Int64 // viewers whose window is not over
	alive    atomic.Int64
	received atomic.Int64
	over     chan struct{} // closed when no window is left

	mu     sync.Mutex
	length time.Duration // of the windows
	slots  [drainSlots + 1][]drained
	adds   int
}

// freshSlot is the slot of viewers that have just joined.
const freshSlot = drainSlots

// drained is a viewer of a drain; there may be very many.
type drained struct {
	fd       int32
	watch    int16
	protocol uint8
	phase    uint8 // windowState
	ended    syscall.Errno
	stream   int32
	total    int64 // bytes, for acknowledgements
	spoke    int64 // total at the last word to the server
	spokeAt  int64 // moment of that
	joined   int64 // moment
	bytes    int64 // in the window
	began    int64 // moment of the window's first byte
	window   int64 // how long it was, once it is over
	words    *words
}

// States of a window.
const (
	notBegun = iota
	inWindow
	cutWindow
	windowOver
)

// endOfStream is the ended of a viewer whose server closed the connection.
const endOfStream = syscall.Errno(0xFFFF)

// newDrain returns a drain at work.
func newDrain() *drain {
	d := &drain{stop: make(chan struct{}), over: make(chan struct{})}
	d.running.Go(d.run)
	return d
}

// detach returns a descriptor of a TCP connection that Go's poller does not know
// of, and closes the connection, which stays open through the descriptor.
func detach(conn net.Conn) (int, error) {
	defer conn.Close()
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, err
	}
	var fd int
	var dupErr error
	err = raw.Control(func(p uintptr) { fd, dupErr = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, dupErr); err != nil {
		return 0, fmt.Errorf("taking a connection over: %w", err)
	}
	return fd, nil
}

func (d *drain) add(v *viewer, watch, stream int) error {
	fd, err := detach(v.conn.Conn)
	if err != nil {
		return err
	}
	now := moment(time.Now())
	d.alive.Add(1)
	d.mu.Lock()
	defer d.mu.Unlock()
	received := v.conn.received.Load()
	x := drained{
		fd: int32(fd), watch: int16(watch), stream: int32(stream), protocol: uint8(v.protocol),
		total: received, spoke: received, spokeAt: now, joined: now, words: v.words,
	}
	if d.state.Load() != notBegun {
		x.phase = windowOver
	}
	d.slots[freshSlot] = append(d.slots[freshSlot], x)
	return nil
}

// run empties sockets until close.
func (d *drain) run() {
	ticker := time.NewTicker(drainStep)
	defer ticker.Stop()
	start := time.Now()
	for done := int64(0); ; {
		select {
		case <-ticker.C:
		case <-d.stop:
			return
		}
		// After a delay, the slots that were passed over come first.
		steps := int64(time.Since(start) / drainStep)
		for done = max(done, steps-int64(drainSlots)); done < steps; done++ {
			d.empty(int(done % int64(drainSlots)))
		}
		d.empty(freshSlot)
		d.settle()
	}
}

// empty empties the sockets of a slot.
func (d *drain) empty(slot int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := moment(time.Now())
	state, length := d.state.Load(), int64(d.length)
	received := int64(0)
	for i := range d.slots[slot] {
		v := &d.slots[slot][i]
		if v.ended != 0 {
			continue
		}
		n := d.receive(v)
		received += n
		v.total += n
		switch {
		case state == notBegun || v.phase == windowOver:
		case v.phase == notBegun:
			v.phase, v.began = inWindow, now
		default:
			v.bytes += n
		}
		if v.phase == inWindow && (v.ended != 0 || state == cutWindow || now-v.began >= length-int64(drainPeriod)/2) {
			v.phase, v.window = windowOver, now-v.began
			d.finished(1)
		}
		if silent := time.Duration(now - v.spokeAt); silent >= time.Second {
			if b := protocol(v.protocol).tell(v.total, v.spoke, silent, v.words); b != nil {
				v.spoke, v.spokeAt = v.total, now
				unix.Send(int(v.fd), b, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
			}
		}
		if i&63 == 63 {
			runtime.Gosched() // what measures latency comes first
		}
	}
	d.received.Add(received)
}

// maxReceive is how much is dropped at a time.
const maxReceive = 1 << 28

// receive drops what a socket holds and returns how much that was.
func (d *drain) receive(v *drained) int64 {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(v.fd), 0, maxReceive, unix.MSG_TRUNC|unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == 0 && n > 0:
			return int64(n)
		case errno == unix.EAGAIN:
			return 0
		case errno == unix.EINTR:
			continue
		case errno == 0:
			errno = endOfStream
		}
		v.ended = errno
		d.alive.Add(-1)
		return 0
	}
}

// settle gives viewers that are no more fresh a slot of their own.
func (d *drain) settle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	limit := moment(time.Now()) - int64(freshFor)
	fresh := d.slots[freshSlot]
	n := 0
	for ; n < len(fresh) && fresh[n].joined <= limit && fresh[n].phase != inWindow; n++ {
		slot := d.adds % drainSlots
		d.slots[slot] = append(d.slots[slot], fresh[n])
		d.adds++
	}
	if d.slots[freshSlot] = fresh[n:]; n > 0 && len(fresh) == n {
		d.slots[freshSlot] = nil
	}
}

func (d *drain) begin(length time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.length = length
	n := int64(0)
	for _, slot := range d.slots {
		for i := range slot {
			if slot[i].ended == 0 {
				n++
			} else {
				slot[i].phase = windowOver
			}
		}
	}
	d.left.Store(n)
	d.state.Store(inWindow)
	if n == 0 {
		close(d.over)
	}
}

// finished notes that n windows are over.
func (d *drain) finished(n int64) {
	if d.left.Add(-n) == 0 {
		close(d.over)
	}
}

func (d *drain) finish(cut bool) {
	if cut {
		d.state.Store(cutWindow)
	}
	<-d.over
}

func (d *drain) each(f func(counted)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, slot := range d.slots {
		for i := range slot {
			v := &slot[i]
			c := counted{watch: int(v.watch), stream: int(v.stream), bytes: v.bytes, began: v.began, window: time.Duration(v.window)}
			switch v.ended {
			case 0:
			case endOfStream:
				c.ended = "ended by the server"
			default:
				c.ended = v.ended.Error()
			}
			f(c)
		}
	}
}

func (d *drain) status() (int, int64) { return int(d.alive.Load()), d.received.Load() }

func (d *drain) close() {
	close(d.stop)
	d.running.Wait()
	for _, slot := range d.slots {
		for i := range slot {
			unix.Close(int(slot[i].fd))
		}
	}
}
