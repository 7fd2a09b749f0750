package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sluice/cmd/sluice/event"
	"sluice/cmd/sluice/hook"
	"sluice/cmd/sluice/proxied"
	"sluice/hub"
	"sluice/web/admin"
)

// tells reports whether somebody is told what happens, or can ask.
func (s *ControlSettings) tells() bool {
	return s.EventURL != "" || s.EventExec != "" || len(s.AdminAddr) > 0
}

// openNotifier returns who tells others what happens; nil if nobody is told, and nobody can ask.
func openNotifier(s *service, cfg *config, log *slog.Logger) (*event.Notifier, error) {
	if !cfg.tells() {
		return nil, nil
	}
	config := event.Config{
		Server: serverName(), Update: cfg.EventUpdate, Sessions: s.hub.Sessions, StateDir: cfg.StateDir, Logger: log,
	}
	if cfg.EventURL != "" {
		config.Webhook = cfg.webhook()
	}
	program, err := cfg.eventProgram()
	if err != nil {
		return nil, err
	}
	if program != nil {
		config.Exec = &event.Exec{Program: program[0], Args: program[1:]}
	}
	if cfg.archive != nil {
		config.Recovered, config.Find = cfg.archive.Recovered(), cfg.archive.Recording
	}
	return event.New(config)
}

// webhook returns the endpoint that is told.
func (c *config) webhook() *event.Webhook {
	p := c.permission
	return &event.Webhook{
		URL: p.secrets.eventURL.text, Secrets: p.eventSecrets,
		Encode:   hook.Encoder{Format: c.EventFormat, Folder: c.recordFolder()}.Encode,
		Skip:     func(e hub.Event) bool { return p.asksWhereTold(c) && p.question.Skip(e) },
		Accounts: func(s *hub.Session) bool { return p.asksWhereTold(c) && s.Method() == "url" },
		Knows: func(e hub.Event) (hub.Key, bool) {
			if !p.asksWhereTold(c) {
				return hub.Key{}, false
			}
			return p.question.Knows(e)
		},
	}
}

// recordFolder returns the folder for recordings as others find it, who do not stand where this
// process does.
func (c *config) recordFolder() string {
	if folder, err := filepath.Abs(c.RecordDir); err == nil && c.RecordDir != "" {
		return folder
	}
	return c.RecordDir
}

// eventSecrets returns the secrets with which events are signed.
func (p *permission) eventSecrets() (secrets [][]byte) {
	for _, text := range strings.Fields(p.secrets.eventSecret.text()) {
		if secret, err := event.ParseSecret(text); err == nil {
			secrets = append(secrets, secret)
		}
	}
	return secrets
}

// apiConfig returns what the operators' API is about.
func (s *service) apiConfig(cfg *config, guard *admin.Guard, log *slog.Logger) admin.Config {
	config := admin.Config{
		Hub:   s.hub,
		Token: cfg.permission.secrets.adminToken.text, Guard: guard,
		Bans: bans{cfg.permission.bans}, Info: func() admin.Info { return s.info(cfg) }, Ready: s.ready, Logger: log,
		Archive: s.own,
	}
	if s.recorder != nil {
		config.Recorder = s.recorder
	}
	if s.union != nil {
		config.Union = s.union
	}
	if s.notifier != nil {
		config.Events, config.WaitEvents = s.notifier.Ring().Since, s.notifier.Ring().Wait
	}
	if s.relays != nil {
		config.Relays = operatedRelays{s.relays}
	}
	if s.monitor != nil {
		config.Monitor = s.monitor
	}
	if s.cluster != nil {
		config.Nodes = operatedNodes{s.cluster, cfg.Cluster}
	}
	return config
}

// endNotifier tells what is still to be told, the ends of those included who are cut off, which cut
// says. Where these have used up all the time, it takes lastGrace.
func (s *service) endNotifier(ctx context.Context, cut <-chan struct{}) {
	if s.notifier == nil {
		return
	}
	ctx, cancel := withGrace(ctx)
	defer cancel()
	select {
	case <-cut:
		s.hub.Shutdown(ctx) // returns when the notifier knows of all ends
	case <-ctx.Done():
	}
	s.notifier.Close(ctx)
}

// info is what the operators' API is told of the server.
func (s *service) info(cfg *config) admin.Info {
	info := admin.Info{
		Version: versionText(), Started: s.started,
		Addresses: map[string]string{}, Public: cfg.public(),
		Limits: map[string]int64{},
		Parts:  map[string]any{"connections": s.admission.Figures()},
	}
	for _, kind := range []string{kindRTMP, kindRTMPS, kindHTTP, kindHTTPS} {
		if addr := s.listeners.addr(kind); addr != "" {
			info.Addresses[kind] = addr
		}
	}
	for name, limit := range map[string]int{
		"connections": cfg.MaxConnections, "connections_per_address": cfg.MaxConnectionsPerAddress,
		"viewers": cfg.MaxViewers, "sessions_per_identity": cfg.MaxPerIdentity,
	} {
		if limit > 0 {
			info.Limits[name] = int64(limit)
		}
	}
	if s.notifier != nil {
		info.Parts["events"] = s.notifier.Totals()
	}
	if s.recorder != nil {
		info.Parts["recordings"] = s.recorder.Totals()
	}
	if s.certificates != nil {
		info.Parts["certificates"] = shownCertificates(s.certificates.Certificates(), time.Now())
	}
	if s.cluster.get() != nil {
		info.Parts["cluster"] = map[string]string{"node": s.cluster.name}
	}
	s.addDisk(info.Parts, s.log)
	return info
}

// ready says why nobody more should be sent to this server, nil if somebody may.
func (s *service) ready() error {
	if err := s.draining(); err != nil {
		return err
	}
	if f := s.admission.Figures(); s.maxConnections > 0 && f.Open >= s.maxConnections {
		return fmt.Errorf("the server is full: %d connections are open", f.Open)
	}
	return nil
}

// behind puts a listener behind the PROXY protocol, where that is configured for its kind.
func behind(l listener, cfg *config, log *slog.Logger) listener {
	if slices.Contains(cfg.ProxyProtocol, l.kind) {
		l.Listener = proxied.Listen(l.Listener, proxied.Config{Trusted: cfg.TrustedProxies.has, Logger: log})
	}
	return l
}

// forwarded puts a server behind proxies that tell the addresses of their clients.
func forwarded(srv *http.Server, cfg *config) {
	if len(cfg.TrustedProxies) > 0 {
		srv.Handler = proxied.Forwarded(cfg.TrustedProxies.has, srv.Handler)
	}
}

// reload reads the secrets and the certificates that stand in files anew. What is wrong changes
// nothing.
func (s *service) reload(environ []string) {
	if s.certificates != nil {
		s.certificates.Reload()
	}
	cfg, err := loadConfig(environ)
	if err != nil {
		s.log.Error("the secrets are not read again: the configuration has mistakes", "error", err)
		return
	}
	s.permission.secrets.load(&cfg)
	s.relays.load(&cfg)
	s.log.Info("the secrets were read again")
}

// reloads reloads whenever told to, until ctx ends.
func reloads(ctx context.Context, told <-chan os.Signal, reload func()) {
	for {
		select {
		case <-told:
			reload()
		case <-ctx.Done():
			return
		}
	}
}
