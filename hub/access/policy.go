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
	// Allow, whoever is not in it. What is refused so is asked nothing.
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
	// for a minute.
	Failures Rate
	// Decided, if not nil, is told of each decision: by which method it was granted, or the last
	// that refused; result is "granted", "missing", "expired", "wrong", "failed" or "denied".
	Decided func(role hub.Role, method, result string, took time.Duration)
	Logger  *slog.Logger // nil discards
}

// Policy decides for the hub. Its methods may be called from any goroutine.
type Policy struct {
	cfg      Config
	failures *failures
}

// New returns a policy.
func New(cfg Config) *Policy {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Policy{cfg: cfg, failures: newFailures(cfg.Failures)}
}

// Open reports whether everybody may do what the role does.
func (p *Policy) Open(role hub.Role) bool {
	r := p.rules(role)
	return len(r.Allow) == 0 && len(r.Deny) == 0 && slices.ContainsFunc(r.Methods, func(m Named) bool { return m.Method == Open() })
}

func (p *Policy) rules(role hub.Role) *Rules {
	if role == hub.RolePublish {
		return &p.cfg.Publish
	}
	return &p.cfg.Watch
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
	addr := client.Address.Addr().Unmap().WithZone("")
	counted := hub.ClientAddress(addr)
	switch {
	case !rules.permits(addr):
		return hub.Grant{}, "network", "denied", errNetwork
	case s.Role() == hub.RoleWatch && !p.permitsReferer(&client):
		return hub.Grant{}, "origin", "denied", errReferer
	case p.failures.refused(counted, now):
		return hub.Grant{}, "failures", "denied", errFailures
	}
	if err := p.Recheck(s); err != nil {
		return hub.Grant{}, "ban", "denied", denied(err)
	}
	worst := refused{err: ErrMissing, result: "missing"}
	for i, m := range rules.Methods {
		grant, err := m.Method.Decide(ctx, s)
		if err == nil {
			grant.Method = m.Name
			grant.Rewind = grant.Rewind || s.Role() == hub.RoleWatch // what may be watched may be watched from its beginning
			return grant, m.Name, "granted", nil
		}
		if r := (refused{m.Name, resultOf(err), err}); i == 0 || r.rank() > worst.rank() {
			worst = r
		}
	}
	if worst.result == "wrong" && client.Recording != hub.AnyRecording && p.failures.add(counted, now) {
		p.cfg.Logger.Warn("too many wrong secrets: the address is refused for a minute", "address", counted.String())
	}
	return hub.Grant{}, worst.method, worst.result, worst.err
}

// denied turns what is said of a ban into a refusal before a beginning.
func denied(err error) error {
	if why, ok := errors.AsType[*hub.Refusal](err); ok {
		return &hub.Refusal{Reason: hub.ReasonDenied, Detail: why.Detail}
	}
	return err
}

// permits reports whether a client's network may ask. What runs in this process has no address.
func (r *Rules) permits(addr netip.Addr) bool {
	has := func(networks []netip.Prefix) bool {
		return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(addr) })
	}
	return !addr.IsValid() || !has(r.Deny) && (len(r.Allow) == 0 || has(r.Allow))
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

// refused is a method's no.
type refused struct {
	method, result string
	err            error
}

// rank orders refusals by how much they tell the client.
func (r refused) rank() int { return slices.Index(results, r.result) }

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
