// Package monitor looks at what publishers send: it keeps figures of the last minutes, and says in words
// what is wrong with a stream and what to change in its encoder.
//
//	hub.Measure ──every 2 s──▶ stream.look ─┬─▶ series (5 min of a stream)
//	                                        └─▶ rules ─▶ words ─▶ Event: one begins, one ends
//	hub.Totals ───every 5 s──▶ whole (15 min of the server)
//
// What counts as wrong stands in one table, rules.go. README.md has it for people.
package monitor

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"sluice/hub"
)

// Steps and lengths of what is kept.
const (
	step        = 2 * time.Second // of a stream's series: how often publishers are looked at
	wholeStep   = 5 * time.Second // of the server's
	points      = 150             // of a stream: 5 minutes
	wholePoints = 180             // of the server: 15 minutes

	// keep is how long a stream is remembered that nobody publishes: by then there is nothing
	// left in its series.
	keep = points * step
	// maxGone bounds those that are; beyond it those are forgotten that ended first.
	maxGone = 1000
)

// Hub is what a Monitor needs of a *hub.Hub.
type Hub interface {
	Measure([]hub.Measures) []hub.Measures
	Totals() []hub.SessionTotals
}

// Config sets up a Monitor. Hub must be set.
type Config struct {
	Hub Hub
	// Usage returns the CPU time that the process has used so far, and its memory in bytes;
	// negative for what cannot be told. nil if neither can.
	Usage func() (cpu time.Duration, memory int64)
	// Observe is told of words that begin and end, one after the other, with no lock held; nil
	// for nobody. It should return soon: nobody is looked at meanwhile.
	Observe func(Event)
}

// Event is the beginning or the end of a word. Each beginning has one end: when it is good again, or
// when the publisher's session is over.
type Event struct {
	Time    time.Time
	Session *hub.Session // of the publisher
	Begins  bool
	Health  // as it was last
}

// Monitor looks at publishers from time to time. Its methods may be called from any goroutine.
type Monitor struct {
	cfg   Config
	began time.Time // 0 of its times

	stop    context.CancelFunc
	running sync.WaitGroup

	measures []hub.Measures // of a look, reused
	events   []Event        // likewise

	mu      sync.Mutex // guards what follows
	streams map[hub.Key]*stream
	looked  time.Duration
	whole   whole
}

// New makes a Monitor, which must be closed.
func New(cfg Config) *Monitor {
	ctx, stop := context.WithCancel(context.Background())
	m := &Monitor{cfg: cfg, began: time.Now(), stop: stop, streams: make(map[hub.Key]*stream)}
	m.running.Go(func() { m.run(ctx) })
	return m
}

// Close ends all words, and returns when nothing runs any more. It may be called twice, and of nil.
func (m *Monitor) Close() {
	if m == nil {
		return
	}
	m.stop()
	m.running.Wait()
}

func (m *Monitor) run(ctx context.Context) {
	look, whole := time.NewTicker(step), time.NewTicker(wholeStep)
	defer look.Stop()
	defer whole.Stop()
	m.lookWhole()
	for {
		select {
		case <-look.C:
			m.look()
		case <-whole.C:
			m.lookWhole()
		case <-ctx.Done():
			m.endAll()
			return
		}
	}
}

// look looks at all publishers.
func (m *Monitor) look() {
	m.measures = m.cfg.Hub.Measure(m.measures[:0])
	now := time.Since(m.began)
	m.mu.Lock()
	span := now - m.looked
	steps := min(max(1, int((span+step/2)/step)), points)
	m.looked = now
	for i := range m.measures {
		of := &m.measures[i]
		s := m.streams[of.Key]
		if s == nil {
			s = newStream()
			m.streams[of.Key] = s
		}
		s.seen = now
		if s.session != of.Session {
			m.endLocked(s, now)
			s.begin(of, now)
		}
		s.skip(steps - 1) // looks that came too late to be
		s.look(of, now, span)
		m.judgeLocked(s, of, now)
	}
	m.leaveLocked(now, steps)
	m.mu.Unlock()
	clear(m.measures) // sessions must not be kept
	m.tell()
}

