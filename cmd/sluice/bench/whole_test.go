package bench

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

func TestClusterFlags(t *testing.T) {
	o, err := parseFlags([]string{"-cluster"})
	require.NoError(t, err)
	assert.Equal(t, clusterParts, o.whole.parts)
	assert.Equal(t, 5, o.rounds)
	assert.False(t, o.whole.viewers)
	o, err = parseFlags([]string{"-cluster=hop,kill", "-viewers", "7", "-rounds", "2"})
	require.NoError(t, err)
	assert.Equal(t, []clusterPart{clusterHop, clusterKill}, o.whole.parts)
	assert.Equal(t, 2, o.rounds)
	assert.True(t, o.whole.viewers)
	for args, want := range map[string]string{
		"-cluster=hop,hop":            "each once",
		"-cluster=all":                "must be some of",
		"-cluster -watch " + watchURL: "goes without -publish, -watch and -pid",
		"-cluster -relay cold":        "go one at a time",
		"-cluster -viewers 0":         "needs a viewer",
	} {
		_, err := parseFlags(strings.Fields(args))
		assert.ErrorContains(t, err, want, args)
	}
}

// What a node says of its engine, line by line.
func TestEngineState(t *testing.T) {
	var s ownServer
	ready := make(chan bool, 1)
	s.read(bytes.NewBufferString(`{"msg":"cluster: records can be written","leader":"a:1"}
{"msg":"ready","rtmp_addr":"r","http_addr":"h"}
no line of ours
{"msg":"cluster: records cannot be written","detail":"x"}
{"msg":"cluster: this node has all records"}
{"msg":"cluster: records can be written","leader":"b:1"}
`), ready)
	assert.True(t, <-ready)
	assert.Empty(t, ready)
	assert.Equal(t, "r", s.hosts.rtmp[0])
	assert.Equal(t, "b:1", *s.engine.leader.Load())
	assert.True(t, s.engine.whole.Load())
	s.engine.line("cluster: records cannot be written", "")
	assert.Nil(t, s.engine.leader.Load())
}

// Each frame of a made-up stream says which it is, and what comes twice or never is counted.
func TestNumberedFrames(t *testing.T) {
	s := &numberedStream{nth: 2}
	for n, key := range map[int64]bool{0: true, 1: false, 2: false, numberedGOP: true} {
		tag := s.frame(n, numberedEvery)
		number, isKey, ok := numberOf(tag)
		assert.True(t, ok)
		assert.Equal(t, 2<<32|n, number)
		assert.Equal(t, key, isKey)
		assert.EqualValues(t, 20*n, tag.Timestamp)
	}
	for _, tag := range append(numberedHeaders, flv.Tag{Type: flv.TypeAudio, Data: []byte("\xaf\x01silence")}) {
		_, _, ok := numberOf(tag)
		assert.False(t, ok)
	}
	w := &numberedViewer{came: map[int64]time.Time{}, pictures: map[int64]time.Time{}}
	now := time.Now()
	for i, number := range []int64{1 << 32, 1<<32 + 1, 1<<32 + 4, 1<<32 + 4, 1<<32 + 3, 2<<32 + 50, 2<<32 + 100} {
		w.takeLocked(number, number >= 2<<32, now.Add(time.Duration(i)))
	}
	assert.Equal(t, 2, w.repeated)
	assert.Equal(t, 2+49, w.missing)
	assert.Equal(t, now.Add(5), w.picture(2))
	assert.True(t, w.picture(1).IsZero())
	assert.Empty(t, w.keep(true))
	w.takeLocked(2<<32+101, false, now)
	assert.Len(t, w.keep(false), 1)
}

// A made-up stream comes whole through a server, over both protocols.
func TestNumberedStream(t *testing.T) {
	g := startGateway(t, hub.Config{})
	at := &ownServer{hosts: hosts{rtmp: [2]string{g.rtmp}, http: [2]string{g.http}}}
	s, err := publishNumbered(t.Context(), at.url(rtmpPlay, "n").at(0), 1, numberedEvery)
	require.NoError(t, err)
	defer s.close()
	w := &wholeCluster{o: &options{joinRate: 1000}}
	all, err := w.watchAll(t.Context(), at, "n", 2)
	require.NoError(t, err)
	defer all.close()
	require.NoError(t, all.await(t.Context(), 1, seenWithin))
	k := &clusterKillReport{Ended: tally{}}
	k.judge(all, s)
	assert.Zero(t, k.Repeated+k.Missing+k.Without+k.Ended.total())
	assert.Positive(t, k.Worst)
}

func TestPercentilesOfTimes(t *testing.T) {
	assert.Zero(t, at(50, nil))
	assert.Equal(t, 3.0, at(50, []float64{5, 1, 3, 2, 4}))
	assert.Equal(t, 5.0, at(99, []float64{5, 1, 3, 2, 4}))
	assert.Equal(t, 5.0, at(100, []float64{5, 1, 3, 2, 4}))
}
