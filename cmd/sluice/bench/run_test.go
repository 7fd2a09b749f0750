package bench

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// 50 viewers over each protocol, of two streams, get all that was published.
func TestEveryByteIsDelivered(t *testing.T) {
	t.Parallel()
	g := startGateway(t, hub.Config{})
	code, r := benched(t, t.Context(), g.publish(t, "2"), g.watch(), quick, []string{"-viewers", "150", "-check", "6"})
	assert.Empty(t, r.Problems)
	assert.Equal(t, exitOK, code)
	assert.Equal(t, 150, r.Viewers.Joined)
	assert.Equal(t, 2, r.Publishers.Asked)
	assert.InDelta(t, 206e3, r.Publishers.Bitrate, 1e3)
	require.Len(t, r.Watch, 3)
	for _, w := range r.Watch {
		assert.Equal(t, 48, w.Counting, w.Protocol)
		assert.Equal(t, 2, w.Checking)
		assert.Positive(t, w.Min)
		assert.Greater(t, w.Findings.Frames, int64(100))
		assert.Positive(t, w.Latency.Count)
		assert.EqualValues(t, 2, w.Picture.Count)
		assert.LessOrEqual(t, w.Latency.P50, w.Latency.Max)
	}
}

func TestProcessFigures(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	t.Parallel()
	g := startGateway(t, hub.Config{})
	asMuch := func(r *report) bool { return within(0.25, r.Floor.Rate, r.Floor.Received) } // from the null server
	code, r := benchedAsFast(t, asMuch, g.publish(t, "1"), g.watch()[:2], g.watchTLS()[:2], quick,
		[]string{"-viewers", "4", "-floor", "-rounds", "2", "-interval", "50ms", "-pid", strconv.Itoa(os.Getpid())})
	assert.Equal(t, exitOK, code, "%v", r.Problems)
	assert.Positive(t, r.Server.PSSWindow)
	assert.GreaterOrEqual(t, r.Server.PSSPeak, r.Server.PSSBegin)
	assert.GreaterOrEqual(t, r.Server.Descriptors, 10)
	require.Len(t, r.Floor.Rounds, 2)
}

// The figures of several rounds are medians, each by itself.
func TestFloorRounds(t *testing.T) {
	o := &options{watch: make([]watched, 1)}
	r := newReport(o)
	c := newCrowd(o, nil, nil)
	defer c.leave()
	for _, f := range []floorRound{{Server: 3, Floor: 2, Ratio: 1.5}, {Server: 2.4, Floor: 2, Ratio: 1.2}, {Server: 5, Floor: 4, Ratio: 1.25, Others: 1}} {
		r.floorRound(f, c)
	}
	assert.Equal(t, 1.5, r.Floor.Ratio)
	assert.Equal(t, 1.25, r.Floor.MedianRatio)
	var out strings.Builder
	require.NoError(t, r.writeTable(&out))
	assert.Contains(t, out.String(), "round 3            server 5.000 cores, floor 4.000 cores, ratio 1.25; others 1.00 cores\n")
	assert.Contains(t, out.String(), "1.25\n")
}

// Viewers of one track are expected to get that track, and the shares of a mix hold.
func TestAudioOnlyMix(t *testing.T) {
	t.Parallel()
	g := startGateway(t, hub.Config{})
	asExpected := func(r *report) bool { return within(0.2, r.Watch[0].Expected, r.Watch[0].Mean) }
	code, r := benchedAsFast(t, asExpected, g.publish(t, "1"), quick, []string{
		"-watch", "25%:http://" + g.http + "/live/s%d.flv?onlyaudio=1", "-watch", "75%:rtmp://" + g.rtmp + "/live/s%d",
		"-viewers", "40", "-check", "2", "-duration", "3s"})
	assert.Equal(t, exitOK, code, "%v", r.Problems)
	require.Len(t, r.Watch, 2)
	assert.Equal(t, 9, r.Watch[0].Counting)
	assert.Equal(t, 29, r.Watch[1].Counting)
	assert.Positive(t, r.Watch[0].Expected)
	assert.Less(t, r.Watch[0].Expected, r.Watch[1].Expected/2)
}

func TestChurnRun(t *testing.T) {
	t.Parallel()
	g := startGateway(t, hub.Config{})
	code, r := benched(t, t.Context(), g.publish(t, "1"), g.watch(), quick, []string{"-viewers", "3", "-churn", "40", "-stay", "100ms"})
	assert.Equal(t, exitOK, code, "%v", r.Problems)
	assert.GreaterOrEqual(t, r.Churn.Joins, int64(10))
	assert.Equal(t, r.Churn.Joins, r.Churn.First.Count)
	assert.Empty(t, r.Churn.Failed)
}

// Viewers that stall go on at a key frame, since what they missed is more than the
// server keeps for them, or without a gap if it is not.
func TestStalledRun(t *testing.T) {
	t.Parallel()
	g := startGateway(t, hub.Config{MaxLag: time.Second})
	code, r := benched(t, t.Context(), g.publish(t, "1"), g.watch(), quick,
		[]string{"-viewers", "3", "-bitrate", "8M", "-stalled", "6", "-stalled-buffer", "8192", "-duration", "3s"})
	assert.Equal(t, exitOK, code, "%v", r.Problems)
	assert.Equal(t, 6, r.Stalled.Asked)
	assert.Equal(t, 6, r.Stalled.Jumped+r.Stalled.Continued+r.Stalled.Ended.total())
	assert.Positive(t, r.Stalled.Jumped)
}

