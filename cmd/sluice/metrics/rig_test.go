package metrics

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	dto "github.com/prometheus/client_model/go"

	"sluice/cmd/sluice/admission"
	"sluice/cmd/sluice/certificate"
	"sluice/cmd/sluice/event"
	"sluice/httpflv/replica"
	"sluice/hub"
	"sluice/hub/access/token"
	"sluice/hub/cluster"
	"sluice/hub/fanout"
	"sluice/hub/record"
	"sluice/hub/relay"
	"sluice/hub/tlsconn"
)

// said is a hub and a pool that say what they are told to.
type said struct {
	sessions []hub.SessionTotals
	streams  hub.StreamTotals
	watched  []hub.Watched
	pool     fanout.Figures
}

func (s *said) Totals() []hub.SessionTotals     { return s.sessions }
func (s *said) StreamTotals() hub.StreamTotals  { return s.streams }
func (s *said) MostWatched(n int) []hub.Watched { return s.watched[:min(n, len(s.watched))] }
func (s *said) Figures() fanout.Figures         { return s.pool }

// allReasons are those of the hub.
func allReasons() (all []hub.Reason) {
	for r := hub.ReasonBadRequest; len(all) == 0 || !slices.ContainsFunc(all, func(x hub.Reason) bool { return x.String() == r.String() }); r++ {
		all = append(all, r)
	}
	return all
}

