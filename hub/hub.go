// Package hub holds live streams: each is a bounded log of packets to which one
// publisher appends, and from which any number of viewers and readers read, each a cursor
// in the log and nothing else. The hub knows no protocol and does no I/O.
//
//	NewSession ─▶ Ask ─┬─▶ h.Publish ─▶ Publisher.Write ─▶ [ stream: log, timeline, headers, life ]
//	                   │                                       ▲          ▲    │ wakes
//	                   └─▶ h.Watch ─▶ Viewer.Wait ─▶ Viewer.Fill          │    ▼
//	                           h.Read ────────────────────────▶ Reader.Read
//
// A stream exists as soon as somebody publishes it or waits for it. One owner, the
// Stream, decides on everything that happens to it; stream.go draws its life. What is
// built on the hub comes through Session, Config.Authorize, Config.Observe, Reader and
// Totals. README.md says how it is built, and why.
package hub

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Config sets up a Hub. The zero value is a useful one.
type Config struct {
	// PublisherGrace is how long a stream is held for its viewers when its
	// publisher left: 8 s if 0, not at all if negative.
	PublisherGrace time.Duration
	// ViewerWait is how long a viewer waits for a publisher: 10 s if 0, not at all
	// if negative.
	ViewerWait time.Duration
	// MaxLag is how far behind the newest packet a viewer may be before it jumps to
	// the newest key frame: 5 s if 0, by the times at which packets arrived. The
	// log of a stream keeps that much for viewers who have still to read it.
	MaxLag time.Duration
	// GOPMaxBytes bounds a stream's log, in bytes of memory: 32 MiB if 0.
	GOPMaxBytes int64
	// MaxBytes bounds the logs of all streams together, in bytes of memory: beyond it,
	// those that hold more than an equal share of it are cut as if their GOPMaxBytes
	// were that share. 0 for no bound.
	MaxBytes int64
	// LogDuration is how much of a stream is kept for viewers who want to begin further
	// back than the newest key frame (WatchOptions.Back), within GOPMaxBytes: nothing
	// more than its newest GOP if 0.
	LogDuration time.Duration
	// MaxStreams bounds the streams, published or waited for: 20,000 if 0. When viewers
	// wait for so many, publishers find room for as many again.
	MaxStreams int
	// MaxViewers bounds the viewers of one stream, those who wait for it included; 0
	// for no bound.
	MaxViewers int
	// MaxBitrate bounds what a publisher may send, in bits per second: one that sends
	// more for several seconds is ended with ReasonTooMany. 0 for no bound.
	MaxBitrate int64

	// NoFillSilence leaves gaps in AAC sound as they are: otherwise they are filled with
	// silence, for all viewers but those who get everything as it was sent.
	NoFillSilence bool

	// Authorize is asked before a client publishes or watches (Session.Ask), in a
	// goroutine of its own, 1,024 sessions at a time; every client may if it is nil. It
	// may take its time, and should return soon after ctx ends, when nobody is
	// interested any more. Its error refuses, with ReasonDenied unless it is a *Refusal
	// with another reason for refusals. The client and the log are told its words.
	Authorize func(ctx context.Context, s *Session) (Grant, error)
	// AuthorizeTimeout bounds the wait for its answer, the time in the queue included:
	// 10 s if 0.
	AuthorizeTimeout time.Duration
	// Claim is asked when the policy has let a publisher in, by the goroutine that asked that: whether it may
	// publish as far as other servers are concerned, and what it has to go by. Its error refuses, as
	// Authorize's does. What becomes of the session, or of its client meanwhile, it is not told. It may
	// be nil.
	Claim func(ctx context.Context, s *Session) (Claim, error)
	// StepUp is asked by Publisher.Write and Hub.StepUp, for a publisher that stands by for one at another server
	// (Claim.StandsBy): whether it may go on in the place of that one. asked says that an operator wants it (Hub.Switch).
	// A Claim that StandsBy says no; the error ends the publisher. ctx ends after some seconds, and with the publisher.
	// nil where no Claim StandsBy.
	StepUp func(ctx context.Context, s *Session, asked bool) (Claim, error)
	// Pulse is for how long after the last Hub.Beat tags are taken from publishers; those that come later
	// wait for one. 0 for ever. Publishers that stand in for others (PublishOptions.Yields) never wait.
	Pulse time.Duration
	// Locate is asked when a viewer waits for a stream that nobody publishes: for how long it is
	// worth waiting because whoever is told EventWanted may bring it; 0 for no longer than
	// ViewerWait. It returns at once and calls nothing of the hub. It may be nil.
	Locate func(Key) time.Duration
	// Node is the id of this server among servers that relay streams to each other: whoever
	// comes by way of it, and what it has sent, is refused with ReasonLoop. See ParsePath.
	Node string
	// Recheck looks once more at a session that has just entered its stream, or begun to play
	// a recording: what a policy knows by itself may have changed since it was asked. Its error
	// ends the session, with ReasonKicked unless it is a *Refusal. It returns at once and calls
	// nothing of the hub. nil for no second look.
	Recheck func(s *Session) error
	// ExpireSessions ends sessions that have begun when their grants end, with ReasonExpired.
	ExpireSessions bool
	// MaxPerIdentity bounds the viewers whose grants have one identity, those who wait
	// included; 0 for no bound.
	MaxPerIdentity int
	// Disguise returns what is shown in place of the stream that a client asked to publish, as
	// long as nobody has granted it: where a stream's name may be a mistyped secret. nil shows
	// the name. See Session.Shown.
	Disguise func(Key) string
	// Observe is told what happens, one event after the other, those of a stream in
	// their order; nobody waits for it. It is called by one goroutine at a time, and
	// should return soon: while more than 100,000 events wait for it, further ones are
	// lost, of which an EventLost tells.
	Observe func(Event)
	// Logger gets a line when a session begins, ends or is refused, and for what concerns
	// a stream and no single session; nil discards them.
	Logger *slog.Logger
}

