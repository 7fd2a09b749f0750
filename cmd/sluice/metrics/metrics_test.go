package metrics

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// maxSeries is how many series there are at the most, without those of streams by name.
const maxSeries = 350

// Whatever happens, there are few series, and none of them says what a client chose.
func TestSeriesAreFew(t *testing.T) {
	m, _ := everything(t)
	for name, f := range gather(t, m) {
		for _, one := range f.GetMetric() {
			assert.NotContains(t, one.String(), "S3CRET", name)
		}
	}
	n, own := 0, 0
	for line := range strings.Lines(scrape(t, m)) {
		if !strings.HasPrefix(line, "#") {
			n++
			if strings.HasPrefix(line, "sluice_") {
				own++
			}
		}
	}
	t.Logf("%d series, %d of them our own", n, own)
	assert.LessOrEqual(t, n, maxSeries)
}

// scrape returns what is told, in Prometheus' text format.
func scrape(t testing.TB, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	return w.Body.String()
}

func TestValues(t *testing.T) {
	m, s := everything(t)
	reasons := float64(len(allReasons()))
	for _, c := range []struct {
		want   float64
		name   string
		labels []string
	}{
		{0, "sluice_ready", nil},
		{1 << 30, "sluice_memory_limit_bytes", nil},
		{4, "sluice_bans", nil},
		{6, "sluice_unwell_publishers", nil},
		{9, "sluice_operator_wrong_tokens_total", nil},
		{1, "sluice_connections", []string{"rtmp", "pending"}},
		{2, "sluice_connections", []string{"http", "asking"}},
		{3, "sluice_connections", []string{"admin", "idle"}},
		{4, "sluice_connections", []string{"admin", "active"}},
		{100, "sluice_connections_limit", nil},
		{4, "sluice_connections_admitted_total", []string{"rtmp"}},
		{5, "sluice_connections_given_up_total", []string{"rtmp"}},
		{6, "sluice_connections_turned_away_total", []string{"rtmp", "full"}},
		{7, "sluice_connections_turned_away_total", []string{"rtmp", "address"}},
		{4, "sluice_connections", []string{"https", "active"}},
		{3, "sluice_tls_handshakes", nil},
		{36, "sluice_tls_handshakes_total", []string{"full"}},
		{24, "sluice_tls_handshakes_total", []string{"resumed"}},
		{9, "sluice_tls_handshakes_total", []string{"timeout"}},
		{12, "sluice_tls_handshakes_total", []string{"not tls"}},
		{15, "sluice_tls_handshakes_total", []string{"client left"}},
		{18, "sluice_tls_handshakes_total", []string{"rejected"}},
		{100 - reasons, "sluice_sessions", []string{"http-flv", "watch"}},
		{100, "sluice_sessions_begun_total", []string{"rtmp", "publish"}},
		{100, "sluice_sessions_begun_total", []string{"other", "publish"}},
		{4, "sluice_sessions_ended_total", []string{"client left", "publish"}},
		{6, "sluice_sessions_ended_total", []string{"client left", "watch"}},
		{6, "sluice_sessions_refused_total", []string{"not found", "watch"}},
		{1000, "sluice_received_bytes_total", []string{"rtmp"}},
		{1000, "sluice_sent_bytes_total", []string{"ws-flv"}},
		{100, "sluice_dropped_packets_total", nil},
		{1000, "sluice_sent_bytes_total", []string{"ws-file"}},
		{1, "sluice_streams", []string{"waiting"}},
		{2, "sluice_streams", []string{"live"}},
		{3, "sluice_streams", []string{"grace"}},
		{4, "sluice_streams", []string{"ended"}},
		{5, "sluice_stream_log_bytes", nil},
		{6, "sluice_gop_cuts_total", nil},
		{7, "sluice_clock_jumps_total", nil},
		{8, "sluice_filled_frames_total", nil},
		{1, "sluice_skipped_tags_total", []string{"before key frame"}},
		{1, "sluice_first_frame_seconds", []string{"rtmp"}},
		{7, "sluice_hub_lost_events_total", nil},
		{1, "sluice_permission_decisions_total", []string{"jwt", "expired", "watch"}},
		{1, "sluice_permission_decisions_total", []string{"streamkey", "wrong", "publish"}},
		{2, "sluice_permission_decisions_total", []string{"other", "other", "publish"}},
		{0, "sluice_certificate_good", []string{"a.example"}},
		{0, "sluice_certificate_good", []string{"new.example"}},
		{1, "sluice_certificate_good", []string{"none"}},
		{0, "sluice_certificate_left_seconds", []string{"new.example"}},
		{3, "sluice_jwks_keys", nil},
		{1_800_000_000.5, "sluice_jwks_loaded_timestamp_seconds", nil},
		{5, "sluice_jwks_fetches_total", nil},
		{2, "sluice_jwks_failed_fetches_total", nil},
		{1, "sluice_events_sent_total", []string{"webhook"}},
		{0, "sluice_events_sent_total", []string{"exec"}},
		{2, "sluice_events_failed_attempts_total", []string{"webhook"}},
		{3, "sluice_events_retries_total", []string{"webhook"}},
		{4, "sluice_events_dropped_total", []string{"webhook"}},
		{5, "sluice_events_waiting", []string{"webhook"}},
		{1, "sluice_recordings", nil},
		{2, "sluice_recordings_begun_total", nil},
		{3, "sluice_recordings_finished_total", nil},
		{4, "sluice_recordings_gaps_total", nil},
		{5, "sluice_recordings_lost_packets_total", nil},
		{6, "sluice_recordings_disk_failures_total", nil},
		{7, "sluice_recordings_written_bytes_total", nil},
		{8, "sluice_recordings_waiting_bytes", nil},
		{1, "sluice_recordings_disk_full", nil},
		{2, "sluice_fanout_workers", nil},
		{3, "sluice_cluster_nodes", []string{"running"}},
		{2, "sluice_cluster_nodes", []string{"silent"}},
		{4, "sluice_cluster_streams", []string{"owned"}},
		{1, "sluice_cluster_streams", []string{"provisional"}},
		{6, "sluice_cluster_streams", []string{"copied"}},
		{7, "sluice_cluster_breaks_total", nil},
		{8, "sluice_cluster_joined_total", nil},
		{9, "sluice_cluster_lost_packets_total", nil},
		{1, "sluice_cluster_engine", []string{"connected"}},
		{0, "sluice_cluster_engine", []string{"writable"}},
		{0, "sluice_cluster_engine", []string{"current"}},
		{10, "sluice_cluster_copies", nil},
		{13, "sluice_cluster_sent_bytes_total", nil},
		{12, "sluice_cluster_refused_total", []string{"node"}},
		{11, "sluice_cluster_refused_total", []string{"unproven"}},
		{1, "sluice_relays", []string{"pull", "backing off"}},
		{2, "sluice_relays", []string{"origin", "live"}},
		{3, "sluice_relays", []string{"push", "held"}},
		{4, "sluice_relay_bytes_total", []string{"pull"}},
		{5, "sluice_relay_dropped_packets_total", nil},
		{6, "sluice_relay_tries_total", []string{"push"}},
		{7, "sluice_relay_breaks_total", []string{"origin"}},
		{8, "sluice_relay_resumed_total", []string{"joined", "pull"}},
		{9, "sluice_relay_resumed_total", []string{"cut", "origin"}},
		{100, "sluice_sessions_begun_total", []string{"pull", "publish"}},
		{3, "sluice_fanout_passes_total", nil},
		{4, "sluice_fanout_pass_seconds_total", nil},
		{5, "sluice_fanout_served_viewers_total", nil},
		{6, "sluice_fanout_congested_connections", nil},
	} {
		assert.Equal(t, c.want, value(t, m, c.name, c.labels...), "%s %v", c.name, c.labels)
	}
	assert.InDelta(t, 50*86400, value(t, m, "sluice_certificate_left_seconds", "a.example"), 600, "the least of two")
	assert.InDelta(t, -2*86400, value(t, m, "sluice_certificate_left_seconds", "none"), 600)
	s.watched = []hub.Watched{{Stream: "live/café", Viewers: 5, Bitrate: 800}, {Stream: "live/\xff\"\n{x}", Viewers: 4}, {Stream: "live/\xff\"\n{x}", Viewers: 3}, {Stream: "live/fourth"}}
	assert.Equal(t, 5., value(t, m, "sluice_stream_viewers", "live/café"))
	assert.Equal(t, 100., value(t, m, "sluice_stream_received_bytes_per_second", "live/café"))
	assert.Equal(t, 4., value(t, m, "sluice_stream_viewers", "live/?\"\n{x}"))
	assert.Len(t, gather(t, m)["sluice_stream_viewers"].GetMetric(), 2, "of one name there is one")
}

