package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"sluice/cmd/sluice/event"
	"sluice/cmd/sluice/hook"
	"sluice/cmd/sluice/jwks"
	"sluice/cmd/sluice/metrics"
	"sluice/hub"
	"sluice/hub/access"
	"sluice/hub/access/ban"
	"sluice/hub/access/sign"
	"sluice/hub/access/token"
	"sluice/web/admin"
)

// permission is who may publish and watch, as it is configured.
type permission struct {
	policy *access.Policy
	mark   access.Mark
	bans   *ban.List
	remote *token.Remote // keys of a server of tokens; nil for none
	// question is the method url; nil where no server is asked. It must be closed.
	question *hook.Question
	notifier atomic.Pointer[event.Notifier]  // nil if nobody is told
	metrics  atomic.Pointer[metrics.Metrics] // nil if nothing is measured
	// asks says that the policy has to be asked; without it everybody may do everything.
	asks bool
	// disguises says that names that nobody granted may be secrets.
	disguises bool
	secrets   liveSecrets
}

// liveSecrets are the secrets of the configuration, which change while the server runs.
type liveSecrets struct {
	publishKeys, watchKeys, publishSecrets, watchSecrets atomic.Pointer[access.Secrets]
	streamKeys                                           atomic.Pointer[access.StreamKeys]
	jwtKeys                                              atomic.Pointer[[]token.Key]
	adminToken, metricsToken, eventSecret                liveText
	authURL, eventURL, jwksURL                           liveText
}

// liveText is a secret that is one text.
type liveText struct{ atomic.Pointer[secret] }

// text returns the secret as it is now.
func (t *liveText) text() string { return string(*t.Load()) }

// load takes the secrets of a configuration that was checked.
func (l *liveSecrets) load(cfg *config) {
	for _, list := range []struct {
		to   *atomic.Pointer[access.Secrets]
		text secret
	}{
		{&l.publishKeys, cfg.PublishKeys}, {&l.watchKeys, cfg.WatchKeys},
		{&l.publishSecrets, cfg.PublishSecrets}, {&l.watchSecrets, cfg.WatchSecrets},
	} {
		s := new(access.Secrets)
		s.UnmarshalText([]byte(list.text)) // checked before
		list.to.Store(s)
	}
	streamKeys := new(access.StreamKeys)
	streamKeys.UnmarshalText([]byte(cfg.StreamKeys))
	l.streamKeys.Store(streamKeys)
	keys, _ := parseJWTKeys(string(cfg.JWTKeys))
	l.jwtKeys.Store(&keys)
	l.adminToken.Store(&cfg.AdminToken)
	l.metricsToken.Store(&cfg.MetricsToken)
	l.eventSecret.Store(&cfg.EventSecret)
	l.authURL.Store(&cfg.AuthURL)
	l.eventURL.Store(&cfg.EventURL)
	l.jwksURL.Store(&cfg.JWTJWKSURL)
}

// signing yields the secrets with which addresses are signed.
func (l *liveSecrets) signing(role hub.Role, key hub.Key) iter.Seq[[]byte] {
	if role == hub.RolePublish {
		return l.publishSecrets.Load().For(key)
	}
	return l.watchSecrets.Load().For(key)
}

// parseJWTKeys reads the keys of tokens; no text has none.
func parseJWTKeys(text string) ([]token.Key, error) {
	if text == "" {
		return nil, nil
	}
	return jwks.ParseKeys(text)
}

