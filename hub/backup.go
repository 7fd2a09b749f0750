package hub

import (
	"crypto/subtle"
	"time"

	"sluice/flv"
)

// A stream may have two publishers, a main one and a backup: two encoders of one owner, who shows the
// same identity with both, and backup=1 with one of them (BackupParameter). One of the two is shown,
// which is Stream.pub; the other stands by, which is Stream.standby: its tags are taken in and not
// shown.
//
//	from           on                                                              to
//	(none)         Publish; nobody publishes the stream                            shown
//	(none)         Publish; the other one of the two is there                      stands by
//	stands by      its key frame, while the shown one is silent for 1 s, or asked  shown
//	shown          that key frame of the other one                                 stands by
//	stands by      the shown one ends                                              to be shown
//	to be shown    its key frame; or sound, when it has sent none for a grace time shown
//	to be shown    a key frame of the other one, who has come meanwhile            stands by
//	any            it ends                                                         (none)
//
// Asked means by an operator (Hub.Switch). Without video, or once its video is gone, any frame of
// sound is as good as a key frame. One that is to be shown is Stream.pub already; until its key
// frame nothing is appended, and viewers are held as in a grace time. Who shows the same place of the
// two again, such as an encoder that connects anew, replaces the one that had it. Which of the two is
// shown has nothing to do with which is the main one: nothing goes back by itself.
//
// No timer runs for any of that: while the one that stands by sends nothing there is nothing to go on
// with, and when it sends, that is the time to look. A standby that is shown begins as another
// publisher would that follows (beginLocked): first with the metadata and codec headers that it has
// sent so far, and then with that key frame. So viewers stay whose tracks are the same.
//
// The two may be at two servers that are one: stepup.go.
const (
	// standbyAfter is how long the one that is shown must have been silent, and standbyAlone for how
	// long of that the other must have sent: else it may be that both were held up, by one line, and
	// that what waited of this one comes first; or both send a picture now and then.
	standbyAfter = time.Second
	standbyAlone = standbyAfter / 2

	// BackupParameter is the parameter of a publisher's query that makes it the backup of two.
	BackupParameter = "backup"
)

// aside is what is kept of a publisher while it is not shown: what players want before its first
// frame, and how it fares. The bounds of headers and metadata are those of a stream. Guarded by
// stream.mu.
type aside struct {
	asked     bool      // an operator wants it to be shown
	follows   bool      // it is to be shown; else it stands by
	sends     time.Time // then: since when it has sent without being silent; zero before
	alone     time.Time // when it first sent something while the one that is shown was silent; may be of an earlier silence
	lastWrite time.Time // when it sent something last, or began
	begun     time.Time // when its first frame came; zero before
	video     time.Time // when video came last; zero before
	declared  metadata
	headers   *headers
	configs   uint32 // how many codec headers came
	rate      rate
	away      away
}

// roleLocked decides what becomes of one that wants the stream: it is shown, in place of the
// one that is, or it stands by, or it is refused.
func (s *Stream) roleLocked(who rival, now time.Time) (standsBy bool, why *Refusal) {
	shown := s.pub
	switch {
	case s.isKeptFromLocked(who, now):
	case shown == nil, shown.isForeign() && !who.copies:
		return who.waits, nil
	case shown.isWaiting(): // what it stands by for is copied
		return false, nil
	case who.yields:
	case shown.opts.Yields:
		return false, nil
	case who.same(shown):
		return shown.backup != who.backup, nil
	case s.silentLocked(now) && !who.backed:
		return false, nil
	case who.backup:
		return false, refuse(ReasonBusy,
			"%s is being published already: its backup has to show the same as its publisher, and backup=1", s.key)
	}
	return false, refuse(ReasonBusy, "%s is being published already", s.key)
}

// same reports whether two publishers have proved to be of one owner.
func (p *Publisher) same(other *Publisher) bool {
	own, theirs := p.session.identity(), other.session.identity()
	return theirs != "" && subtle.ConstantTimeCompare([]byte(own), []byte(theirs)) == 1
}

