package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/flv"
	"sluice/hub/relay/relaytest"
	"sluice/rtmp"
)

// targets are servers that a stream is pushed to, all in this process:
//
//	pusher ─▶ t0 … t15              check what they get
//	       ─▶ t16 at half the rate  takes it, behind a slow line
//	       ─▶ black hole            accepts connections, and nothing passes
//	       ─▶ stuck                 lets it publish, and reads nothing from then on
//	       ─▶ refuses               says that publishing is denied
type targets struct {
	server   rtmp.Server
	serving  sync.WaitGroup
	addr     string
	slow     *relaytest.Proxy // to t16
	hole     *relaytest.Proxy
	sinks    []*targetSink
	released chan struct{} // closed when stuck ones read on
	begun    chan struct{} // closed when pubs is there
	pubs     *publishers

	measuring atomic.Bool
	refused   atomic.Int64
	stuck     atomic.Int64
}

// Numbers of targets.
const (
	goodTargets = 16
	badTargets  = 4
)

// targetsBound is how many times as long frames may take with the bad ones, p99.
const targetsBound = 1.25

// Apps of the targets that do not check.
const (
	appSlow   = "slow"
	appStuck  = "stuck"
	appRefuse = "refuses"
)

// targetSink is one that checks.
type targetSink struct {
	all *targets

	mu    sync.Mutex
	conns []*targetConn // that pushed to it, one after the other
	ended tally
}

// targetConn is a connection to a targetSink. A push that has to connect anew begins anew with a GOP and
// at 0, and so does what is checked.
type targetConn struct {
	sink  *targetSink
	check checker // guarded by sink.mu
}

// openTargets starts them; close them. slowRate is what the slow one takes, in bytes a second.
func openTargets(slowRate int64) (*targets, error) {
	t := &targets{released: make(chan struct{}), begun: make(chan struct{})}
	t.server.Handler = t
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t.addr = l.Addr().String()
	t.serving.Go(func() { t.server.Serve(l) })
	for range goodTargets {
		t.sinks = append(t.sinks, &targetSink{all: t, ended: tally{}})
	}
	if t.slow, err = relaytest.New(relaytest.Config{Target: t.addr}); err == nil {
		t.slow.Rate(slowRate)
		t.hole, err = relaytest.New(relaytest.Config{Target: t.addr})
	}
	if err != nil {
		t.close()
		return nil, err
	}
	t.hole.Blackhole(true)
	return t, nil
}

// rules returns the list of what is to be pushed where, with the bad ones or without.
func (t *targets) rules(bad bool) string {
	var b strings.Builder
	add := func(host, app string) { fmt.Fprintf(&b, "** rtmp://%s/%s/{name}\n", host, app) }
	for i := range t.sinks {
		add(t.addr, fmt.Sprintf("t%d", i))
	}
	if bad {
		add(t.slow.Addr(), appSlow)
		add(t.hole.Addr(), "hole")
		add(t.addr, appStuck)
		add(t.addr, appRefuse)
	}
	return b.String()
}

// close ends all of them.
func (t *targets) close() {
	close(t.released)
	select {
	case <-t.begun:
	default:
		close(t.begun)
	}
	t.server.Close()
	t.serving.Wait()
	for _, p := range []*relaytest.Proxy{t.slow, t.hole} {
		if p != nil {
			p.Close()
		}
	}
}

// errDenied is what the target says that refuses.
var errDenied = &rtmp.StatusError{Code: rtmp.CodePublishDenied, Description: "this target refuses"}

// Publish takes a stream that is pushed. It is for the RTMP server.
func (t *targets) Publish(_ *rtmp.ServerStream, r *rtmp.Request) (rtmp.Publication, error) {
	switch r.App {
	case appRefuse:
		t.refused.Add(1)
		return nil, errDenied
	case appStuck:
		t.stuck.Add(1)
		return stuckSink{t.released}, nil
	case appSlow:
		return nullSink{}, nil
	}
	var i int
	if _, err := fmt.Sscanf(r.App, "t%d", &i); err != nil || i < 0 || i >= len(t.sinks) {
		return nil, errDenied
	}
	s := t.sinks[i]
	c := &targetConn{sink: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, c)
	return c, nil
}

// Play refuses.
func (t *targets) Play(*rtmp.ServerStream, *rtmp.Request) (rtmp.Playback, error) {
	return nil, &rtmp.StatusError{Code: rtmp.CodePlayFailed, Description: "targets play nothing"}
}

