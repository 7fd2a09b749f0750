package relay

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"sluice/hub"
)

// pullProtocol is what the hub's figures call publishers that are pulls.
const pullProtocol = "pull"

// Times of a pull.
const (
	// firstFrame is how long a server may take for its first frame where there is another one to
	// try, or where it has said that the stream is over.
	firstFrame = 2 * time.Second
	// failureMemory is for how long viewers who come are told of a failure, before the servers are
	// asked again.
	failureMemory = time.Second
	// tellEvery is how often those are told, and looks at whether anybody watches are apart.
	tellEvery = 50 * time.Millisecond
	lookEvery = 500 * time.Millisecond
	// noMedia is for how long a connection may bring nothing that goes on, though it brings
	// something: metadata, what is known, pictures that nobody can decode.
	noMedia = 20 * time.Second
	// absentDelay bounds the time between tries of a stream that a server just does not have.
	absentDelay = 5 * time.Second
)

// pull is a stream that is pulled.
//
//	         ┌── failed: a Pull waits, an Origin tells its viewers ◀──┐
//	         ▼                                                        │
//	run ─▶ feed: looks for a first frame ─▶ publishes, held through breaks ─▶ the stream is over
//	         ▲                                                        │
//	         └── the own publisher has left ◀── idle: somebody else publishes
//
// One goroutine runs it; the other methods may be called by any.
type pull struct {
	relay  *Relay
	rule   *rule
	key    hub.Key
	cancel context.CancelFunc
	freed  chan struct{} // capacity 1: a publisher that is no pull has left
	status status
	pace   pace // of run
	log    *slog.Logger

	mu  sync.Mutex
	who *hub.Session // the first viewer of an Origin
}

func newPull(r *Relay, by *rule, key hub.Key, who *hub.Session) *pull {
	p := &pull{
		relay: r, rule: by, key: key, who: who, freed: make(chan struct{}, 1),
		log: r.cfg.Logger.With("relay", by.id, "stream", key.String()),
	}
	p.status.info = ConnectionInfo{Key: key, State: Idle, Since: time.Now()}
	p.status.told = func(c *ConnectionInfo) {
		r.tell(Event{by.Kind, by.id, *c})
	}
	return p
}

// wanted tells of a viewer that is the first one again. A Pull is for nobody in particular. It is
// called with the relay locked.
func (p *pull) wanted(who *hub.Session) {
	if p.rule.Kind == Pull {
		return
	}
	p.mu.Lock()
	p.who = who
	p.mu.Unlock()
}

// first returns the first viewer; nil of a Pull.
func (p *pull) first() *hub.Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.who
}

// free tells that a publisher has left that is no pull. It is called with the relay locked.
func (p *pull) free() {
	select {
	case p.freed <- struct{}{}:
	default:
	}
}

// Why a feed ends, beside *Failure and *hub.Refusal.
var (
	errIdle = errors.New("relay: nobody watches")
	errOver = Failed(CauseNotFound, "the stream is over")
)

// run pulls until ctx ends, or until nobody wants the stream of an Origin any more.
func (p *pull) run(ctx context.Context) {
	defer p.status.set(Idle, "")
	var tries backoff
	for ctx.Err() == nil {
		if p.relay.isLive(p.key) && !p.waitFree(ctx) {
			return
		}
		f := newFeed(ctx, p)
		err := f.run()
		refusal, dismissed := errors.AsType[*hub.Refusal](err)
		goOn := true
		switch {
		case ctx.Err() != nil || errors.Is(err, errIdle):
			return
		case dismissed && refusal.Reason == hub.ReasonShuttingDown:
			p.status.set(Idle, "")
			<-ctx.Done() // which is no failure, and nothing follows
			return
		case dismissed && (refusal.Reason == hub.ReasonBusy || refusal.Reason == hub.ReasonReplaced):
			tries.reset()
			goOn = p.waitFree(ctx)
		case p.rule.Kind == Origin:
			goOn = p.giveUp(ctx, err)
		default:
			if f.published() {
				tries.reset()
			}
			p.wait(ctx, &tries, err)
		}
		if !goOn {
			return
		}
	}
}

