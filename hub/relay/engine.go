package relay

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/hub"
)

// Config sets up a Relay. Hub, Open and Send must be set.
type Config struct {
	Hub   *hub.Hub
	Rules []Rule // of the configuration; Load replaces them
	// StartTimeout is for how long a stream is looked for when its first viewer has come: 10 s if 0.
	StartTimeout time.Duration
	// Idle is how long an origin is kept when its last viewer has left: 10 s if 0, not at all
	// if negative.
	Idle time.Duration
	// PullHold is how long a pulled stream is held for its viewers while no server gives it: 60 s if
	// 0, not at all if negative.
	PullHold time.Duration
	// PushHold is how long a target is held when the publisher has left: 60 s if 0, not at all if
	// negative.
	PushHold time.Duration
	// MaxOrigins is how many streams of origins are pulled at a time, those that are looked for included:
	// 4096 if 0. Who asks for one more is refused at once.
	MaxOrigins int
	// Elsewhere reports whether another of several servers that are one has a stream, so that it need not be pulled
	// here. It must not block, and may be nil.
	Elsewhere func(hub.Key) bool
	// Open opens a connection to a server that a stream is pulled from, and Send one to a target.
	// Their errors are *Failure, or what net returns.
	Open func(context.Context, Opening) (Source, error)
	Send func(context.Context, Sending) (Sink, error)
	// StateFile is where rules made at run time are kept; they are kept in memory only if it is empty.
	StateFile string
	// Told is told of changes of state, by the goroutine that changed it; it must not block. It may be nil.
	Told   func(Event)
	Logger *slog.Logger // nil discards

	noMedia time.Duration // noMedia, but in tests
}

// Defaults of Config.
const (
	defaultStartTimeout = 10 * time.Second
	defaultIdle         = 10 * time.Second
	defaultHold         = 60 * time.Second
	defaultMaxOrigins   = 4096
)

// Relay carries streams by rules. Its methods may be called from any goroutine.
type Relay struct {
	cfg     Config
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup
	pushing sync.WaitGroup // of those, the pushes

	saving sync.Mutex // held while the state file is written; taken before mu

	mu       sync.Mutex
	closed   bool
	pushless bool // nothing is pushed any more
	rules    []*rule
	lastID   [kinds]int
	pulls    map[hub.Key]*pull
	origins  int // how many of them are of Origins
	pushes   map[pushed]*push
	live     map[hub.Key]publishers
	over     Figures
}

// rule is a rule that is in force.
type rule struct {
	Rule
	id string
	by string // the variable that has it, or byAPI

	logged atomic.Pointer[logged] // the last line of a failure of its pulls
}

// logged is a line of the log.
type logged struct {
	detail string
	at     time.Time
}

// logEvery is how far apart lines of the log are about the same failure of a rule: an edge whose origin
// is down would have one for each viewer.
const logEvery = time.Minute

// isNews reports whether a failure of a pull is worth a line, and takes note of it.
func (by *rule) isNews(detail string) bool {
	last, now := by.logged.Load(), time.Now()
	return (last == nil || last.detail != detail || now.Sub(last.at) >= logEvery) &&
		by.logged.CompareAndSwap(last, &logged{detail, now})
}

// byAPI is who made a rule at run time.
const byAPI = "api"

// variable returns the one that holds rules of a kind.
func (k Kind) variable() string {
	return [kinds]string{"SLUICE_PULL", "SLUICE_ORIGIN", "SLUICE_PUSH"}[k]
}

// pushed is one stream of one rule.
type pushed struct {
	rule *rule
	key  hub.Key
}

// New makes a Relay, which begins with its pulls. It must be closed. The error is that of a state
// file that cannot be read.
func New(cfg Config) (*Relay, error) {
	set := func(d *time.Duration, def time.Duration) {
		if *d = cmp.Or(*d, def); *d < 0 {
			*d = 0
		}
	}
	set(&cfg.StartTimeout, defaultStartTimeout)
	set(&cfg.Idle, defaultIdle)
	set(&cfg.PullHold, defaultHold)
	set(&cfg.PushHold, defaultHold)
	set(&cfg.noMedia, noMedia)
	cfg.MaxOrigins = cmp.Or(cfg.MaxOrigins, defaultMaxOrigins)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Relay{
		cfg: cfg, pulls: make(map[hub.Key]*pull), pushes: make(map[pushed]*push),
		live: make(map[hub.Key]publishers),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	kept, err := readState(cfg.StateFile)
	if err != nil {
		r.cancel()
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range kept {
		r.rules = append(r.rules, k)
		r.lastID[k.Kind] = max(r.lastID[k.Kind], numberOf(k.id))
	}
	r.loadLocked(cfg.Rules)
	return r, nil
}

// Observe is told what happens in the hub (hub.Config.Observe).
func (r *Relay) Observe(e hub.Event) {
	switch e.Kind {
	case hub.EventWanted:
		r.want(e.Key, e.Session)
	case hub.EventPublished, hub.EventSwitched:
		r.published(e.Key, e.Session)
	case hub.EventUnpublished:
		r.unpublished(e.Key, e.Session)
	case hub.EventLost:
		r.look()
	}
}

// Locate returns how long it is worth waiting for a stream that nobody publishes (hub.Config.Locate).
func (r *Relay) Locate(key hub.Key) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch p := r.pulls[key]; {
	case r.closed:
		return 0
	case p != nil && p.rule.Kind == Pull, p == nil && r.originLocked(key) == nil:
		return 0
	}
	return r.cfg.StartTimeout + firstFrame
}

// want pulls a stream that viewers wait for, if an origin has it.
func (r *Relay) want(key hub.Key, who *hub.Session) {
	if !r.wantOne(key, who) {
		r.cfg.Hub.GiveUp(key, errManyOrigins)
	}
}

// errManyOrigins refuses viewers of what would be one stream too many: each name that somebody makes up is
// asked for at an origin.
var errManyOrigins = &hub.Refusal{Reason: hub.ReasonTooMany, Detail: "too many streams are pulled from other servers"}

// wantOne is want. It returns false if there are too many.
func (r *Relay) wantOne(key hub.Key, who *hub.Session) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.pulls[key]; p != nil {
		p.wanted(who)
		return true
	}
	origin := r.originLocked(key)
	switch {
	case origin == nil || r.closed:
		return true
	case r.origins >= r.cfg.MaxOrigins:
		return false
	}
	r.pullLocked(origin, key, who)
	return true
}