// everything is a server that has all there is, of which everything has happened that can: for each
// protocol, role, reason, method and result, once.
func everything(t testing.TB) (*Metrics, *said) {
	s := &said{
		streams: hub.StreamTotals{Waiting: 1, Live: 2, Grace: 3, Ended: 4, LogBytes: 5, GOPCuts: 6, Jumps: 7, Filled: 8, Skipped: map[string]uint64{}},
		pool:    fanout.Figures{Workers: 2, Passes: 3, Spent: 4 * time.Second, Served: 5, Congested: 6},
	}
	for _, reason := range hub.SkipReasons() {
		s.streams.Skipped[reason] = 1
	}
	for _, role := range []hub.Role{hub.RolePublish, hub.RoleWatch} {
		for _, protocol := range append(slices.Clone(protocols[role]), "a protocol that is not known") {
			sums := hub.SessionTotals{
				Protocol: protocol, Role: role, Begun: 100, Bytes: 1000, Dropped: 10,
				Ended: map[hub.Reason]uint64{}, Refused: map[hub.Reason]uint64{},
			}
			for _, why := range allReasons() {
				sums.Ended[why], sums.Refused[why] = 1, 1
			}
			s.sessions = append(s.sessions, sums)
		}
	}
	connections := make(map[string]func() admission.Figures)
	for _, protocol := range listeners {
		connections[protocol] = func() admission.Figures {
			return admission.Figures{Open: 10, Pending: 1, Asking: 2, Idle: 3, Admitted: 4, GivenUp: 5, TurnedFull: 6, TurnedByAddress: 7}
		}
	}
	handshakes := make(map[string]func() tlsconn.Figures)
	for _, protocol := range []string{"rtmps", "https", "admin"} {
		handshakes[protocol] = func() tlsconn.Figures {
			return tlsconn.Figures{Pending: 1, Done: 20, Resumed: 8, TimedOut: 3, NotTLS: 4, Left: 5, Rejected: 6}
		}
	}
	m := New(Config{
		Version: "v1", Hub: s, Pool: s, Connections: connections, Handshakes: handshakes, MaxConnections: 100, Memory: 1 << 30,
		Ready: func() error { return errors.New("full") },
		Certificates: func() []certificate.Info {
			in := func(days time.Duration) time.Time { return time.Now().Add(days*24*time.Hour + time.Minute) }
			return []certificate.Info{
				{Names: []string{"a.example", "b.example"}, NotAfter: in(60)}, {Names: []string{"a.example"}, NotAfter: in(50), Problem: "x"},
				{Names: []string{"new.example"}, Problem: "x"}, {NotAfter: in(-2)},
			}
		},
		Methods: map[hub.Role][]string{
			hub.RolePublish: {"open", "key", "streamkey", "sign", "jwt", "url", "none"},
			hub.RoleWatch:   {"open", "key", "sign", "jwt", "url", "none"},
		},
		Keys: func() token.RemoteState {
			return token.RemoteState{Keys: 3, Loaded: time.Unix(1_800_000_000, 500_000_000), Fetches: 5, Failed: 2}
		},
		Bans: func() int { return 4 }, WrongTokens: func() uint64 { return 9 }, Unwell: func() int { return 6 },
		Events: func() event.Totals {
			return event.Totals{Webhook: event.QueueTotals{Sent: 1, Failed: 2, Retried: 3, Dropped: 4, Waiting: 5}}
		},
		Receivers: receivers,
		Recordings: func() record.Totals {
			return record.Totals{Running: 1, Begun: 2, Finished: 3, Gaps: 4, Lost: 5, Failures: 6, Bytes: 7, Waiting: 8, DiskFull: true}
		},
		Cluster: func() Cluster {
			return Cluster{
				Figures: cluster.Figures{Nodes: 5, Silent: 2, Owned: 4, Provisional: 1, Copied: 6, Breaks: 7, Joined: 8, Lost: 9},
				Engine:  cluster.Health{Connected: true}, Inner: replica.Figures{Copies: 10, Unproven: 11, Refused: 12, Bytes: 13},
			}
		},
		Relays: func() (f relay.Figures) {
			f.Connections[relay.Pull][relay.BackingOff], f.Connections[relay.Origin][relay.Live], f.Connections[relay.Push][relay.Held] = 1, 2, 3
			f.Bytes[relay.Pull], f.Dropped[relay.Push], f.Tries[relay.Push], f.Breaks[relay.Origin] = 4, 5, 6, 7
			f.Joined[relay.Pull], f.Cuts[relay.Origin] = 8, 9
			return f
		},
		Streams: 3,
	})
	h := hub.New(hub.Config{})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		assert.NoError(t, h.Shutdown(ctx))
	})
	for protocol := range m.frames {
		who := h.NewSession(hub.RoleWatch, hub.Key{App: "live", Name: "S3CRET"}, hub.Client{Protocol: protocol, Agent: "S3CRET"})
		m.Observe(hub.Event{Kind: hub.EventJoined, Session: who, Waited: 300 * time.Millisecond})
		played := h.NewSession(hub.RoleWatch, hub.Key{App: "live", Name: "x"}, hub.Client{Protocol: protocol, Recording: "x"})
		m.Observe(hub.Event{Kind: hub.EventJoined, Session: played, Waited: time.Hour})
	}
	m.Observe(hub.Event{Kind: hub.EventLost, Lost: 7})
	for _, role := range []hub.Role{hub.RolePublish, hub.RoleWatch} {
		for method, of := range results {
			if role == hub.RoleWatch && method == "streamkey" || role == hub.RolePublish && method == "origin" {
				continue
			}
			for _, result := range of {
				m.Decided(role, method, result, 20*time.Millisecond)
			}
		}
		m.Decided(role, "S3CRET", "S3CRET", time.Second)
	}
	return m, s
}

// gather returns all metrics.
func gather(t testing.TB, m *Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	families, err := m.registry.Gather()
	require.NoError(t, err)
	all := make(map[string]*dto.MetricFamily)
	for _, f := range families {
		all[f.GetName()] = f
	}
	return all
}

// value returns the value of a metric, whose labels are in the order of their names.
func value(t testing.TB, m *Metrics, name string, labels ...string) float64 {
	t.Helper()
	for _, one := range gather(t, m)[name].GetMetric() {
		var has []string
		for _, l := range one.GetLabel() {
			has = append(has, l.GetValue())
		}
		if slices.Equal(has, labels) {
			return one.GetGauge().GetValue() + one.GetCounter().GetValue() + float64(one.GetHistogram().GetSampleCount())
		}
	}
	t.Errorf("there is no %s %v", name, labels)
	return -1
}
