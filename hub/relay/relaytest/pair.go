package relaytest

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// pair is a client's connection and the one to the target.
//
//	pass: from ─read─▶ queue ─when due─▶ to       once for each direction
type pair struct {
	proxy *Proxy

	mu       sync.Mutex
	ends     [2]net.Conn // the second is nil until the target has accepted
	ended    chan struct{}
	isEnded  bool
	finished chan struct{}
	isDone   bool
}

// Bounds of one direction: what is on its way takes queued times readSize bytes at the most.
const (
	readSize = 32 << 10
	queued   = 256
	// finishWait is how long the ends of a connection that was finished have to close theirs.
	finishWait = 2 * time.Second
)

// piece is what was read at once, to be written when it is due.
type piece struct {
	due  time.Time
	data []byte
	err  error // what ended the reading: io.EOF, or a reset
}

// connect takes the connection to the target, and does to it what was done to the client's.
func (x *pair) connect(server net.Conn) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ends[1] = server
	switch {
	case x.isEnded:
		abort(server)
	case x.isDone:
		shut(server)
	}
}

// reset ends both with a reset.
func (x *pair) reset() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.isEnded {
		return
	}
	x.isEnded = true
	close(x.ended)
	for _, c := range x.ends {
		if c != nil {
			abort(c)
		}
	}
}

// finish tells both ends that there is no more. What they still send is read and forgotten, so that
// closing makes no reset of it.
func (x *pair) finish() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.isEnded || x.isDone {
		return
	}
	x.isDone = true
	close(x.finished)
	for _, c := range x.ends {
		if c != nil {
			shut(c)
		}
	}
}

// shut says that there is no more, and gives the other end a while to say so too.
func shut(c net.Conn) {
	c.SetDeadline(time.Now().Add(finishWait))
	c.(*net.TCPConn).CloseWrite()
}

// close closes what reset has not.
func (x *pair) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.isEnded {
		return
	}
	x.isEnded = true
	close(x.ended)
	for _, c := range x.ends {
		c.Close()
	}
}

// pass passes one direction on until it has ended; what is read before a moment counts as read then.
func (x *pair) pass(from, to net.Conn, notBefore time.Time) {
	queue := make(chan piece, queued)
	var writing sync.WaitGroup
	writing.Go(func() { x.write(to, queue) })
	x.read(from, queue, notBefore)
	close(queue)
	if isDone(x.finished) {
		io.Copy(io.Discard, from) // until its end, or the deadline of finish
	}
	writing.Wait()
}

// read reads until there is no more, or the pair has ended.
func (x *pair) read(from net.Conn, queue chan<- piece, notBefore time.Time) {
	buf := make([]byte, readSize)
	for !x.hold() {
		n, err := from.Read(buf[:x.share()])
		at := time.Now()
		if at.Before(notBefore) {
			at = notBefore
		}
		p := piece{due: at.Add(x.proxy.delay), data: append([]byte(nil), buf[:n]...), err: err}
		select {
		case queue <- p:
		case <-x.ended:
			return
		case <-x.finished:
			return
		}
		if err != nil || !x.wait(x.pause(n)) {
			return
		}
	}
}

// share returns how much is read at once: of a bounded rate, what passes in 20 ms.
func (x *pair) share() int {
	if rate := x.proxy.rate.Load(); rate > 0 {
		return int(min(readSize, max(1, rate/50)))
	}
	return readSize
}

// write writes what is due.
func (x *pair) write(to net.Conn, queue <-chan piece) {
	for p := range queue {
		if !x.wait(time.Until(p.due)) || x.hold() {
			break
		}
		if len(p.data) > 0 {
			if _, err := to.Write(p.data); err != nil {
				if !isDone(x.finished) {
					x.reset() // the sender learns it as it would from its own connection
				}
				break
			}
		}
		switch {
		case p.err == nil:
		case errors.Is(p.err, io.EOF):
			to.(*net.TCPConn).CloseWrite()
		default:
			x.reset()
		}
	}
	for range queue { // the reader is not held up
	}
}

// pause returns how long n bytes take at the bound of the rate.
func (x *pair) pause(n int) time.Duration {
	rate := x.proxy.rate.Load()
	if rate == 0 {
		return 0
	}
	return time.Duration(float64(n) / float64(rate) * float64(time.Second))
}

// wait waits, and reports whether the pair goes on then.
func (x *pair) wait(d time.Duration) bool {
	if d <= 0 {
		return !isDone(x.ended) && !isDone(x.finished)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-x.ended:
	case <-x.finished:
	}
	return false
}

// hold waits while nothing passes, and reports whether the pair has ended.
func (x *pair) hold() (over bool) {
	held := x.proxy.passing()
	if held == nil {
		return false
	}
	select {
	case <-held:
		return false
	case <-x.ended:
	case <-x.finished:
	}
	return true
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