// WriteTag checks the next tag.
func (c *targetConn) WriteTag(t flv.Tag) error {
	at, all := time.Now(), c.sink.all
	<-all.begun // headers come before the publisher has begun
	c.sink.mu.Lock()
	defer c.sink.mu.Unlock()
	if c.check.measuring == nil {
		c.check.joined, c.check.measuring = moment(at), all.measuring.Load
		if all.pubs != nil {
			c.check.loop, c.check.from = all.pubs.loop, all.pubs.list[0]
		}
	}
	c.check.tag(t, at)
	return nil
}

// Close notes how the connection ended, while it is measured.
func (c *targetConn) Close(err error) {
	s := c.sink
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all.measuring.Load() {
		if err == nil {
			s.ended["unpublished"]++
		} else {
			s.ended[reason(err)]++
		}
	}
}

// nullSink takes everything.
type nullSink struct{}

func (nullSink) WriteTag(flv.Tag) error { return nil }
func (nullSink) Close(error)            {}

// stuckSink reads nothing, so that the window of TCP closes.
type stuckSink struct{ released <-chan struct{} }

func (s stuckSink) WriteTag(flv.Tag) error {
	<-s.released
	return net.ErrClosed
}
func (stuckSink) Close(error) {}

// published waits until all good targets have got something, or have had the time to.
func (t *targets) published(pubs *publishers) {
	t.pubs = pubs
	close(t.begun)
	for until := time.Now().Add(openTimeout); t.silent() > 0 && time.Now().Before(until); {
		time.Sleep(pushLook)
	}
}

// pushLook is how far apart looks at the targets are.
const pushLook = 20 * time.Millisecond

// silent returns how many good targets have got nothing yet.
func (t *targets) silent() (n int) {
	for _, s := range t.sinks {
		s.mu.Lock()
		if !slices.ContainsFunc(s.conns, func(c *targetConn) bool { return c.check.Frames > 0 }) {
			n++
		}
		s.mu.Unlock()
	}
	return n
}

func (t *targets) run(ctx context.Context, _ *crowd) {
	t.measuring.Store(true)
	<-ctx.Done()
	t.measuring.Store(false)
}

func (t *targets) report(r *report, _ *crowd) {
	g, out := &group{}, &watchReport{URL: fmt.Sprintf("%d targets", len(t.sinks)), Protocol: "rtmp push", Worst: 1}
	ended, anew := tally{}, 0
	for _, s := range t.sinks {
		s.mu.Lock()
		for _, c := range s.conns {
			g.merge(&c.check.findings)
			g.latency.merge(&c.check.latency)
		}
		anew += max(0, len(s.conns)-1)
		for why, n := range s.ended {
			ended[why] += n
		}
		s.mu.Unlock()
	}
	out.Checking, out.Findings, out.Latency = len(t.sinks), g.findings, percentilesOf(&g.latency)
	r.Watch, r.groups = append(r.Watch, out), append(r.groups, g)
	if silent := t.silent(); silent > 0 {
		r.problem("%d good targets got nothing", silent)
	}
	if anew > 0 {
		r.problem("%d connections to good targets were made anew", anew)
	}
	r.tally("connections to good targets ended", ended)
}

// compareTargets measures a server of one's own that pushes a stream, to bad targets too or not.
func compareTargets(ctx context.Context, o *options, p *progress, with bool, _ *comparedReport) (r *report, err error) {
	l, err := o.relayLoop()
	if err != nil {
		return nil, err
	}
	t, err := openTargets(int64(l.bitrate() / 8 / 2))
	if err != nil {
		return nil, err
	}
	defer t.close()
	c := &cluster{ctx: ctx}
	defer func() { err = errors.Join(err, c.close()) }()
	p.set("starting a server", nil)
	s, err := c.start("SLUICE_PUSH=" + t.rules(with))
	if err != nil {
		return nil, err
	}
	half := o.at(&s.hosts)
	half.rounds, half.pids, half.relay.meddle = 1, c.pids(), t
	r, err = run(ctx, half, p)
	if err == nil && with && ctx.Err() == nil && (t.refused.Load() == 0 || t.stuck.Load() == 0 || t.hole.Accepted() == 0 || t.slow.Accepted() == 0) {
		r.problem("not every bad target was tried: %d refused, %d stuck, %d connections to the black hole, %d to the slow one",
			t.refused.Load(), t.stuck.Load(), t.hole.Accepted(), t.slow.Accepted())
	}
	return r, err
}