// waitFree waits until nobody else publishes the stream, and returns false if it is not wanted then.
func (p *pull) waitFree(ctx context.Context) bool {
	p.status.set(Idle, "somebody else publishes it")
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for ctx.Err() == nil {
		select {
		case <-p.freed:
		case <-look.C: // no word is missed for long
		case <-ctx.Done():
		}
		if p.isUnwanted() {
			return false
		}
		if !p.relay.isLive(p.key) {
			return true
		}
	}
	return false
}

// isUnwanted reports whether nobody has watched the stream of an Origin for Config.Idle.
func (p *pull) isUnwanted() bool {
	return p.rule.Kind == Origin && p.relay.cfg.Hub.Unwatched(p.key) > p.relay.cfg.Idle
}

// giveUp tells those who wait for the stream that no server has it, and those who come within
// failureMemory. It returns whether there are others by then.
func (p *pull) giveUp(ctx context.Context, err error) bool {
	why := refusalOf(err)
	p.failed(err, time.Time{})
	look := time.NewTicker(tellEvery)
	defer look.Stop()
	for end := time.Now().Add(failureMemory); time.Now().Before(end); {
		p.relay.cfg.Hub.GiveUp(p.key, why)
		select {
		case <-look.C:
		case <-ctx.Done():
			return false
		}
	}
	return p.relay.cfg.Hub.Unwatched(p.key) == 0
}

// failed notes why nothing comes.
func (p *pull) failed(err error, next time.Time) {
	f := failureIn(err)
	state := BackingOff
	switch {
	case f.Cause.refuses():
		state = Refused
	case f.Cause == CauseNotFound && p.rule.Kind == Origin: // players ask for what is nowhere, which is nobody's failure
		state = Idle
	}
	level := slog.LevelDebug
	if p.rule.isNews(f.Detail) {
		level = slog.LevelInfo // nobody publishes it, or a viewer has asked for what it may not have
		if f.Cause != CauseNotFound && (p.rule.Kind == Pull || f.Cause != CauseDenied) {
			level = slog.LevelWarn
		}
	}
	p.log.Log(context.Background(), level, "a pull failed", "url", p.status.snapshot().URL.String(), "reason", f.Detail)
	p.status.change(func(c *ConnectionInfo) {
		c.State, c.Detail, c.Next = state, f.Detail, next
	})
}

// wait waits before a Pull is tried again.
func (p *pull) wait(ctx context.Context, tries *backoff, err error) {
	var d time.Duration
	switch cause := failureIn(err).Cause; {
	case cause.refuses():
		d = afterRefusal()
	case cause == CauseNotFound, cause == CauseBusy:
		d = tries.next(absentDelay)
	default:
		d = tries.next(maxDelay)
	}
	p.failed(err, time.Now().Add(d))
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// failureIn returns what kind of failure an error is, that of a hub's refusal included.
func failureIn(err error) *Failure {
	if refusal, ok := errors.AsType[*hub.Refusal](err); ok {
		f := Failed(CauseConnection, "%s", refusal.Error())
		switch refusal.Reason {
		case hub.ReasonLoop:
			f.Cause = CauseLoop
		case hub.ReasonKicked, hub.ReasonDenied, hub.ReasonTooMany:
			f.Cause = CauseDenied
		}
		return f
	}
	return FailureOf(err)
}

// refusalOf returns what viewers are told who wait for a stream that does not come.
func refusalOf(err error) *hub.Refusal {
	f := failureIn(err)
	reason := hub.ReasonNotFound
	switch f.Cause {
	case CauseDenied:
		reason = hub.ReasonDenied
	case CauseLoop:
		reason = hub.ReasonLoop
	}
	return &hub.Refusal{Reason: reason, Detail: "no other server gives the stream: " + f.Detail}
}
