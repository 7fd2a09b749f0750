package metrics

import (
	"runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/cmd/sluice/admission"
	"sluice/cmd/sluice/event"
	"sluice/hub"
	"sluice/hub/access/token"
	"sluice/hub/fanout"
	"sluice/hub/record"
	"sluice/hub/relay"
	"sluice/hub/tlsconn"
)

// moment is what one scrape has read.
type moment struct {
	cfg         *Config
	sessions    []hub.SessionTotals
	streams     hub.StreamTotals
	watched     []hub.Watched
	pool        fanout.Figures
	connections map[string]admission.Figures
	handshakes  tlsconn.Figures
	keys        token.RemoteState
	events      map[string]event.QueueTotals // by receiver
	recordings  record.Totals
	relays      relay.Figures
	cluster     Cluster
}

// read reads all parts, each once.
func read(c *Config) *moment {
	m := &moment{
		cfg: c, sessions: c.Hub.Totals(), streams: c.Hub.StreamTotals(), pool: c.Pool.Figures(),
		connections: make(map[string]admission.Figures), events: make(map[string]event.QueueTotals),
	}
	for protocol, figures := range c.Connections {
		m.connections[known(protocol, listeners)] = figures()
	}
	for _, figures := range c.Handshakes {
		m.handshakes = m.handshakes.Plus(figures())
	}
	if c.Keys != nil {
		m.keys = c.Keys()
	}
	if c.Events != nil {
		totals := c.Events()
		for _, receiver := range c.Receivers {
			m.events[receiver] = map[string]event.QueueTotals{"webhook": totals.Webhook, "exec": totals.Exec}[receiver]
		}
	}
	if c.Recordings != nil {
		m.recordings = c.Recordings()
	}
	if c.Relays != nil {
		m.relays = c.Relays()
	}
	if c.Cluster != nil {
		m.cluster = c.Cluster()
	}
	if c.Streams > 0 {
		m.watched = c.Hub.MostWatched(c.Streams)
	}
	return m
}

// figure is one metric that is read when somebody scrapes.
type figure struct {
	name, help string
	kind       prometheus.ValueType
	labels     []string
	// tell emits each value with those of the labels.
	tell func(m *moment, emit func(value float64, labels ...string))
}

// one is the tell of a figure that has one value.
func one[N ~int | ~int64 | ~uint64 | ~float64](value func(m *moment) N) func(*moment, func(float64, ...string)) {
	return func(m *moment, emit func(float64, ...string)) { emit(float64(value(m))) }
}

// collector tells prometheus the figures of a server.
type collector struct {
	cfg     *Config
	figures []figure
	descs   []*prometheus.Desc // of each
}

