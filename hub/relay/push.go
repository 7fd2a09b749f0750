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
	// Told is called when the state has changed, by the goroutine of run and with no lock held; it
	// must not block. May be nil.
	Told   func(pushInfo)
	Logger *slog.Logger // nil discards
}

// pushInfo is how a push stands.
type pushInfo struct {
	State  State
	Since  time.Time // when that began
	URL    URL       // the one that is connected to: another than configured where the target moved
	Remote string    // "" while nothing is connected
	// Detail says why: what failed, which codec the target does not take, what it has not
	// acknowledged. It holds no secrets. Empty where there is nothing to say.
	Detail  string
	Bytes   uint64        // of bodies written, over all connections
	Dropped uint64        // packets the target was not sent because it was slow
	Tries   uint64        // connections that were tried
	Lag     time.Duration // how old, by its arrival, the last packet was when it was written; of a target that takes nothing, how long it has waited
	Next    time.Time     // of the next try; zero if none is due
}

// push is one target of one stream: a reader of the hub, and a connection to write to. It holds up
// neither the publisher nor other targets.
//
// The goroutine that calls run owns it. The other methods may be called by any goroutine at any time,
// return at once and call nothing of the hub.
type push struct {
	cfg  pushConfig
	news chan struct{} // capacity 1: published or unpublished was called
	live atomic.Bool   // somebody publishes, as far as it was told
	seen atomic.Pointer[pushInfo]
}

// newPush makes a push, which begins nothing.
func newPush(cfg pushConfig) *push {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &push{cfg: cfg, news: make(chan struct{}, 1)}
	p.seen.Store(&pushInfo{State: Idle, Since: time.Now(), URL: cfg.URL})
	return p
}

// run pushes until ctx ends, or until the stream is over and its hold too, and then returns, with
// the connection closed: properly, if the target lets it within closeTimeout. It is called once. The stream
// need not be published yet: it waits for published, up to the hold, unless it is.
func (p *push) run(ctx context.Context) { <-ctx.Done() }

// published tells that somebody began to publish the stream (hub.EventPublished).
func (p *push) published() { p.tell(true) }

// unpublished tells that its publisher ended (hub.EventUnpublished); the stream may go on.
func (p *push) unpublished() { p.tell(false) }

func (p *push) tell(live bool) {
	p.live.Store(live)
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// info returns how it stands.
func (p *push) info() pushInfo { return *p.seen.Load() }
