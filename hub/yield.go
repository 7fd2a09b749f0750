package hub

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"time"
)

// Where several servers are one, each stream has one publisher among all of them. Whoever keeps that in
// view is asked before somebody publishes here (Config.Claim), and asks for what somebody publishes here
// (Yield).

// Claim is what a publisher has who may publish, as far as other servers are concerned.
type Claim struct {
	// Time is where its session begins at the earliest, in ms of the stream's clock: where the stream has
	// come to elsewhere. 0 for wherever the stream is here.
	Time int64
	// StandsBy says that the other one of the two (backup.go) is shown at another server: this one stands by for
	// it, and is not shown before Config.StepUp says so.
	StandsBy bool
	// Backed says that the other one of the two stands by at another server, and sends: it is to follow one that is silent here,
	// and nobody else takes the stream over for that.
	Backed bool
}

// Proof returns what stands for the identity of a session where it is compared with others that have the same
// key; nil for one that has proved nothing. It says nothing about the identity to who does not have the
// key.
func (s *Session) Proof(key []byte) []byte {
	identity := s.identity()
	if identity == "" {
		return nil
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(identity))
	return mac.Sum(nil)
}

// IsBackup reports whether a publisher shows that it is the backup of two.
func (s *Session) IsBackup() bool { return flag(s.query.Get(BackupParameter)) }

// Yields reports whether a publisher stands in for others (PublishOptions.Yields), as is known when it claims its stream
// or publishes it.
func (s *Session) Yields() bool { return s.yields }

// Copies reports whether a publisher copies a stream of another server (PublishOptions.Copies), as is known when it publishes.
func (s *Session) Copies() bool { return s.copies }

// Claimant is a publisher elsewhere that wants a stream.
type Claimant struct {
	Proof, ProofKey []byte // Session.Proof, and its key; no Proof for one that has proved nothing
	Backup          bool   // Session.IsBackup
	Yields          bool   // Session.Yields
	CanWait         bool   // it can stand by there for the one that is shown here
	// StepsUp says that it stands by there for the one that is shown here, and would go on in its place; Asked, that an
	// operator wants that.
	StepsUp, Asked bool
	// StandsBy says that it was shown there, of which this server knew nothing, and would stand by.
	StandsBy bool
	Backed   bool // Claim.Backed
}

// Head is where a stream has come to.
type Head struct {
	Life uint64 // Reader.Life
	Seq  uint64 // its next packet
	Time int64  // the latest time of its main tracks, in ms of its clock
}

// Yield lets a stream go to a publisher elsewhere, by the rules that hold among those here: those of a
// stream that this one may take over end with ReasonReplaced, and its viewers are held for the grace time. The other one of
// the two, whether it was shown here or stood by, stands by for it from then on, unless nothing can come here any more
// (RefuseNew). standsBy says that the stream stays, and that the publisher elsewhere may stand by for it.
// The error is a *Refusal: ReasonBusy where they stay, ReasonNotFound where nobody has the stream here.
func (h *Hub) Yield(key Key, to Claimant) (head Head, standsBy bool, err error) {
	s := h.stream(key)
	none := refuse(ReasonNotFound, "nobody publishes %s", key)
	if s == nil {
		return Head{}, false, none
	}
	why := none
	s.update(func() {
		switch s.state {
		case stateLive, stateGrace:
		default:
			return
		}
		now := time.Now()
		standsBy, why = s.roleLocked(to.rival(), now)
		if standsBy && !to.CanWait && !to.StepsUp {
			standsBy, why = false, refuse(ReasonBusy, "the publisher of %s is at another server: its backup has to be there, too", key)
		}
		switch {
		case to.StandsBy && why == nil && !standsBy:
			why = refuse(ReasonBusy, "%s is being published already", key)
			return
		case why != nil && !s.isReturning(&to):
			return
		}
		why = nil
		replaced := refuse(ReasonReplaced, "another publisher took %s over", key)
		switch {
		case standsBy && !to.StepsUp: // in the place of who stands by here
			s.dismissLocked(s.standby, replaced)
			s.standby = nil
			return
		case to.StepsUp && s.pub != nil && to.same(s.pub) && !s.mayYieldLocked(&to, now):
			standsBy = true
			return
		}
		head = Head{s.number, s.log.head, s.timeline.Front()}
		stays := s.otherOfLocked(&to)
		for _, p := range s.publishersLocked() {
			if p != stays {
				s.dismissLocked(p, replaced)
			}
		}
		s.standby = nil
		switch {
		case stays != nil:
			s.stepBackLocked(stays, now)
		case s.pub != nil:
			s.vacateLocked(true) // that of one that stands in for others, too: it goes on elsewhere
		}
		standsBy = false
	})
	if why != nil {
		return Head{}, false, why
	}
	return head, standsBy, nil
}

// otherOfLocked returns the publisher here that may stand by for one elsewhere, as the other one of the two; nil for none.
func (s *Stream) otherOfLocked(to *Claimant) *Publisher {
	if s.hub.entry.Load() == entryClosed {
		return nil
	}
	for _, p := range s.publishersLocked() {
		if to.same(p) && p.backup != to.Backup && !to.Yields {
			return p
		}
	}
	return nil
}

