package tlsconn

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Config sets up a Listener. TLS must be set; the rest may be zero.
type Config struct {
	// TLS is how connections are encrypted. It must not change any more. NextProtos are what the
	// server behind the listener speaks; a connection for which "acme-tls/1" was chosen (RFC 8737)
	// has served its purpose with the handshake and is closed.
	TLS *tls.Config
	// Timeout bounds a handshake from Accept to its end: 10 s if 0.
	Timeout time.Duration
	// Handshakes is how many handshakes compute at the same time: half as many as there are cores,
	// and one at least, if 0. Those that wait for their peer do not count.
	Handshakes int
	// Bound takes the place of Handshakes where several listeners share one.
	Bound Bound
	// NotTLS is told of a client that begins with something else than TLS, with its first five bytes.
	// What it returns is written to the client before the connection is closed. It may be nil.
	NotTLS func(nc net.Conn, first []byte) []byte
	// Logger gets a line for each handshake that fails, at debug level; nil discards them.
	Logger *slog.Logger
}

// Bounds of handshakes that are not made.
const (
	defaultTimeout = 10 * time.Second
	// politeTime is how long a client that does not speak TLS has to read that and to close.
	politeTime = time.Second
	// politeBytes is how much of what it sends is read meanwhile: closing with unread input would
	// reset the connection, and the client might not see the answer.
	politeBytes = 64 << 10
)

// protocolACME is what an ACME server asks for that looks at a challenge (RFC 8737 §6.2).
const protocolACME = "acme-tls/1"

// protocolHTTP2 is HTTP/2 in ALPN (RFC 9113 §3.1).
const protocolHTTP2 = "h2"

// Listener accepts TLS connections. Its methods may be called from any goroutine.
//
//	l ──▶ handshake, a goroutine each ──▶ Accept
//	             └──▶ failed, too slow: closed
//
// How many there are is for l to bound. A handshake costs more than all else that a viewer asks for,
// so only few compute at a time: the others wait, and whoever watches does not.
type Listener struct {
	net.Listener
	cfg      Config
	slots    chan struct{}
	accepted chan accepted
	closing  chan struct{} // closed by Close
	ended    chan struct{} // closed when nothing is accepted any more
	close    sync.Once
	closeErr error
	work     sync.WaitGroup

	mu    sync.Mutex
	under map[*Conn]struct{} // handshakes under way, and clients that are told why there is none; nil once the listener is closed

	done, resumed                    atomic.Int64
	timedOut, notTLS, left, rejected atomic.Int64
}

type accepted struct {
	nc  net.Conn
	err error
}

// Listen returns a listener that makes the handshakes of the connections that l accepts. It must be
// closed, and closes l.
func Listen(l net.Listener, cfg Config) *Listener {
	cfg.Timeout = cmp.Or(cfg.Timeout, defaultTimeout)
	if cfg.Bound == nil {
		cfg.Bound = NewBound(cfg.Handshakes)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.TLS = configure(cfg.TLS)
	t := &Listener{
		Listener: l,
		cfg:      cfg,
		slots:    cfg.Bound,
		accepted: make(chan accepted),
		closing:  make(chan struct{}),
		ended:    make(chan struct{}),
		under:    make(map[*Conn]struct{}),
	}
	t.work.Go(t.run)
	return t
}

// configure returns a copy of cfg whose functions are called without a slot, since they may wait for
// somebody else, and which does not divide what it sends into records smaller than what a pump writes.
func configure(cfg *tls.Config) *tls.Config {
	cfg = cfg.Clone()
	cfg.DynamicRecordSizingDisabled = true
	if certificate := cfg.GetCertificate; certificate != nil {
		cfg.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			s := slotsOf(hello.Conn)
			s.leave()
			defer s.enter()
			return certificate(hello)
		}
	}
	if config := cfg.GetConfigForClient; config != nil {
		cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			s := slotsOf(hello.Conn)
			s.leave()
			defer s.enter()
			return config(hello)
		}
	}
	return cfg
}

// Accept returns the next connection whose handshake succeeded: a *Conn, or where HTTP/2 was chosen
// ("h2") a *tls.Conn, as net/http wants it for that.
func (t *Listener) Accept() (net.Conn, error) {
	select {
	case a := <-t.accepted:
		return a.nc, a.err
	case <-t.ended:
		return nil, net.ErrClosed
	}
}

// Close closes the listener and breaks off the handshakes under way. It waits for none of their clients.
func (t *Listener) Close() error {
	t.close.Do(func() {
		close(t.closing)
		t.closeErr = t.Listener.Close()
		t.mu.Lock()
		under := t.under
		t.under = nil
		t.mu.Unlock()
		for c := range under {
			c.wire.Conn.Close()
		}
	})
	t.work.Wait()
	return t.closeErr
}

