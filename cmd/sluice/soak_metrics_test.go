//go:build unix

package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"

	"sluice/hub"
)

// scrape returns all series of the service.
func (w *soak) scrape() map[string]float64 {
	answer := httptest.NewRecorder()
	w.svc.metrics.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, metricsPath, nil))
	if answer.Code != http.StatusOK {
		w.fail("a scrape: %d %s", answer.Code, answer.Body)
	}
	all := make(map[string]float64)
	for line := range strings.Lines(answer.Body.String()) {
		if !strings.HasPrefix(line, "sluice_") {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(strings.TrimSpace(line[at+1:]), 64)
		if err != nil {
			w.fail("a scrape has %q", line)
		}
		all[line[:at]] = value
	}
	return all
}

// isCounter reports whether a series may only increase.
func isCounter(series string) bool {
	name, _, _ := strings.Cut(series, "{")
	for _, suffix := range []string{"_total", "_bucket", "_count", "_sum"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// watchMetrics scrapes again and again: whatever comes and goes, no counter decreases, and no series
// vanishes.
func (w *soak) watchMetrics(rng *rand.Rand) {
	last := w.scrape()
	for !w.over() {
		w.sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
		now := w.scrape()
		for series, value := range last {
			if next, there := now[series]; !there || isCounter(series) && next < value {
				w.fail("after %v of %s comes %v (%v)", value, series, next, there)
			}
		}
		last = now
		w.count("scrape")
	}
}

// checkMetrics compares, when all is over, the figures with the sums of what was told.
func (w *soak) checkMetrics() {
	t, said := w.t, w.scrape()
	add := func(to map[string]float64, n uint64, format string, args ...any) {
		to[fmt.Sprintf(format, args...)] += float64(n)
	}
	want := map[string]float64{}
	w.observer.mu.Lock()
	defer w.observer.mu.Unlock()
	for _, sum := range w.observer.sums {
		protocol, role := sum.Protocol, sum.Role
		add(want, 0, `sluice_sessions{protocol=%q,role=%q}`, protocol, role)
		add(want, sum.Begun, `sluice_sessions_begun_total{protocol=%q,role=%q}`, protocol, role)
		for why, n := range sum.Ended {
			add(want, n, `sluice_sessions_ended_total{reason=%q,role=%q}`, why, role)
		}
		for why, n := range sum.Refused {
			add(want, n, `sluice_sessions_refused_total{reason=%q,role=%q}`, why, role)
		}
		add(want, sum.Dropped, `sluice_dropped_packets_total`)
		switch {
		case role == hub.RolePublish:
			add(want, sum.Bytes, `sluice_received_bytes_total{protocol=%q}`, protocol)
			continue
		case strings.HasSuffix(protocol, "-flv"):
			add(want, sum.Begun, `sluice_first_frame_seconds_count{protocol=%q}`, protocol)
		}
		add(want, sum.Bytes, `sluice_sent_bytes_total{protocol=%q}`, protocol)
	}
	assert.Greater(t, len(want), 20)
	for series, value := range want {
		assert.Equal(t, value, said[series], series)
	}
	for series := range said {
		assert.NotContains(t, series, `="other"`, "it has its own label")
	}
	for _, state := range []string{"pending", "asking", "idle", "active"} {
		assert.Zero(t, said[`sluice_connections{protocol="http",state="`+state+`"}`], state)
		assert.Zero(t, said[`sluice_connections{protocol="rtmp",state="`+state+`"}`], state)
	}
	assert.Zero(t, said["sluice_fanout_congested_connections"])
	assert.Positive(t, said["sluice_fanout_passes_total"])
	t.Logf("clock jumps %v, cut GOPs %v, filled frames %v, skipped before a key frame %v",
		said["sluice_clock_jumps_total"], said["sluice_gop_cuts_total"], said["sluice_filled_frames_total"], said[`sluice_skipped_tags_total{reason="before key frame"}`])
}
