package event

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"sluice/hub"
	"sluice/hub/archive"
)

// Config says who is told, and of what. The zero value is a useful one: only the Ring is told.
type Config struct {
	Server  string // names this server in events
	Webhook *Webhook
	Exec    *Exec

	// Update is how often the sessions that there are are told, in batches; 0 for never.
	// Sessions returns them (hub.Hub.Sessions).
	Update   time.Duration
	Sessions func() []hub.SessionInfo

	// StateDir is where it stands which finished recordings were not told yet, so that they are
	// after a crash; it must exist. Empty for nowhere. Recovered are those that were finished at
	// the start (archive.Archive.Recovered), and Find looks one up (archive.Archive.Recording);
	// nil without recordings.
	StateDir  string
	Recovered []archive.Recording
	Find      func(key hub.Key, id string) (archive.Recording, error)

	Logger *slog.Logger // slog.Default if nil
}

// Notifier tells. Its methods may be called from any goroutine, but for Observe, which one at a
// time calls. None of them waits for a receiver, but Close.
type Notifier struct {
	cfg     Config
	log     *slog.Logger
	ring    *Ring
	queues  []*queue
	webhook *webhook // nil without one, as is its queue
	hooks   *queue
	execs   *queue
	spool   *spool // nil if nothing outlasts the process
	start   string // the beginning of all ids
	number  atomic.Uint64
	denied  sampler
	relayed relayed
	stop    context.CancelFunc // of run
	running sync.WaitGroup
	closing sync.Once
	awaited awaited
}

// New makes a Notifier, which must be closed. The error is of what is configured, or of the file
// in StateDir.
func New(cfg Config) (*Notifier, error) {
	n := &Notifier{cfg: cfg, log: cfg.Logger, ring: newRing()}
	if n.log == nil {
		n.log = slog.Default()
	}
	var start [8]byte
	rand.Read(start[:]) // never fails
	n.start = hex.EncodeToString(start[:])
	if w := cfg.Webhook; w != nil {
		hook, err := newWebhook(*w)
		if err != nil {
			return nil, fmt.Errorf("endpoint for events: %w", err)
		}
		n.webhook = hook
		n.hooks = n.addQueue("webhook", webhookWorkers, n.log.With("endpoint", shownURL(w.URL())), hook.deliver)
	}
	if cfg.Exec != nil {
		p, err := newProgram(*cfg.Exec, n.log)
		if err != nil {
			return nil, fmt.Errorf("program for events: %w", err)
		}
		n.execs = n.addQueue("exec", execWorkers, p.log, p.deliver)
	}
	n.awaited.receivers = len(n.queues)
	if cfg.StateDir != "" && len(n.queues) > 0 {
		spool, err := openSpool(cfg.StateDir, n.log)
		if err != nil {
			return nil, fmt.Errorf("events that are not told yet: %w", err)
		}
		n.spool = spool
		n.awaited.told = spool.told
		spool.tell = n.emit
		go spool.run() // until it is closed
	}
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.running.Go(func() { n.run(ctx) })
	return n, nil
}

func (n *Notifier) addQueue(receiver string, workers int, log *slog.Logger, deliver func(context.Context, *Event) error) *queue {
	q := newQueue(receiver, workers, log)
	q.deliver, q.newEvent, q.settled = deliver, n.newEvent, n.awaited.settle
	n.queues = append(n.queues, q)
	return q
}

// Ring returns the newest events.
func (n *Notifier) Ring() *Ring { return n.ring }

// newEvent makes an event of this moment.
func (n *Notifier) newEvent(typ Type) Event {
	id := n.start + "-" + strconv.FormatUint(n.number.Add(1), 10)
	return Event{ID: id, Type: typ, Time: time.Now(), Server: n.cfg.Server}
}

// emit tells everybody.
func (n *Notifier) emit(e *Event) { n.emitTo(e, nil) }

// emitTo tells everybody but one.
func (n *Notifier) emitTo(e *Event, except *queue) {
	n.ring.add(*e)
	for _, q := range n.queues {
		if q != except {
			q.add(e)
		}
	}
}

// Started tells that the server has started, and of recordings that a process that died has not
// told of.
func (n *Notifier) Started() {
	e := n.newEvent(TypeStarted)
	n.emit(&e)
	n.resume()
}

// Draining tells that the server is told to end.
func (n *Notifier) Draining() {
	e := n.newEvent(TypeDraining)
	n.emit(&e)
}