// run accepts connections until the listener is closed.
func (t *Listener) run() {
	defer close(t.ended)
	for {
		nc, err := t.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			if !t.deliver(nil, err) {
				return
			}
		default:
			t.work.Go(func() { t.serve(nc) })
		}
	}
}

// deliver hands a connection, or an error, to Accept. It reports false if nobody accepts any more.
func (t *Listener) deliver(nc net.Conn, err error) bool {
	select {
	case t.accepted <- accepted{nc, err}:
		return true
	case <-t.closing:
		return false
	}
}

// serve makes the handshake of a connection.
func (t *Listener) serve(nc net.Conn) {
	c := newConn(nc, t.cfg.TLS, &slots{all: t.slots})
	if !t.begin(c) {
		nc.Close()
		return
	}
	err := nc.SetDeadline(time.Now().Add(t.cfg.Timeout))
	if err == nil {
		err = c.handshake()
	}
	if err == nil {
		err = nc.SetDeadline(time.Time{})
	}
	if err != nil {
		t.refuse(c, err)
	}
	t.end(c)
	if err != nil {
		return
	}
	state := c.ConnectionState()
	t.done.Add(1)
	if state.DidResume {
		t.resumed.Add(1)
	}
	var ready net.Conn = c
	switch state.NegotiatedProtocol {
	case protocolACME:
		c.Close()
		return
	case protocolHTTP2:
		c.wire.setWriting(true) // by net/http, from now on
		c.wire.setWriting(true) // for good: its writes don't come by way of Conn
		ready = c.secured
	}
	if !t.deliver(ready, nil) {
		nc.Close()
	}
}

// handshake makes the handshake of a new connection.
func (c *Conn) handshake() error {
	c.wire.slots.enter()
	err := c.secured.HandshakeContext(context.Background()) // which the deadline bounds
	c.wire.slots.leave()
	c.wire.slots = nil
	if err == nil {
		trim(c.secured)
		c.cipher, c.keys = outgoing(c.secured)
		c.wire.post = postOf(c.secured)
	}
	return err
}

// begin notes a handshake, if the listener is not closed.
func (t *Listener) begin(c *Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.under == nil {
		return false
	}
	t.under[c] = struct{}{}
	return true
}

func (t *Listener) end(c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.under, c)
}

// refuse closes a connection whose handshake failed.
func (t *Listener) refuse(c *Conn, err error) {
	nc := c.wire.Conn
	defer nc.Close()
	t.count(err)
	t.cfg.Logger.Debug("TLS handshake failed", "remote", nc.RemoteAddr().String(), "reason", err)
	header, ok := errors.AsType[tls.RecordHeaderError](err)
	if !ok || header.Conn == nil || t.cfg.NotTLS == nil {
		return
	}
	answer := t.cfg.NotTLS(nc, header.RecordHeader[:])
	if len(answer) == 0 {
		return
	}
	nc.SetDeadline(time.Now().Add(politeTime))
	if _, err := nc.Write(answer); err != nil {
		return
	}
	if half, ok := nc.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		io.CopyN(io.Discard, nc, politeBytes)
	}
}

func (t *Listener) count(err error) {
	failed := &t.rejected
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		failed = &t.timedOut
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		failed = &t.left
	default:
		if header, ok := errors.AsType[tls.RecordHeaderError](err); ok && header.Conn != nil {
			failed = &t.notTLS
		}
	}
	failed.Add(1)
}

// Figures are what became of handshakes.
type Figures struct {
	Pending  int64 // under way, or the client is being told why there is none
	Done     int64 // succeeded, those of Resumed among them
	Resumed  int64 // succeeded by a session ticket, at a fraction of the cost
	TimedOut int64 // took longer than Config.Timeout
	NotTLS   int64 // began with something else than TLS
	Left     int64 // the client closed the connection first, or it was closed here
	Rejected int64 // anything else: no common version or cipher, no certificate for the name, broken records
}

// Plus returns the sums of two Figures, those of several listeners.
func (f Figures) Plus(other Figures) Figures {
	return Figures{
		Pending: f.Pending + other.Pending, Done: f.Done + other.Done, Resumed: f.Resumed + other.Resumed,
		TimedOut: f.TimedOut + other.TimedOut, NotTLS: f.NotTLS + other.NotTLS,
		Left: f.Left + other.Left, Rejected: f.Rejected + other.Rejected,
	}
}

// Figures returns the figures of now.
func (t *Listener) Figures() Figures {
	t.mu.Lock()
	pending := len(t.under)
	t.mu.Unlock()
	return Figures{
		Pending: int64(pending), Done: t.done.Load(), Resumed: t.resumed.Load(),
		TimedOut: t.timedOut.Load(), NotTLS: t.notTLS.Load(), Left: t.left.Load(), Rejected: t.rejected.Load(),
	}
}
