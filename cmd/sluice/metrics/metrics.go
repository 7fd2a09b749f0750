// Package metrics tells Prometheus what the server does: figures of all its parts under fixed
// names and labels, in a registry of its own. README.md lists what stands beside it, a board for
// Grafana and rules for alerts.
//
// Nothing that a client chose is a label, but for the names of the most watched streams where an
// operator wants those (Config.Streams). Without them, and two for each certificate, there are 350
// series at the most, Go's own included. Counters never decrease while the process runs.
//
// Most figures are read from the parts when somebody scrapes, which looks at each viewer once, for
// its bytes. Only the two histograms and the decisions of the policy are counted as they happen.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sluice/cmd/sluice/admission"
	"sluice/cmd/sluice/certificate"
	"sluice/cmd/sluice/event"
	"sluice/httpflv/answer"
	"sluice/hub"
	"sluice/hub/access/token"
	"sluice/hub/fanout"
	"sluice/hub/record"
	"sluice/hub/relay"
	"sluice/hub/tlsconn"
)

// Bounds on scrapes.
const (
	// MaxStreams bounds Config.Streams.
	MaxStreams = 1000
	// maxScrapes is how many are answered at a time; further ones are refused with 503.
	maxScrapes = 3
	// scrapeTimeout bounds the time for one; beyond it the answer is 503.
	scrapeTimeout = 5 * time.Second
)

// Config says what is measured. Hub and Pool must be set; of the rest, what is not there has no
// figures. Its functions may be called from any goroutine, and return at once.
type Config struct {
	Version string // of the server, in one line
	Hub     Hub
	Pool    interface{ Figures() fanout.Figures }

	// Connections are the figures of connections by what they are for: rtmp, rtmps, http, https and
	// admin.
	Connections map[string]func() admission.Figures
	// Handshakes are those of TLS, likewise; they are told together.
	Handshakes map[string]func() tlsconn.Figures
	// MaxConnections bounds the connections of all but admin together; 0 for no bound.
	MaxConnections int
	// Memory is what there is for the process, in bytes; 0 if it is not known.
	Memory int64
	// Ready returns why nobody more should be sent to this server.
	Ready func() error

	// Certificates are those for TLS, certificate.MaxCertificates at the most.
	Certificates func() []certificate.Info

	// Methods are those by which is permitted, by role.
	Methods map[hub.Role][]string
	Keys    func() token.RemoteState // of a server of keys for tokens
	Bans    func() int
	Unwell  func() int // publishers with whom something is wrong
	// WrongTokens returns how many wrong tokens were shown to the operators' address.
	WrongTokens func() uint64

	Events     func() event.Totals
	Receivers  []string // of events: webhook and exec
	Recordings func() record.Totals
	Relays     func() relay.Figures
	Cluster    func() Cluster

	// Streams is how many streams have figures by name, those that are watched most: MaxStreams
	// at the most.
	Streams int
	Logger  *slog.Logger // gets a line where figures cannot be told; nil discards
}

// Hub is what is measured of a *hub.Hub.
type Hub interface {
	Totals() []hub.SessionTotals
	StreamTotals() hub.StreamTotals
	MostWatched(n int) []hub.Watched
}

// Metrics are the figures of one server. Its methods may be called from any goroutine.
type Metrics struct {
	cfg      Config
	registry *prometheus.Registry
	lost     prometheus.Counter
	frames   map[string]prometheus.Observer // by protocol
	decided  *prometheus.CounterVec
	asked    map[hub.Role]prometheus.Observer
}

// memory is what is told of Go's heap: what is in use, garbage included, and what was given back. The
// rest of some thirty figures is for a profile.
var memory = collectors.GoRuntimeMetricsRule{
	Matcher: regexp.MustCompile(`^/memory/classes/heap/(objects|released):bytes$`),
}

