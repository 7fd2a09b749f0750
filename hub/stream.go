package hub

import (
	"slices"
	"sync"
	"time"

	"sluice/flv"
	"sluice/hub/timeline"
)

// Fixed bounds of a stream's life.
const (
	// takeoverSilence is how long a publisher must have been silent for another
	// one to take its stream over: its connection is then most likely half open.
	takeoverSilence = 1500 * time.Millisecond
	// audioLead is how far behind the live edge a viewer of a stream without video
	// starts, so that its player has something to play from.
	audioLead = 400 * time.Millisecond
	// startWait bounds how long a viewer waits for the first key frame of a stream
	// that is being published.
	startWait = 20 * time.Second
)

// state is where a stream stands in its life.
//
//	 Watch             Publish                        Publish
//	────────▶ waiting ─────────▶ live ◀───────────────────────────── grace
//	             │                │  │   publisher left               ▲  │
//	             │ last viewer    │  └────────────────────────────────┘  │ grace over
//	             │ left           │ shutdown                             │ or shutdown
//	             ▼                ▼                                      ▼
//	           ended            ended                                  ended
//
// While live, another publisher is refused, or stands by, or replaces the present one without
// the state changing (backup.go). Once nobody new is let in (Hub.RefuseNew), there is neither waiting
// nor grace: those end at once. An ended stream never comes back: the hub has forgotten
// it, its viewers drain what its log holds and end, and viewers that had not
// started yet go on waiting at a new stream of the same key.
type state uint8

const (
	stateWaiting state = iota
	stateLive
	stateGrace
	stateEnded
)

func (s state) String() string {
	return [...]string{"waiting", "live", "grace", "ended"}[s]
}

// Stream is one stream of the hub. To the outside it is an identity and
// something to be woken by; everything else goes through Publisher and Viewer.
type Stream struct {
	hub    *Hub
	key    Key
	number uint64 // no other stream of the hub has it, nor had

	// mu guards all below. Publishers take it for writing, once for each packet; pumps
	// take it for reading when they serve viewers (Viewer.Fill).
	mu       sync.RWMutex
	state    state
	reason   Reason        // why it ended
	change   chan struct{} // closed and replaced when a waiting viewer should look again
	viewers  []*Viewer     // each knows its place
	fixed    int           // so many of them are Viewer.isFixed
	held     hold
	counted  int64   // bytes of the log, as counted among all
	wakers   []Waker // copied when changed, so that it can be walked without mu
	readers  []*Reader
	lead     uint64 // the first packet of the present publish session, or the last one
	grace    *time.Timer
	selfTest *time.Timer // ends the stream of a self-test, nil unless it is one that is published
	left     time.Time   // when the last publisher did; zero before one has
	// lastViewer is when the last viewer left, or when the stream was made if none has.
	lastViewer time.Time
	pub        *Publisher // which is shown, or is to be; nil unless live
	standby    *Publisher // which stands by for pub (backup.go); nil as a rule, and always where pub is
	session    session
	log        log
	oldest     uint64 // no viewer starts before it: other tracks or codecs
	sound      uint64 // no viewer that starts gets sound from before it: another codec or format
	timeline   timeline.Timeline
	headers    *headers
	configs    uint32   // how many codec headers came
	tracks     trackSet // what viewers are told that there is
	news       bool     // viewers who wait should look again
	wanted     bool     // EventWanted was told, and EventUnwanted was not
	shown      shownTracks
	effects    effects
	summed     bool // its facts are in the hub's sums; guarded by ledger.mu
	facts      struct {
		video   *flv.VideoFormat // of the last header, whether the track has frames or not
		audio   *flv.AudioFormat
		further []Track // by type, video first, and number
		in      uint64  // bytes of tags taken
		out     uint64  // bytes sent to viewers that are gone
		dropped uint64  // packets that viewers who are gone were not sent
		filled  uint64  // frames of silence put into the sound
		skipped [skips]uint64
		rate    rate
	}
}

// session is what is known of the present publish session.
type session struct {
	since       time.Time
	lastWrite   time.Time
	arrived     time.Duration // lastWrite, on the hub's clock
	arrivedMS   int64
	meter       meter
	begun       time.Time // when its first frame came, or a codec changed that viewers were told
	declared    metadata
	first       uint64 // its first packet, or that of the last change of codec or format
	whole       bool   // a viewer that has waited since before its first frame is not too far behind if it starts there
	firstConfig uint32 // the number of its first codec header
	beforeKey   bool   // video came before its first key frame
	tracks      [mainTracks]trackLife
	decided     bool
	timer       *time.Timer // decides, some time after the first frame
	silence     *silence    // what can stand for its sound; nil if nothing can
	filling     filling
}

// Waker is told that something happened in a stream: packets were appended, or it
// ended. Wake is called for every packet and must return at once.
type Waker interface{ Wake() }

// Key returns the stream's identity.
func (s *Stream) Key() Key { return s.key }

// AddWaker makes every change of the stream wake w.
func (s *Stream) AddWaker(w Waker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakers = append(slices.Clip(s.wakers), w)
}

// RemoveWaker undoes AddWaker. A call of w.Wake may still be under way.
func (s *Stream) RemoveWaker(w Waker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakers = slices.DeleteFunc(slices.Clone(s.wakers), func(x Waker) bool { return x == w })
}