// Each reason for which sessions end or are refused, as far as it can happen, has its word.
func TestReasonsAreKnown(t *testing.T) {
	m, _ := everything(t)
	for _, role := range []string{"publish", "watch"} {
		assert.LessOrEqual(t, value(t, m, "sluice_sessions_ended_total", "other", role), 6*8.)
		assert.LessOrEqual(t, value(t, m, "sluice_sessions_refused_total", "other", role), 6*8.)
	}
}

// Each series that can be known beforehand is there from the beginning, so that its first increase
// shows.
func TestSeriesAreThereFromTheBeginning(t *testing.T) {
	s := &said{}
	m := New(Config{Hub: s, Pool: s, Methods: map[hub.Role][]string{hub.RolePublish: {"key"}, hub.RoleWatch: {"open"}}})
	assert.Equal(t, 0., value(t, m, "sluice_sessions_ended_total", "stalled", "watch"))
	assert.Equal(t, 0., value(t, m, "sluice_sessions_begun_total", "ws-flv", "watch"))
	assert.Equal(t, 0., value(t, m, "sluice_permission_decisions_total", "key", "wrong", "publish"))
	assert.Equal(t, 0., value(t, m, "sluice_permission_decisions_total", "failures", "denied", "publish"))
	assert.Equal(t, 0., value(t, m, "sluice_permission_seconds", "watch"))
	assert.Equal(t, 0., value(t, m, "sluice_first_frame_seconds", "http-flv"))
	assert.Equal(t, 1., value(t, m, "sluice_ready"))
	for name := range gather(t, m) {
		for _, absent := range []string{"sluice_jwks", "sluice_events", "sluice_recordings", "sluice_relay", "sluice_stream_viewers"} {
			assert.False(t, strings.HasPrefix(name, absent), name)
		}
	}
}