// Defaults of Config.
const (
	defaultPublisherGrace   = 8 * time.Second
	defaultViewerWait       = 10 * time.Second
	defaultMaxLag           = 5 * time.Second
	defaultAuthorizeTimeout = 10 * time.Second
	defaultGOPMaxBytes      = 32 << 20
	defaultMaxStreams       = 20_000
)

// Hub holds the streams. Its methods may be called from any goroutine.
type Hub struct {
	cfg    Config
	began  time.Time // 0 of the clock of arrivals
	logged struct {
		bytes, streams atomic.Int64 // in all logs, and how many hold something
	}
	checks  atomic.Int32 // self-tests that are published
	asker   *asker
	ledger  ledger
	repeats repeats
	pulse   atomic.Int64 // when Beat was called last, on the hub's clock
	entry   atomic.Int32 // of entryOpen and so on: who may come; set with mu held

	// mu guards what follows. It may be taken before a stream's mutex, never after.
	mu       sync.Mutex
	streams  map[Key]*Stream
	made     uint64               // streams, ever
	draining map[*Stream]struct{} // ended and forgotten, but for the viewers that are left
	playing  map[*Session]playing // sessions that play recordings
	walks    map[*walk]struct{}   // under way
	viewers  int                  // not closed yet; those who play a recording included
	alike    map[string]int       // of them those with an identity, with Config.MaxPerIdentity
	closing  bool                 // Shutdown was called
	idle     chan struct{}        // closed when closing and the last viewer is closed
	ending   chan struct{}        // closed when closing
}

