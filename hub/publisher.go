package hub

import (
	"crypto/subtle"
	"sync"
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

	// Guarded by stream.mu.
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
}

// Publish makes a session the publisher of its stream. Where there is a policy,
// Session.Ask has granted it. The error is a *Refusal, and has been told: ReasonBusy
// where somebody else publishes the stream, who is not silent and has another identity.
func (h *Hub) Publish(who *Session, opts PublishOptions) (*Publisher, error) {
	if err := who.check(); err != nil {
		return nil, who.refused(err)
	}
	p, key := &Publisher{session: who, opts: opts}, who.Key()
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
		if s.pub != nil && !s.pub.givesWayLocked(p, now) {
			s.mu.Unlock()
			return nil, who.refused(refuse(ReasonBusy, "%s is being published already", key))
		}
		if err := s.beginCheckLocked(); err != nil {
			s.mu.Unlock()
			h.forget(s)
			return nil, who.refused(err)
		}
		s.updateLocked(func() {
			s.dismissLocked(refuse(ReasonReplaced, "another publisher took %s over", key))
			p.stream, p.since = s, now
			s.beginLocked(p, now)
		})
		if err := who.recheck(); err != nil {
			p.End(err)
			return nil, err
		}
		who.expire(p.dismiss)
		return p, nil
	}
}

// dismissLocked ends the present publisher, if there is one; it is told when the stream
// is unlocked. The caller replaces it or ends the stream.
func (s *Stream) dismissLocked(why *Refusal) {
	p := s.pub
	if p == nil || !s.finishLocked(p, why) || p.opts.End == nil {
		return
	}
	s.effects.ended = func() { p.opts.End(why) }
}

// dismiss ends the publisher because of why. Its stream has its grace time.
func (p *Publisher) dismiss(why *Refusal) {
	s := p.stream
	s.update(func() {
		if s.pub == p {
			s.dismissLocked(why)
			s.leaveLocked()
		}
	})
}

// givesWayLocked reports whether another publisher takes the stream of p over.
func (p *Publisher) givesWayLocked(other *Publisher, now time.Time) bool {
	switch {
	case other.opts.Yields:
		return false
	case p.opts.Yields:
		return true
	}
	return p.same(other.session) || p.stream.silentLocked(now)
}

// Restart says that what follows was not encoded in one go with what came before, as if another
// publisher followed: it has new codec headers, its first key frame follows on what there was, on
// the stream's clock, and viewers who cannot follow a change of codecs or tracks end, if there is
// one. The session goes on, with its figures. It must not be called together with Write.
func (p *Publisher) Restart() {
	s := p.stream
	p.codecs, p.further, p.picture = [mainTracks]flv.Codec{}, nil, flv.VideoFormat{}
	s.update(func() {
		if s.pub == p {
			s.restartLocked()
			s.announceLocked()
		}
	})
}

// same reports whether a session has proved that it is p's owner too.
func (p *Publisher) same(who *Session) bool {
	own, other := p.session.identity(), who.identity()
	return other != "" && subtle.ConstantTimeCompare([]byte(own), []byte(other)) == 1
}

// Write appends a tag to the stream. Its timestamp is on the publisher's own clock; its
// data is copied. The error is the *Refusal with which the hub ended the publisher,
// ReasonTooMany at once where it exceeds Config.MaxBitrate and ReasonLoop where its
// metadata name this server (Config.Node), or net.ErrClosed (wrapped) after Close. A tag that can't be used is counted and no error: an encoder that sends
// something odd goes on.
func (p *Publisher) Write(t flv.Tag) error {
	s := p.stream
	var c content
	p.understand(&c, t)
	now := time.Now()
	var err error
	cut := false
	s.update(func() {
		if s.pub != p {
			err = p.err()
			return
		}
		if why := p.forbidsLocked(&c, now); why != nil {
			s.finishLocked(p, why)
			s.leaveLocked()
			err = why
			return
		}
		cuts := s.log.gopCut
		s.takeLocked(&c, now)
		cut = s.log.gopCut > cuts
	})
	if cut {
		s.hub.cfg.Logger.Warn("GOP larger than its bound: new viewers wait for the next key frame",
			"stream", s.key.String(), "max_bytes", s.hub.cfg.GOPMaxBytes)
	}
	return err
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
// effect, if the hub has not ended it. Viewers are held for the grace time.
func (p *Publisher) End(why *Refusal) {
	s := p.stream
	s.update(func() {
		s.finishLocked(p, why)
		if s.pub == p {
			s.leaveLocked()
		}
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
		s.endSessionLocked(EventUnpublished, p.session, why, p.bytes, 0)
		p.session.stopExpiry() // behind that: expire may just have set it
	}
	return first
}

func (p *Publisher) err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}