func newCollector(c *Config) *collector {
	all := &collector{cfg: c, figures: figuresOf(c)}
	for _, f := range all.figures {
		all.descs = append(all.descs, prometheus.NewDesc(f.name, f.help, f.labels, nil))
	}
	return all
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(values chan<- prometheus.Metric) {
	m := read(c.cfg)
	for i, f := range c.figures {
		f.tell(m, func(value float64, labels ...string) {
			values <- prometheus.MustNewConstMetric(c.descs[i], f.kind, value, labels...)
		})
	}
}

// figuresOf returns the figures that a server has.
func figuresOf(c *Config) []figure {
	all := serverFigures()
	all = append(all, connectionFigures()...)
	all = append(all, sessionFigures()...)
	all = append(all, streamFigures()...)
	all = append(all, fanoutFigures()...)
	if c.Handshakes != nil {
		all = append(all, handshakeFigures()...)
	}
	if c.Certificates != nil {
		all = append(all, certificateFigures()...)
	}
	if c.Keys != nil {
		all = append(all, keyFigures()...)
	}
	if c.Events != nil && len(c.Receivers) > 0 {
		all = append(all, eventFigures()...)
	}
	if c.Recordings != nil {
		all = append(all, recordingFigures()...)
	}
	if c.Relays != nil {
		all = append(all, relayFigures()...)
	}
	if c.Cluster != nil {
		all = append(all, clusterFigures()...)
	}
	if c.Streams > 0 {
		all = append(all, watchedFigures()...)
	}
	return all
}

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// serverFigures are those of the server as a whole.
func serverFigures() []figure {
	return []figure{
		{"sluice_build_info", "1, with the version of the server and of Go.", gauge, []string{"version", "goversion"},
			func(m *moment, emit func(float64, ...string)) {
				emit(1, strings.ToValidUTF8(m.cfg.Version, "?"), runtime.Version())
			}},
		{"sluice_ready", "1 as long as clients may be sent to this server, as /readyz says; 0 while it is full or shuts down.", gauge, nil,
			one(func(m *moment) int {
				if m.cfg.Ready != nil && m.cfg.Ready() != nil {
					return 0
				}
				return 1
			})},
		{"sluice_memory_limit_bytes", "Memory that there is for this process, by Go's limit or the machine; 0 if it is not known.", gauge, nil,
			one(func(m *moment) int64 { return m.cfg.Memory })},
		{"sluice_bans", "Bans that hold.", gauge, nil,
			one(func(m *moment) int {
				if m.cfg.Bans == nil {
					return 0
				}
				return m.cfg.Bans()
			})},
		{"sluice_operator_wrong_tokens_total", "Wrong tokens that were shown to the operators' address and for metrics.", counter, nil,
			one(func(m *moment) uint64 {
				if m.cfg.WrongTokens == nil {
					return 0
				}
				return m.cfg.WrongTokens()
			})},
	}
}

// connectionFigures are those of the admission.
func connectionFigures() []figure {
	each := func(value func(f admission.Figures) uint64) func(*moment, func(float64, ...string)) {
		return func(m *moment, emit func(float64, ...string)) {
			for protocol, f := range m.connections {
				emit(float64(value(f)), protocol)
			}
		}
	}
	return []figure{
		{"sluice_connections", "Open connections: pending until they show what they came for, asking until it is decided, " +
			"active, or idle if they are a proxy's without a request.", gauge, []string{"protocol", "state"},
			func(m *moment, emit func(float64, ...string)) {
				for protocol, f := range m.connections {
					emit(float64(f.Pending), protocol, "pending")
					emit(float64(f.Asking), protocol, "asking")
					if !strings.HasPrefix(protocol, "rtmp") { // where there is a request or nothing
						emit(float64(f.Idle), protocol, "idle")
					}
					emit(float64(f.Open-f.Pending-f.Asking-f.Idle), protocol, "active")
				}
			}},
		{"sluice_connections_limit", "How many connections of clients may be open, those of operators aside; 0 for no bound.", gauge, nil,
			one(func(m *moment) int { return m.cfg.MaxConnections })},
		{"sluice_connections_admitted_total", "Connections that were admitted.", counter, []string{"protocol"},
			each(func(f admission.Figures) uint64 { return f.Admitted })},
		{"sluice_connections_given_up_total", "Connections that were admitted, only took up room, and were closed to make it for others.",
			counter, []string{"protocol"}, each(func(f admission.Figures) uint64 { return f.GivenUp })},
		{"sluice_connections_turned_away_total", "Connections that were not admitted: there were enough in all (full), or from their address (address).",
			counter, []string{"protocol", "reason"}, func(m *moment, emit func(float64, ...string)) {
				for protocol, f := range m.connections {
					emit(float64(f.TurnedFull), protocol, "full")
					emit(float64(f.TurnedByAddress), protocol, "address")
				}
			}},
	}
}

// handshakeFigures are those of TLS, of all listeners together.
func handshakeFigures() []figure {
	return []figure{
		{"sluice_tls_handshakes", "Handshakes of TLS under way.", gauge, nil,
			one(func(m *moment) int64 { return m.handshakes.Pending })},
		{"sluice_tls_handshakes_total", "Handshakes of TLS: full ones, those resumed by a ticket at a fraction of the cost, and those that failed: timeout, " +
			"not tls, client left, and rejected (no version or cipher in common, no certificate, broken).", counter, []string{"result"},
			func(m *moment, emit func(float64, ...string)) {
				f := m.handshakes
				emit(float64(f.Done-f.Resumed), "full")
				emit(float64(f.Resumed), "resumed")
				emit(float64(f.TimedOut), "timeout")
				emit(float64(f.NotTLS), "not tls")
				emit(float64(f.Left), "client left")
				emit(float64(f.Rejected), "rejected")
			}},
	}
}

// keyFigures are those of a server of keys for tokens.
func keyFigures() []figure {
	return []figure{
		{"sluice_jwks_keys", "Keys for tokens that were fetched and are in use.", gauge, nil,
			one(func(m *moment) int { return m.keys.Keys })},
		{"sluice_jwks_loaded_timestamp_seconds", "When the keys in use were fetched; 0 if none ever were.", gauge, nil,
			one(func(m *moment) float64 {
				if m.keys.Loaded.IsZero() {
					return 0
				}
				return float64(m.keys.Loaded.UnixMilli()) / 1000
			})},
		{"sluice_jwks_fetches_total", "Attempts to fetch keys, those that failed included.", counter, nil,
			one(func(m *moment) uint64 { return m.keys.Fetches })},
		{"sluice_jwks_failed_fetches_total", "Attempts to fetch keys that failed.", counter, nil,
			one(func(m *moment) uint64 { return m.keys.Failed })},
	}
}

// eventFigures are those of who is told what happens.
func eventFigures() []figure {
	each := func(value func(t event.QueueTotals) float64) func(*moment, func(float64, ...string)) {
		return func(m *moment, emit func(float64, ...string)) {
			for receiver, t := range m.events {
				emit(value(t), receiver)
			}
		}
	}
	receiver := []string{"receiver"}
	return []figure{
		{"sluice_events_sent_total", "Events that the receiver was told.", counter, receiver,
			each(func(t event.QueueTotals) float64 { return float64(t.Sent) })},
		{"sluice_events_failed_attempts_total", "Attempts to tell the receiver that failed.", counter, receiver,
			each(func(t event.QueueTotals) float64 { return float64(t.Failed) })},
		{"sluice_events_retries_total", "Attempts to tell the receiver an event once more.", counter, receiver,
			each(func(t event.QueueTotals) float64 { return float64(t.Retried) })},
		{"sluice_events_dropped_total", "Events that the receiver will not be told, but for finished recordings that are told later.", counter, receiver,
			each(func(t event.QueueTotals) float64 { return float64(t.Dropped) })},
		{"sluice_events_waiting", "Events that the receiver has still to be told.", gauge, receiver,
			each(func(t event.QueueTotals) float64 { return float64(t.Waiting) })},
	}
}