// mayYieldLocked reports whether the stream may go on with one that has stood by elsewhere. Who stands by here goes before it:
// of two in one place the one that came last does.
func (s *Stream) mayYieldLocked(to *Claimant, now time.Time) bool {
	return to.Asked || now.Sub(s.lastSentLocked()) >= standbyAfter || s.pub.aside != nil && s.pub.backup != to.Backup
}

// Head returns where a stream has come to that is published here, or was a moment ago; false where there is
// none. Own says that it is this server's, or was last: its publisher is no copy (PublishOptions.Copies), and none that
// stands by for one elsewhere.
func (h *Hub) Head(key Key) (head Head, own, ok bool) {
	s := h.stream(key)
	if s == nil {
		return Head{}, false, false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch s.state {
	case stateLive, stateGrace:
		return Head{s.number, s.log.head, s.timeline.Front()}, !s.pub.isForeign(), true
	}
	return Head{}, false, false
}

// Vacant returns for how long a stream has had no publisher here, whose viewers are held since then; false where there is none
// such.
func (h *Hub) Vacant(key Key) (since time.Duration, vacant bool) {
	s := h.stream(key)
	if s == nil {
		return 0, false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return time.Since(s.left), s.state == stateGrace
}

// Displace ends the publishers of a stream because of why, if it is this server's own (Head): it is another server's
// by now. Its viewers are held for the grace time. The one that is shown stands by for that one instead, if its session is the given
// one, which may be nil.
func (h *Hub) Displace(key Key, why *Refusal, standsBy *Session) {
	s := h.stream(key)
	if s == nil {
		return
	}
	s.update(func() {
		if s.pub == nil || s.pub.isForeign() {
			return
		}
		s.dismissLocked(s.standby, why)
		s.standby = nil
		if s.pub.session == standsBy {
			s.stepBackLocked(s.pub, time.Now())
			return
		}
		s.dismissLocked(s.pub, why)
		s.vacateLocked(true)
	})
}

// rival is one who wants a stream that may have publishers.
type rival struct {
	backup, yields, copies bool
	backed                 bool                  // Claim.Backed
	waits                  bool                  // Claim.StandsBy
	same                   func(*Publisher) bool // of one owner with that one
}

func (to *Claimant) rival() rival {
	return rival{backup: to.Backup, yields: to.Yields, backed: to.Backed, same: to.same}
}

// same reports whether it has proved to be of one owner with a publisher here.
func (to *Claimant) same(shown *Publisher) bool {
	return len(to.Proof) > 0 && hmac.Equal(to.Proof, shown.session.Proof(to.ProofKey))
}

// rival returns what a publisher is to those that are there.
func (p *Publisher) rival() rival {
	return rival{p.backup, p.opts.Yields, p.opts.Copies, p.session.claim().Backed, p.session.claim().StandsBy, p.same}
}

// claim returns what a publisher was given that may publish (Config.Claim).
func (s *Session) claim() Claim {
	if g := s.grant.Load(); g != nil {
		return g.claim
	}
	return Claim{}
}

// setClaim puts another claim in the place of that one.
func (s *Session) setClaim(c Claim) {
	var g Grant
	if was := s.grant.Load(); was != nil {
		g = *was
	}
	g.claim = c
	s.grant.Store(&g)
}

// claim asks whoever has to be asked about a session that the policy has given this grant. The answer may
// end a publisher elsewhere, so that nobody is asked for a client that has left, or that is not let in by
// what the policy knows by itself.
func (q *question) claim(grant Grant) (Grant, error) {
	s := q.session
	switch {
	case !s.hub.claims(s):
		return grant, nil
	case q.ctx.Err() != nil:
		return Grant{}, errNoAnswer
	}
	known := grant
	s.grant.Store(&known) // it says which stream, and who it is
	if err := s.check(); err != nil {
		return Grant{}, err
	}
	claim, err := s.hub.cfg.Claim(q.ctx, s)
	if err != nil {
		return Grant{}, denial(err)
	}
	grant.claim = claim
	return grant, nil
}

// claims reports whether somebody has to be asked about a session, other than the policy.
func (h *Hub) claims(s *Session) bool {
	return h.cfg.Claim != nil && s.role == RolePublish && !s.Key().IsCheck()
}

// PublisherOf returns the session that publishes a stream here, nil where nobody does, or where it is another server's
// (Head).
func (h *Hub) PublisherOf(key Key) *Session {
	s := h.stream(key)
	if s == nil {
		return nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.pub == nil || s.pub.isForeign() {
		return nil
	}
	return s.pub.session
}

// ClaimAndWait is AskAndWait for a publisher that is a part of this process, which will publish with these options: no
// policy is asked about it.
func (s *Session) ClaimAndWait(ctx context.Context, opts PublishOptions) error {
	s.yields = opts.Yields
	if !s.hub.claims(s) {
		return nil
	}
	claim, err := s.hub.cfg.Claim(ctx, s)
	if err != nil {
		return s.refused(denial(err))
	}
	s.grant.Store(&Grant{claim: claim, noPolicy: true})
	return nil
}
