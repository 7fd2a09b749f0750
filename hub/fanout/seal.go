package fanout

import (
	"errors"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"sluice/hub"
	"sluice/hub/rawconn"
)

// Sealer is a connection that encrypts what goes out, and can be written to directly all the same: an
// outlet has it make records (TLS), and writes them to the connection below. So an encrypted viewer
// needs no goroutine either, and a pass makes one write for it.
type Sealer interface {
	Conn
	// NetConn returns the connection that carries the records.
	NetConn() net.Conn
	// Direct gives the way out to the outlet: what goes out from now on is what the methods below
	// append. flush is called when there is something Pending that nobody wrote, such as an answer to
	// the peer.
	Direct(flush func())
	Pending() bool
	// AppendRecords appends p, encrypted, behind what is pending.
	AppendRecords(dst, p []byte) ([]byte, error)
	// AppendClose appends what tells the peer that nothing follows.
	AppendClose(dst []byte) []byte
	// Fetch brings into the processor's cache what AppendRecords will look at. It may be called at any
	// time by anybody.
	Fetch()
}

// sealing is what an outlet has of a Sealer. Records belong to one connection, so what was encrypted
// and not taken can't be shared as a large frame can. Hence little is encrypted ahead: what follows
// waits in the clear, as it does for other outlets.
type sealing struct {
	Sealer
	rest []byte // records that go out before anything else; empty while flowing. Of the goroutine while draining
	busy bool   // the goroutine of a draining outlet is writing; guarded by Outlet.mu
}

const (
	// sealSlice is how much is encrypted ahead of what the connection has taken, in bytes of what is
	// sent: two records, if it is as much.
	sealSlice = 32 << 10
	// closeTimeout is how long a connection has to take the last record.
	closeTimeout = time.Second
)

// records are buffers for what is encrypted and written at once.
var records = sync.Pool{New: func() any { return new([]byte) }}

// sealerOf returns the Sealer among a connection and those inside it, nil for none.
func sealerOf(c any) Sealer {
	for {
		if s, ok := c.(Sealer); ok {
			return s
		}
		outer, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		c = outer.NetConn()
	}
}

// rawOf returns the descriptor's side of a connection that lets its bytes through unchanged, or of that
// which carries a Sealer's records; nil where there is none to write to.
func rawOf(c any, s Sealer) syscall.RawConn {
	if s != nil {
		c = s.NetConn()
	}
	sc, ok := c.(syscall.Conn)
	if !ok || !rawconn.Supported {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// sendSealedLocked is sendLocked for a Sealer. p may be empty: then what is pending is sent.
func (o *Outlet) sendSealedLocked(b *hub.Batch, p []byte) bool {
	n, err := o.trySealed(p, true)
	if err != nil {
		o.closeLocked(err)
		return false
	}
	if n == len(p) && len(o.seal.rest) == 0 {
		return true
	}
	o.becomeDrainingLocked(b, p, n)
	return false
}

// trySealed encrypts p and writes it, until the connection takes no more. It returns how much of p was
// encrypted: what was not taken of that is o.seal.rest, which is empty before. The goroutine of a
// draining outlet calls it without the lock.
func (o *Outlet) trySealed(p []byte, locked bool) (n int, err error) {
	buf := records.Get().(*[]byte)
	defer records.Put(buf)
	for {
		slice := p[n:min(len(p), n+sealSlice)]
		*buf, err = o.seal.AppendRecords((*buf)[:0], slice)
		if err != nil {
			return n, err
		}
		n += len(slice)
		took := 0
		switch {
		case len(*buf) == 0:
		case locked:
			took, err = o.trySend(*buf)
		default: // without the lock the descriptor is not lent
			took, err = rawconn.TrySend(o.raw, *buf)
		}
		if err != nil {
			return n, err
		}
		if took < len(*buf) {
			o.seal.rest = slices.Clone((*buf)[took:])
			return n, nil
		}
		if n == len(p) {
			return n, nil
		}
	}
}

// writeSealed is writeDirectly for a Sealer: what is left of records, and then p.
func (o *Outlet) writeSealed(p []byte, c *congestion) error {
	if len(o.seal.rest) > 0 {
		if err := o.writeDirectly(o.seal.rest, len(p), c); err != nil {
			return err
		}
		o.seal.rest = nil
	}
	for {
		slice := p[:min(len(p), sealSlice)]
		p = p[len(slice):]
		buf := records.Get().(*[]byte)
		var err error
		if *buf, err = o.seal.AppendRecords((*buf)[:0], slice); err == nil {
			err = o.writeDirectly(*buf, len(p), c)
		}
		records.Put(buf)
		if err != nil || len(p) == 0 {
			return err
		}
	}
}

// flushSealed writes what a Sealer has made by itself.
func (o *Outlet) flushSealed() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state == flowing { // a draining outlet will come to it
		o.sendLocked(nil, nil)
	}
}

// unsentLocked reports whether there are records that the goroutine of a draining outlet has to write
// before anything else.
func (s *sealing) unsentLocked() bool { return s != nil && (len(s.rest) > 0 || s.Pending()) }

// setBusyLocked notes whether that goroutine is writing.
func (s *sealing) setBusyLocked(busy bool) {
	if s != nil {
		s.busy = busy
	}
}

// lastLocked returns the record that tells the peer of an outlet which closes with err that nothing
// follows: nil if it would follow the beginning of another, or if the outlet did not close because its
// owner wanted it. Then the peer learns that something is missing.
func (o *Outlet) lastLocked(err error) []byte {
	s := o.seal
	if s == nil || s.busy || len(s.rest) > 0 || !errors.Is(err, net.ErrClosed) {
		return nil
	}
	record := s.AppendClose(nil)
	if len(record) == 0 {
		return nil
	}
	n, err := o.trySend(record)
	if err != nil {
		return nil
	}
	return record[n:]
}

// sendLast writes what lastLocked left.
func (o *Outlet) sendLast(record []byte) {
	deadline := time.Now().Add(closeTimeout)
	for len(record) > 0 && o.conn.SetWriteDeadline(deadline) == nil {
		n, err := rawconn.SendWhenReady(o.raw, record)
		if err != nil {
			return
		}
		record = record[n:]
	}
}
