package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"sluice/cmd/sluice/admission"
	"sluice/cmd/sluice/certificate"
	"sluice/cmd/sluice/demo"
	"sluice/cmd/sluice/event"
	"sluice/cmd/sluice/metrics"
	"sluice/httpflv"
	"sluice/hub"
	"sluice/hub/fanout"
	"sluice/hub/intake"
	"sluice/hub/monitor"
	"sluice/hub/record"
	"sluice/hub/tlsconn"
	"sluice/rtmp"
)

// service is the gateway with all its parts, wired.
//
//	gate, admission ──▶ publishers ──▶ rtmp ──▶ hub ──▶ pool ──▶ rtmp, flv ──▶ viewers
//	                                        └────▶ page
type service struct {
	listeners // behind gate and admission
	log       *slog.Logger
	admission *admission.Control
	hub       *hub.Hub
	pool      *fanout.Pool
	intake    *intake.Pool // waits for what publishers and viewers send
	rtmp      *rtmp.Server
	flv       *httpflv.Handler
	http      *http.Server // page and flv
	demo      bool
	drain     drain
	recordings
	relays  *relays    // nil if there is nothing to relay
	cluster *clustered // nil if this server is alone

	permission     *permission         // nil permits everything
	certificates   *certificate.Source // nil for none
	notifier       *event.Notifier     // nil if nobody is told
	monitor        *monitor.Monitor    // nil if nobody is told, and nobody can ask
	admin          *http.Server        // operators' address; nil without
	scraped        *http.Server        // metrics on their own address; nil without
	operators      *admission.Control
	metrics        *metrics.Metrics                    // nil without either
	connections    map[string]func() admission.Figures // by the kind of the listener
	handshakes     map[string]func() tlsconn.Figures   // likewise
	computing      tlsconn.Bound                       // on handshakes of all listeners together
	maxConnections int
	started        time.Time
	state          io.Closer // keeps the folder of state; nil without

	running sync.WaitGroup     // everything that Start has begun
	stop    context.CancelFunc // ends those of them that nobody else does
}

// newService puts the gateway together on open listeners, which it owns from
// then on. It must be started and shut down.
func newService(cfg config, l listeners, log *slog.Logger) (*service, error) {
	s := &service{
		log: log, demo: cfg.Demo, permission: cfg.permission, maxConnections: cfg.MaxConnections, started: time.Now(),
		certificates: cfg.certificates, state: cfg.state, connections: make(map[string]func() admission.Figures),
		handshakes: make(map[string]func() tlsconn.Figures), computing: tlsconn.NewBound(0),
		drain: drain{DrainSettings: cfg.DrainSettings},
	}
	cfg.authorizeTimeout = cmp.Or(cfg.authorizeTimeout, max(defaultAuthorizeTimeout, cfg.AuthTimeout+answeredGrace))
	s.admission = admission.New(admission.Config{
		MaxConnections: cfg.MaxConnections,
		MaxPerAddress:  cfg.MaxConnectionsPerAddress,
		AllowOrigins:   cfg.AllowOrigins,
		Trusted:        cfg.TrustedProxies.has,
		Logger:         log,
	})
	for _, open := range l.of(kindRTMP, kindRTMPS, kindHTTP, kindHTTPS) {
		s.listeners = append(s.listeners, s.admit(open, l, &cfg, log))
	}
	s.relays = newRelays(&cfg)
	s.cluster = newClustered(&cfg, log)
	s.hub = s.newHub(&cfg, log)
	notifier, err := openNotifier(s, &cfg, log)
	if err != nil {
		return nil, err
	}
	s.notifier = notifier
	s.monitor = openMonitor(s, &cfg)
	if s.permission != nil {
		s.permission.notifier.Store(notifier)
	}
	s.recordings = newRecordings(cfg, s.hub, s.cluster, s.recorded(), log)
	s.pool = newPool(&cfg)
	s.intake = intake.New(intake.Config{})
	s.rtmp = s.newRTMP(&cfg, log)
	s.http = s.newHTTP(&cfg, l, log)
	s.openOperators(&cfg, l, log)
	if err := s.relays.open(&cfg, s, log); err != nil {
		return nil, err
	}
	if err := s.cluster.open(&cfg, s, s.relays.wanted); err != nil {
		return nil, err
	}
	return s, nil
}

