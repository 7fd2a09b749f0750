// Package proxied finds out the addresses of clients who come through proxies: by the PROXY
// protocol, versions 1 and 2, which a connection begins with, and by the X-Forwarded-For of
// HTTP. Only addresses that are trusted are believed.
package proxied

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"sluice/hub/rawconn"
)

// Config says which peers are proxies. Its zero value trusts nobody.
type Config struct {
	// Trusted reports whether the peer at an address is a proxy; nil is nobody. The address
	// is unmapped and has no zone. Trusted may be called by several goroutines at a time,
	// for each connection anew.
	Trusted func(netip.Addr) bool
	// Logger gets a line for each connection that is refused, at debug level, and a warning
	// now and then; nil discards them.
	Logger *slog.Logger
}

// Bounds on PROXY headers that are being read.
const (
	// headerTimeout is how long a proxy has to send its header, from when it is waited for.
	// It is meant to come in one piece, with the connection.
	headerTimeout = 2 * time.Second
	// maxHeaders is how many connections of a listener may be read from at a time. As a rule
	// a header has come when the connection is accepted, and such a one does not count.
	maxHeaders = 64
	// slowHeader is how long the header of a connection may take before it has to make room
	// for the next one, where there are maxHeaders.
	slowHeader = 100 * time.Millisecond
	// warnEvery is the time from one warning to the next.
	warnEvery = 10 * time.Second
)

// Files is how many connections a listener has open at the most that Accept has not returned.
const Files = maxHeaders + 1

// Listen returns a listener that accepts the connections of l. Those from trusted addresses
// must begin with a PROXY header, which is taken off; their RemoteAddr is then the client's
// address, unless the header tells none. From all others nothing is read: a PROXY header of
// theirs reaches the server as the beginning of what they say, and neither RTMP, whose
// first byte is 3, nor HTTP, whose first line is neither empty nor a method PROXY with a
// version that is none, begins in such a way. So does a second header of a proxy.
//
// What is read is the header and not a byte more, so that a connection is good for raw
// reads and writes (see admission.Proxied). No header keeps Accept waiting: one that has not
// come yet is read by a goroutine. The listener must be closed; Close closes l and what is
// being read, and returns when all is over.
func Listen(l net.Listener, cfg Config) net.Listener {
	if cfg.Trusted == nil {
		cfg.Trusted = func(netip.Addr) bool { return false }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &listener{
		Listener: l,
		cfg:      cfg,
		accepted: make(chan accepted),
		slots:    make(chan struct{}, maxHeaders),
		closing:  make(chan struct{}),
		ended:    make(chan struct{}),
	}
	p.work.Go(p.run)
	return p
}

// listener accepts connections in one goroutine, and reads headers that take a while in
// others.
//
//	l ──▶ from a stranger ───────────────────────────────────┐
//	 └──▶ from a proxy ──▶ header has come ──────────────────┼──▶ Accept
//	                  └──▶ not yet: a slot, a goroutine ──▶ it comes
//	                                          └──▶ refused: closed
type listener struct {
	net.Listener
	cfg      Config
	accepted chan accepted
	slots    chan struct{} // one for each goroutine that reads or waits for Accept
	closing  chan struct{} // closed by Close
	ended    chan struct{} // closed when nothing is accepted any more
	close    sync.Once
	closeErr error
	work     sync.WaitGroup

	mu       sync.Mutex
	reading  []*arrival // the oldest first; nothing is added once closing is closed
	refused  int        // since the last warning
	warnedAt time.Time
}

// accepted is what Accept returns.
type accepted struct {
	nc  net.Conn
	err error
}

// arrival is a connection whose header is being read.
type arrival struct {
	nc     net.Conn
	since  time.Time // when a goroutine began to read it
	header header
}

// Accept returns the next connection whose header has been read, or that needs none.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case a := <-l.accepted:
		return a.nc, a.err
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

// Close closes the listener.
func (l *listener) Close() error {
	l.close.Do(func() {
		close(l.closing)
		l.closeErr = l.Listener.Close()
		l.mu.Lock()
		reading := slices.Clone(l.reading)
		l.mu.Unlock()
		for _, a := range reading {
			a.nc.Close()
		}
	})
	l.work.Wait()
	return l.closeErr
}

// run accepts connections until the listener is closed.
func (l *listener) run() {
	defer close(l.ended)
	for {
		nc, err := l.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil || !l.trusts(nc):
			l.deliver(nc, err)
		default:
			l.arrive(&arrival{nc: nc})
		}
	}
}

