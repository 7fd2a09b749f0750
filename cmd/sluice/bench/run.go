package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sluice/cmd/sluice/demo"
)

// bench is one run.
//
//	publishers begin ─▶ rounds ─▶ publishers end ─▶ report
//	round: viewers join ─▶ players of files join ─▶ warm-up ─▶ window ─▶ stalled viewers go on ─▶ all leave ─▶ floor
type bench struct {
	o     *options
	p     *progress
	procs processes
	loop  *loop       // nil if nothing is published
	pubs  *publishers // nil as well then
	r     *report

	start usage // of the server, before anything
}

// run does what the options say and reports it.
func run(ctx context.Context, o *options, p *progress) (*report, error) {
	b := &bench{o: o, p: p, procs: processes{pids: o.pids, front: o.front}, r: newReport(o)}
	var err error
	if b.start, _, err = b.procs.look(); err != nil {
		return nil, err
	}
	if o.publishes {
		if b.loop, err = o.loadLoop(demo.Clip()); err != nil {
			return nil, err
		}
		if err := b.publish(ctx); err != nil {
			return nil, err
		}
		defer b.pubs.close()
	}
	for range o.rounds {
		if ctx.Err() != nil {
			break
		}
		if err := b.round(ctx); err != nil {
			return nil, err
		}
	}
	b.p.set("ending", nil)
	if b.pubs != nil {
		b.r.publishers(b.pubs)
	}
	b.r.close(ctx.Err() != nil)
	return b.r, nil
}

// settling is how long publishers run before the first viewer joins, besides a
// GOP.
const settling = 500 * time.Millisecond

// publish begins to publish, and waits until there is a GOP of every stream.
func (b *bench) publish(ctx context.Context) error {
	b.p.set("opening "+numbered(b.o.publishers, "publisher"), nil)
	pubs, failed, err := openPublishers(ctx, b.o, b.loop)
	if err != nil {
		return err
	}
	b.pubs = pubs
	if b.o.relay.meddle != nil {
		b.o.relay.meddle.published(pubs)
	}
	b.r.published(b.loop, pubs, failed)
	b.p.set("publishing "+numbered(b.o.publishers-failed.total(), "stream"), nil)
	sleepUntil(ctx, time.Now().Add(b.loop.gop+settling))
	return nil
}

// round measures once.
func (b *bench) round(ctx context.Context) error {
	c := newCrowd(b.o, b.loop, b.pubs)
	defer c.leave()
	before, _, err := b.procs.look()
	if err != nil {
		return err
	}
	if len(b.o.watch) > 0 {
		b.p.set("joining", c.status)
		c.join(ctx)
	}
	if b.o.plays {
		b.p.set("players joining", c.status)
		players, err := joinPlayers(ctx, b.o)
		if err != nil {
			return err
		}
		c.files = players
	}
	if b.o.stills {
		page := openStillPage(ctx, b.o)
		defer func() { b.r.Stills = page.close() }()
	}
	b.p.set("warming up", c.status)
	sleepUntil(ctx, b.quietMoment(time.Now().Add(b.o.warmup)))
	w, err := b.window(ctx, c)
	if err != nil {
		return err
	}
	w.start, w.before = b.start, before
	b.p.set("leaving", nil)
	c.leave()
	b.r.round(c, w)
	if b.o.relay.meddle != nil {
		b.o.relay.meddle.report(b.r, c)
	}
	if !b.o.floor || ctx.Err() != nil {
		return nil
	}
	rate := b.r.byteRate()
	if rate == 0 {
		return errors.New("-floor: the viewers got nothing that could be compared")
	}
	return b.floor(ctx, w, rate)
}

// quietMoment returns the first time from t on that is not next to a key frame of
// stream 0, which might fall on either side of the window's edge.
func (b *bench) quietMoment(t time.Time) time.Time {
	if b.pubs == nil {
		return t
	}
	gop := b.loop.gop
	phase := t.Sub(b.pubs.list[0].start) % gop
	if phase > gop/4 && phase < 3*gop/4 {
		return t
	}
	return t.Add((gop + gop/2 - phase) % gop)
}

// window is what was seen of the processes in a window.
type window struct {
	start, before usage // of the server: before publishers, before viewers
	server, tool  [2]usage
	peak          usage // the most memory, descriptors and threads
	churn         *churnReport
	stalled       *stalledReport
	length        time.Duration
}

// samplePeriod is how far apart looks at the server's memory are in a window: each
// keeps it from its work for a moment.
const samplePeriod = 3 * time.Second

// window measures for the duration asked for.
func (b *bench) window(ctx context.Context, c *crowd) (*window, error) {
	w := &window{}
	var err error
	look := func(i int) {
		server, tool, lookErr := b.procs.look()
		w.server[i], w.tool[i] = server, tool
		err = errors.Join(err, lookErr)
	}
	b.p.set("measuring", c.status)
	began := time.Now()
	look(0)
	if b.pubs != nil {
		b.pubs.measuring.Store(true)
	}
	c.begin(b.o.duration)
	windowCtx, cancel := context.WithDeadline(ctx, began.Add(b.o.duration))
	defer cancel()
	churned := startChurn(windowCtx, b.o)
	stalled := startStalled(windowCtx, c)
	var meddling sync.WaitGroup
	if b.o.relay.meddle != nil {
		meddling.Go(func() { b.o.relay.meddle.run(windowCtx, c) })
	}
	w.peak = w.server[0]
	for windowCtx.Err() == nil {
		sleepUntil(windowCtx, time.Now().Add(samplePeriod))
		if u, _, err := b.procs.look(); err == nil {
			w.peak = w.peak.most(u)
		}
	}
	w.length = max(1, time.Since(began))
	meddling.Wait()
	look(1)
	if b.pubs != nil {
		b.pubs.measuring.Store(false)
	}
	c.finish(ctx.Err() != nil)
	w.stalled = stalled.judge(ctx, b.p)
	w.churn = churned.wait()
	if err != nil {
		return nil, fmt.Errorf("the server is gone: %w", err)
	}
	if w.churn != nil {
		w.churn.settle(ctx, b, w.server[0])
	}
	return w, nil
}

// most returns the larger of each figure.
func (u usage) most(v usage) usage {
	u.pss = max(u.pss, v.pss)
	u.descriptors = max(u.descriptors, v.descriptors)
	u.threads = max(u.threads, v.threads)
	return u
}