// newHub returns the hub, with the policy that is configured.
func (s *service) newHub(cfg *config, log *slog.Logger) *hub.Hub {
	policy := hub.Config{Authorize: cfg.authorize}
	if p := cfg.permission; p != nil {
		if p.asks && policy.Authorize == nil {
			policy.Authorize = p.policy.Authorize
		}
		policy.Recheck = p.policy.Recheck
		if p.disguises {
			policy.Disguise = p.mark.Disguise
		}
	}
	if s.relays != nil {
		policy.Locate = s.relays.locate
	}
	of := hub.Config{
		PublisherGrace: orNever(cfg.PublisherGrace),
		ViewerWait:     orNever(cfg.ViewerWait),
		MaxLag:         cfg.MaxLag,
		GOPMaxBytes:    int64(cfg.GOPMaxBytes),
		MaxBytes:       cfg.memory / logsPart,
		LogDuration:    cfg.LogDuration,
		NoFillSilence:  !cfg.FillSilence,
		MaxViewers:     cfg.MaxViewers,
		MaxBitrate:     int64(cfg.MaxBitrate),

		Authorize:        policy.Authorize,
		Recheck:          policy.Recheck,
		Disguise:         policy.Disguise,
		ExpireSessions:   cfg.ExpireSessions,
		MaxPerIdentity:   cfg.MaxPerIdentity,
		AuthorizeTimeout: cfg.authorizeTimeout,
		Node:             newNodeID(),
		Locate:           policy.Locate,
		Observe:          s.observer(cfg),
		Logger:           log,
	}
	s.cluster.policy(&of)
	return hub.New(of)
}

// newPool returns the pumps.
func newPool(cfg *config) *fanout.Pool {
	coalesce := time.Duration(cfg.Coalesce)
	if cfg.Coalesce == coalesceAuto {
		coalesce = fanout.Auto
	}
	return fanout.New(fanout.Config{
		Coalesce:     coalesce,
		WriteTimeout: cfg.StallTimeout,
		MaxUnwritten: cfg.memory / unwrittenPart,
	})
}

// admit returns a listener of the connections that are admitted, whose figures go by its kind.
func (s *service) admit(l listener, all listeners, cfg *config, log *slog.Logger) listener {
	admitted := s.admission.Listen(behind(l, cfg, log), l.kind == kindHTTP || l.kind == kindHTTPS)
	s.count(l.kind, admitted)
	l.Listener = newGate(admitted, s.admission.Overloaded)
	if cfg.isSecure(l.kind) {
		return s.secure(l, all, cfg, log)
	}
	admitted.First = foreign{log, all}.plain(l.kind)
	return l
}

// count counts the connections of a listener among those of a kind.
func (s *service) count(kind string, l *admission.Listener) {
	others := s.connections[kind]
	if others == nil {
		s.connections[kind] = l.Figures
		return
	}
	s.connections[kind] = func() admission.Figures { return others().Plus(l.Figures()) }
}

// observer returns who is told what happens in the hub, nil for nobody.
func (s *service) observer(cfg *config) func(hub.Event) {
	asks := cfg.permission != nil && cfg.permission.question != nil
	if cfg.archive == nil && !cfg.tells() && !asks && !cfg.measures() && s.relays == nil && s.cluster == nil {
		return cfg.observe
	}
	return func(e hub.Event) {
		if s.metrics != nil {
			s.metrics.Observe(e)
		}
		if s.recorder != nil {
			s.recorder.Observe(e)
		}
		if s.notifier != nil {
			s.notifier.Observe(e)
		}
		s.permission.observe(e)
		if s.cluster == nil || e.Kind != hub.EventWanted { // what no node has is told by the cluster
			s.relays.observe(e)
		}
		s.cluster.observe(e)
		if cfg.observe != nil {
			cfg.observe(e)
		}
	}
}