// originLocked returns the rule that says where a stream comes from, nil if there is none.
func (r *Relay) originLocked(key hub.Key) *rule {
	for _, o := range slices.Backward(r.rules) {
		if o.Kind == Origin && o.Matches(key) {
			return o
		}
	}
	return nil
}

// pullLocked begins a pull.
func (r *Relay) pullLocked(by *rule, key hub.Key, who *hub.Session) {
	p := newPull(r, by, key, who)
	ctx, cancel := context.WithCancel(r.ctx)
	p.cancel = cancel
	r.pulls[key] = p
	if by.Kind == Origin {
		r.origins++
	}
	r.running.Go(func() {
		defer cancel()
		p.run(ctx)
		r.pullOver(p)
	})
}

// pullOver notes that a pull is over, and begins another where there is still a reason: one came
// as this one ended. Viewers that come from here on are told to the next one (want).
func (r *Relay) pullOver(p *pull) {
	r.mu.Lock()
	if r.pulls[p.key] == p {
		delete(r.pulls, p.key)
	}
	if p.rule.Kind == Origin {
		r.origins--
	}
	info := p.status.snapshot()
	r.over.add(p.rule.Kind, &info)
	r.mu.Unlock()
	watched := r.cfg.Hub.Unwatched(p.key) == 0
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.pulls[p.key] != nil {
		return
	}
	if by := r.pullRuleLocked(p.key); by != nil {
		r.pullLocked(by, p.key, nil)
	} else if by := r.originLocked(p.key); by != nil && watched && !r.isLiveLocked(p.key) {
		r.pullLocked(by, p.key, p.first())
	}
}

// pullRuleLocked returns the rule by which a stream is always pulled, nil if there is none.
func (r *Relay) pullRuleLocked(key hub.Key) *rule {
	for _, by := range r.rules {
		if by.Kind == Pull && by.Key == key {
			return by
		}
	}
	return nil
}

// tell tells of a change of state.
func (r *Relay) tell(e Event) {
	if r.cfg.Told != nil {
		r.cfg.Told(e)
	}
}

// Load puts the rules of the configuration in the place of those before: what is the same goes on.
// Rules made at run time stay, unless they clash with one of these.
func (r *Relay) Load(rules []Rule) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.loadLocked(rules)
	}
}

func (r *Relay) loadLocked(rules []Rule) {
	var next []*rule
	for _, n := range rules {
		i := slices.IndexFunc(r.rules, func(old *rule) bool { return old.by != byAPI && old.Equal(n) })
		if i >= 0 {
			next = append(next, r.rules[i])
		} else {
			next = append(next, &rule{Rule: n, id: r.newIDLocked(n.Kind), by: n.Kind.variable()})
		}
	}
	for _, old := range r.rules {
		clashes := func(n Rule) bool { return old.collides(n) }
		switch {
		case old.by == byAPI && !slices.ContainsFunc(rules, clashes):
			next = append(next, old)
		case !slices.Contains(next, old):
			defer r.endLocked(old)
		}
	}
	r.rules = next
	r.beginLocked(r.rules)
}

// newIDLocked returns an id for a rule.
func (r *Relay) newIDLocked(kind Kind) string {
	r.lastID[kind]++
	return fmt.Sprintf("%s-%d", kind, r.lastID[kind])
}

// beginLocked begins what rules ask for and is not there.
func (r *Relay) beginLocked(rules []*rule) {
	for _, by := range rules {
		switch by.Kind {
		case Pull:
			switch p := r.pulls[by.Key]; {
			case p == nil:
				r.pullLocked(by, by.Key, nil)
			case p.rule != by:
				p.cancel() // and pullOver begins this one
			}
		case Push:
			for key := range r.live {
				if by.Matches(key) {
					if _, there := r.pushes[pushed{by, key}]; !there {
						r.pushLocked(by, key)
					}
				}
			}
		}
	}
}

// endLocked ends what came of a rule.
func (r *Relay) endLocked(by *rule) {
	for _, p := range r.pulls {
		if p.rule == by {
			p.cancel()
		}
	}
	for at, p := range r.pushes {
		if at.rule == by {
			p.stop()
		}
	}
}
