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
	// State says what it does:
	//
	//	Idle         nothing is connected, and nobody publishes
	//	Connecting   a connection is opened, or open and nothing sent on it has been acknowledged yet
	//	Live         what is sent is acknowledged
	//	Slow         it was live, and jumped to a key frame within the last seconds because the target
	//	             takes too little, or nothing has been acknowledged for 5 s
	//	BackingOff   it failed, and is tried again at Next
	//	Refused      likewise, about 30 s later, or as soon as the stream has other codecs if it is for these
	//	Held         it is connected, and the publisher has left, or is back and has sent nothing yet
	State  State
	Since  time.Time // when that began
	URL    URL       // the one that is connected to: another than configured where the target has moved
	Remote string    // "" while nothing is connected
	// Detail says why: what failed last, until it works again, which codec the target does not take
	// ("codec: HEVC"), what it has not acknowledged. It holds no secrets. Empty where there is
	// nothing to say.
	Detail  string
	Bytes   uint64 // of tags' bodies written, over all connections
	Dropped uint64 // packets that the target was not sent because it was slow
	Tries   uint64 // connections that were tried
	// Lag is how much later than it could have been the last packet was written; where a write
	// is under way, with the time that it has taken so far.
	Lag  time.Duration
	Next time.Time // of the next try; zero if none is due
}

// push is one target of one stream: a reader of the hub, and a connection to write to. It holds up
// neither the publisher nor other targets.
//
// The goroutine that calls run owns it. The other methods may be called by any goroutine at any time,
// return at once and call nothing of the hub.
type push struct {
	cfg   pushConfig
	news  chan struct{} // capacity 1: published or unpublished was called
	retry pushRetry     // run's

	// What info gathers.
	seen           atomic.Pointer[pushInfo] // without the figures
	shown          atomic.Pointer[pushConn] // the present connection; nil if there is none
	bytes, dropped atomic.Uint64
	tries          atomic.Uint64
}

// newPush makes a push, which begins nothing.
func newPush(cfg pushConfig) *push {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Logger = cfg.Logger.With("stream", cfg.Key.String(), "target", cfg.URL.String())
	p := &push{cfg: cfg, news: make(chan struct{}, 1)}
	p.seen.Store(&pushInfo{State: Idle, Since: time.Now(), URL: cfg.URL})
	return p
}

// run pushes until ctx ends, or until nobody has published the stream for the hold. Then it closes
// the connection, properly if the target lets it within some seconds, and returns. The stream need
// not be published yet. One goroutine at a time calls it; it may be called again.
//
// A publisher may come just as it returns: who calls it looks whether there is one as it lets go of
// the push.
func (p *push) run(ctx context.Context) { newPushRun(ctx, p).loop() }

// published tells that somebody began to publish the stream (hub.EventPublished).
func (p *push) published() { p.tell() }

// unpublished tells that its publisher ended (hub.EventUnpublished); the stream may go on.
func (p *push) unpublished() { p.tell() }

// tell has run look at the hub. That it does by itself, too, now and then: events may be lost.
func (p *push) tell() {
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// info returns how it stands.
func (p *push) info() pushInfo {
	i := *p.seen.Load()
	i.Bytes, i.Dropped, i.Tries = p.bytes.Load(), p.dropped.Load(), p.tries.Load()
	if c := p.shown.Load(); c != nil {
		i.Lag = c.lagNow()
	}
	return i
}