func TestOtherPeoplesStreams(t *testing.T) {
	t.Parallel()
	g := startGateway(t, hub.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	published := make(chan int)
	go func() {
		published <- Run(ctx, append(g.publish(t, "1"), "-duration", "1h", "-warmup", "0s"), io.Discard, io.Discard)
	}()
	code, r := benched(t, t.Context(), g.watch(), quick, []string{"-viewers", "6", "-streams", "1"})
	assert.Equal(t, exitOK, code, "%v", r.Problems)
	for _, w := range r.Watch {
		assert.Positive(t, w.Findings.Frames)
		assert.Zero(t, w.Latency.Count)
	}
	cancel()
	assert.Equal(t, exitFailure, <-published, "interrupted")
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	g := startGateway(t, hub.Config{ViewerWait: -1})
	code, r := benched(t, t.Context(), g.watch(), quick, []string{"-viewers", "6"})
	assert.Equal(t, exitFailure, code)
	assert.Zero(t, r.Viewers.Joined-r.Viewers.Ended.total())
	assert.Equal(t, 2, r.Viewers.Failed["refused: HTTP status 404"])
	assert.Equal(t, 2, r.Viewers.Failed["refused: NetStream.Play.StreamNotFound"])

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l.Close()
	var stderr bytes.Buffer
	code = Run(t.Context(), []string{"-publish", "rtmp://" + l.Addr().String() + "/live/a?key=secret"}, io.Discard, &stderr)
	assert.Equal(t, exitFailure, code)
	assert.Equal(t, "sluice bench: publishing: 1 × connection refused\n", stderr.String())
}

// A server that ends its viewers, or sends too little, is found out.
func TestBadServers(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 200 OK\r\n\r\n"
	ends := listen(t, func(conn net.Conn) {
		io.WriteString(conn, head+"FLV")
		time.Sleep(500 * time.Millisecond)
	})
	code, r := benched(t, t.Context(), []string{"-watch", "http://" + ends + "/a.flv", "-viewers", "4", "-check", "1"}, quick)
	assert.Equal(t, exitFailure, code)
	assert.Equal(t, 4, r.Viewers.Ended.total())

	g := startGateway(t, hub.Config{})
	silent := listen(t, func(conn net.Conn) {
		io.WriteString(conn, head)
		io.Copy(io.Discard, conn)
	})
	code, r = benched(t, t.Context(), g.publish(t, "1"), quick,
		[]string{"-watch", "http://" + silent + "/a.flv", "-watch", "http://" + g.http + "/live/s0.flv", "-viewers", "6", "-check", "4"})
	assert.Equal(t, exitFailure, code)
	assert.True(t, slices.ContainsFunc(r.Problems, func(p string) bool { return strings.Contains(p, "got nothing") }), "%v", r.Problems)
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	g := startGateway(t, hub.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
	defer cancel()
	code, r := benched(t, ctx, g.publish(t, "1"), g.watch(),
		[]string{"-json", "-viewers", "30", "-warmup", "100ms", "-duration", "1h", "-churn", "5", "-stalled", "3", "-rounds", "2"})
	assert.Equal(t, exitFailure, code)
	assert.True(t, r.Interrupted)
	assert.Equal(t, []string{"interrupted"}, r.Problems)
	assert.Less(t, r.Window, 60.)
	assert.Equal(t, 30, r.Viewers.Joined)
}

func TestTable(t *testing.T) {
	t.Parallel()
	g := startGateway(t, hub.Config{})
	var stdout, stderr bytes.Buffer
	args := slices.Concat(g.publish(t, "1"), g.watch(), quick[:4], []string{"-viewers", "6", "-churn", "5", "-stalled", "1"})
	if runtime.GOOS == "linux" {
		args = append(args, "-pid", strconv.Itoa(os.Getpid()))
	}
	Run(t.Context(), args, &stdout, &stderr)
	for _, want := range []string{"publishers: 1 to rtmp://" + g.rtmp + "/live/s%d\n", "viewers: 6, 6 joined", "http-flv:", "ws-flv:", "rtmp:", "latency", "first picture", "churn:", "stalled:"} {
		assert.Contains(t, stdout.String(), want)
	}
	assert.NotContains(t, stdout.String()+stderr.String(), "secret")
	assert.NotContains(t, stdout.String(), "%!")
}

// A server that goes away while it is measured leaves nothing to report.
func TestServerGoes(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs the null server")
	}
	t.Parallel()
	o := &options{interval: 50 * time.Millisecond}
	server, err := startNull(t.Context(), o, 10_000)
	require.NoError(t, err)
	gone := time.AfterFunc(time.Second, server.close)
	defer gone.Stop()
	var stdout, stderr bytes.Buffer
	code := Run(t.Context(), []string{"-watch", "http://" + server.address + "/a.flv", "-viewers", "5", "-check", "0", "-stalled", "2", "-churn", "5",
		"-warmup", "0s", "-duration", "2s", "-pid", strconv.Itoa(server.cmd.Process.Pid)}, &stdout, &stderr)
	assert.Equal(t, exitFailure, code)
	assert.Empty(t, stdout.String())
	assert.Contains(t, stderr.String(), "the server is gone")
}
