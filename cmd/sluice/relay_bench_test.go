package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// relayBench is what sluice bench -relay reports, as far as a test looks at it: not at times, which
// the machine may take.
type relayBench struct {
	Watch []struct {
		Protocol string
		Checked  struct {
			Frames, Lost, Unequal, Reordered, Malformed int64
			BadTime                                     int64 `json:"wrong_timestamps"`
			WrongStart                                  int64 `json:"wrong_starts"`
		}
	}
	Viewers struct{ Ended map[string]int }
	Breaks  []struct {
		Upstream string
		Breaks   int
		Hit      int `json:"breaks_that_hit"`
		Joined   int
		Cut      int
		Stall    struct {
			P50 float64 `json:"p50_ms"`
			Max float64 `json:"max_ms"`
		}
		Bound float64 `json:"bound_ms"`
	}
	Cold struct {
		Rounds []struct{ Cold, Warm relayCrowd }
		More   float64 `json:"more_p99_ms"`
	}
	Pulls struct {
		Streams int
		Beyond  float64 `json:"beyond_log_bytes"`
	}
	Compared struct {
		Rounds []json.RawMessage
		P99    float64 `json:"latency_p99_ratio"`
	}
	Problems []string
}

type relayCrowd struct {
	Connections int `json:"upstream_connections"`
	Joins       int
	Failed      map[string]int
}

// relayBenched runs sluice bench as a process, which starts others.
func relayBenched(t *testing.T, args ...string) relayBench {
	t.Helper()
	if testing.Short() {
		t.Skip("left out with -short")
	}
	t.Parallel() // it waits, most of the time
	cmd := command(t, os.Environ()...)
	cmd.Args = append(append(cmd.Args, "bench", "-json"), args...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run() // 1 where a bound is not kept, which may be one of time
	var r relayBench
	require.NoError(t, json.Unmarshal(out.Bytes(), &r), "%v: %s", err, &stderr)
	t.Logf("problems: %q", r.Problems)
	for _, w := range r.Watch {
		f := w.Checked
		assert.Positive(t, f.Frames, w.Protocol)
		assert.Zero(t, f.Lost+f.Unequal+f.Reordered+f.Malformed+f.BadTime+f.WrongStart, "%s: %+v", w.Protocol, f)
	}
	assert.Empty(t, r.Viewers.Ended)
	return r
}

// Upstreams of edges break, and viewers get every frame, once. RELAY_BREAKS=100 has so many breaks,
// 3 s apart; then the stalls are in the log.
func TestRelayBreaksCostNothing(t *testing.T) {
	breaks, every := 3, time.Second
	if n, err := strconv.Atoi(os.Getenv("RELAY_BREAKS")); err == nil {
		breaks, every = n, 3*time.Second
	}
	r := relayBenched(t, "-relay", "breaks", "-upstream", "http,ws,rtmp", "-breaks", strconv.Itoa(breaks), "-duration", (time.Duration(breaks) * every).String(),
		"-viewers", "6", "-warmup", "500ms")
	require.Len(t, r.Breaks, 3)
	for _, b := range r.Breaks {
		t.Logf("%+v", b)
		assert.Positive(t, b.Hit, b.Upstream) // a busy machine may not be back at the next break
		assert.Positive(t, b.Joined, b.Upstream)
		assert.Zero(t, b.Cut, b.Upstream)
	}
}

// However many come to a stream that an edge does not have yet, it makes one connection.
// RELAY_JOINS=5000 has so many come within a second.
func TestColdEdgeMakesOneConnection(t *testing.T) {
	joins := "300"
	if n := os.Getenv("RELAY_JOINS"); n != "" {
		joins = n
	}
	r := relayBenched(t, "-relay", "cold", "-viewers", joins, "-rounds", "1", "-stay", "100ms")
	require.Len(t, r.Cold.Rounds, 1)
	round := r.Cold.Rounds[0]
	assert.Equal(t, 1, round.Cold.Connections)
	assert.Zero(t, round.Warm.Connections)
	assert.Empty(t, round.Cold.Failed)
	assert.Empty(t, round.Warm.Failed)
	t.Logf("%+v, p99 %.1f ms longer", round, r.Cold.More)
}

// Targets that take nothing, too little or refuse cost others no frame.
func TestBadTargetsCostOthersNothing(t *testing.T) {
	r := relayBenched(t, "-relay", "targets", "-rounds", "1", "-duration", "3s", "-warmup", "1s")
	require.Len(t, r.Compared.Rounds, 1)
	for _, p := range r.Problems {
		assert.Contains(t, p, "times as long")
	}
	t.Logf("p99 %.2f times", r.Compared.P99)
}

// An edge pulls many streams. RELAY_PULLS=1000 has so many.
func TestEdgePullsManyStreams(t *testing.T) {
	streams := "50"
	if n := os.Getenv("RELAY_PULLS"); n != "" {
		streams = n
	}
	r := relayBenched(t, "-relay", "pulls", "-publishers", streams, "-duration", "2s")
	assert.Equal(t, streams, strconv.Itoa(r.Pulls.Streams))
	t.Logf("%.1f KB each beyond its log", r.Pulls.Beyond/1024)
}