// New returns the figures of a server.
func New(c Config) *Metrics {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Streams = min(c.Streams, MaxStreams)
	m := &Metrics{cfg: c, registry: prometheus.NewRegistry()}
	m.register()
	m.registry.MustRegister(
		newCollector(&m.cfg),
		collectors.NewGoCollector(collectors.WithGoCollectorMemStatsMetricsDisabled(),
			collectors.WithGoCollectorRuntimeMetrics(memory)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// register makes the figures that are counted as things happen, each of which is there from the
// beginning, so that its first increase shows.
func (m *Metrics) register() {
	m.lost = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "sluice_hub_lost_events_total", Help: "Events that nobody was told, since too many waited inside the server.",
	})
	frames := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "sluice_first_frame_seconds", Buckets: []float64{.025, .05, .1, .25, .5, 1, 2.5, 5},
		Help: "Time from a viewer's request to its first frame, the waits for permission and for a publisher included.",
	}, []string{"protocol"})
	m.frames = make(map[string]prometheus.Observer)
	for _, protocol := range live {
		m.frames[protocol] = frames.WithLabelValues(protocol)
	}
	m.decided = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_permission_decisions_total",
		Help: "Decisions on who may publish or watch: by which method it was granted, or the last that refused, and with what result.",
	}, []string{"role", "method", "result"})
	asked := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "sluice_permission_seconds", Buckets: []float64{.01, .05, .25, .5, 1, 2.5},
		Help: "Time that decisions took, those included for which a server was asked.",
	}, []string{"role"})
	m.asked = make(map[hub.Role]prometheus.Observer)
	for role, methods := range m.cfg.Methods {
		m.asked[role] = asked.WithLabelValues(role.String())
		for _, method := range slices.Concat(methods, checks(role)) {
			for _, result := range results[method] {
				m.decided.WithLabelValues(role.String(), method, result)
			}
		}
	}
	m.registry.MustRegister(m.lost, frames, m.decided, asked)
}

// Observe notes what happens; it is for hub.Config.Observe.
func (m *Metrics) Observe(e hub.Event) {
	switch e.Kind {
	case hub.EventLost:
		m.lost.Add(float64(e.Lost))
	case hub.EventJoined:
		// A viewer of a recording waits for no key frame.
		if frames := m.frames[e.Session.Protocol()]; frames != nil && !e.Session.Plays() {
			frames.Observe(e.Waited.Seconds())
		}
	}
}

// Decided notes a decision; it is for access.Config.Decided.
func (m *Metrics) Decided(role hub.Role, method, result string, took time.Duration) {
	if !slices.Contains(results[method], result) {
		method, result = other, other
	}
	m.decided.WithLabelValues(role.String(), method, result).Inc()
	if asked := m.asked[role]; asked != nil {
		asked.Observe(took.Seconds())
	}
}

// Handler returns the handler that tells the figures to whoever asks by GET or HEAD, in the form
// and compression that it prefers. What stands in its path and query means nothing.
func (m *Metrics) Handler() http.Handler {
	told := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout, EnableOpenMetrics: true,
		ErrorLog: errorLog{m.cfg.Logger}, ErrorHandling: promhttp.HTTPErrorOnError,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			refuse(w, r, http.StatusMethodNotAllowed, "method not allowed", "this path takes GET and HEAD")
			return
		}
		answer.Bound(w, r)
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff") // names of streams may be in it
		told.ServeHTTP(w, r)
	})
}

// errorLog is a promhttp.Logger. A scraper that has gone is no error of the server, and neither is one
// that takes no compression there is ("error getting writer"): it gets the figures without.
type errorLog struct{ *slog.Logger }

// Println logs what could not be told.
func (l errorLog) Println(said ...any) {
	level := slog.LevelError
	for _, v := range said {
		if err, ok := v.(error); ok && errors.Is(err, context.Canceled) || v == "error getting writer" {
			level = slog.LevelDebug
		}
	}
	l.Log(context.Background(), level, "metrics cannot be told", "says", strings.TrimSpace(fmt.Sprintln(said...)))
}

func refuse(w http.ResponseWriter, r *http.Request, status int, what, reason string) {
	answer.Refusal{Status: status, Error: what, Reason: reason}.Write(w, r)
}