// publishLocked makes p a publisher of the stream, and ends those whose place it takes.
func (s *Stream) publishLocked(p *Publisher, standsBy bool, now time.Time) {
	why := refuse(ReasonReplaced, "another publisher took %s over", s.key)
	foreign := s.pub == nil || s.pub.isForeign()
	if s.pub.isWaiting() { // it stands by for this one, too, or makes way
		s.pub.aside.follows = false
		s.standby, s.pub = s.pub, nil
	}
	if standsBy || s.standby != nil && !s.standby.standsByFor(p) {
		s.dismissLocked(s.standby, why)
		s.standby = nil
	}
	if !standsBy {
		if s.standby != nil && !p.opts.Copies {
			s.standby.aside.away.end() // its stream is this server's own
		}
		s.dismissLocked(s.pub, why)
		s.beginLocked(p, now)
		return
	}
	p.aside = &aside{lastWrite: now, headers: noHeaders, away: away{waits: foreign}}
	if s.pub == nil {
		s.followLocked(p, now)
		return
	}
	s.standby = p
	if now.Sub(s.session.lastWrite) >= standbyAfter {
		p.aside.alone = now.Add(-standbyAlone) // nothing of it was held up
	}
	s.beginSessionLocked(Event{Kind: EventPublished, Session: p.session, Standby: true})
}

// standsByFor reports whether one that stands by does so for another publisher that comes: the other one of the two, or a copy
// of it.
func (p *Publisher) standsByFor(other *Publisher) bool {
	return other.opts.Copies || other.same(p) && other.backup != p.backup
}

// step is what becomes of a publisher that is not shown, with a tag of it.
type step uint8

const (
	stepNone step = iota // it stands by, and the tag is taken
	stepAsks             // it asks another server whether it may be shown (Publisher.stepUp), and then the tag is looked at anew
	stepUp               // the stream goes on with it, and with this tag
)

// stepUpLocked takes a tag of a publisher that is not shown.
func (s *Stream) stepUpLocked(p *Publisher, c *content, now time.Time) step {
	a := p.aside
	if s.mayShowLocked(a, now) && (a.startsWith(c, now) || s.tooLateLocked(a, c, now)) {
		switch {
		case !a.away.waits:
			s.showLocked(p, now)
			return stepUp
		case s.mayAskLocked(a, now):
			return stepAsks
		}
	}
	p.bytes += uint64(c.tag.Size())
	if a.follows && (a.sends.IsZero() || now.Sub(a.lastWrite) >= standbyAfter) {
		a.sends = now
	}
	a.lastWrite = now
	a.rate.add(now, len(c.tag.Data))
	if s.pub == p {
		s.session.lastWrite = now // others see that it is not silent
	}
	a.keep(c, now)
	return stepNone
}

// mayShowLocked reports whether the stream would go on with the publisher whose aside it is.
func (s *Stream) mayShowLocked(a *aside, now time.Time) bool {
	silence := now.Sub(s.session.lastWrite)
	if silence >= standbyAlone && !a.alone.After(s.session.lastWrite) {
		a.alone = now
	}
	return s.pub.aside != nil || a.asked || silence >= standbyAfter && now.Sub(a.alone) >= standbyAlone
}

// startsWith reports whether a stream can go on with a tag, as the first one that is shown.
func (a *aside) startsWith(c *content, now time.Time) bool {
	switch {
	case !c.isMainFrame():
		return false
	case c.tag.Type == flv.TypeVideo:
		return c.main.Key
	}
	return !a.expectsVideo(now)
}

// tooLateLocked reports whether one that is to be shown has sent no key frame for as long as a stream
// without a publisher is held: then it is shown without.
func (s *Stream) tooLateLocked(a *aside, c *content, now time.Time) bool {
	return a.follows && !a.sends.IsZero() && now.Sub(a.lastWrite) < standbyAfter &&
		now.Sub(a.sends) >= s.hub.cfg.PublisherGrace && c.tag.Type == flv.TypeAudio && c.isMainFrame()
}

// expectsVideo reports whether the publisher sends video, or may be about to.
func (a *aside) expectsVideo(now time.Time) bool {
	wait := trackWait
	switch {
	case !a.video.IsZero():
		return now.Sub(a.video) < goneAfter
	case a.declared.namesCodecs()[videoTrack] != 0:
		wait = declaredWait
	}
	return a.begun.IsZero() || now.Sub(a.begun) < wait
}

// keep takes what is kept of a tag.
func (a *aside) keep(c *content, now time.Time) {
	switch {
	case c.skip != notSkipped:
		return
	case c.script != nil:
		if c.script.metadata {
			a.declared = c.script.meta
		}
		return
	case c.main.Kind == flv.KindFrame:
		if a.begun.IsZero() {
			a.begun = now
		}
	case c.main.Kind != flv.KindEnd:
		a.configs++
		if configs, fit := a.headers.configsOf(c, a.configs); fit {
			a.headers = a.headers.replaced(c).withConfigs(0, configs...)
		}
	}
	if c.tag.Type == flv.TypeVideo {
		a.video = now
	}
}

