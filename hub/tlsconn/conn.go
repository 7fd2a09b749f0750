// Package tlsconn has TLS connections that need no goroutine and no buffer: the pumps of
// hub/fanout write to them and those of hub/intake read from them, as they do with plain ones.
//
// crypto/tls makes records of what is written and hands them to the connection below at once.
// Here that connection, a wire, can keep them for whoever writes to the socket:
//
//	session ──▶ fanout.Outlet ──▶ AppendRecords ──▶ tls.Conn ──▶ wire ──▶ the pump's buffer ──one write──▶ socket
//	session ◀── intake.Source ◀── TryRead ◀──────── tls.Conn ◀── wire ◀──one read── socket
//
// Until an outlet takes a connection over, and where none does (HTTP/2), it is written to and read
// from as any other, and blocks.
package tlsconn

import (
	"cmp"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// Conn is the server's end of a TLS connection whose handshake is done. It is a net.Conn with
// the contract of *tls.Conn, and besides
//
//   - a fanout.Sealer: after Direct all bytes go out by AppendRecords, and Write may not be called;
//   - an intake.Opener: TryRead reads without blocking.
//
// Reading belongs to one goroutine at a time, as writing does. net/http takes its ConnectionState
// for http.Request.TLS. It is no *tls.Conn, so HTTP/2 is not spoken on it.
type Conn struct {
	*secured
	wire    wire
	reading sync.Mutex // held during Read and TryRead
	// cipher and keys are where it has what it encrypts with, as found after the handshake.
	cipher, keys area
}

// secured lets a Conn have the methods of *tls.Conn, and not the field.
type secured = tls.Conn

// newConn returns a connection over nc whose handshake is still to be made.
func newConn(nc net.Conn, cfg *tls.Config, slots *slots) *Conn {
	c := &Conn{wire: wire{Conn: nc, slots: slots}}
	c.secured = tls.Server(&c.wire, cfg)
	return c
}

// NetConn returns the connection that carries the records.
func (c *Conn) NetConn() net.Conn { return c.wire.Conn }

// SetDeadline sets both deadlines of the connection that carries the records.
func (c *Conn) SetDeadline(t time.Time) error {
	return cmp.Or(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline sets the deadline of Read.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.wire.Conn.SetReadDeadline(t) }

// SetWriteDeadline sets the deadline for writing to the connection that carries the records. A
// Write that it ends leaves the connection of no more use.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.wire.setWriteDeadline(t) }

// Write writes p and waits until the peer has taken it.
func (c *Conn) Write(p []byte) (int, error) {
	c.wire.setWriting(true)
	defer c.wire.setWriting(false)
	return c.secured.Write(p)
}

// Read reads what the peer sent, and waits for it.
func (c *Conn) Read(p []byte) (int, error) {
	c.reading.Lock()
	n, err := c.read(p)
	c.reading.Unlock()
	c.wire.flushPending()
	return n, err
}

// TryRead reads what the peer sent. read reads the next encrypted bytes and must not block: what it
// returns as an error when there are none, which has to be a temporary net.Error, TryRead returns as
// well. While a Read is under way nothing is read.
func (c *Conn) TryRead(p []byte, read func(p []byte) (int, error)) (int, error) {
	if !c.reading.TryLock() {
		return 0, errBeingRead
	}
	c.wire.tryRead = read
	n, err := c.read(p)
	c.wire.tryRead = nil
	if n == 0 && c.wire.isDirect() { // a viewer, who has said all that there is
		trim(c.secured)
	}
	c.reading.Unlock()
	c.wire.flushPending()
	return n, err
}

// read reads records until one has data.
func (c *Conn) read(p []byte) (int, error) {
	n, err := c.secured.Read(p)
	if err == nil {
		err = c.wire.post.check()
	}
	return n, err
}

// errBeingRead says that somebody else reads.
var errBeingRead error = beingRead{}

type beingRead struct{}

func (beingRead) Error() string   { return "tlsconn: somebody else is reading" }
func (beingRead) Timeout() bool   { return true }
func (beingRead) Temporary() bool { return true }

// Direct gives the way out to the caller: from now on all that goes out is what AppendRecords and
// AppendClose append. Reading may make records too, such as the answer to a key update: these are
// Pending until one of the two was called, and flush, which must not read, is called for that.
func (c *Conn) Direct(flush func()) {
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	c.wire.direct, c.wire.flush = true, flush
}

// Pending reports whether there are records that AppendRecords was not called for.
func (c *Conn) Pending() bool {
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	return len(c.wire.records) > 0
}

// AppendRecords appends the records that hold p, behind those that are pending; p may be empty. All
// of them have to be written to NetConn, in order. It may be called by one goroutine at a time, and
// never blocks. The error says that the connection is of no more use for writing.
func (c *Conn) AppendRecords(dst, p []byte) ([]byte, error) {
	c.wire.collect(dst)
	var err error
	if len(p) > 0 {
		_, err = c.secured.Write(p)
	}
	return c.wire.collected(), err
}

// AppendClose appends the record that says that nothing follows (close_notify, RFC 8446 §6.1), if it
// has not gone out yet, and what is pending before it.
func (c *Conn) AppendClose(dst []byte) []byte {
	c.wire.collect(dst)
	c.secured.CloseWrite() // its error is that of an earlier write
	return c.wire.collected()
}

// CloseWrite tells the peer that nothing follows (close_notify).
func (c *Conn) CloseWrite() error {
	err := c.secured.CloseWrite()
	c.wire.flushPending()
	return err
}

// Close closes the connection. Without Direct the peer is told (close_notify), for which it has up
// to 5 s; after Direct that is for AppendClose.
func (c *Conn) Close() error {
	if c.wire.isDirect() {
		return c.wire.Conn.Close()
	}
	return c.secured.Close()
}
