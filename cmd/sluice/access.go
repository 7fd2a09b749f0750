package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"sluice/cmd/sluice/jwks"
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
	adminToken, eventSecret                              atomic.Pointer[secret]
}

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
	l.eventSecret.Store(&cfg.EventSecret)
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
		p.remote = token.NewRemote(token.RemoteConfig{Fetch: fetchKeys(string(cfg.JWTJWKSURL))})
	}
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
	config := access.Config{
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
	p.disguises = slices.Contains(cfg.PublishAuth, "streamkey")
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
		if err := formats.UnmarshalText([]byte(joinWords(cfg.SignFormats))); err != nil {
			return nil, err
		}
		return sign.New(sign.Config{Secrets: p.secrets.signing, Formats: formats, Skew: cfg.SignSkew, Mark: p.mark}), nil
	case "jwt":
		return token.New(token.Config{
			Keys: func() []token.Key { return *p.secrets.jwtKeys.Load() }, Remote: p.remote,
			Algorithms: cfg.JWTAlgorithms, Issuer: cfg.JWTIssuer, Audience: cfg.JWTAudience, Mark: p.mark,
		})
	}
	return access.None(), nil
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

// warn says what is open that should not be on a public address.
func (p *permission) warn(cfg *config, log *slog.Logger) {
	host, _, _ := splitAddr(cfg.RTMPAddr)
	if p.policy.Open(hub.RolePublish) && !isLoopback(host) {
		log.Warn("everybody who reaches this server may publish; "+envPrefix+"PUBLISH_AUTH bounds that", "address", cfg.RTMPAddr)
	}
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

// fetchTimeout bounds fetching keys.
const fetchTimeout = 5 * time.Second

// fetchKeys returns what asks a server for its keys. Its errors quote nothing of the address.
func fetchKeys(address string) func(context.Context) ([]token.Key, error) {
	client := &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: fetchTimeout}).DialContext,
			TLSHandshakeTimeout: fetchTimeout, ResponseHeaderTimeout: fetchTimeout, DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context) ([]token.Key, error) {
		ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return nil, fmt.Errorf("the address of the keys is none")
		}
		resp, err := client.Do(r)
		if err != nil {
			return nil, fmt.Errorf("the server of the keys cannot be reached")
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("the server of the keys answers %d", resp.StatusCode)
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, jwks.MaxSize+1))
		if err != nil {
			return nil, fmt.Errorf("the server of the keys broke off")
		}
		keys, _, err := jwks.Parse(body, false)
		return keys, err
	}
}

// bans is the list of bans as the operators' API takes it.
type bans struct{ *ban.List }

var _ admin.Bans = bans{}

// Add adds a ban.
func (b bans) Add(of admin.Ban) (admin.Ban, error) {
	network := of.Network
	if of.Address.IsValid() {
		network = netip.PrefixFrom(of.Address, of.Address.BitLen())
	}
	added, err := b.List.Add(ban.Ban{
		Network: network, Stream: of.Stream, Subject: of.Subject, Role: of.Role, Reason: of.Reason, Until: of.Until,
	})
	if err == ban.ErrFull {
		return admin.Ban{}, admin.ErrFull
	}
	return shownBan(added), err
}

// Remove ends a ban.
func (b bans) Remove(id string) (bool, error) {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return false, nil
	}
	return b.List.Remove(n)
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
