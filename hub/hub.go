// Package hub holds live streams: each is a bounded log of packets to which one
// publisher appends, and from which any number of viewers read, each a cursor in
// the log and nothing else. The hub knows no protocol and does no I/O.
//
//	h.Publish ──▶ Publisher.Write ──▶ [ stream: log, timeline, headers, life ]
//	                                      ▲          │ wakes
//	h.Watch ──▶ Viewer.Wait ──▶ Viewer.Fill ─────────┘
//
// A stream exists as soon as somebody publishes it or waits for it. One owner, the
// Stream, decides on everything that happens to it; stream.go draws its life.
package hub

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
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

	// Authorize is asked before anybody publishes or watches, without any lock
	// held; everybody may if it is nil. Its error refuses, with ReasonDenied unless
	// it is a *Refusal.
	Authorize func(Access) error
	// Logger gets a line for what concerns a stream and no single session; nil
	// discards them.
	Logger *slog.Logger
}

// Access is what somebody wants to do, for Config.Authorize.
type Access struct {
	Publish  bool // otherwise watch
	Key      Key
	Protocol string
	Remote   string
}

// Hub holds the streams. Its methods may be called from any goroutine.
type Hub struct {
	cfg    Config
	began  time.Time // 0 of the clock of arrivals
	logged struct {
		bytes, streams atomic.Int64 // in all logs, and how many hold something
	}

	// mu guards what follows. It may be taken before a stream's mutex, never after.
	mu      sync.Mutex
	streams map[Key]*Stream
	viewers int           // not closed yet
	closing bool          // Shutdown was called
	idle    chan struct{} // closed when closing and the last viewer is closed
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
	setDuration(&cfg.PublisherGrace, 8*time.Second)
	setDuration(&cfg.ViewerWait, 10*time.Second)
	setDuration(&cfg.MaxLag, 5*time.Second)
	if cfg.GOPMaxBytes <= 0 {
		cfg.GOPMaxBytes = 32 << 20
	}
	if cfg.MaxStreams <= 0 {
		cfg.MaxStreams = 20_000
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Hub{cfg: cfg, began: time.Now(), streams: make(map[Key]*Stream), idle: make(chan struct{})}
}

// authorize asks the policy.
func (h *Hub) authorize(a Access) error {
	if h.cfg.Authorize == nil {
		return nil
	}
	err := h.cfg.Authorize(a)
	if err == nil {
		return nil
	}
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		return refusal
	}
	return refuse(ReasonDenied, "%v", err)
}

// Watch makes a viewer of the stream, which need not be published yet. The viewer
// must be closed. The error is a *Refusal.
func (h *Hub) Watch(key Key, opts WatchOptions) (*Viewer, error) {
	if err := h.authorize(Access{Key: key, Protocol: opts.Protocol, Remote: opts.Remote}); err != nil {
		return nil, err
	}
	v := &Viewer{
		protocol:    opts.Protocol,
		fixedCodecs: opts.FixedCodecs,
		scriptData:  opts.ScriptData,
		noAudio:     opts.NoAudio,
		noVideo:     opts.NoVideo,
		shape:       opts.Shape,
	}
	if opts.Start != StartGOP || opts.Back > 0 || opts.Duration > 0 {
		v.from = &from{live: opts.Start == StartLive, back: opts.Back}
		if opts.Duration > 0 {
			v.from.duration = max(1, opts.Duration.Milliseconds())
		}
	}
	if err := h.attach(v, key); err != nil {
		return nil, err
	}
	return v, nil
}

// attach puts a viewer that has not started into the present stream of the key.
func (h *Hub) attach(v *Viewer, key Key) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if v.closed() {
		return errViewerClosed
	}
	s, err := h.streamLocked(key, h.cfg.MaxStreams)
	if err != nil {
		return err
	}
	if most := h.cfg.MaxViewers; most > 0 {
		s.mu.RLock()
		viewers := len(s.viewers) // more come with h.mu held only
		s.mu.RUnlock()
		if viewers >= most {
			return refuse(ReasonTooMany, "%s has %d viewers already", key, viewers)
		}
	}
	if old := v.stream.Load(); old != nil {
		old.mu.Lock() // as long as v.stream says that this guards the viewer
		defer old.mu.Unlock()
		old.removeLocked(v)
	} else {
		h.viewers++
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addLocked(v)
	v.stream.Store(s)
	return nil
}

