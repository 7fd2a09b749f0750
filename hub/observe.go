package hub

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// EventKind is what happened.
type EventKind uint8

// What happens to sessions and streams. Each of the first three pairs begins and ends
// exactly once: an end for each beginning, and no other.
const (
	EventPublished   EventKind = iota // a publisher began
	EventUnpublished                  // and ended; the stream may go on for its grace time
	EventJoined                       // a viewer began: it gets its first frame
	EventLeft                         // and ended
	EventWanted                       // there are viewers for a stream that nobody publishes; Session is the first
	EventUnwanted                     // nobody waits for it or watches it any more
	EventRefused                      // a session never began
	EventTracks                       // viewers are told of other tracks, codecs or formats than before
	EventSwitched                     // the stream goes on with the publisher that stood by, which is Session
	EventLost                         // Lost events were not told, since too many were waiting
	eventKinds                        // how many there are
)

// String returns the kind in one word.
func (k EventKind) String() string {
	return [eventKinds]string{
		"published", "unpublished", "joined", "left", "wanted", "unwanted", "refused", "tracks", "switched", "lost",
	}[k]
}

// Event is something that happened, for Config.Observe.
type Event struct {
	Kind EventKind
	Time time.Time
	Key  Key
	// Session is the one that began, ended or was refused; the publisher's with
	// EventTracks. It is nil with EventUnwanted and EventLost.
	Session *Session
	// Reason says why a session ended or was refused, and Detail the same in a sentence
	// where there is more to say. Detail may quote the client.
	Reason Reason
	Detail string

	// Standby says, with EventPublished and EventUnpublished, that the publisher is not the one that is
	// shown: it stands by for another one, or was to follow it and had sent no key frame yet.
	Standby bool

	// Waited is the time from a session's making to its beginning, with EventPublished and
	// EventJoined: a viewer of a stream has waited so long for its first frame.
	Waited time.Duration

	// Of a session that ended.
	Duration time.Duration
	Bytes    uint64 // of tags taken from a publisher, or sent to a viewer in its protocol's form
	Dropped  uint64 // packets that a viewer was not sent because it was too slow

	Tracks []Track // with EventTracks: video before audio, by number. Never changed
	Lost   uint64  // with EventLost
}

// ends reports whether the event is the end of a session that had begun.
func (e *Event) ends() bool { return e.Kind == EventUnpublished || e.Kind == EventLeft }

// maxEvents bounds the events that wait for an observer, besides as many that it is just
// being told.
const maxEvents = 100_000

// ledger keeps what happened: events until they are told, and sums for good. Events of one
// stream are entered under its lock, and so stand in their order.
type ledger struct {
	observe  func(Event)
	panicked func(value any) // writes a line

	mu      sync.Mutex // the last of all locks
	totals  map[totalsKey]*SessionTotals
	streams streamSums // of those that have ended
	queue   []Event
	lost    uint64
	telling bool          // a goroutine tells them
	told    chan struct{} // closed when none is left; nil if nobody waits for that
}

// enter takes an event. It neither blocks nor calls anybody.
func (l *ledger) enter(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.countLocked(&e)
	switch {
	case l.observe == nil:
		return
	case len(l.queue) >= maxEvents:
		l.lost++
		return
	}
	l.queue = append(l.queue, e)
	if !l.telling {
		l.telling = true
		go l.tellAll()
	}
}

