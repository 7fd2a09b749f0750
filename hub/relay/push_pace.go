package relay

import (
	"time"

	"sluice/hub"
)

// pushPace measures how far a push is behind. Packets tell their stream time and not when they came:
// the newest one at a moment at which nothing else is due says how the two clocks stand. now is the
// time since the connection was made.
type pushPace struct {
	offset time.Duration // of now to stream time, for a packet that has just come
	known  bool
	inTime bool          // it has not been far behind
	since  time.Duration // since then
}

// join says that what is read next is of a stream whose clock is another.
func (p *pushPace) join() { p.known = false }

// read takes note of what is about to be written, and returns the newest stream time in it. edge
// says that nothing else is due.
func (p *pushPace) read(b *hub.ReadBatch, edge bool, now time.Duration) (newest int64) {
	newest = b.Packets[len(b.Packets)-1].Time
	if offset := now - time.Duration(newest)*time.Millisecond; edge || !p.known || offset < p.offset {
		p.offset, p.known = offset, true
	}
	return newest
}

// wrote returns how far behind the packets up to a stream time are, when they have been written.
func (p *pushPace) wrote(newest int64, now time.Duration) time.Duration {
	behind := max(0, now-time.Duration(newest)*time.Millisecond-p.offset)
	switch {
	case behind > pushBehind:
		p.inTime = false
	case !p.inTime:
		p.inTime, p.since = true, now
	}
	return behind
}

// unsteady notes that it was far behind.
func (p *pushPace) unsteady() { p.inTime = false }

// steady reports whether it has not been far behind for some time.
func (p *pushPace) steady(now time.Duration) bool { return p.inTime && now-p.since >= pushSteady }

// pushAcks finds out whether what is written is acknowledged. How many bytes a tag takes on the wire
// is not known, only that it is no fewer than its body: so the bodies written less what is
// outstanding rise only if something was acknowledged.
type pushAcks struct {
	most  int64     // what that was
	live  bool      // something was acknowledged, and less than pushStale ago
	ever  bool      // something was
	since time.Time // when live began
	fresh time.Time // when something was acknowledged last, or nothing was outstanding; at the earliest the first look
}

// look looks at a sink: so many bytes of bodies were written, and a write has been under way for
// so long.
func (a *pushAcks) look(s interface{ Unacknowledged() (int, bool) }, written uint64, blocked time.Duration, now time.Time) {
	outstanding, known := s.Unacknowledged()
	value := int64(written)
	if known {
		value -= int64(outstanding)
	}
	progress := value > a.most || blocked == 0 && (!known || outstanding == 0)
	a.most = max(a.most, value)
	if a.fresh.IsZero() { // what is there to look at may all be on its way
		a.fresh = now
	}
	switch {
	case written == 0:
		a.fresh = now
	case progress:
		a.fresh, a.ever = now, true
		if !a.live {
			a.live, a.since = true, now
		}
	case now.Sub(a.fresh) >= pushStale:
		a.live = false
	}
}

// healthy reports whether media have been acknowledged for some seconds.
func (a *pushAcks) healthy(now time.Time) bool { return a.live && now.Sub(a.since) >= pushHealthy }

// stale returns for how long nothing has been acknowledged though something was sent, 0 if less than
// pushStale.
func (a *pushAcks) stale(now time.Time) time.Duration {
	if silent := now.Sub(a.fresh); silent >= pushStale {
		return silent
	}
	return 0
}
