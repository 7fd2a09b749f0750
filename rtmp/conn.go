package rtmp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sluice/rtmp/internal/chunk"
	"sluice/rtmp/internal/handshake"
)

// Bounds on a peer's Window Acknowledgement Size, in bytes. A tiny window would
// make us acknowledge acknowledgements forever, and a peer that waits for an
// acknowledgement must get one in the end.
const (
	minAckWindow = 64 << 10
	maxAckWindow = announcedWindow
)

// maxPending is how many bytes of replies are collected before they are written
// although more input is at hand.
const maxPending = 8 << 10

// conn is one RTMP connection at message level, the same at both ends: it reads
// whole messages, takes part in the protocol control of RTMP 1.0 §5.4 and §7.1.7
// by itself, and writes.
//
// Reading, and replying with queue, belong to one goroutine at a time. send,
// setOutput and interrupt may be called from any.
type conn struct {
	nc           net.Conn
	rd           *chunk.Reader
	writeTimeout time.Duration

	// pace is called before every read from nc, with how long this read has been
	// waiting. It says how long to wait for bytes, or with which error to give up;
	// a deadline of zero means forever.
	pace func(now, since time.Time) (time.Time, error)
	// charge is called for each message of the peer that makes us answer.
	charge func() error
	// bufferLength is called for SetBufferLength, with a message stream and milliseconds.
	bufferLength func(id, ms uint32) error

	// polled waits for bytes so that no goroutine has to; nil where a goroutine
	// waits. It is set once, by the goroutine that reads, with armMu held.
	polled Polled
	wakeAt time.Time // until when to wait: what pace said before errParked
	since  time.Time // since when a read has been waiting; zero after one that got bytes
	spent  int       // bytes read in this turn
	yields bool      // the turn ended although there may be more
	deaf   bool      // the turn ended until wakeAt: bytes that come do not end the wait
	held   []byte    // read from nc already; Read returns these first

	received  uint64 // bytes read from nc, handshake included
	acked     uint64 // received, as last acknowledged
	ackWindow uint64 // the peer's window, within our bounds
	bandwidth uint32 // the last window that we announced

	pending []byte // replies collected for one write
	stopped error  // what pace gave up with

	bytesIn, bytesOut atomic.Int64 // for reports
	peerAcked         atomic.Uint32

	armMu       sync.Mutex
	armed       time.Time   // nc's read deadline
	interrupted bool        // the reader was woken, where it reads nc by a read deadline in the past
	lingering   bool        // nothing interrupts the last read
	asleep      *time.Timer // of sleep, until it runs what it was given

	writeMu sync.Mutex
	out     io.Writer // where everything goes if set
	broken  error     // why nothing can be written any more: a message was cut
}

// newConn returns a connection over nc; pace and charge are to be set before it
// reads.
func newConn(nc net.Conn, writeTimeout time.Duration) *conn {
	c := &conn{
		nc:           nc,
		writeTimeout: writeTimeout,
		ackWindow:    announcedWindow,
		pace:         func(time.Time, time.Time) (time.Time, error) { return time.Time{}, nil },
		charge:       func() error { return nil },
		bufferLength: func(uint32, uint32) error { return nil },
	}
	c.rd = chunk.NewReader(c, chunk.Limits{})
	return c
}

// Read reads from the network, for handshake and chunk reader: the one place
// where this connection waits for its peer. What was queued is written first, so
// that all replies to what one read brought make one write. Where something else
// does the waiting, errParked says that there is nothing to read yet.
func (c *conn) Read(p []byte) (int, error) {
	now := time.Now()
	if c.since.IsZero() {
		c.since = now
	}
	for ; ; now = time.Now() {
		deadline, err := c.pace(now, c.since)
		if err != nil {
			c.stopped = err
			return 0, err
		}
		c.acknowledge()
		if err := c.flush(); err != nil {
			return 0, err
		}
		if len(c.held) > 0 {
			c.since = time.Time{}
			return c.readHeld(p), nil
		}
		n, err := c.receive(p, deadline, now)
		if n > 0 {
			c.since = time.Time{}
			return n, nil
		}
		if err == errParked || err != nil && !isTimeout(err) {
			return 0, err
		}
	}
}

// receive reads once from the network, waiting until the deadline.
func (c *conn) receive(p []byte, deadline, now time.Time) (n int, err error) {
	switch {
	case c.polled == nil:
		if err := c.arm(deadline, now); err != nil {
			return 0, err
		}
		n, err = c.nc.Read(p)
	case c.spent >= turnBytes:
		c.yields = true
		return 0, errParked
	default:
		n, err = c.polled.TryRead(p)
		c.spent += max(n, minRead)
		if n == 0 && err != nil && isTimeout(err) {
			c.wakeAt = deadline
			return 0, errParked
		}
	}
	c.received += uint64(max(n, 0))
	c.bytesIn.Add(int64(max(n, 0)))
	return n, err
}

// arm sets nc's read deadline. A deadline that comes earlier is kept if it is far
// enough away: it costs a wake-up now and then instead of a timer for each read.
func (c *conn) arm(deadline, now time.Time) error {
	c.armMu.Lock()
	defer c.armMu.Unlock()
	if c.interrupted {
		c.interrupted = false
		c.armed = now
		return nil // the read returns at once, and pace is called again
	}
	if !c.armed.IsZero() && !deadline.IsZero() && !c.armed.After(deadline) &&
		c.armed.Sub(now) > deadline.Sub(now)/2 {
		return nil
	}
	if c.armed.IsZero() && deadline.IsZero() {
		return nil
	}
	c.armed = deadline
	return c.nc.SetReadDeadline(deadline)
}