// openPermission puts together who may, by a configuration that was checked.
func openPermission(cfg *config, log *slog.Logger) (*permission, error) {
	salt, err := loadSalt(cfg.StateDir)
	if err != nil {
		return nil, fmt.Errorf("%sSTATE_DIR: %w", envPrefix, err)
	}
	p := &permission{mark: access.NewMark(salt)}
	if p.bans, err = ban.Open(cfg.StateDir); err != nil {
		return nil, fmt.Errorf("%sSTATE_DIR: %w", envPrefix, err)
	}
	p.secrets.load(cfg)
	if cfg.JWTJWKSURL != "" {
		fetch, err := fetchKeys(p.secrets.jwksURL.text)
		if err != nil {
			return nil, fmt.Errorf("%sJWT_JWKS_URL: %w", envPrefix, err)
		}
		p.remote = token.NewRemote(token.RemoteConfig{Fetch: fetch})
	}
	if cfg.AuthURL != "" {
		if p.question, err = p.openQuestion(cfg, log); err != nil {
			return nil, fmt.Errorf("%sAUTH_URL: %w", envPrefix, err)
		}
	}
	var decided func(hub.Role, string, string, time.Duration)
	rules := func(names methods, keys *atomic.Pointer[access.Secrets], allow, deny networks) (access.Rules, error) {
		r := access.Rules{Allow: allow, Deny: deny}
		for _, name := range names {
			m, err := p.method(cfg, name, keys)
			if err != nil {
				return r, err
			}
			r.Methods = append(r.Methods, access.Named{Name: name, Method: m})
		}
		return r, nil
	}
	if cfg.measures() {
		decided = p.decided
	}
	config := access.Config{
		Decided:  decided,
		Banned:   p.banned,
		Failures: access.Rate{Most: cfg.AuthFailures.most, Within: cfg.AuthFailures.within},
		Logger:   log,
	}
	if config.Publish, err = rules(cfg.PublishAuth, &p.secrets.publishKeys, cfg.AllowPublish, cfg.DenyPublish); err != nil {
		return nil, err
	}
	if config.Watch, err = rules(cfg.WatchAuth, &p.secrets.watchKeys, cfg.AllowWatch, cfg.DenyWatch); err != nil {
		return nil, err
	}
	if len(cfg.AllowOrigins) > 0 {
		config.Referer = func(origin string) bool { return cfg.AllowOrigins.Allows(origin, "") }
	}
	p.policy = access.New(config)
	p.asks = !p.policy.Open(hub.RolePublish) || !p.policy.Open(hub.RoleWatch) || config.Referer != nil
	p.disguises = slices.Contains(cfg.PublishAuth, "streamkey") ||
		slices.Contains(cfg.PublishAuth, "url") && cfg.AuthFormat.Renames()
	return p, nil
}

// method makes a method by its name.
func (p *permission) method(cfg *config, name string, keys *atomic.Pointer[access.Secrets]) (access.Method, error) {
	switch name {
	case "open":
		return access.Open(), nil
	case "key":
		return access.Key(keys.Load, p.mark), nil
	case "streamkey":
		return access.StreamKey(p.secrets.streamKeys.Load, p.mark), nil
	case "sign":
		var formats sign.Formats
		if err := formats.UnmarshalText([]byte(strings.Join(cfg.SignFormats, ";"))); err != nil {
			return nil, err
		}
		return sign.New(sign.Config{Secrets: p.secrets.signing, Formats: formats, Skew: cfg.SignSkew, Mark: p.mark}), nil
	case "jwt":
		return token.New(token.Config{
			Keys: func() []token.Key { return *p.secrets.jwtKeys.Load() }, Remote: p.remote,
			Algorithms: cfg.JWTAlgorithms, Issuer: cfg.JWTIssuer, Audience: cfg.JWTAudience, Mark: p.mark,
		})
	case "url":
		return p.question, nil
	}
	return access.None(), nil
}

// decided counts a decision.
func (p *permission) decided(role hub.Role, method, result string, took time.Duration) {
	if m := p.metrics.Load(); m != nil {
		m.Decided(role, method, result, took)
	}
}

// banned says whether a session is banned.
func (p *permission) banned(s *hub.Session) error {
	b, ok := p.bans.Match(s)
	if !ok {
		return nil
	}
	why := &hub.Refusal{Reason: hub.ReasonDenied, Detail: "banned"}
	if b.Reason != "" {
		why.Detail += ": " + b.Reason
	}
	return why
}

// openExample is how publishing is bound to a secret in the shortest way.
const openExample = envPrefix + "PUBLISH_AUTH=key " + envPrefix + "PUBLISH_KEYS='** SECRET', and then rtmp://HOST/APP/NAME?key=SECRET"

// tellOpen says in one line that anybody may publish, and watch, where nothing bounds that: a
// warning where other machines reach the server.
func (p *permission) tellOpen(cfg *config, log *slog.Logger) {
	open := func(names methods, allow networks) bool { // whomever else it denies
		return slices.Contains(names, "open") && len(allow) == 0
	}
	if !open(cfg.PublishAuth, cfg.AllowPublish) {
		return
	}
	does, until := "publish", envPrefix+"PUBLISH_AUTH says who may"
	if open(cfg.WatchAuth, cfg.AllowWatch) {
		does, until = "publish and watch", envPrefix+"PUBLISH_AUTH and "+envPrefix+"WATCH_AUTH say who may"
	}
	level, who := slog.LevelWarn, "anybody who reaches this server"
	where := slices.Concat(cfg.RTMPAddr, cfg.RTMPSAddr)
	if len(where) == 0 {
		return
	}
	if where.areLoopback() && len(cfg.TrustedProxies) == 0 {
		level, who = slog.LevelInfo, "anybody on this machine"
	}
	log.Log(context.Background(), level, who+" may "+does+", until "+until, "such_as", openExample, "address", where.String())
}