// tellAll calls the observer for each event that waits, one after the other.
func (l *ledger) tellAll() {
	var batch []Event
	var lost uint64
	done := false
	defer func() {
		if !done { // the observer has ended the goroutine (runtime.Goexit)
			l.mu.Lock()
			l.queue = append(batch, l.queue...)
			l.lost += lost
			l.mu.Unlock()
			go l.tellAll()
		}
	}()
	for {
		l.mu.Lock()
		batch, lost = l.queue, l.lost
		l.queue, l.lost = nil, 0
		if len(batch) == 0 {
			done, l.telling = true, false
			if l.told != nil {
				close(l.told)
				l.told = nil
			}
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		for len(batch) > 0 {
			e := batch[0]
			batch = batch[1:]
			l.tell(e)
		}
		if n := lost; n > 0 {
			lost = 0
			l.tell(Event{Kind: EventLost, Time: time.Now(), Lost: n})
		}
	}
}

// tell calls the observer. One that panics is told the next event all the same.
func (l *ledger) tell(e Event) {
	defer func() {
		if v := recover(); v != nil {
			l.panicked(v)
		}
	}()
	l.observe(e)
}

// wait returns when no event waits any more, or ctx ends.
func (l *ledger) wait(ctx context.Context) {
	l.mu.Lock()
	if !l.telling {
		l.mu.Unlock()
		return
	}
	if l.told == nil {
		l.told = make(chan struct{})
	}
	told := l.told
	l.mu.Unlock()
	select {
	case <-told:
	case <-ctx.Done():
	}
}

// tell enters an event that belongs to no stream's change, and writes its line.
func (h *Hub) tell(e Event) {
	e.Time = time.Now()
	h.ledger.enter(e)
	h.log(&e)
}

// tellLocked enters an event of a stream; its line follows when the stream is unlocked.
func (s *Stream) tellLocked(e Event) {
	e.Time, e.Key = time.Now(), s.key
	s.hub.ledger.enter(e)
	s.effects.events = append(s.effects.events, e)
}

// beginSessionLocked tells that e.Session begins, unless it has begun.
func (s *Stream) beginSessionLocked(e Event) {
	if who := e.Session; who.stage.CompareAndSwap(stageNew, stageBegun) {
		made := who.begun
		who.begun = time.Since(s.hub.began)
		e.Waited = who.begun - made
		s.tellLocked(e)
	}
}

// endSessionLocked tells that e.Session ended, or that it was refused if it had not begun.
func (s *Stream) endSessionLocked(e Event, why *Refusal) {
	who := e.Session
	switch who.stage.Swap(stageOver) {
	case stageNew:
		s.tellLocked(Event{Kind: EventRefused, Session: who, Reason: why.Reason, Detail: why.Detail})
	case stageBegun:
		e.Reason, e.Detail, e.Duration = why.Reason, why.Detail, time.Since(s.hub.began)-who.begun
		s.tellLocked(e)
	}
}

// reviewWantedLocked tells when a stream that nobody publishes here has its first viewer, and
// when it has none any more.
func (s *Stream) reviewWantedLocked() {
	switch wanted := len(s.viewers) > 0 && s.state != stateEnded; {
	case wanted == s.wanted:
	case !wanted:
		s.wanted = false
		s.tellLocked(Event{Kind: EventUnwanted})
	case s.pub == nil, s.pub.isWaiting():
		s.wanted = true
		s.tellLocked(Event{Kind: EventWanted, Session: s.viewers[0].session})
	}
}

// log writes the line of an event. There are the same lines for sessions of every
// protocol. A viewer that is refused as one was before (repeats) has its line at the level debug.
func (h *Hub) log(e *Event) {
	level, message, again := slog.LevelInfo, "", uint64(0)
	switch e.Kind {
	case EventPublished, EventJoined:
		message = "session begins"
	case EventUnpublished, EventLeft:
		message = "session ends"
	case EventSwitched:
		message = "stream goes on with the other publisher"
	case EventRefused:
		var told bool
		message = "session refused"
		if again, told = h.noteRepeat(e); !told {
			level = slog.LevelDebug
		}
	default:
		level, message = slog.LevelDebug, "stream "+e.Kind.String()
	}
	ctx := context.Background()
	if !h.cfg.Logger.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{slog.String("stream", e.Key.String())}
	if e.Session != nil {
		attrs = e.Session.attrs()
	}
	if e.Standby {
		attrs = append(attrs, slog.Bool("standby", true))
	}
	if e.Reason != ReasonNone {
		attrs = append(attrs, slog.String("reason", e.Reason.String()))
	}
	if e.Detail != "" {
		attrs = append(attrs, slog.String("detail", e.Detail))
	}
	if e.ends() {
		attrs = append(attrs, slog.Duration("duration", e.Duration.Round(time.Millisecond)),
			slog.Uint64("bytes", e.Bytes), slog.Uint64("dropped", e.Dropped))
	}
	if again > 0 {
		attrs = append(attrs, slog.Uint64("again", again))
	}
	h.cfg.Logger.LogAttrs(ctx, level, message, attrs...)
}