// showLocked has the stream go on with a publisher that was not shown; the other one, if there is
// one, stands by. It is called by the publisher's Write, whose working memory it uses.
func (s *Stream) showLocked(p *Publisher, now time.Time) {
	a := p.aside
	p.aside = nil
	if was := s.pub; was != p {
		if was.aside == nil {
			was.aside = s.asideLocked()
		}
		was.aside.follows = false
		s.standby = was
	}
	s.beginLocked(p, now)
	s.facts.rate = a.rate
	s.tellLocked(Event{Kind: EventSwitched, Session: p.session})

	p.forget()
	s.arriveAtLocked(now)
	if a.declared != nil {
		meta := flv.Tag{Type: flv.TypeScript}
		s.sortLocked(&content{tag: meta, script: &script{safe: true, metadata: true, meta: a.declared}})
	}
	for _, kept := range a.headers.asSent() {
		var c content
		if p.understand(&c, flv.Tag{Type: kept.typ, Data: kept.data}); c.skip == notSkipped {
			s.sortLocked(&c)
		}
	}
}

// asideLocked returns what would be kept of the publisher that is shown, if it were not.
func (s *Stream) asideLocked() *aside {
	a := &aside{
		lastWrite: s.session.lastWrite, begun: s.session.begun, declared: s.session.declared,
		headers: s.headers.onlySince(s.session.firstConfig), configs: s.configs, rate: s.facts.rate,
	}
	if t := &s.session.tracks[videoTrack]; t.frames > 0 {
		a.video = s.hub.began.Add(t.last)
	}
	return a
}

// promoteLocked makes the one that stands by the one that is to be shown, since the one that was has
// ended.
func (s *Stream) promoteLocked() {
	p := s.standby
	s.standby = nil
	s.followLocked(p, time.Now())
}

// followLocked makes a publisher the one that is to be shown.
func (s *Stream) followLocked(p *Publisher, now time.Time) {
	s.beginLocked(p, now)
	p.aside.follows, p.aside.sends = true, time.Time{}
	s.session.lastWrite, s.session.beforeKey = p.aside.lastWrite, true
}

// partLocked lets a publisher of the stream go, which has ended.
func (s *Stream) partLocked(p *Publisher) {
	switch p {
	case s.standby:
		s.standby = nil
	case s.pub:
		s.leaveLocked()
	}
}

// publishersLocked returns the publishers of the stream: the one that is shown, or is to be, and the
// one that stands by.
func (s *Stream) publishersLocked() []*Publisher {
	switch {
	case s.pub == nil:
		return nil
	case s.standby == nil:
		return []*Publisher{s.pub}
	}
	return []*Publisher{s.pub, s.standby}
}

// Switch has the stream go on with the publisher that stands by, at its next key frame; the one that
// is shown stands by then. The error is a *Refusal with ReasonNotFound where nobody stands by.
func (h *Hub) Switch(key Key) error {
	var none error = refuse(ReasonNotFound, "nobody stands by for %s", key)
	s := h.stream(key)
	if s == nil {
		return none
	}
	s.update(func() {
		for _, p := range s.publishersLocked() {
			if p == s.standby || p.isWaiting() {
				p.aside.asked, none = true, nil
			}
		}
	})
	return none
}

// Standby is what is known of the publisher that stands by.
type Standby struct {
	Session  *Session
	Protocol string
	Address  string    // of the client
	Since    time.Time // when it began to publish
	Backup   bool      // of the two it is the one that shows backup=1
	Silence  time.Duration
	Bitrate  int64 // bits per second of tag bodies, over the last seconds
	Asked    bool  // an operator wants it to be shown (Hub.Switch)
}

// standbyLocked returns what is known of the publisher that stands by, nil without one.
func (s *Stream) standbyLocked(now time.Time) *Standby {
	p := s.standby
	if p == nil {
		return nil
	}
	return &Standby{
		Session: p.session, Protocol: p.session.Protocol(), Address: p.session.Client().Remote(), Since: p.since,
		Backup: p.backup, Silence: now.Sub(p.aside.lastWrite), Bitrate: p.aside.rate.perSecond(now) * 8, Asked: p.aside.asked,
	}
}
