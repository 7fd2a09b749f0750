package bench

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/relay"
	"sluice/rtmp"
)

// relays are those of the server that the tests start, as far as it needs them: what they open
// connections with are the tool's own viewers and publishers.
func relays(h *hub.Hub) (*relay.Relay, error) {
	var rules []relay.Rule
	for name, kind := range map[string]relay.Kind{"SLUICE_PULL": relay.Pull, "SLUICE_ORIGIN": relay.Origin, "SLUICE_PUSH": relay.Push} {
		parsed, err := relay.ParseRules(kind, os.Getenv(name))
		if err != nil {
			return nil, err
		}
		rules = append(rules, parsed...)
	}
	return relay.New(relay.Config{Hub: h, Rules: rules, Open: openSource, Send: openSink})
}

// source is a viewer that a stream is pulled from.
type source struct {
	*viewer
	tagReader
}

func openSource(ctx context.Context, o relay.Opening) (relay.Source, error) {
	t, err := parseTarget(o.URL.Secret())
	if err != nil {
		return nil, err
	}
	v, err := opener{tls: new(clientTLS)}.open(ctx, t, 0)
	if err != nil {
		return nil, err
	}
	return source{v, v.reader()}, nil
}

func (s source) Buffered() bool { return false }
func (s source) Node() string   { return "" }
func (s source) Remote() string { return s.conn.RemoteAddr().String() }
func (s source) Close() error   { s.close(); return nil }

// sinkTo is a publisher that a stream is pushed with.
type sinkTo struct {
	*rtmp.Publisher
	ended chan struct{}
}

func openSink(ctx context.Context, o relay.Sending) (relay.Sink, error) {
	p, err := (&rtmp.Client{}).Publish(ctx, o.URL.Secret())
	if err != nil {
		return nil, err
	}
	return sinkTo{p, make(chan struct{})}, nil
}

func (s sinkTo) Shape() flv.Shape            { return flv.Shape{} }
func (s sinkTo) Takes(flv.Codec) bool        { return true }
func (s sinkTo) Unacknowledged() (int, bool) { return 0, false }
func (s sinkTo) Moved() <-chan relay.Move    { return nil }
func (s sinkTo) Ended() <-chan struct{}      { return s.ended }
func (s sinkTo) Err() error                  { return nil }
func (s sinkTo) Remote() string              { return "127.0.0.1:1" }
func (s sinkTo) Close() error                { return s.Publisher.Close() }
func (s sinkTo) Abort()                      { s.Publisher.Close() }

func TestRelayFlags(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("-relay needs Linux")
	}
	for _, c := range []struct {
		args  string
		check func(o *options)
	}{
		{"-relay breaks", func(o *options) {
			assert.Equal(t, []protocol{httpFLV, rtmpPlay}, o.relay.upstreams)
			assert.Equal(t, 20*time.Millisecond, o.relay.rtt)
			assert.Equal(t, time.Minute, o.duration)
			assert.Equal(t, 20, o.relay.breaks)
			assert.Len(t, o.checkNumbers(), 20, "all check")
			assert.Equal(t, "rtmp://own/live/s%d", o.publish.pattern)
			assert.Equal(t, "http://own/live/s%d.flv", o.watch[0].pattern)
		}},
		{"-relay breaks -upstream ws -rtt 0 -duration 10s -breaks 3 -viewers 2 -watch ws://own/live/s%d.flv", func(o *options) {
			assert.Equal(t, []protocol{wsFLV}, o.relay.upstreams)
			assert.Zero(t, o.relay.rtt)
			assert.Equal(t, 10*time.Second, o.duration)
			assert.Len(t, o.watch, 1)
			assert.Equal(t, 2, o.viewers)
		}},
		{"-relay cold -rounds 3", func(o *options) {
			assert.Equal(t, 3, o.publishers)
			assert.Equal(t, 3, o.streams)
			assert.Equal(t, 5000, o.viewers)
			assert.Zero(t, o.relay.rtt)
		}},
		{"-relay targets", func(o *options) {
			assert.True(t, o.compares())
			assert.Empty(t, o.watch)
			assert.Equal(t, 5, o.rounds)
		}},
		{"-relay pulls", func(o *options) { assert.Equal(t, 1000, o.publishers) }},
		{"-ways plain,edge -publish " + pubURL + " -watch " + watchURL, func(o *options) {
			assert.Equal(t, []protocol{httpFLV}, o.relay.upstreams)
			assert.Zero(t, o.relay.rtt)
		}},
	} {
		o, err := parseFlags(strings.Fields(c.args))
		require.NoError(t, err, c.args)
		c.check(o)
	}
}

