package hub

import (
	"sync"
	"sync/atomic"
	"time"

	"sluice/flv"
	"sluice/hub/timeline"
)

// PublishOptions says how a publisher is ended.
type PublishOptions struct {
	// Yields is for a publisher that stands in for others, such as a pull from another server:
	// any publisher that is none takes its stream over at once, it takes over nobody's, not even that
	// of one that is silent, and when it ends, its stream ends without a grace time.
	Yields bool
	// Copies is for one that yields and brings what is published at another of several servers that are one: the
	// stream is not this server's own, and any publisher that does not copy takes it over.
	Copies bool
	// Move asks the client to go on publishing at another server, and reports whether it can, by itself: it was
	// not asked otherwise. It is called at most once, without a lock held, possibly after End or before Publish
	// has returned, and must not block. nil where there is no client to ask (Hub.HandOver).
	Move func() bool
	// End is called at most once, without a lock held, when the hub ends the
	// publisher: it was replaced, or the server shuts down. That may be before
	// Publish has returned. It must not block and
	// should close the publisher's connection, which may well be reading. The
	// publisher must be closed all the same.
	End func(*Refusal)
}

// Publisher appends to one stream. Write must not be called by two goroutines at
// a time; Close may be called at any time.
type Publisher struct {
	stream  *Stream
	session *Session
	opts    PublishOptions
	backup  bool        // of two it is the one that shows backup=1
	moves   atomic.Bool // its client was asked to go (Hub.HandOver)

	// Guarded by stream.mu.
	aside     *aside    // nil while it is shown
	since     time.Time // when it began
	bytes     uint64    // of tags taken
	allowance allowance

	mu    sync.Mutex // may be taken after the stream's mutex
	ended *Refusal   // why it publishes no more; set before stream.pub is another

	// Of Write: what it knows of the tracks that it has seen, and working memory.
	codecs  [mainTracks]flv.Codec
	further map[timeline.ID]flv.Codec
	picture flv.VideoFormat // as key frames tell it
	packets []flv.Packet

	heldBack heldBack // of Write
}

// Publish makes a session the publisher of its stream, or the one that stands by for it
// (backup.go). Where there is a policy, Session.Ask has granted it. The error is a *Refusal, and has
// been told: ReasonBusy where somebody else publishes the stream, who is not silent and has another
// identity.
func (h *Hub) Publish(who *Session, opts PublishOptions) (*Publisher, error) {
	who.yields, who.copies = opts.Yields, opts.Copies
	if err := who.check(); err != nil {
		return nil, who.refused(err)
	}
	p, key := &Publisher{session: who, opts: opts, backup: who.IsBackup()}, who.Key()
	for {
		h.mu.Lock()
		s, err := h.streamLocked(key, 2*h.cfg.MaxStreams)
		if err != nil {
			h.mu.Unlock()
			return nil, who.refused(err)
		}
		s.mu.Lock()
		h.mu.Unlock()
		if s.state == stateEnded { // since streamLocked looked
			s.mu.Unlock()
			continue
		}
		now := time.Now()
		standsBy, why := s.roleLocked(p.rival(), now)
		if why != nil {
			s.mu.Unlock()
			return nil, who.refused(why)
		}
		if err := s.beginCheckLocked(); err != nil {
			s.mu.Unlock()
			h.forget(s)
			return nil, who.refused(err)
		}
		s.updateLocked(func() {
			p.stream, p.since = s, now
			s.publishLocked(p, standsBy, now)
		})
		if err := who.recheck(); err != nil {
			p.End(err)
			return nil, err
		}
		who.expire(p.dismiss)
		return p, nil
	}
}

// dismissLocked ends a publisher of the stream, which may be nil; it is told when the stream
// is unlocked. The caller replaces it, lets it go or ends the stream.
func (s *Stream) dismissLocked(p *Publisher, why *Refusal) {
	if p == nil || !s.finishLocked(p, why) || p.opts.End == nil {
		return
	}
	s.effects.ended = append(s.effects.ended, func() { p.opts.End(why) })
}

// dismissAllLocked ends all publishers of the stream, which the caller ends.
func (s *Stream) dismissAllLocked(why *Refusal) {
	s.dismissLocked(s.standby, why)
	s.dismissLocked(s.pub, why)
}

// dismiss ends the publisher because of why. Another one goes on, or its stream has its grace time.
func (p *Publisher) dismiss(why *Refusal) {
	s := p.stream
	s.update(func() {
		if s.pub == p || s.standby == p {
			s.dismissLocked(p, why)
			s.partLocked(p)
		}
	})
}

// Restart says that what follows was not encoded in one go with what came before, as if another
// publisher followed: it has new codec headers, its first key frame follows on what there was, on
// the stream's clock, and viewers who cannot follow a change of codecs or tracks end, if there is
// one. The session goes on, with its figures. It must not be called together with Write.
func (p *Publisher) Restart() {
	if h := &p.heldBack; h.tags != nil {
		h.restarts = append(h.restarts, len(h.tags)) // in its place among what waits
		return
	}
	p.restart()
}