// interrupt makes a Read that waits call pace again, or the next one, and ends a
// sleep, or the next one.
func (c *conn) interrupt() {
	c.armMu.Lock()
	defer c.armMu.Unlock()
	if c.asleep != nil {
		c.asleep.Reset(0)
	}
	if c.lingering {
		return
	}
	c.interrupted = true
	if c.polled != nil {
		c.polled.Wake()
		return
	}
	c.nc.SetReadDeadline(past)
}

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// acknowledge queues an Acknowledgement when half a window has come in since the
// last (RTMP 1.0 §5.4.3). The sequence number is what 32 bits hold of the count.
func (c *conn) acknowledge() {
	if c.received-c.acked >= c.ackWindow/2 {
		c.acked = c.received
		c.pending = appendControl(c.pending, typeAck, uint32(c.received))
	}
}

// readMessage returns the next message that is no protocol control message. Its
// payload is valid until the next call.
func (c *conn) readMessage() (chunk.Message, error) {
	for {
		m, err := c.rd.Read()
		if err != nil {
			return chunk.Message{}, c.readError(err)
		}
		switch m.Type {
		case typeSetChunkSize, typeAbort: // the chunk reader has applied them
		case typeAck, typeUserControl, typeWindowAckSize, typeSetPeerBW:
			if err := c.control(m); err != nil {
				return chunk.Message{}, err
			}
		default:
			return m, nil
		}
	}
}

// readError returns what an error of handshake or chunk reader comes from.
func (c *conn) readError(err error) error {
	switch {
	case err == errParked:
		return err
	case c.stopped != nil:
		return c.stopped
	case errors.Is(err, chunk.ErrProtocol), errors.Is(err, handshake.ErrEncrypted), errors.Is(err, handshake.ErrNotRTMP):
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return fmt.Errorf("rtmp: reading: %w", err)
}

// control takes part in protocol control. Messages too short for what they say
// are passed over.
func (c *conn) control(m chunk.Message) error {
	p := m.Payload
	if m.Type == typeUserControl {
		return c.userControl(p)
	}
	if len(p) < 4 {
		return nil
	}
	v := binary.BigEndian.Uint32(p)
	switch m.Type {
	case typeAck:
		// Counts start anew at 0xF0000000 with some peers: not to be trusted.
		c.peerAcked.Store(v)
	case typeWindowAckSize:
		c.ackWindow = min(max(uint64(v), minAckWindow), maxAckWindow)
	case typeSetPeerBW:
		// §5.4.5: answer with the window if it is not what we said last.
		if v == c.bandwidth {
			return nil
		}
		if err := c.charge(); err != nil {
			return err
		}
		c.bandwidth = v
		return c.queue(appendControl(c.pending, typeWindowAckSize, v))
	}
	return nil
}

// userControl takes part in user control (RTMP 1.0 §7.1.7).
func (c *conn) userControl(p []byte) error {
	if len(p) < 6 {
		return nil
	}
	v := binary.BigEndian.Uint32(p[2:])
	switch event := binary.BigEndian.Uint16(p); {
	case event == eventPingRequest:
		if err := c.charge(); err != nil {
			return err
		}
		return c.queue(appendUserControl(c.pending, eventPingResponse, v))
	case event == eventSetBufferLength && len(p) >= 10:
		return c.bufferLength(v, binary.BigEndian.Uint32(p[6:]))
	}
	return nil
}

// queue makes replies, which begin with what was pending, the pending ones. They
// are written before the next read from the network.
func (c *conn) queue(replies []byte) error {
	c.pending = replies
	if len(replies) > maxPending {
		return c.flush()
	}
	return nil
}

// flush writes what is pending.
func (c *conn) flush() error {
	if len(c.pending) == 0 {
		return nil
	}
	err := c.send(c.pending)
	c.pending = c.pending[:0]
	if c.polled != nil {
		c.pending = nil // replies are rare, and it would wait with the session
	}
	return err
}

// send writes whole messages in one Write, to the output if there is one.
func (c *conn) send(messages []byte) error {
	c.writeMu.Lock()
	if out := c.out; out != nil {
		c.writeMu.Unlock()
		_, err := out.Write(messages)
		return err
	}
	defer c.writeMu.Unlock()
	if c.broken != nil {
		return c.broken
	}
	c.nc.SetWriteDeadline(time.Now().Add(c.writeTimeout))
	n, err := c.nc.Write(messages)
	c.bytesOut.Add(int64(n))
	if err != nil {
		c.broken = err
	}
	return err
}

// Write is send, for the handshake.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.send(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// setOutput replaces the way out.
func (c *conn) setOutput(w io.Writer) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	c.out = w
}

// output returns the way out, nil for the connection itself.
func (c *conn) output() io.Writer {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	return c.out
}

// linger shuts the connection's write side and reads until the peer has closed
// its own, for at most the given time: closing with unread input would reset the
// connection, and the peer might never see what was written last.
func (c *conn) linger(d time.Duration) {
	hc, ok := c.nc.(interface{ CloseWrite() error })
	if ok && hc.CloseWrite() != nil {
		return
	}
	c.armMu.Lock()
	c.lingering = true
	c.nc.SetReadDeadline(time.Now().Add(d))
	c.armMu.Unlock()
	n, _ := io.Copy(io.Discard, c.nc)
	c.bytesIn.Add(n)
}

// isTimeout reports whether err is a passed deadline, or says that nothing has come
// yet. A connection that the system gave up is neither, whatever its error says.
func isTimeout(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout() && !errors.Is(err, syscall.ETIMEDOUT)
}
