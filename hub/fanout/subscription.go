package fanout

import (
	"sluice/flv"
	"sluice/hub"
)

// Feed is what a viewer is served with.
type Feed struct {
	Viewer *hub.Viewer // started: its Wait has returned nil. The pool drives it from now on
	Framer hub.Framer
	Head   []byte // goes out first; nil for nothing
	Lead   Lead   // is played then, before the viewer is served; nil for nothing

	// AppendEnd appends the last bytes of a viewer whose stream ended; it may be
	// nil. It is called like Framer.AppendTags.
	AppendEnd func(dst []byte, end hub.Reason) []byte

	// Done is called once, in a goroutine of the pool, when the last byte was
	// written or given up: with the reason for which the viewer's stream ended,
	// hub.ReasonClientLeft after Subscription.Close; if the outlet closed, with
	// hub.ReasonClientLeft too where its owner or the peer did that, otherwise with
	// hub.ReasonStalled, hub.ReasonShuttingDown (Pool.Close) or
	// hub.ReasonConnection, and the connection is closed. Nothing of this feed is
	// written any more.
	Done func(end hub.Reason)

	// Quiet says that nobody reads the connection, so that the pool has to find
	// out whether the peer of a stream that sends nothing is still there. What the
	// peer sends is thrown away.
	Quiet bool
}

// Subscription is a viewer that is being served.
type Subscription struct {
	outlet *Outlet
	slot   int32      // in group.subs; the worker's own
	end    hub.Reason // guarded by outlet.mu: appendEnd was called, done follows the last byte
	dead   bool       // guarded by outlet.mu
	quiet  bool       // as in Feed
	form   uint64     // of framer, 0 before it has one; guarded by outlet.mu

	// As in Feed; nothing once the worker has let go of it.
	viewer    *hub.Viewer
	framer    hub.Framer
	appendEnd func(dst []byte, end hub.Reason) []byte
	done      func(end hub.Reason)

	leading *leading // until the lead was played; nil as a rule. Guarded by outlet.mu

	group *group

	next *Subscription // of the same outlet; guarded by outlet.mu
}

// framing is a Subscription as its viewer's hub.Stamper. It keeps the form, so that
// viewers that are given what was framed for others do not have their framers looked at:
// that of a session is several pointers away, and seldom in the processor's cache.
type framing Subscription

func (f *framing) AppendTags(dst []byte, tags []flv.Tag) []byte {
	return f.framer.AppendTags(dst, tags)
}

func (f *framing) Form() uint64 {
	if f.form == 0 {
		if s, ok := f.framer.(hub.Stamper); ok {
			f.form = s.Form()
		}
	}
	return f.form
}

func (f *framing) Stamp(framed []byte, timestamps []uint32) bool {
	return f.framer.(hub.Stamper).Stamp(framed, timestamps)
}

// Close ends the subscription before its stream does. What was written of it may
// still be on its way; Feed.Done is called when nothing more can follow.
func (s *Subscription) Close() {
	o := s.outlet
	o.mu.Lock()
	defer o.mu.Unlock()
	o.finishLocked(s, hub.ReasonClientLeft)
}
