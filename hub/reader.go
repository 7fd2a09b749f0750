package hub

import (
	"context"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"sluice/flv"
)

// ReadOptions says where a reader begins, and what becomes of one that is slow.
type ReadOptions struct {
	// FromSession begins with the first packet of the present publish session, or of the
	// last one, or with the oldest of it that the log still holds: within its first two
	// seconds nothing is missing, unless these have more than a megabyte. Otherwise a
	// reader begins with the newest key frame.
	FromSession bool
	// From is the packet (Packet.Seq) to begin with, if the log holds it, or will as the next one; else
	// the reader begins with the newest key frame. nil for that.
	From *uint64
	// Lag says what happens to a reader that falls behind.
	Lag LagPolicy
	// Budget bounds what logs keep for readers with LagBudget. It may be shared by many.
	Budget *Budget
	// Shape is the form in which tags are given; nil for as they were sent.
	Shape *flv.Shape
	// Gather is how many bytes of packets have to be due before Ready tells of them; with 0
	// it tells of each. Read gives what there is at any time.
	Gather int64
}

// LagPolicy is what becomes of a reader that falls behind.
type LagPolicy uint8

const (
	// LagJump lets it jump to the newest key frame, as viewers do, when its next packet
	// arrived more than Config.MaxLag before the newest one, or, until it has caught up,
	// longer before than that with which it began.
	LagJump LagPolicy = iota
	// LagEnd ends it then, with ReasonStalled.
	LagEnd
	// LagBudget has the log keep what it has not read, beyond what the log keeps for
	// viewers, within ReadOptions.Budget. What the budget has no room for is lost, and
	// the reader goes on with the oldest key frame that is left.
	LagBudget
)

// Reader is a cursor that is no audience: it is given copies of the tags, everything as it
// was sent, counts in no limit and no figure, and keeps no stream waiting. Recordings,
// pushes and other nodes are readers.
//
// One goroutine at a time calls Read. The other methods may be called from any goroutine
// at any time.
type Reader struct {
	stream *Stream
	opts   ReadOptions
	news   chan struct{} // capacity 1
	told   atomic.Bool   // news holds something, or is about to

	// Guarded by stream.mu: as the cursor's own fields.
	cursor
	passed  int64 // cost of all packets before next, since the stream began (log.shedCost)
	charged int64 // of the budget
	cut     bool  // the budget had no room: the log is not kept for it
	lead    int64 // by how much its packets may be older than MaxLag allows, in ms (startPlan.lead)
	closed  bool
	resumes bool // it begins at from
	from    uint64
	first   bool // its next packet is the First of something

	// enough is the cost of all packets up to which it is not worth a word (log.cost), by
	// ReadOptions.Gather.
	enough atomic.Int64
}

// maxReadData is the largest memory for data that a batch keeps, in bytes.
const maxReadData = 1 << 20

// Read makes a reader of a stream that is published, or was a moment ago. It must be
// closed. The error is a *Refusal with ReasonNotFound, or ReasonShuttingDown.
func (h *Hub) Read(key Key, opts ReadOptions) (*Reader, error) {
	h.mu.Lock()
	s, closing := h.streams[key], h.closing
	h.mu.Unlock()
	switch {
	case closing:
		return nil, errShuttingDown
	case s == nil:
		return nil, refuse(ReasonNotFound, "nobody publishes %s", key)
	}
	r := &Reader{stream: s, opts: opts, news: make(chan struct{}, 1)}
	r.scriptData, r.shape = true, flv.Shape{Form: flv.FormAsSent}
	if opts.Shape != nil {
		r.shape = *opts.Shape
	}
	r.begun, r.base = true, math.MinInt64
	err := refuse(ReasonNotFound, "nobody publishes %s", key)
	s.update(func() {
		if s.state != stateLive && s.state != stateGrace {
			return
		}
		err = nil
		r.next = max(s.lead, s.log.tail)
		if from := opts.From; from != nil && *from >= s.log.tail && *from <= s.log.head {
			r.next, r.from, r.resumes = *from, *from, true
		}
		r.passed = s.log.costBefore(r.next)
		s.readers = append(s.readers, r)
		s.wakers = append(slices.Clip(s.wakers), r)
		s.holdLocked(r.next)
	})
	if err != nil {
		return nil, err
	}
	r.tell()
	return r, nil
}

