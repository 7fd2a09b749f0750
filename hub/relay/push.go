package relay

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"sluice/hub"
)

// pushConfig says what a push carries where.
type pushConfig struct {
	Hub  *hub.Hub
	Send func(context.Context, Sending) (Sink, error) // Config.Send
	// Hold is for how long the target is kept connected, and told nothing, when the publisher has
	// left; 0 for not at all.
	Hold time.Duration
	Node string // this server's id, which ends the path that the target is told; may be empty
	Key  hub.Key
	URL  URL // expanded for the stream
	// Several says that other nodes of a cluster push the stream when they have it.
	Several bool
	// Told is called when the state has changed, by the goroutine of run and with no lock held; it
	// must not block. May be nil.
	Told   func(ConnectionInfo)
	Logger *slog.Logger // nil discards
}

// push is one target of one stream: a reader of the hub, and a connection to write to. It holds up
// neither the publisher nor other targets.
//
// The goroutine that calls run owns it. The other methods may be called by any goroutine at any time,
// return at once and call nothing of the hub.
type push struct {
	cfg   pushConfig
	stop  context.CancelFunc // ends run; it is set by who runs it
	news  chan struct{}      // capacity 1: published or unpublished was called
	retry pushRetry          // run's

	// What info gathers.
	seen           atomic.Pointer[ConnectionInfo] // without the figures
	shown          atomic.Pointer[pushConn]       // the present connection; nil if there is none
	bytes, dropped atomic.Uint64
	tries, breaks  atomic.Uint64
}

// newPush makes a push, which begins nothing.
func newPush(cfg pushConfig) *push {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Logger = cfg.Logger.With("stream", cfg.Key.String(), "target", cfg.URL.String())
	p := &push{cfg: cfg, news: make(chan struct{}, 1)}
	p.seen.Store(&ConnectionInfo{Key: cfg.Key, URL: cfg.URL, State: Idle, Since: time.Now()})
	return p
}

// run pushes until ctx ends, or until nobody has published the stream for the hold. Then it closes
// the connection, properly if the target lets it within some seconds, and returns. The stream need
// not be published yet. One goroutine at a time calls it; it may be called again.
//
// A publisher may come just as it returns: who calls it looks whether there is one as it lets go of
// the push.
func (p *push) run(ctx context.Context) { newPushRun(ctx, p).loop() }

// tell has run look at the hub: somebody publishes the stream, or does so no more. That it does by itself, too, now and then:
// events may be lost.
func (p *push) tell() {
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// info returns how it stands.
func (p *push) info() ConnectionInfo {
	i := *p.seen.Load()
	i.Bytes, i.Dropped = p.bytes.Load(), p.dropped.Load()
	i.Tries, i.Breaks = p.tries.Load(), p.breaks.Load()
	if c := p.shown.Load(); c != nil {
		i.Lag = c.lagNow()
	}
	return i
}