func TestHandler(t *testing.T) {
	m, _ := everything(t)
	ask := func(method, target string, header ...string) *http.Response {
		r := httptest.NewRequest(method, target, nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, r)
		return w.Result()
	}
	for _, target := range []string{"/metrics", "/metrics?", "/metrics?name[]=x&%zz", "/metrics?collect[]=a;b"} {
		resp := ask(http.MethodGet, target)
		assert.Equal(t, http.StatusOK, resp.StatusCode, target)
		assert.Contains(t, resp.Header.Get("Content-Type"), "text/plain; version=0.0.4", target)
		assert.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	}
	assert.Equal(t, http.StatusOK, ask(http.MethodHead, "/metrics").StatusCode)
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"} {
		resp := ask(method, "/metrics")
		assert.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode, method)
		assert.Equal(t, "GET, HEAD", resp.Header.Get("Allow"))
	}
	assert.Contains(t, ask(http.MethodGet, "/metrics", "Accept", "application/openmetrics-text").Header.Get("Content-Type"), "openmetrics")
	packed, err := gzip.NewReader(ask(http.MethodGet, "/metrics", "Accept-Encoding", "gzip").Body)
	require.NoError(t, err)
	plain, err := io.ReadAll(packed)
	require.NoError(t, err)
	assert.Contains(t, string(plain), "sluice_build_info{")
}