// recorded returns who is told what happens to recordings, nil for nobody.
func (s *service) recorded() func(record.Event) {
	if s.notifier == nil {
		return nil
	}
	return s.notifier.Recorded
}

// defaultAuthorizeTimeout bounds how long a client waits for permission.
const defaultAuthorizeTimeout = 10 * time.Second

// answeredGrace is what a client has beyond the time that a server has for its answer.
const answeredGrace = 5 * time.Second

// orNever turns 0, "not at all" in the configuration, into what the hub takes
// for it: there 0 is the default.
func orNever(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// Start begins to serve; see server.
func (s *service) Start() <-chan error {
	failed := make(chan error, len(s.listeners))
	serve := func(serve func(net.Listener) error, l net.Listener) {
		s.running.Go(func() {
			if err := serve(l); !errors.Is(err, net.ErrClosed) && !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		})
	}
	for _, l := range s.listeners {
		switch l.kind {
		case kindRTMP, kindRTMPS:
			serve(s.rtmp.Serve, l.Listener)
		case kindHTTP, kindHTTPS:
			serve(s.http.Serve, l.Listener)
		case kindAdmin:
			serve(s.admin.Serve, l.Listener)
		case kindMetrics:
			serve(s.scraped.Serve, l.Listener)
		}
	}

	if s.cluster != nil {
		serve(func(net.Listener) error { return s.cluster.serve() }, nil)
	}

	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	if s.permission != nil && s.permission.remote != nil {
		s.running.Go(func() { s.permission.remote.Run(ctx) })
	}
	if s.certificates != nil {
		s.running.Go(func() { s.certificates.Run(ctx) })
	}
	if s.notifier != nil {
		s.notifier.Started()
	}
	s.running.Go(func() { collectWhenQuiet(ctx) })
	if s.demo {
		s.running.Go(func() { demo.Run(ctx, s.publishDemo, s.log) })
	}
	return failed
}

// lastGrace bounds the wait for what was cut off; it is a matter of
// milliseconds.
const lastGrace = 2 * time.Second

// withGrace returns ctx, or if that has ended one that ends after lastGrace.
func withGrace(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx.Err() == nil {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(context.WithoutCancel(ctx), lastGrace)
}

// errStuck is a mistake of ours: a goroutine outlived its connection.
var errStuck = errors.New("a part of the server did not end")

// Shutdown ends everything; see server. Targets of pushes are told first, the hub ends publishers and viewers, and
// the servers wait for their connections; then the pool cuts what is left, and all of it is told.
// As long as there is somebody to end, /readyz is answered, and on the operators' address until all
// is written and told.
func (s *service) Shutdown(ctx context.Context) error {
	s.stop()
	s.endDrain()
	s.relays.endPushes(ctx)
	var errs [4]error
	var wg sync.WaitGroup
	wg.Go(func() {
		errs[0] = s.hub.Shutdown(ctx)
		errs[1] = s.http.Shutdown(ctx) // until then /readyz says what goes on
	})
	wg.Go(func() { errs[2] = s.rtmp.Shutdown(ctx) })
	wg.Wait()
	s.permission.close()
	s.monitor.Close() // the notifier has still to tell of the ends
	errs[3] = s.recordings.close(ctx)
	cut := make(chan struct{}) // closed when nobody is served any more
	go func() {
		defer close(cut)
		s.http.Close()
		s.pool.Close()
		s.flv.Wait()
	}()
	s.cluster.close(ctx)
	s.endNotifier(ctx, cut)
	s.endOperators(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-cut
		s.running.Wait()
		s.relays.close()
		s.intake.Close()
		s.admission.Close()
	}()
	select {
	case <-ended:
	case <-time.After(lastGrace):
		return errStuck
	}
	if s.state != nil {
		s.state.Close()
	}
	return cmp.Or(errs[:]...) // as a rule they are all the end of ctx
}
