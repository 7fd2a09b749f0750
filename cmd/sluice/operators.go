package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"sluice/cmd/sluice/admission"
	"sluice/cmd/sluice/metrics"
	"sluice/httpflv/answer"
	"sluice/hub"
	"sluice/web/admin"
	"sluice/web/console"
)

// maxAdminConnections bounds the connections to the operators' address and to that of metrics
// together, and those of whoever else finds the ports: who has shown no token gives way.
const maxAdminConnections = 128

// adminAnswerTimeout bounds an answer to an operator, the wait for events and the time of a profile
// included.
const adminAnswerTimeout = 2 * time.Minute

// operatorsSite is everything that is on the operators' address. Each part guards itself.
type operatorsSite struct {
	metrics  http.Handler // /metrics
	profiles http.Handler // below /debug/pprof/
	console  http.Handler // /admin and below
	api      http.Handler // the rest
}

// ServeHTTP passes the request on to the part of its path.
func (o operatorsSite) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	part := o.api
	switch path := r.URL.Path; {
	case path == metricsPath:
		part = o.metrics
	case strings.HasPrefix(path, profilesPath):
		part = o.profiles
	case console.Serves(path):
		part = o.console
	}
	part.ServeHTTP(w, r)
}

// metricsPath is where metrics are.
const metricsPath = "/metrics"

// openOperators makes the servers of the operators' address and of that of metrics, where these are
// configured.
func (s *service) openOperators(cfg *config, l listeners, log *slog.Logger) {
	if !cfg.measures() {
		return
	}
	s.operators = admission.New(admission.Config{MaxConnections: maxAdminConnections, Logger: log})
	s.connections[kindAdmin] = s.operators.Figures
	guard := admin.NewGuard(log)
	guard.Passed = admission.Active
	adminToken, metricsToken := cfg.permission.secrets.adminToken.text, cfg.permission.secrets.metricsToken.text
	s.metrics = s.newMetrics(cfg, guard, log)
	figures := s.metrics.Handler()
	serve := func(kind string, h http.Handler) *http.Server {
		srv := &http.Server{
			Handler: h, ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: answerTimeout,
			WriteTimeout: adminAnswerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
			ErrorLog: slog.NewLogLogger(httpLog{log.Handler()}, slog.LevelDebug), DisableGeneralOptionsHandler: true,
		}
		s.operators.Guard(srv, anyDecides)
		forwarded(srv, cfg)
		for _, open := range l.of(kind) {
			admitted := s.operators.Listen(open, false)
			open.Listener = admitted
			if cfg.AdminTLS {
				open = s.secure(open, l, cfg, log)
			} else {
				admitted.First = foreign{log, l}.plain(kind)
			}
			s.listeners = append(s.listeners, open)
		}
		return srv
	}
	if len(l.of(kindAdmin)) > 0 {
		s.admin = serve(kindAdmin, operatorsSite{
			metrics:  guard.Require(figures, metricsToken, adminToken),
			profiles: guard.Require(profiles(), adminToken),
			console:  console.Handler(console.Config{Version: versionText()}),
			api:      admin.Handler(s.apiConfig(cfg, guard, log)),
		})
	}
	if len(l.of(kindMetrics)) > 0 {
		s.scraped = serve(kindMetrics, metricsSite(figures, guard, metricsToken))
	}
	cfg.permission.metrics.Store(s.metrics)
}

// anyDecides leaves it to the guard of tokens what a connection is: one without a token stays pending,
// and so gives way, however long its client takes for an answer.
func anyDecides(*http.Request) bool { return true }

// metricsSite is everything that is on the address of metrics. They need a token where one is set;
// elsewhere the address is on loopback.
func metricsSite(figures http.Handler, guard *admin.Guard, token func() string) http.Handler {
	guarded := guard.Require(figures, token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer.BoundBody(w, r)
		switch {
		case r.URL.Path != metricsPath:
			refuseOperator(w, r, http.StatusNotFound, "not found", "there is nothing here but "+metricsPath)
		case token() != "":
			guarded.ServeHTTP(w, r)
		case !isOwnHost(r.Host):
			refuseOperator(w, r, http.StatusForbidden, "denied", "without a token metrics are asked for by an IP address or as localhost")
		default:
			figures.ServeHTTP(w, r)
		}
	})
}

// isOwnHost reports whether the host of a request is an IP address or localhost. A page of a browser
// on this machine could ask under any name of its own that it lets stand for loopback.
func isOwnHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return err == nil || strings.EqualFold(host, "localhost")
}

func refuseOperator(w http.ResponseWriter, r *http.Request, status int, what, reason string) {
	answer.Refusal{Status: status, Error: what, Reason: reason}.Write(w, r)
}

// newMetrics returns the figures of all parts.
func (s *service) newMetrics(cfg *config, guard *admin.Guard, log *slog.Logger) *metrics.Metrics {
	p := cfg.permission
	config := metrics.Config{
		Version: versionText(), Hub: s.hub, Pool: s.pool,
		Connections: s.connections, MaxConnections: cfg.MaxConnections, Memory: cfg.memory, Ready: s.ready,
		Bans: p.bans.Len, WrongTokens: guard.Wrong, Streams: cfg.MetricsStreams, Logger: log,
	}
	if p.asks {
		config.Methods = map[hub.Role][]string{hub.RolePublish: cfg.PublishAuth, hub.RoleWatch: cfg.WatchAuth}
	}
	if cfg.certificates != nil {
		config.Handshakes = s.handshakes
	}
	if p.remote != nil {
		config.Keys = p.remote.State
	}
	if s.notifier != nil {
		config.Events = s.notifier.Totals
		config.Receivers = receivers(cfg)
	}
	if s.certificates != nil {
		config.Certificates = s.certificates.Certificates
	}
	if s.monitor != nil {
		config.Unwell = s.monitor.Unwell
	}
	if s.recorder != nil {
		config.Recordings = s.recorder.Totals
	}
	if s.relays != nil {
		config.Relays = s.relays.figures
	}
	if s.cluster != nil {
		config.Cluster = s.cluster.figures
	}
	return metrics.New(config)
}

// receivers returns who is told of events, as metrics name them.
func receivers(cfg *config) (names []string) {
	if cfg.EventURL != "" {
		names = append(names, "webhook")
	}
	if cfg.EventExec != "" {
		names = append(names, "exec")
	}
	return names
}

// endOperators ends the servers for operators. Who is being answered has lastGrace, even where ctx has
// ended.
func (s *service) endOperators(ctx context.Context) {
	if s.operators == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastGrace)
	defer cancel()
	for _, srv := range []*http.Server{s.admin, s.scraped} {
		if srv != nil {
			srv.Shutdown(ctx)
			srv.Close()
		}
	}
	s.operators.Close()
}