// isPrivate reports whether the lists of streams and recordings are not for everybody.
func (p *permission) isPrivate(cfg *config) bool {
	switch joinWords(cfg.PublicList) {
	case "true":
		return false
	case "false":
		return true
	}
	return !p.policy.Open(hub.RoleWatch)
}

// fetchKeys returns what asks a server for its keys. Its errors quote nothing of the address.
func fetchKeys(address func() string) (func(context.Context) ([]token.Key, error), error) {
	fetch, err := hook.JWKSFetch(address)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) ([]token.Key, error) {
		document, err := fetch(ctx)
		if err != nil {
			return nil, err
		}
		keys, _, err := jwks.Parse(document, false)
		return keys, err
	}, nil
}

// serverName names this server in what others are asked and told; empty if it has none.
func serverName() string {
	host, _ := os.Hostname() // for people: empty will do
	return host
}

// openQuestion returns the method that asks a server.
func (p *permission) openQuestion(cfg *config, log *slog.Logger) (*hook.Question, error) {
	return hook.New(hook.Config{
		URL: p.secrets.authURL.text, Format: cfg.AuthFormat, Timeout: cfg.AuthTimeout,
		FailOpen: joinWords(cfg.AuthFail) == "open", Cache: cfg.AuthCache, Grace: orNever(cfg.PublisherGrace), Server: serverName(), Logger: log,
		Account: func() bool { return p.notifier.Load() != nil && p.asksWhereTold(cfg) },
		Left:    func(s *hub.Session, key hub.Key) { p.notifier.Load().Left(s, key) },
	})
}

// observe tells who asks a server what happens in the hub.
func (p *permission) observe(e hub.Event) {
	if p != nil && p.question != nil {
		p.question.Observe(e)
	}
}

// asksWhereTold reports whether the server that is told of events is the one that was asked, in
// the same form of another: it takes the question for the event.
func (p *permission) asksWhereTold(cfg *config) bool {
	return p.question != nil && cfg.AuthFormat != hook.FormatJSON && cfg.AuthFormat == cfg.EventFormat &&
		p.secrets.authURL.text() == p.secrets.eventURL.text()
}

// close gives up what is asked.
func (p *permission) close() {
	if p != nil && p.question != nil {
		p.question.Close()
	}
}

// bans is the list of bans as the operators' API takes it.
type bans struct{ *ban.List }

var _ admin.Bans = bans{}

// Add adds bans.
func (b bans) Add(of ...admin.Ban) (added []admin.Ban, err error) {
	var wanted []ban.Ban
	for _, one := range of {
		network := one.Network
		if one.Address.IsValid() {
			network = netip.PrefixFrom(one.Address, one.Address.BitLen())
		}
		wanted = append(wanted, ban.Ban{
			Network: network, Stream: one.Stream, Subject: one.Subject, Role: one.Role, Reason: one.Reason, Until: one.Until,
		})
	}
	kept, err := b.List.AddAll(wanted)
	for _, one := range kept {
		added = append(added, shownBan(one))
	}
	return added, shownError(err)
}

// Remove ends a ban.
func (b bans) Remove(id string) (bool, error) {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return false, nil
	}
	found, err := b.List.Remove(n)
	return found, shownError(err)
}

// shownError returns an error of the list that is also that of the API.
func shownError(err error) error {
	for own, shown := range map[error]error{ban.ErrFull: admin.ErrFull, ban.ErrUnsaved: admin.ErrUnsaved} {
		if errors.Is(err, own) {
			err = fmt.Errorf("%w: %w", shown, err)
		}
	}
	return err
}

// All returns the bans.
func (b bans) All() []admin.Ban {
	var all []admin.Ban
	for _, one := range b.List.All() {
		all = append(all, shownBan(one))
	}
	return all
}

func shownBan(b ban.Ban) admin.Ban {
	shown := admin.Ban{
		ID: strconv.FormatUint(b.ID, 10), Network: b.Network, Stream: b.Stream, Subject: b.Subject, Role: b.Role,
		Reason: b.Reason, Since: b.Since, Until: b.Until,
	}
	if b.Network.IsValid() && b.Network.IsSingleIP() {
		shown.Address, shown.Network = b.Network.Addr(), netip.Prefix{}
	}
	return shown
}
