package fanout

import (
	"sync"
	"time"

	"sluice/hub"
)

// A Lead is what a viewer is given before it is served from its stream's log, such as a part
// of the stream's recording. Its methods are called by one goroutine, which may block in
// them; no lock is held meanwhile.
type Lead interface {
	// Next appends the next piece in f's form to dst, and says after how long to go on. over
	// says that nothing follows the piece: the viewer goes on in the log, where the lead has put
	// it. A piece should be small; it is written out before Next is called again.
	Next(dst []byte, f hub.Framer) (piece []byte, wait time.Duration, over bool)
	// Close lets go of everything. It is called once, also before an end of the lead.
	Close()
}

// leading is a Subscription that has a lead before it.
//
//	Attach ─▶ played by a goroutine ─▶ served by the pool
//	             │ Close, outlet closed
//	             ▼
//	           dead; Feed.Done follows when the goroutine has ended
type leading struct {
	lead  Lead
	stop  chan struct{} // closed when the subscription is dead
	ended chan struct{} // closed when the goroutine writes nothing any more
}

// pieces are buffers for pieces of leads.
var pieces = sync.Pool{New: func() any { return new([]byte) }}

// maxPiece is the largest buffer that is kept for further pieces, in bytes.
const maxPiece = 256 << 10

// playLead writes a subscription's lead, behind head, and then lets the pool serve it.
func (o *Outlet) playLead(sub *Subscription, l *leading, viewer *hub.Viewer, f hub.Framer, head []byte) {
	defer close(l.ended)
	defer l.lead.Close()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for over := false; !over; {
		buf := pieces.Get().(*[]byte)
		piece, wait, last := l.lead.Next(append((*buf)[:0], head...), f)
		over = last
		sent := o.sendPiece(sub, l, piece)
		viewer.Sent(len(piece) - len(head))
		head = nil
		if cap(piece) <= maxPiece {
			*buf = piece
			pieces.Put(buf)
		}
		if !sent {
			return
		}
		if wait > 0 && !over {
			pause.Reset(wait)
			select {
			case <-pause.C:
			case <-l.stop:
				return
			}
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if sub.dead {
		return
	}
	sub.leading = nil
	switch o.state {
	case flowing:
		b := batches.Get().(*hub.Batch)
		b.Bytes = b.Bytes[:0]
		o.serveLocked(sub, b, drainLimit)
		putBatch(b)
	case draining:
		o.wakeDrainLocked()
	}
}

// sendPiece writes p, in order with whatever else goes through the outlet, and waits until
// the connection has taken it. It reports false when the subscription is dead. The outlet's
// own goroutine judges a peer that takes nothing.
func (o *Outlet) sendPiece(sub *Subscription, l *leading, p []byte) bool {
	isDead := func(send []byte) bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		if !sub.dead && len(send) > 0 {
			o.sendMediaLocked(send)
		}
		return sub.dead
	}
	if isDead(p) {
		return false
	}
	select {
	case <-o.Drained():
	case <-l.stop:
	}
	return !isDead(nil)
}