func TestRelayFlagMistakes(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("-relay needs Linux")
	}
	for args, want := range map[string]string{
		"-relay none":                                     "breaks, cold, targets or pulls",
		"-relay breaks -upstream ftp":                     "some of http, ws and rtmp",
		"-relay breaks -upstream http,http":               "each once",
		"-relay cold -upstream http,rtmp":                 "-upstream is one",
		"-relay cold -rounds 3 -publishers 2":             "a stream for each of -rounds",
		"-relay breaks -rtt 1h":                           "from 0 to 10s",
		"-relay breaks -rtt -1ms":                         "from 0 to 10s",
		"-relay breaks -breaks -1":                        "-breaks must not be negative",
		"-relay breaks -breaks 100 -duration 10s":         "more than one in 500ms",
		"-relay breaks -pid 1":                            "without -pid",
		"-relay breaks -churn 1":                          "without -pid, -churn",
		"-relay targets -watch " + watchURL:               "the targets check",
		"-relay targets -publishers 2":                    "pushes one stream",
		"-relay pulls -publishers 5000":                   "1500 -publishers at most",
		"-relay pulls -ways plain,edge -publish rtmp://h": "one at a time",
	} {
		var stdout, stderr bytes.Buffer
		assert.Equal(t, exitUsage, Run(t.Context(), strings.Fields(args), &stdout, &stderr), args)
		assert.Contains(t, stderr.String(), want, args)
	}
}

func TestFigures(t *testing.T) {
	f, err := parseFigures(strings.NewReader("# HELP a b\na{x=\"1\"} 2\na{x=\"2\"} 3.5\n\nb 1e+06\n"))
	require.NoError(t, err)
	assert.Equal(t, 4, resumed(map[string]float64{
		"sluice_relay_resumed_total": 9, `sluice_relay_resumed_total{how="joined",kind="pull"}`: 1,
		`sluice_relay_resumed_total{how="joined",kind="origin"}`: 3, `sluice_relay_resumed_total{how="cut",kind="pull"}`: 5,
	}, "joined"))
	assert.Equal(t, map[string]float64{"a": 5.5, `a{x="1"}`: 2, `a{x="2"}`: 3.5, "b": 1e6}, f)
	_, err = parseFigures(strings.NewReader("a x\n"))
	assert.Error(t, err)
}

// What is late after a break is the break's, also where it is later than the half until the next;
// the rest is what is usual.
func TestStalls(t *testing.T) {
	const ms = time.Millisecond
	c := &checker{worst: []time.Duration{900 * ms, 110 * ms, 15 * ms, 20 * ms, 700 * ms, 11 * ms}}
	for range 100 {
		c.latency.add(10 * ms)
	}
	var stall, quiet histogram
	c.stalls(500*ms, &stall, &quiet)
	assert.EqualValues(t, 3, stall.count)
	assert.EqualValues(t, 1, quiet.count)
	assert.Equal(t, 690*ms, stall.most)
	assert.Equal(t, 1*ms, stall.least)
	assert.Equal(t, 5*ms, quiet.most)
	assert.Equal(t, 160*ms, stallBound(httpFLV, 20*ms))
	assert.Equal(t, 240*ms, stallBound(rtmpPlay, 20*ms))
}

// relayed runs a mode with short GOPs, whatever the time that it takes.
func relayed(t *testing.T, args ...string) (int, *report) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("-relay needs Linux")
	}
	t.Parallel()
	return benched(t, t.Context(), []string{"-json", "-warmup", "500ms", "-file", shortGOPs(t)}, args)
}

// An edge's upstream breaks, and what its viewers get is checked. How much they lose is for
// the relay's own tests: here it is found out.
func TestRelayBreaks(t *testing.T) {
	_, r := relayed(t, "-relay", "breaks", "-breaks", "2", "-duration", "3s", "-viewers", "4")
	require.Len(t, r.Watch, 2)
	for i, b := range r.Breaks {
		assert.Equal(t, []string{"http", "rtmp"}[i], b.Upstream)
		assert.Equal(t, []float64{160, 240}[i], b.Bound)
		assert.Equal(t, 2, b.Hit)
		assert.GreaterOrEqual(t, b.Connections, 3)
		assert.EqualValues(t, 4, b.Stall.Count, "two viewers, two breaks")
		w := r.Watch[i]
		assert.Equal(t, "http-flv of an edge that pulls over "+b.Upstream, w.Protocol)
		assert.Equal(t, 2, w.Checking)
		assert.Positive(t, w.Findings.Frames)
	}
	assert.Empty(t, r.Viewers.Ended)
}

func TestRelayCold(t *testing.T) {
	_, r := relayed(t, "-relay", "cold", "-viewers", "50", "-rounds", "2", "-stay", "100ms")
	require.Len(t, r.Cold.Rounds, 2)
	for _, round := range r.Cold.Rounds {
		assert.Equal(t, 1, round.Cold.Connections)
		assert.Zero(t, round.Warm.Connections)
		for _, side := range []coldSide{round.Cold, round.Warm} {
			assert.InDelta(t, 50, side.Joins, 10)
			assert.Empty(t, side.Failed)
			assert.Positive(t, side.P50)
		}
	}
}