func (p *Publisher) restart() {
	s := p.stream
	p.forget()
	s.update(func() {
		switch {
		case p.aside != nil:
			p.aside.headers, p.aside.declared = noHeaders, nil
		case s.pub == p:
			s.restartLocked()
			s.announceLocked()
		}
	})
}

// Life is Reader.Life of the stream that is published.
func (p *Publisher) Life() uint64 { return p.stream.number }

// forget has what understand knows of the tracks found out anew.
func (p *Publisher) forget() {
	p.codecs, p.further, p.picture = [mainTracks]flv.Codec{}, nil, flv.VideoFormat{}
}

// Write appends a tag to the stream. Its timestamp is on the publisher's own clock; its
// data is copied. The error is the *Refusal with which the hub ended the publisher,
// ReasonTooMany at once where it exceeds Config.MaxBitrate and ReasonLoop where its
// metadata name this server (Config.Node), or net.ErrClosed (wrapped) after Close. A tag that can't be used is counted and no error: an encoder that sends
// something odd goes on.
func (p *Publisher) Write(t flv.Tag) error {
	now := time.Now()
	if held, err := p.holdBack(t, now); held {
		return err
	}
	_, _, err := p.write(t, placement{}, now)
	return err
}

// Put is Write for a tag that comes from the log of another hub: its place on the stream's clock is what it
// was there, in ms, or that of its track's last frame where that is later. It returns the place in the log of
// the packet that it has become, false where it has become none: of a header, and of a frame that was
// left out.
func (p *Publisher) Put(t flv.Tag, at int64) (seq uint64, appended bool, err error) {
	return p.write(t, placement{true, at}, time.Now())
}

// placement is the time of a tag that is known, in ms of the stream's clock.
type placement struct {
	known bool
	at    int64
}

// or returns that time, or another one where it is not known.
func (p placement) or(time int64) int64 {
	if p.known {
		return p.at
	}
	return time
}

// write appends a tag to the stream, as its last packet. It returns that packet's place, if there is one.
func (p *Publisher) write(t flv.Tag, place placement, now time.Time) (seq uint64, appended bool, err error) {
	s := p.stream
	var c content
	p.understand(&c, t)
	c.place = place
	cut, asks := false, false
	take := func() {
		if s.pub != p && s.standby != p {
			err = p.err()
			return
		}
		if !asks { // it has been looked at before that
			if why := p.forbidsLocked(&c, now); why != nil {
				s.finishLocked(p, why)
				s.partLocked(p)
				err = why
				return
			}
		}
		if p.aside != nil {
			step := s.stepUpLocked(p, &c, now)
			if asks = step == stepAsks; step != stepUp {
				return
			}
			c = content{}
			p.understand(&c, t) // anew, behind its headers
		}
		cuts, before := s.log.gopCut, s.log.head
		s.takeLocked(&c, now)
		cut = s.log.gopCut > cuts
		if appended = s.log.head != before; appended {
			seq = s.log.head - 1 // behind silence that was put in before it
		}
	}
	if s.update(take); asks {
		p.stepUp(true)
		now = time.Now()
		s.update(take)
	}
	if cut {
		s.hub.cfg.Logger.Warn("GOP larger than its bound: new viewers wait for the next key frame",
			"stream", s.key.String(), "max_bytes", s.hub.cfg.GOPMaxBytes)
	}
	return seq, appended, err
}

// forbidsLocked returns why the publisher ends with a tag, nil if it may send it.
func (p *Publisher) forbidsLocked(c *content, now time.Time) *Refusal {
	most := p.stream.hub.cfg.MaxBitrate
	switch {
	case most > 0 && !p.allowance.take(now, len(c.tag.Data), most):
		return refuse(ReasonTooMany, "more than the %d bits per second that are allowed", most)
	case c.loops:
		return errLoop
	}
	return nil
}

// Close is End for a publisher that left.
func (p *Publisher) Close() { p.End(&Refusal{Reason: ReasonClientLeft}) }

// End ends the publisher and its session, because of why. Only the first call has an
// effect, if the hub has not ended it. The stream goes on with the one that stands by, or viewers
// are held for the grace time.
func (p *Publisher) End(why *Refusal) {
	s := p.stream
	s.update(func() {
		s.finishLocked(p, why)
		s.partLocked(p)
	})
}

// finishLocked notes and tells why a publisher of the stream ends, if it hadn't ended.
func (s *Stream) finishLocked(p *Publisher, why *Refusal) bool {
	p.mu.Lock()
	first := p.ended == nil
	if first {
		p.ended = why
	}
	p.mu.Unlock()
	if first {
		if p.aside != nil {
			p.aside.away.end()
		}
		s.endSessionLocked(Event{Kind: EventUnpublished, Session: p.session, Bytes: p.bytes, Standby: p.aside != nil}, why)
		p.session.stopExpiry() // behind that: expire may just have set it
	}
	return first
}

// err returns why the publisher has ended, nil as long as it has not.
func (p *Publisher) err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended == nil {
		return nil // and not a *Refusal that is
	}
	return p.ended
}