// leaveLocked sees to streams that nobody publishes.
func (m *Monitor) leaveLocked(now time.Duration, steps int) {
	var gone []hub.Key
	for key, s := range m.streams {
		if s.seen == now {
			continue
		}
		m.endLocked(s, now)
		s.skip(steps)
		if now-s.seen >= keep {
			delete(m.streams, key)
			continue
		}
		gone = append(gone, key)
	}
	if len(gone) > maxGone {
		slices.SortFunc(gone, func(a, b hub.Key) int { return cmp.Compare(m.streams[a].seen, m.streams[b].seen) })
		for _, key := range gone[:len(gone)-maxGone] {
			delete(m.streams, key)
		}
	}
}

// judgeLocked lets words of a stream begin and end.
func (m *Monitor) judgeLocked(s *stream, of *hub.Measures, now time.Duration) {
	for i := range rules {
		if now-s.since < rules[i].from {
			continue
		}
		switch s.judge(i, rules[i].find(s, of, now), now) {
		case begins:
			m.enterLocked(s, s.word(i), true, now)
		case ends:
			m.enterLocked(s, s.word(i), false, now)
			s.drop(i)
		case stays:
		}
	}
}

// endLocked ends the session of a stream, with all of its words.
func (m *Monitor) endLocked(s *stream, now time.Duration) {
	for i := range s.words {
		if w := &s.words[i]; w.on {
			m.enterLocked(s, w, false, now)
		}
	}
	s.words, s.session = nil, nil
}

// enterLocked notes an event, which is told when the lock is released.
func (m *Monitor) enterLocked(s *stream, w *word, begins bool, now time.Duration) {
	if m.cfg.Observe != nil {
		m.events = append(m.events, Event{Time: m.at(now), Session: s.session, Begins: begins, Health: m.health(w)})
	}
}

// tell tells the events that have been noted.
func (m *Monitor) tell() {
	for _, e := range m.events {
		m.cfg.Observe(e)
	}
	clear(m.events)
	m.events = m.events[:0]
}

// endAll ends all words.
func (m *Monitor) endAll() {
	m.mu.Lock()
	now := time.Since(m.began)
	for _, s := range m.streams {
		m.endLocked(s, now)
	}
	m.mu.Unlock()
	m.tell()
}

// at returns the time of a moment of the monitor, by the system's clock as it is set now: it may not
// have been when the monitor began.
func (m *Monitor) at(moment time.Duration) time.Time {
	now := time.Now()
	return now.Add(moment - now.Sub(m.began))
}

// Status is how a stream is at the moment.
type Status struct {
	Health    []Health // what is wrong with it
	FrameRate float64  // pictures per second of the last seconds, 0 if there were none
	// KeyInterval is the time between the last two key frames; 0 while there were not two.
	KeyInterval time.Duration
}

// Status returns how a stream is. It is false for one that is not published, or has not been looked at.
func (m *Monitor) Status(key hub.Key) (Status, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.streams[key]
	if s == nil || s.session == nil {
		return Status{}, false
	}
	of := Status{FrameRate: s.frameRate, KeyInterval: s.keyInterval}
	for i := range s.words {
		if w := &s.words[i]; w.on {
			of.Health = append(of.Health, m.health(w))
		}
	}
	return of, true
}

// Unwell returns with how many publishers something is wrong.
func (m *Monitor) Unwell() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.streams {
		if slices.ContainsFunc(s.words, func(w word) bool { return w.on }) {
			n++
		}
	}
	return n
}

// Series are figures of the last minutes, at regular steps, the oldest first: NaN where nothing was
// measured. The caller owns them.
type Series struct {
	Step   time.Duration
	End    time.Time // of the newest point
	Points map[string][]float64
}

// Stream returns the series of a stream: "bitrate" in bits per second, "frame_rate", and
// "key_frame_interval_ms", "av_distance_ms" (by how much the picture is ahead) and "jitter_ms" in
// milliseconds. It is false for one that is not known.
func (m *Monitor) Stream(key hub.Key) (Series, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.streams[key]
	if s == nil {
		return Series{}, false
	}
	return Series{Step: step, End: m.at(m.looked), Points: s.series.points()}, true
}