func TestRelayPulls(t *testing.T) {
	code, r := relayed(t, "-relay", "pulls", "-publishers", "20", "-viewers", "4", "-duration", "1s")
	assert.Contains(t, []int{exitOK, exitFailure}, code)
	assert.Equal(t, 20, r.Pulls.Streams)
	assert.Positive(t, r.Pulls.Log)
	assert.Positive(t, r.Watch[0].Findings.Frames)
	assert.Zero(t, r.Watch[0].Findings.bad(), "%v", r.Problems)
}

func TestRelayTargets(t *testing.T) {
	_, r := relayed(t, "-relay", "targets", "-rounds", "1", "-duration", "2s")
	require.Len(t, r.Compared.Rounds, 1)
	for _, side := range []comparedSide{r.Compared.Rounds[0].Without, r.Compared.Rounds[0].With} {
		assert.Positive(t, side.P50, "%v", r.Problems)
	}
	assert.Equal(t, badTargets, r.Compared.Count)
	for _, p := range r.Problems {
		assert.NotContains(t, p, "lost")
		assert.NotContains(t, p, "not every bad target")
	}
}

func TestWaysThroughEdges(t *testing.T) {
	g := &gatewayAt{rtmp: "own", http: "own"}
	code, r := relayed(t, append(g.publish(t, "1"), "-watch", "http://own/live/s%d.flv", "-watch", "rtmp://own/live/s%d",
		"-viewers", "4", "-check", "4", "-duration", "1s", "-ways", "plain,edge,chain")...)
	assert.Equal(t, exitOK, code, "%v", r.Problems)
	require.Len(t, r.Ways.Ways, 3)
	for _, w := range r.Ways.Ways {
		assert.Positive(t, w.Median.P50, w.Way)
		assert.Zero(t, w.Median.Failed)
	}
}

// Targets do what they are for.
func TestPushTargets(t *testing.T) {
	all, err := openTargets(1000)
	require.NoError(t, err)
	defer all.close()
	assert.Equal(t, goodTargets, strings.Count(all.rules(false), "\n"))
	assert.Equal(t, goodTargets+badTargets, strings.Count(all.rules(true), "\n"))
	client := &rtmp.Client{}
	_, err = client.Publish(t.Context(), "rtmp://"+all.addr+"/refuses/a")
	var status *rtmp.StatusError
	require.ErrorAs(t, err, &status)
	assert.Equal(t, rtmp.CodePublishDenied, status.Code)
	_, err = client.Publish(t.Context(), "rtmp://"+all.addr+"/t99/a")
	assert.Error(t, err)
	_, err = client.Play(t.Context(), "rtmp://"+all.addr+"/t0/a")
	assert.Error(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = client.Publish(ctx, "rtmp://"+all.hole.Addr()+"/hole/a")
	assert.ErrorIs(t, err, context.DeadlineExceeded)

	stuck, err := client.Publish(t.Context(), "rtmp://"+all.addr+"/stuck/a")
	require.NoError(t, err)
	tag := flv.Tag{Type: flv.TypeVideo, Data: make([]byte, 1<<20)}
	tag.Data[0] = 0x17
	written := make(chan error)
	go func() {
		for {
			if err := stuck.WriteTags([]flv.Tag{tag}); err != nil {
				written <- err
				return
			}
		}
	}()
	select {
	case err := <-written:
		t.Fatalf("it should read nothing, and does nothing else: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	stuck.Close()
	err = <-written
	assert.True(t, err != nil && !errors.Is(err, io.EOF), "%v", err)
}

// A push that connects anew begins anew, which is said and is no frame that comes twice.
func TestPushTargetConnectsAnew(t *testing.T) {
	all, err := openTargets(1000)
	require.NoError(t, err)
	defer all.close()
	l := builtIn(t)
	p := &publication{loop: l}
	p.sent.Store(50)
	all.pubs = &publishers{loop: l, list: []*publication{p}}
	close(all.begun)
	for range 2 {
		pub, err := new(rtmp.Client).Publish(t.Context(), "rtmp://"+all.addr+"/t3/a")
		require.NoError(t, err)
		require.NoError(t, pub.WriteTags(l.header))
		for n := range int64(50) {
			require.NoError(t, pub.WriteTags([]flv.Tag{l.tag(n)}))
		}
		require.NoError(t, pub.Close())
	}
	r := newReport(&options{})
	all.report(r, nil)
	require.Len(t, r.Watch, 1)
	assert.EqualValues(t, 100, r.Watch[0].Findings.Frames)
	assert.Zero(t, r.Watch[0].Findings.bad(), "%+v", r.Watch[0].Findings)
	assert.Equal(t, []string{"15 good targets got nothing", "1 connections to good targets were made anew"}, r.Problems)
}