// Observe is told what happens in the hub (hub.Config.Observe).
func (n *Notifier) Observe(e hub.Event) {
	if e.Kind == hub.EventLost {
		n.lost(e.Lost)
		return
	}
	if e.Kind == hub.EventRefused && n.webhook != nil && n.webhook.Knows != nil {
		if key, known := n.webhook.Knows(e); known {
			n.endKnown(&e, key)
		}
	}
	typ := typeOf(&e)
	if typ == "" {
		return
	}
	quiet := e.Key.IsCheck() && e.Kind != hub.EventRefused
	if quiet && !n.accounts(e.Session) {
		return
	}
	var leftOut uint64
	if typ == TypeDenied && e.Session != nil {
		ok := false
		from := network(e.Session.Client().Address.Addr())
		if leftOut, ok = n.denied.take(from, time.Now()); !ok {
			return
		}
	}
	told := n.newEvent(typ)
	told.LeftOut = leftOut
	fromHub(&told, &e)
	if quiet {
		if n.webhook.Skip == nil || !n.webhook.Skip(e) {
			n.hooks.add(&told)
		}
		return
	}
	if e.Reason == hub.ReasonKicked && typ != TypeKicked {
		kicked := told
		kicked.Ended = nil
		kicked.Type = TypeKicked
		n.emit(&kicked)
		told.ID = n.newEvent(typ).ID
	}
	if n.webhook != nil && n.webhook.Skip != nil && n.webhook.Skip(e) {
		n.emitTo(&told, n.hooks)
		return
	}
	n.emit(&told)
}

// accounts reports whether the endpoint keeps account of a session.
func (n *Notifier) accounts(s *hub.Session) bool {
	return s != nil && n.webhook != nil && n.webhook.Accounts != nil && n.webhook.Accounts(s)
}

// endKnown tells the endpoint of the end of a session that never began. key is its stream as the
// endpoint knows it.
func (n *Notifier) endKnown(e *hub.Event, key hub.Key) {
	typ := TypeStop
	if e.Session.Role() == hub.RolePublish {
		typ = TypeUnpublish
	}
	told := n.newEvent(typ)
	fromHub(&told, e)
	told.setKey(key)
	n.hooks.add(&told)
}

// Left tells the endpoint the end of a session that never began, which it has granted. key is the
// stream's name after the grant.
func (n *Notifier) Left(s *hub.Session, key hub.Key) {
	if n.hooks != nil {
		n.endKnown(&hub.Event{Kind: hub.EventRefused, Session: s, Time: time.Now(), Reason: hub.ReasonClientLeft}, key)
	}
}

// lost tells that so many events of the hub never came here.
func (n *Notifier) lost(count uint64) {
	e := n.newEvent(TypeGap)
	e.Lost = count
	n.ring.add(e)
	for _, q := range n.queues {
		q.skip(count)
	}
}

// run tells what is told from time to time.
func (n *Notifier) run(ctx context.Context) {
	sweep := time.NewTicker(deniedSweep)
	defer sweep.Stop()
	var update <-chan time.Time
	if n.cfg.Update > 0 && n.cfg.Sessions != nil && len(n.queues) > 0 {
		ticker := time.NewTicker(n.cfg.Update)
		defer ticker.Stop()
		update = ticker.C
	}
	for {
		select {
		case <-sweep.C:
			n.sweep(false)
		case <-update:
			n.update()
		case <-ctx.Done():
			n.sweep(true)
			return
		}
	}
}

// sweep tells how many denials were left out.
func (n *Notifier) sweep(end bool) {
	for _, left := range n.denied.sweep(time.Now(), end) {
		e := n.newEvent(TypeDenied)
		e.LeftOut, e.Address = left.leftOut, left.address
		n.emit(&e)
	}
}

// Totals are sums since the start.
type Totals struct {
	Webhook QueueTotals `json:"webhook"` // zero without one, as is Exec
	Exec    QueueTotals `json:"exec"`
}

// Totals returns the sums.
func (n *Notifier) Totals() (t Totals) {
	if n.hooks != nil {
		t.Webhook = n.hooks.sums()
	}
	if n.execs != nil {
		t.Exec = n.execs.sums()
	}
	return t
}

// Close delivers what waits until ctx ends, and returns when nothing runs any more. What happens
// afterwards is told to the Ring alone.
func (n *Notifier) Close(ctx context.Context) {
	n.closing.Do(func() { n.close(ctx) })
}

func (n *Notifier) close(ctx context.Context) {
	n.stop()
	n.running.Wait() // it tells of denials that were left out
	if n.spool != nil {
		n.spool.flush(ctx)
	}
	var queues sync.WaitGroup
	for _, q := range n.queues {
		queues.Go(func() { q.close(ctx) })
	}
	queues.Wait()
	if n.webhook != nil {
		n.webhook.close()
	}
	if n.spool != nil {
		n.spool.close(ctx)
	}
}