// streamLocked returns the present stream of the key, a new one if there is none and
// there are not as many as most already. It is not ended: a stream ends and is
// forgotten under h.mu, or is replaced here.
func (h *Hub) streamLocked(key Key, most int) (*Stream, error) {
	if h.closing {
		return nil, refuse(ReasonShuttingDown, "the server is shutting down")
	}
	if s := h.streams[key]; s != nil {
		s.mu.RLock()
		ended := s.state == stateEnded
		s.mu.RUnlock()
		if !ended {
			return s, nil
		}
		delete(h.streams, key)
	}
	if len(h.streams) >= most {
		return nil, refuse(ReasonTooMany, "the server has %d streams already", len(h.streams))
	}
	s := newStream(h, key)
	h.streams[key] = s
	return s, nil
}

// forget lets go of a stream that has ended, or that nobody publishes or waits
// for.
func (h *Hub) forget(s *Stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	h.forgetLocked(s)
}

// forgetLocked is forget where h.mu and s.mu are held.
func (h *Hub) forgetLocked(s *Stream) {
	if s.state == stateWaiting && len(s.viewers) == 0 {
		s.endLocked(ReasonNotFound)
	}
	if s.state == stateEnded && h.streams[s.key] == s {
		delete(h.streams, s.key)
	}
}

// Live reports whether somebody publishes the stream now.
func (h *Hub) Live(key Key) bool {
	h.mu.Lock()
	s := h.streams[key]
	h.mu.Unlock()
	if s == nil {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.state == stateLive
}

// Shutdown refuses whoever comes from now on, ends every publisher and every
// viewer with ReasonShuttingDown, and waits until the last viewer is closed or
// ctx ends, whose error it then returns.
func (h *Hub) Shutdown(ctx context.Context) error {
	h.mu.Lock()
	if !h.closing {
		h.closing = true
		if h.viewers == 0 {
			close(h.idle)
		}
	}
	streams := make([]*Stream, 0, len(h.streams))
	for _, s := range h.streams {
		streams = append(streams, s)
	}
	h.mu.Unlock()

	for _, s := range streams {
		s.update(func() {
			s.dismissLocked(refuse(ReasonShuttingDown, "the server is shutting down"))
			if s.state != stateEnded {
				s.endLocked(ReasonShuttingDown)
			}
		})
	}
	select {
	case <-h.idle:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-h.idle: // as well, and that is what counts
		return nil
	default:
		return ctx.Err()
	}
}

// Close ends the viewer. Only the first call has an effect. Whoever drives the
// viewer may still be in Wait or Fill, which then end.
func (v *Viewer) Close() {
	h := v.stream.Load().hub
	h.mu.Lock()
	if v.flags.Or(flagClosed)&flagClosed != 0 {
		h.mu.Unlock()
		return
	}
	h.mu.Unlock()
	s := v.stream.Load() // which it does not change any more
	s.update(func() {
		s.removeLocked(v)
		s.facts.out += v.bytes.Load()
		s.facts.dropped += v.dropped.Load()
		if v.from != nil && v.from.gone != nil {
			close(v.from.gone) // its own Wait ends; others who wait need not look
			v.from.gone = nil
		}
		s.effects.forget = s.state == stateWaiting && len(s.viewers) == 0
	})
	h.mu.Lock()
	h.viewers--
	if h.closing && h.viewers == 0 {
		close(h.idle)
	}
	h.mu.Unlock()
}

// maxWaitingListed bounds the streams that nobody publishes in what Streams returns:
// anybody can wait for any name.
const maxWaitingListed = 1000

// Streams returns what is known of every stream, sorted by key; of those that are only
// waited for, a thousand at the most.
func (h *Hub) Streams() []StreamInfo {
	h.mu.Lock()
	streams := make([]*Stream, 0, len(h.streams))
	for _, s := range h.streams {
		streams = append(streams, s)
	}
	h.mu.Unlock()
	now := time.Now()
	infos := make([]StreamInfo, 0, len(streams))
	waiting := 0
	for _, s := range streams {
		info, ok := s.info(now)
		if !ok {
			continue
		}
		if info.State == stateWaiting.String() {
			if waiting++; waiting > maxWaitingListed {
				continue
			}
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b StreamInfo) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Name, b.Name))
	})
	return infos
}