func newStream(h *Hub, key Key, number uint64) *Stream {
	return &Stream{
		hub:        h,
		key:        key,
		number:     number,
		change:     make(chan struct{}),
		headers:    noHeaders,
		lastViewer: time.Now(),
	}
}

// addLocked takes a viewer in.
func (s *Stream) addLocked(v *Viewer) {
	v.place = int32(len(s.viewers))
	s.viewers = append(s.viewers, v)
}

// removeLocked lets a viewer go. The last one gets its place.
func (s *Stream) removeLocked(v *Viewer) {
	if v.isFixed() {
		s.fixed--
	}
	last := len(s.viewers) - 1
	moved := s.viewers[last]
	s.viewers[v.place], moved.place = moved, v.place
	s.viewers[last] = nil
	s.viewers = s.viewers[:last]
	if last == 0 {
		s.lastViewer = time.Now()
	}
	if cap(s.viewers) >= 64 && last < cap(s.viewers)/4 {
		s.viewers = append(make([]*Viewer, 0, 2*last), s.viewers...)
	}
}

// announceLocked tells waiting viewers to look again, and everybody else too.
func (s *Stream) announceLocked() {
	s.news = false
	s.tellTracksLocked()
	close(s.change)
	s.change = make(chan struct{})
	s.effects.wake = true
}

// beginLocked starts a publish session: waiting or grace becomes live, or one publisher
// follows another. Waiting viewers are told: from now on they wait for the first key
// frame.
func (s *Stream) beginLocked(p *Publisher, now time.Time) {
	s.state, s.pub = stateLive, p
	s.restartLocked()
	s.timeline.Reach(p.session.claim().Time)
	s.lead = s.log.head
	s.session.since, s.session.lastWrite, s.session.meter = now, now, newMeter()
	s.facts.rate = rate{}
	s.shown = shownTracks{}
	s.beginSessionLocked(Event{Kind: EventPublished, Session: p.session, Standby: p.aside != nil})
	s.announceLocked()
}

// restartLocked has everything found out anew that is known of what is being published: its tracks,
// their headers and clocks. When the publish session began, and what it has sent, stays.
func (s *Stream) restartLocked() {
	s.stopTimersLocked()
	s.session = session{
		since: s.session.since, lastWrite: s.session.lastWrite, meter: s.session.meter.restarted(),
		arrived: s.session.arrived,
		first:   s.log.head, firstConfig: s.configs + 1,
	}
	s.timeline.BeginSession()
	s.headers = s.headers.withFilled(false).from(s.log.head)
	s.log.forgetGOP()
	s.facts.further = nil
}

// leaveLocked ends the present publish session: the one that stands by follows, or live becomes
// grace, and ended when nobody comes back in time.
func (s *Stream) leaveLocked() {
	switch closed := s.hub.entry.Load() == entryClosed; {
	case s.standby == nil:
	case closed && s.standby.isWaiting(): // neither it nor another copy will be shown
		s.dismissLocked(s.standby, errShuttingDown)
		s.standby = nil
	default:
		s.promoteLocked()
		return
	}
	s.vacateLocked(!s.pub.opts.Yields)
}

// vacateLocked leaves the stream without a publisher: held for the grace time, or ended.
func (s *Stream) vacateLocked(held bool) {
	s.stopTimersLocked()
	s.pub, s.left = nil, time.Now()
	wait := s.hub.cfg.PublisherGrace
	switch {
	case s.hub.entry.Load() == entryClosed: // it cannot come back
		s.endLocked(ReasonShuttingDown)
		return
	case wait <= 0 || s.selfTest != nil || !held:
		s.endLocked(ReasonUnpublished)
		return
	}
	s.state = stateGrace
	if len(s.viewers) == 0 && len(s.readers) == 0 && s.hub.cfg.LogDuration == 0 {
		s.log.clear() // nobody reads it, and viewers who come start with the next session
		s.countLocked()
	}
	var grace *time.Timer
	grace = time.AfterFunc(wait, func() {
		s.update(func() {
			if s.grace == grace { // not stopped as it fired
				s.endLocked(ReasonUnpublished)
			}
		})
	})
	s.grace = grace
	s.announceLocked()
}

// endLocked is the end of the stream.
func (s *Stream) endLocked(reason Reason) {
	s.stopTimersLocked()
	s.endCheckLocked()
	s.state, s.reason, s.pub, s.standby = stateEnded, reason, nil, nil
	s.recountLocked(0)
	s.sumUpLocked()
	s.announceLocked()
	s.effects.forget = true
}

func (s *Stream) stopTimersLocked() {
	if s.grace != nil {
		s.grace.Stop()
		s.grace = nil
	}
	s.reopenLocked()
}

// silentLocked reports whether the present publisher has been silent for so long
// that another one may take over. One that showed an identity has proved that it will
// be back with it: others have to wait for as long as they would if it had left.
func (s *Stream) silentLocked(now time.Time) bool {
	enough := takeoverSilence
	if s.pub.session.identity() != "" {
		enough = max(enough, s.hub.cfg.PublisherGrace)
	}
	return now.Sub(s.lastSentLocked()) >= enough
}

// lastSentLocked returns when the present publisher, or the one that stands by for it, sent something last: the stream goes on
// with that one, or soon will.
func (s *Stream) lastSentLocked() time.Time {
	if s.standby != nil && s.standby.aside.lastWrite.After(s.session.lastWrite) {
		return s.standby.aside.lastWrite
	}
	return s.session.lastWrite
}
