package access

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"sluice/hub"
	"sluice/hub/access/network"
)

// Named is a method under the name by which it is configured and counted.
type Named struct {
	Name   string
	Method Method
}

// Rules are who may do one thing.
type Rules struct {
	// Methods are asked in their order; the first that grants decides.
	Methods []Named
	// Allow and Deny are networks of clients: one of Deny is refused, and where there is an
	// Allow, whoever is not in it, or has no address that is known. Who is refused so is asked
	// nothing.
	Allow, Deny []netip.Prefix
}

// Config sets up a Policy.
type Config struct {
	Publish, Watch Rules
	// Referer reports whether a page of this origin may show streams. It is asked about the
	// Referer of a viewer that shows no Origin; nil for any.
	Referer func(origin string) bool
	// Banned returns why a session is banned, nil if it is not; nil for no bans. It returns at
	// once.
	Banned func(*hub.Session) error
	// Failures is how many wrong secrets an address may show in a time, before it is refused
	// for a minute what somebody could guess a secret for. The addresses that one client may
	// have (hub.ClientAddress) are one.
	Failures Rate
	// Decided, if not nil, is told of each decision: by which method it was granted, or the last
	// that refused; result is "granted", "missing", "expired", "wrong", "failed" or "denied".
	Decided func(role hub.Role, method, result string, took time.Duration)
	Logger  *slog.Logger // nil discards
}

// Policy decides for the hub. Its methods may be called from any goroutine.
type Policy struct {
	cfg            Config
	publish, watch rules
	failures       *failures
}

// New returns a policy.
func New(cfg Config) *Policy {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Policy{cfg: cfg, publish: newRules(cfg.Publish), watch: newRules(cfg.Watch), failures: newFailures(cfg.Failures)}
}

// Open reports whether everybody may do what the role does.
func (p *Policy) Open(role hub.Role) bool { return p.rules(role).open }

func (p *Policy) rules(role hub.Role) *rules {
	if role == hub.RolePublish {
		return &p.publish
	}
	return &p.watch
}

// rules are Rules as they are used.
type rules struct {
	methods     []Named
	allow, deny network.Table[struct{}]
	open        bool // for everybody
	guarded     bool // somebody could guess a secret
}

func newRules(of Rules) rules {
	r := rules{methods: slices.Clone(of.Methods)}
	for _, n := range of.Allow {
		r.allow.Set(n, struct{}{})
	}
	for _, n := range of.Deny {
		r.deny.Set(n, struct{}{})
	}
	r.open = len(of.Allow)+len(of.Deny) == 0 && slices.ContainsFunc(r.methods, func(m Named) bool { return m.Method == Open() })
	r.guarded = slices.ContainsFunc(r.methods, func(m Named) bool { return m.Method != Open() && m.Method != None() })
	return r
}

// Recheck is for hub.Config.Recheck: it says whether a session is banned.
func (p *Policy) Recheck(s *hub.Session) error {
	if p.cfg.Banned == nil {
		return nil
	}
	return p.cfg.Banned(s)
}

// Why clients are refused before any method is asked.
var (
	errNetwork  = &hub.Refusal{Reason: hub.ReasonDenied, Detail: "not from this address"}
	errReferer  = &hub.Refusal{Reason: hub.ReasonDenied, Detail: "this page may not show streams of this server"}
	errFailures = &hub.Refusal{Reason: hub.ReasonTooMany, Detail: "too many wrong secrets came from this address; try again in a minute"}
)

// Authorize is for hub.Config.Authorize.
func (p *Policy) Authorize(ctx context.Context, s *hub.Session) (hub.Grant, error) {
	began := time.Now()
	grant, method, result, err := p.decide(ctx, s, began)
	if p.cfg.Decided != nil {
		p.cfg.Decided(s.Role(), method, result, time.Since(began))
	}
	return grant, err
}

func (p *Policy) decide(ctx context.Context, s *hub.Session, now time.Time) (grant hub.Grant, method, result string, err error) {
	rules, client := p.rules(s.Role()), s.Client()
	counted := hub.ClientAddress(client.Address.Addr())
	switch {
	case !rules.permits(client.Address.Addr()):
		return hub.Grant{}, "network", "denied", errNetwork
	case s.Role() == hub.RoleWatch && !p.permitsReferer(&client):
		return hub.Grant{}, "origin", "denied", errReferer
	case rules.guarded && p.failures.refused(counted, now):
		return hub.Grant{}, "failures", "denied", errFailures
	}
	if err := p.Recheck(s); err != nil {
		return hub.Grant{}, "ban", "denied", denied(err)
	}
	grant, last := rules.ask(ctx, s)
	// Who asks much at a time learns no more than who asks one question after the other.
	if now = time.Now(); rules.guarded && p.failures.refused(counted, now) {
		return hub.Grant{}, "failures", "denied", errFailures
	}
	if last.result == "wrong" {
		begins, was := p.failures.add(counted, listQuestion(&client), now)
		switch {
		case was && rules.guarded:
			return hub.Grant{}, "failures", "denied", errFailures
		case begins:
			p.cfg.Logger.Warn("too many wrong secrets: the address is refused for a minute", "address", counted.String())
		}
	}
	return grant, last.method, last.result, last.err
}

// ask asks the methods, and returns the grant of the first that gives one, or the refusal that
// tells the client most.
func (r *rules) ask(ctx context.Context, s *hub.Session) (hub.Grant, answer) {
	worst := answer{err: ErrMissing, result: "missing"}
	for i, m := range r.methods {
		grant, err := m.Method.Decide(ctx, s)
		if err == nil {
			grant.Method = m.Name
			grant.Rewind = s.Role() == hub.RoleWatch // what may be watched may be watched from its beginning
			return grant, answer{method: m.Name, result: "granted"}
		}
		if a := (answer{m.Name, resultOf(err), err}); i == 0 || a.rank() > worst.rank() {
			worst = a
		}
	}
	return hub.Grant{}, worst
}

// denied turns what is said of a ban into a refusal before a beginning.
func denied(err error) error {
	if why, ok := errors.AsType[*hub.Refusal](err); ok {
		return &hub.Refusal{Reason: hub.ReasonDenied, Detail: why.Detail}
	}
	return err
}

// permits reports whether a client's network may ask. A client whose address is not known is in
// no network.
func (r *rules) permits(addr netip.Addr) bool {
	return !r.deny.Has(addr) && (r.allow.Len() == 0 || r.allow.Has(addr))
}

// permitsReferer reports whether the page that a viewer comes from may show streams. Where a
// client shows an Origin, that was looked at before.
func (p *Policy) permitsReferer(c *hub.Client) bool {
	if p.cfg.Referer == nil || c.Origin != "" || c.Referer == "" {
		return true
	}
	u, err := url.Parse(c.Referer)
	if err != nil || u.Host == "" {
		return false
	}
	return u.Host == c.Host || p.cfg.Referer(u.Scheme+"://"+u.Host)
}

// answer is what a method says: err is nil where it grants.
type answer struct {
	method, result string
	err            error
}

// rank orders refusals by how much they tell the client.
func (a answer) rank() int { return slices.Index(results, a.result) }

// results are the words for a no, the least telling first.
var results = []string{"missing", "failed", "expired", "wrong"}

func resultOf(err error) string {
	switch {
	case errors.Is(err, ErrMissing):
		return "missing"
	case errors.Is(err, ErrExpired):
		return "expired"
	case errors.Is(err, ErrWrong):
		return "wrong"
	}
	return "failed"
}
