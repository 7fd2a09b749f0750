package rtmp

import (
	"net"
	"time"
)

// silence is how long a player waits: for bytes until its first tag has come, for bytes
// afterwards, and for tags; 0 is forever.
type silence struct {
	start, read, tag time.Duration

	tags   uint64    // that have come
	paced  uint64    // tags, when pace was called last
	latest time.Time // when it was called first with so many
}

// pace says how long a read may take.
func (cc *clientConn) pace(now, since time.Time) (time.Time, error) {
	limit := cc.limit
	if limit.IsZero() {
		limit = cc.silence.limit(now, since)
	}
	if !limit.IsZero() && !now.Before(limit) {
		return limit, errNoAnswer
	}
	return limit, nil
}

// limit returns until when the next read may take, zero for as long as it likes.
func (s *silence) limit(now, since time.Time) (limit time.Time) {
	wait := s.read
	if s.tags == 0 {
		wait = s.start
	}
	if wait > 0 {
		limit = since.Add(wait)
	}
	if s.tags == 0 || s.tag <= 0 {
		return limit
	}
	if s.tags != s.paced {
		s.paced, s.latest = s.tags, now
	}
	if late := s.latest.Add(s.tag); limit.IsZero() || late.Before(limit) {
		limit = late
	}
	return limit
}

// stopBuffering makes reading give back its buffers before it waits, where that is possible. It
// is called after the opening, between two messages.
func (cc *clientConn) stopBuffering() {
	if w := newUnbuffered(cc.nc); w != nil {
		cc.armMu.Lock()
		cc.waits, cc.polled = w, w
		cc.armMu.Unlock()
	}
}

// awaitMore waits after errParked until there is something to read, or pace is to be asked again.
func (cc *clientConn) awaitMore() error {
	yields := cc.yields
	cc.spent, cc.yields = 0, false
	if yields {
		return nil
	}
	if err := cc.arm(cc.wakeAt, time.Now()); err != nil {
		return cc.readError(err)
	}
	if err := cc.waits.await(); err != nil && !isTimeout(err) {
		return cc.readError(err)
	}
	return nil
}

// gate is the connection below a client's TLS, which can be made not to wait.
type gate struct {
	net.Conn
	try *unbuffered // what reads, if it must not wait
}

// Read reads what there is, and waits for it at first.
func (g *gate) Read(p []byte) (int, error) {
	if g.try != nil {
		return g.try.TryRead(p)
	}
	return g.Conn.Read(p)
}

// NetConn returns the connection below.
func (g *gate) NetConn() net.Conn { return g.Conn }