// New makes a hub.
func New(cfg Config) *Hub {
	setDuration := func(d *time.Duration, def time.Duration) {
		switch {
		case *d == 0:
			*d = def
		case *d < 0:
			*d = 0
		}
	}
	setDuration(&cfg.PublisherGrace, defaultPublisherGrace)
	setDuration(&cfg.ViewerWait, defaultViewerWait)
	setDuration(&cfg.MaxLag, defaultMaxLag)
	setDuration(&cfg.AuthorizeTimeout, defaultAuthorizeTimeout)
	if cfg.GOPMaxBytes <= 0 {
		cfg.GOPMaxBytes = defaultGOPMaxBytes
	}
	if cfg.MaxStreams <= 0 {
		cfg.MaxStreams = defaultMaxStreams
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	h := &Hub{
		cfg: cfg, began: time.Now(), idle: make(chan struct{}), ending: make(chan struct{}),
		streams: make(map[Key]*Stream), draining: make(map[*Stream]struct{}),
		playing: make(map[*Session]playing), walks: make(map[*walk]struct{}), alike: make(map[string]int),
	}
	h.asker = newAsker(&h.cfg)
	h.ledger.observe = cfg.Observe
	h.ledger.panicked = func(value any) { logPanic(cfg.Logger, "the observer panicked", value) }
	return h
}

// Watch makes a session the viewer of its stream, which need not be published yet. Where
// there is a policy, Session.Ask has granted it. The viewer must be ended. The error is a
// *Refusal, and has been told.
func (h *Hub) Watch(s *Session, opts WatchOptions) (*Viewer, error) {
	if err := s.check(); err != nil {
		return nil, s.refused(err)
	}
	v := &Viewer{session: s}
	v.fixedCodecs, v.scriptData, v.noAudio, v.noVideo = opts.FixedCodecs, opts.ScriptData, opts.NoAudio, opts.NoVideo
	v.shape = opts.Shape
	if opts.Start != StartGOP || opts.Back > 0 || opts.Duration > 0 {
		v.plan = &startPlan{live: opts.Start == StartLive, back: opts.Back}
		if opts.Duration > 0 {
			v.plan.duration = max(1, opts.Duration.Milliseconds())
		}
	}
	if err := h.attach(v, s.Key()); err != nil {
		return nil, s.refused(err)
	}
	if err := s.recheck(); err != nil {
		v.End(err)
		return nil, err
	}
	s.expire(v.Dismiss)
	return v, nil
}

// attach puts a viewer that has not started into the present stream of the key.
func (h *Hub) attach(v *Viewer, key Key) error {
	h.mu.Lock()
	s, err := h.roomLocked(v, key)
	old := v.stream.Load()
	if err == nil && old == nil {
		err = h.enterLocked(v.session)
	}
	if err != nil {
		h.mu.Unlock()
		return err
	}
	if old != nil {
		old.mu.Lock() // as long as v.stream says that this guards the viewer
		old.removeLocked(v)
		h.letGoLocked(old)
		for w := range h.walks {
			w.moved = append(w.moved, v)
		}
	}
	s.mu.Lock()
	s.updateLocked(func() {
		s.addLocked(v)
		v.stream.Store(s)
		if old != nil {
			old.mu.Unlock()
		}
		h.mu.Unlock()
	})
	return nil
}

// roomLocked returns the present stream of the key, if it has room for the viewer.
func (h *Hub) roomLocked(v *Viewer, key Key) (*Stream, error) {
	// Hub.Dismiss may have looked for one that has just come where it is no more.
	if v.mustEnd() || v.session.dismissed.Load() != nil {
		return nil, v.closedBecause()
	}
	s, err := h.streamLocked(key, h.cfg.MaxStreams)
	if err != nil {
		return nil, err
	}
	if most := h.cfg.MaxViewers; most > 0 {
		s.mu.RLock()
		viewers := len(s.viewers) // more come with h.mu held only
		s.mu.RUnlock()
		if viewers >= most {
			return nil, refuse(ReasonTooMany, "at most %d may watch %s or wait for it at a time", most, key)
		}
	}
	return s, nil
}

// streamLocked returns the present stream of the key, a new one if there is none and
// there are not as many as most already. It is not ended: a stream ends and is
// forgotten under h.mu, or is replaced here.
func (h *Hub) streamLocked(key Key, most int) (*Stream, error) {
	if h.entry.Load() == entryClosed {
		return nil, errShuttingDown
	}
	if s := h.streams[key]; s != nil {
		s.mu.RLock()
		ended := s.state == stateEnded
		if ended {
			h.letGoLocked(s)
		}
		s.mu.RUnlock()
		if !ended {
			return s, nil
		}
	}
	if len(h.streams) >= most {
		return nil, refuse(ReasonTooMany, "the server has no room for another stream, it has %d", len(h.streams))
	}
	h.made++
	s := newStream(h, key, h.made)
	h.streams[key] = s
	return s, nil
}

// forget lets go of a stream that has ended, or that nobody publishes or waits for, and,
// when it has ended, of its last viewer.
func (h *Hub) forget(s *Stream) {
	h.mu.Lock()
	s.mu.Lock()
	s.updateLocked(func() {
		defer h.mu.Unlock()
		if s.isForNobodyLocked() {
			s.endLocked(ReasonNotFound)
		}
		if s.state == stateEnded {
			h.letGoLocked(s)
		}
		s.effects.forget = false
	})
}

// letGoLocked makes a stream that has ended none of the hub's streams. It is one of those
// that drain as long as it has viewers. The stream is locked, too.
func (h *Hub) letGoLocked(s *Stream) {
	if h.streams[s.key] == s {
		delete(h.streams, s.key)
	}
	if len(s.viewers) > 0 {
		h.draining[s] = struct{}{}
	} else {
		delete(h.draining, s)
	}
}

// Live reports whether somebody publishes the stream now, other than one that stands by for a publisher at another
// server.
func (h *Hub) Live(key Key) bool {
	s := h.stream(key)
	if s == nil {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.state == stateLive && !s.pub.isWaiting()
}

// stream returns the present stream of the key, nil if there is none.
func (h *Hub) stream(key Key) *Stream {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.streams[key]
}

// Close is End for a viewer that left.
func (v *Viewer) Close() { v.End(&Refusal{Reason: ReasonClientLeft}) }

// End ends the viewer and its session, because of why. Only the first call has an effect.
// A Wait or Fill that is under way in another goroutine ends.
func (v *Viewer) End(why *Refusal) {
	h := v.stream.Load().hub
	h.mu.Lock()
	if v.flags.Or(flagClosed)&flagClosed != 0 {
		h.mu.Unlock()
		return
	}
	h.mu.Unlock()
	if ending := v.Ending(why.Reason); ending.Detail != "" {
		why = ending // which says more
	}
	s := v.stream.Load() // which it does not change any more
	s.update(func() {
		s.removeLocked(v)
		s.facts.out += v.bytes.Load()
		s.facts.dropped += v.dropped.Load()
		s.endSessionLocked(Event{Kind: EventLeft, Session: v.session, Bytes: v.bytes.Load(), Dropped: v.dropped.Load()}, why)
		v.goneLocked()
		s.effects.forget = (s.state == stateWaiting || s.state == stateEnded) && len(s.viewers) == 0
	})
	v.session.stopExpiry() // behind that: expire may just have set it
	h.leave(v.session)
}
