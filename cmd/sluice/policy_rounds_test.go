//go:build unix

package main

import (
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// How many clients the floods send can be set from outside; then they measure in five
// rounds with and without them what that costs others, as in
//
//	POLICY_FLOOD=10000 go test -timeout 30m -run 'PolicyFlood|CallbackFlood' -v ./cmd/sluice
//
// Client and server each need as many open files.
const (
	policyFloodEnv    = "POLICY_FLOOD"
	policyFloodShort  = 1000
	policyFloodRounds = 5
	policyFloodWindow = 10 * time.Second // that is measured, in which they all come
	policyFloodRatio  = 1.25             // of the latencies with and without, at the most
)

// floodRounds measure what a flood of clients costs those who watch.
type floodRounds struct {
	clients, rounds int
	window          time.Duration
	long            bool // so it is measured, not only shown

	// otherwise measures who watches s while the same clients come to a server that is not asked
	// to do what is measured.
	otherwise func(t *testing.T, s *policyServer) watched
	what      string // that is

	with, without, other, ratios []float64 // p99 in ms, of each round; with by other
}

func newFloodRounds(t *testing.T) *floodRounds {
	t.Helper()
	f := &floodRounds{clients: policyFloodShort, rounds: 1, window: 3 * time.Second}
	if f.long = os.Getenv(policyFloodEnv) != ""; f.long {
		f.clients, f.rounds, f.window = envNumber(t, policyFloodEnv, 0), policyFloodRounds, policyFloodWindow
	} else {
		t.Parallel()
	}
	var files syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	require.Greater(t, files.Cur, uint64(f.clients+500), "open files")
	nowhere := nullServer(t)
	f.what = "the same clients at a server that does nothing"
	f.otherwise = func(t *testing.T, s *policyServer) watched {
		return s.watch(t, f.window, func() {
			for _, c := range nowhere.flood(t, f.clients, f.window) {
				c.Close()
			}
		})
	}
	return f
}

// among has the rounds compare with the viewers of another server to which the same clients come.
func (f *floodRounds) among(other *policyServer, what string) {
	f.what = what
	f.otherwise = func(t *testing.T, _ *policyServer) watched {
		w, conns := f.flooded(t, other)
		for _, c := range conns {
			c.Close()
		}
		other.await(t, func(f policyFigures) bool { return f.Connections.Open == 0 && f.Running == 0 })
		return w
	}
}

// flooded measures who watches a server while the clients come to it.
func (f *floodRounds) flooded(t *testing.T, s *policyServer) (w watched, conns []net.Conn) {
	t.Helper()
	var flooding sync.WaitGroup
	w = s.watch(t, f.window, func() {
		flooding.Go(func() { conns = s.flood(t, f.clients, f.window) })
	})
	flooding.Wait()
	return w, conns
}

// round is one round. It returns the connections of the clients, which are still open.
func (f *floodRounds) round(t *testing.T, s *policyServer) (conns []net.Conn) {
	t.Helper()
	if f.long {
		w := s.watch(t, f.window, func() {})
		f.without = append(f.without, w.worst())
		t.Logf("round %d: p99 %.1f ms without, %v", len(f.without), w.worst(), w)
		w = f.otherwise(t, s)
		f.other = append(f.other, w.worst())
		t.Logf("round %d: p99 %.1f ms with %s, %v", len(f.other), w.worst(), f.what, w)
	}
	w, conns := f.flooded(t, s)
	f.with = append(f.with, w.worst())
	t.Logf("round %d: p99 %.1f ms with, %v", len(f.with), w.worst(), w)
	if f.long {
		f.ratios = append(f.ratios, w.worst()/f.other[len(f.other)-1])
	}
	return conns
}

// judge says what the clients cost, and fails if that is too much.
func (f *floodRounds) judge(t *testing.T) {
	t.Helper()
	if !f.long {
		return
	}
	for _, of := range [][]float64{f.with, f.without, f.other} {
		slices.Sort(of)
	}
	with, without, other := f.with[f.rounds/2], f.without[f.rounds/2], f.other[f.rounds/2]
	t.Logf("p99 of the latency, median of %d rounds: %.2f ms with %d clients that ask, %.2f with %s, "+
		"%.2f without any; ratio to the former %.2f (rounds %.2f), to the latter %.2f",
		f.rounds, with, f.clients, other, f.what, without, with/other, f.ratios, with/without)
	assert.LessOrEqual(t, with/other, policyFloodRatio)
}