// Key returns the stream that is read.
func (r *Reader) Key() Key { return r.stream.key }

// Life returns the number of the stream that is read, which no other one of the hub has, nor had: when it has
// ended and somebody publishes its name again, that is another one, with a log of its own.
func (r *Reader) Life() uint64 { return r.stream.number }

// Resumes reports whether the reader begins with ReadOptions.From.
func (r *Reader) Resumes() bool { return r.resumes }

// Ready returns a channel that gives something when Read may have something, or an end,
// that it did not have when it was called last.
func (r *Reader) Ready() <-chan struct{} { return r.news }

// Wait waits for Ready or the end of ctx, whose error it then returns.
func (r *Reader) Wait(ctx context.Context) error {
	select {
	case <-r.news:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Wake implements Waker.
func (r *Reader) Wake() {
	if r.opts.Gather > 0 && !r.told.Load() && !r.gathered() {
		return
	}
	r.tell()
}

// gathered reports whether there is as much as the reader waits for, or an end.
func (r *Reader) gathered() bool {
	s := r.stream
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.log.cost >= r.enough.Load() || s.state == stateEnded || r.closed
}

// tell says that Read has something.
func (r *Reader) tell() {
	if !r.told.Swap(true) {
		select {
		case r.news <- struct{}{}:
		default:
		}
	}
}

// Dropped returns how many packets the reader was not given because it was slow.
func (r *Reader) Dropped() uint64 { return r.dropped.Load() }

// Close ends the reader. Only the first call has an effect. A Read under way goes on to its
// end, and later ones return ReasonClientLeft.
func (r *Reader) Close() {
	s := r.stream
	s.update(func() {
		if r.closed {
			return
		}
		r.closed = true
		r.chargeLocked(0)
		s.readers = slices.DeleteFunc(s.readers, func(other *Reader) bool { return other == r })
		s.wakers = slices.DeleteFunc(slices.Clone(s.wakers), func(w Waker) bool { return w == Waker(r) })
		if s.state != stateEnded && s.log.tail < s.log.head {
			s.trimLocked() // the publisher may be silent for long
		}
	})
	r.tell()
}

// Read fills the batch with packets that follow those of the last one, up to about limit
// bytes of data, but at least one if there is any. It does not block: where nothing is due
// the batch is empty. end says that nothing follows these packets, and why.
func (r *Reader) Read(b *ReadBatch, limit int) (end Reason) {
	b.Packets, b.Lost, b.data = b.Packets[:0], 0, b.data[:0]
	if cap(b.data) > maxReadData {
		b.data = nil
	}
	select {
	case <-r.news: // for what is read now
	default:
	}
	r.told.Store(false) // after that: one that comes between is for what is read now, too
	s := r.stream
	s.mu.RLock()
	defer s.mu.RUnlock()
	defer b.batch.Forget()
	defer func() { r.enough.Store(r.passed + r.opts.Gather) }()
	switch {
	case r.closed:
		return ReasonClientLeft
	case !r.startLocked():
		if s.state == stateEnded {
			return s.reason
		}
		return ReasonNone
	}
	if lost, stalled := r.catchUpLocked(); stalled {
		return ReasonStalled
	} else if lost > 0 {
		b.Lost = lost
		r.dropped.Add(lost)
	}
	l := &s.log
	for size := 0; r.next < l.head && size < limit; {
		size += r.readLocked(b, l)
	}
	r.rechargeLocked()
	if r.next < l.head {
		r.tell()
		return ReasonNone
	}
	r.lead = 0
	if s.state == stateEnded {
		return s.reason
	}
	return ReasonNone
}

// startLocked settles where the reader begins, when it is known what the stream has.
func (r *Reader) startLocked() bool {
	s := r.stream
	switch {
	case r.started:
		return true
	case r.resumes: // as one would that had never ended
	case s.state == stateEnded && r.opts.FromSession: // a short session: all of it
	case !s.session.decided:
		return false
	case r.opts.FromSession:
	case !s.log.hasGOP:
		return false
	default:
		r.moveLocked(max(r.next, s.log.gop))
	}
	r.started, r.needKey = true, !r.opts.FromSession && !r.resumes
	if l := &s.log; l.tail <= r.next && r.next < l.head {
		r.lead = l.newest().arrived - l.at(r.next).arrived
	}
	return true
}

// moveLocked puts the reader at a packet ahead.
func (r *Reader) moveLocked(seq uint64) {
	r.next = seq
	r.passed = r.stream.log.costBefore(seq)
}

// catchUpLocked moves a reader that is too far behind, and returns how many packets it
// lost by that.
func (r *Reader) catchUpLocked() (lost uint64, stalled bool) {
	l := &r.stream.log
	if r.next >= l.head {
		return 0, false
	}
	gone := r.next < l.tail
	late := false
	if !gone && r.opts.Lag != LagBudget {
		lag := l.newest().arrived - l.at(r.next).arrived
		late = lag > r.stream.hub.cfg.MaxLag.Milliseconds()+r.lead
		r.lead = min(r.lead, lag)
	}
	to := r.next
	switch {
	case !gone && !late:
		return 0, false
	case r.opts.Lag == LagEnd:
		return 0, true
	case r.opts.Lag == LagBudget:
		if to = l.tail; len(l.keys) > 0 && l.at(l.tail).kind == flv.TypeVideo {
			to = l.keys[0]
		}
	case l.hasGOP && l.gop > r.next:
		to = l.gop
	case gone:
		to = l.tail
	}
	if to == r.next {
		return 0, false
	}
	lost = to - r.next
	r.needKey, r.cut = true, false
	r.moveLocked(to)
	return lost, false
}

// wantsKept reports whether the log is kept for the reader from packet seq on.
func (r *Reader) wantsKept(seq uint64) bool {
	return r.opts.Lag == LagBudget && !r.cut && r.next <= seq
}

// lentLocked returns about how many bytes the log holds for the reader, and for no viewer.
func (r *Reader) lentLocked() int64 { return max(0, r.stream.log.shedCost-r.passed) }

// rechargeLocked charges the reader's budget for what is left after a Read. A reader that
// was cut may go on with what is still there, which goes with the next packet and is not
// charged; if that was all, the log is kept for it again.
func (r *Reader) rechargeLocked() {
	if r.opts.Lag != LagBudget {
		return
	}
	lent := r.lentLocked()
	if lent == 0 {
		r.cut = false
	}
	if !r.cut {
		r.chargeLocked(lent)
	}
}

// chargeLocked charges the reader's budget with so many bytes.
func (r *Reader) chargeLocked(bytes int64) {
	if bytes != r.charged {
		r.opts.Budget.used(bytes-r.charged, (bytes > 0) != (r.charged > 0))
		r.charged = bytes
	}
}

// reviewReadersLocked charges readers with what the log holds for them by now, and cuts
// those for whom there is no room.
func (s *Stream) reviewReadersLocked() {
	for _, r := range s.readers {
		if r.opts.Lag != LagBudget || r.cut {
			continue
		}
		r.chargeLocked(r.lentLocked())
		if !r.opts.Budget.allows(r.charged) {
			r.cut = true
			r.chargeLocked(0)
		}
	}
}

// keptLocked reports whether a reader still needs packet seq, which nobody else does; a
// reader that comes a little after the beginning of the session, too.
func (s *Stream) keptLocked(seq uint64) bool {
	if s.session.lastWrite.Sub(s.session.since) < sessionLead && seq >= s.lead &&
		s.log.lent <= maxSessionLead && s.log.memory() <= s.hub.logBound() {
		return true
	}
	return slices.ContainsFunc(s.readers, func(r *Reader) bool { return r.wantsKept(seq) })
}

// The beginning of a publish session is kept for readers that come a little after it: for
// so long, and up to so many bytes beyond what viewers need.
const (
	sessionLead    = 2 * time.Second
	maxSessionLead = 1 << 20
)