// trusts reports whether a connection is from a proxy.
func (l *listener) trusts(nc net.Conn) bool {
	tcp, ok := nc.RemoteAddr().(*net.TCPAddr)
	return ok && l.cfg.Trusted(tcp.AddrPort().Addr().Unmap().WithZone(""))
}

// deliver hands a connection to Accept, or closes it if nobody accepts any more.
func (l *listener) deliver(nc net.Conn, err error) {
	select {
	case l.accepted <- accepted{nc, err}:
	case <-l.closing:
		if nc != nil {
			nc.Close()
		}
	}
}

// arrive takes the header off a connection: at once if it has come, and else in a
// goroutine.
func (l *listener) arrive(a *arrival) {
	whole, err := a.readNow()
	switch {
	case err != nil:
		l.refuse(a, err)
	case whole:
		l.finish(a)
	case l.begin(a):
		l.work.Go(func() {
			defer func() { <-l.slots }()
			l.wait(a)
		})
	default:
		a.nc.Close() // the listener is closed
	}
}

// readNow reads what has come of the header.
func (a *arrival) readNow() (whole bool, err error) {
	a.header = make(header, 0, maxV1)
	sc, ok := a.nc.(syscall.Conn)
	if !ok || !rawconn.Supported {
		return false, nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false, err
	}
	return a.header.read(func(p []byte) (int, error) { return rawconn.TryRead(raw, p) })
}

// begin waits for a slot, for which a connection that is slow has to go, and takes it. It
// reports false if the listener is closed.
func (l *listener) begin(a *arrival) bool {
	for {
		select {
		case l.slots <- struct{}{}:
			return l.beginReading(a)
		default:
		}
		again := time.NewTimer(l.dropSlow())
		select {
		case l.slots <- struct{}{}:
			again.Stop()
			return l.beginReading(a)
		case <-l.closing:
			again.Stop()
			return false
		case <-again.C:
		}
	}
}

func (l *listener) beginReading(a *arrival) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.closing:
		<-l.slots
		return false
	default:
	}
	a.since = time.Now()
	l.reading = append(l.reading, a)
	return true
}

// dropSlow closes the connection that has been read from for the longest, if that is too
// long, and returns when it is worth another try.
func (l *listener) dropSlow() time.Duration {
	l.mu.Lock()
	if len(l.reading) == 0 { // all wait for Accept
		l.mu.Unlock()
		return headerTimeout
	}
	oldest := l.reading[0]
	left := slowHeader - time.Since(oldest.since)
	if left > 0 {
		l.mu.Unlock()
		return left
	}
	l.reading = slices.Delete(l.reading, 0, 1)
	l.mu.Unlock()
	oldest.nc.Close()
	return slowHeader
}

// wait reads the rest of a header.
func (l *listener) wait(a *arrival) {
	err := a.nc.SetReadDeadline(a.since.Add(headerTimeout))
	if err == nil {
		var whole bool
		if whole, err = a.header.read(a.nc.Read); err == nil && !whole {
			err = io.ErrNoProgress
		}
	}
	if err == nil {
		err = a.nc.SetReadDeadline(time.Time{})
	}
	l.mu.Lock()
	if i := slices.Index(l.reading, a); i >= 0 {
		l.reading = slices.Delete(l.reading, i, i+1)
	}
	l.mu.Unlock()
	if err != nil {
		l.refuse(a, err)
		return
	}
	l.finish(a)
}

// finish hands a connection whose header has been read to Accept.
func (l *listener) finish(a *arrival) {
	client, err := a.header.client()
	switch {
	case err != nil:
		l.refuse(a, err)
	case client == nil:
		l.deliver(a.nc, nil)
	default:
		l.deliver(newConn(a.nc, client), nil)
	}
}

// refuse closes a connection. Who connects and says nothing, as checks of health do, is no
// reason for a warning.
func (l *listener) refuse(a *arrival, err error) {
	a.nc.Close()
	l.cfg.Logger.Debug("connection of a proxy refused", "remote", a.nc.RemoteAddr().String(), "reason", err)
	if len(a.header) == 0 && errors.Is(err, io.EOF) {
		return
	}
	l.mu.Lock()
	l.refused++
	count, due := l.refused, time.Since(l.warnedAt) >= warnEvery
	if due {
		l.refused, l.warnedAt = 0, time.Now()
	}
	l.mu.Unlock()
	if due {
		l.cfg.Logger.Warn("connections of trusted proxies refused, for want of a right PROXY header",
			"count", count, "remote", a.nc.RemoteAddr().String(), "reason", err)
	}
}