// slowHub answers when it is told to.
type slowHub struct {
	said
	asked, answer chan struct{}
}

func (s *slowHub) Totals() []hub.SessionTotals {
	s.asked <- struct{}{}
	<-s.answer
	return nil
}

// Scrapes that take long are bounded in number and time.
func TestScrapesAreBounded(t *testing.T) {
	s := &slowHub{asked: make(chan struct{}), answer: make(chan struct{})}
	h := New(Config{Hub: s, Pool: s}).Handler()
	ask := func() int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		return w.Code
	}
	var all sync.WaitGroup
	for range maxScrapes {
		all.Go(func() { assert.Equal(t, http.StatusOK, ask()) })
		<-s.asked
	}
	assert.Equal(t, http.StatusServiceUnavailable, ask())
	close(s.answer)
	all.Wait()
}

// Who scrapes is told so when it takes too long.
func TestScrapesHaveTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowHub{asked: make(chan struct{}, 1), answer: make(chan struct{})}
		w, began := httptest.NewRecorder(), time.Now()
		New(Config{Hub: s, Pool: s}).Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		assert.Equal(t, http.StatusServiceUnavailable, w.Code)
		assert.Equal(t, scrapeTimeout, time.Since(began))
		close(s.answer)
	})
}

// Figures may be asked for, counted and told at a time.
func TestConcurrency(t *testing.T) {
	m, _ := everything(t)
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() {
			for range 50 {
				m.Decided(hub.RoleWatch, "key", "granted", time.Millisecond)
				m.Observe(hub.Event{Kind: hub.EventLost, Lost: 1})
				if n == 0 {
					scrape(t, m)
				}
			}
		})
	}
	all.Wait()
	assert.Equal(t, 201., value(t, m, "sluice_permission_decisions_total", "key", "granted", "watch"))
	assert.Equal(t, 207., value(t, m, "sluice_hub_lost_events_total"))
}

// Names, types and help are as they are said to be: nothing empty, counters end so, nothing else does.
func TestNames(t *testing.T) {
	m, _ := everything(t)
	for name, f := range gather(t, m) {
		if !strings.HasPrefix(name, "sluice_") {
			continue
		}
		assert.NotEmpty(t, f.GetHelp(), name)
		assert.True(t, strings.HasSuffix(f.GetHelp(), "."), name)
		assert.Equal(t, fmt.Sprint(f.GetType()) == "COUNTER", strings.HasSuffix(name, "_total"), name)
	}
}

// A scraper that breaks off, or takes no compression, writes nothing into the log that an operator has to look at.
func TestScraperThatHasGone(t *testing.T) {
	var log strings.Builder
	m, _ := everything(t)
	m.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	ctx, leave := context.WithCancel(t.Context())
	leave()
	m.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/metrics", nil))
	errorLog{m.cfg.Logger}.Println("error encoding and sending metric family:", context.Canceled)
	for _, encoding := range []string{"identity;q=0", "br, identity;q=0", "*;q=0"} {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Header.Set("Accept-Encoding", encoding)
		m.Handler().ServeHTTP(w, r)
		assert.Contains(t, w.Body.String(), "sluice_build_info", encoding)
	}
	assert.Empty(t, log.String())
	errorLog{m.cfg.Logger}.Println("error gathering metrics:", errors.New("twice the same"))
	assert.Contains(t, log.String(), `level=ERROR msg="metrics cannot be told" says="error gathering metrics: twice the same"`)
}
