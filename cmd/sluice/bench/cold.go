package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"sluice/hub/relay/relaytest"
)

// coldReport is about crowds that came to an edge within a second: to a stream that it had to
// fetch first, and to the same when it had it.
type coldReport struct {
	Upstream string      `json:"upstream"`
	Viewers  int         `json:"viewers"` // of each crowd
	Rounds   []coldRound `json:"rounds"`
	// Medians of the rounds, each figure by itself, and of the differences of p99.
	Cold coldSide `json:"cold"`
	Warm coldSide `json:"warm"`
	More float64  `json:"more_p99_ms"`
}

// coldRound is one round: first cold, then warm.
type coldRound struct {
	Cold coldSide `json:"cold"`
	Warm coldSide `json:"warm"`
}

// coldSide is what one crowd saw.
type coldSide struct {
	Connections int     `json:"upstream_connections"` // that the edge made meanwhile
	Joins       int64   `json:"joins"`
	Failed      tally   `json:"failed,omitempty"`
	Rate        float64 `json:"joins_per_second"`
	P50         float64 `json:"first_picture_p50_ms"`
	P99         float64 `json:"first_picture_p99_ms"`
}

// coldBound is how much longer a first picture may take of a stream that was not there, p99.
const coldBound = 50 // ms

// crowdTime is how long it takes a crowd to come.
const crowdTime = time.Second

// measureCold has a crowd come to each of as many streams as there are rounds, and again.
func measureCold(ctx context.Context, o *options, p *progress) (r *report, err error) {
	c := &cluster{ctx: ctx}
	defer func() { err = errors.Join(err, c.close()) }()
	p.set("starting servers", nil)
	origin, err := c.start()
	if err != nil {
		return nil, err
	}
	over := o.relay.upstreams[0]
	edge, proxy, err := c.edge(origin, over, o.relay.rtt)
	if err != nil {
		return nil, err
	}
	moved := o.at(&edge.hosts)
	moved.publish = origin.hosts.of(o.publish)
	r = newReport(moved)
	r.Viewers, r.Watch, r.groups = nil, nil, nil
	r.Cold = &coldReport{Upstream: schemes[over][0], Viewers: o.viewers}
	l, err := o.relayLoop()
	if err != nil {
		return nil, err
	}
	b := &bench{o: moved, p: p, loop: l, r: r}
	if err := b.publish(ctx); err != nil {
		return nil, err
	}
	defer b.pubs.close()
	for n := range o.rounds {
		p.within(fmt.Sprintf("round %d, ", n+1))
		round, err := b.coldRound(ctx, proxy, n)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return nil, err
		}
		r.Cold.Rounds = append(r.Cold.Rounds, round)
		r.Rounds++
	}
	r.Cold.sum(r)
	r.publishers(b.pubs)
	r.close(ctx.Err() != nil)
	return r, nil
}

// coldRound has two crowds come to a stream. Somebody stays between them.
func (b *bench) coldRound(ctx context.Context, proxy *relaytest.Proxy, stream int) (round coldRound, err error) {
	o := *b.o
	o.churn, o.streams, o.watch = float64(o.viewers)/crowdTime.Seconds(), 1, nil
	for _, w := range b.o.watch {
		w.pattern = w.at(stream)
		o.watch = append(o.watch, w)
	}
	for i, side := range []*coldSide{&round.Cold, &round.Warm} {
		b.p.set([...]string{"the stream is not there", "the stream is there"}[i], nil)
		before := proxy.Accepted()
		within, cancel := context.WithTimeout(ctx, crowdTime)
		crowd := startChurn(within, &o)
		if i == 0 { // who comes last, and stays
			sleepUntil(ctx, time.Now().Add(crowdTime))
			v, err := opener{tls: &o.tls}.open(ctx, o.watch[0].target, 0)
			if err != nil {
				cancel()
				crowd.wait()
				return round, fmt.Errorf("who stays between the crowds: %s", reason(err))
			}
			var staying sync.WaitGroup
			staying.Go(func() { io.Copy(io.Discard, v.plain) })
			defer staying.Wait()
			defer v.close()
		}
		came := crowd.wait()
		cancel()
		*side = coldSide{
			Connections: proxy.Accepted() - before, Joins: came.Joins, Failed: came.Failed, Rate: came.Rate,
			P50: came.First.P50, P99: came.First.P99,
		}
	}
	return round, nil
}

// sum sums the rounds up, and tells the problems.
func (c *coldReport) sum(r *report) {
	of := func(f func(coldRound) float64) float64 {
		var all []float64
		for _, round := range c.Rounds {
			all = append(all, f(round))
		}
		return median(all)
	}
	for _, s := range []struct {
		sum      *coldSide
		name     string
		upstream int
		side     func(coldRound) coldSide
	}{
		{&c.Cold, "cold", 1, func(r coldRound) coldSide { return r.Cold }},
		{&c.Warm, "warm", 0, func(r coldRound) coldSide { return r.Warm }},
	} {
		*s.sum = coldSide{
			Connections: int(of(func(r coldRound) float64 { return float64(s.side(r).Connections) })),
			Joins:       int64(of(func(r coldRound) float64 { return float64(s.side(r).Joins) })),
			Rate:        of(func(r coldRound) float64 { return s.side(r).Rate }),
			P50:         of(func(r coldRound) float64 { return s.side(r).P50 }),
			P99:         of(func(r coldRound) float64 { return s.side(r).P99 }),
		}
		for n, round := range c.Rounds {
			side := s.side(round)
			r.tally(fmt.Sprintf("viewers failed in round %d, %s", n+1, s.name), side.Failed)
			if side.Connections != s.upstream {
				r.problem("round %d, %s: %d connections to the upstream, not %d", n+1, s.name, side.Connections, s.upstream)
			}
		}
	}
	c.More = of(func(r coldRound) float64 { return r.Cold.P99 - r.Warm.P99 })
	if c.More > coldBound {
		r.problem("the first picture of a stream that was not there took %s ms longer, p99, which is more than %d", short(c.More), coldBound)
	}
}

func (c *coldReport) write(t *table) {
	t.section("crowds of %d within a second at an edge that pulls over %s: cold and warm, in turn", c.Viewers, c.Upstream)
	for n, round := range c.Rounds {
		t.row(fmt.Sprintf("round %d", n+1), "cold %v", round.Cold)
		t.row("", "warm %v", round.Warm)
	}
	t.row("medians", "cold %v", c.Cold)
	t.row("", "warm %v", c.Warm)
	t.row("cold p99", "%s ms longer (median of the differences); up to %d are fine", short(c.More), coldBound)
}

// String says what a crowd saw.
func (s coldSide) String() string {
	text := fmt.Sprintf("%s to the upstream; %d joins, %.0f a second, first picture p50 %s, p99 %s ms",
		numbered(s.Connections, "connection"), s.Joins, s.Rate, short(s.P50), short(s.P99))
	if n := s.Failed.total(); n > 0 {
		text += fmt.Sprintf("; %d failed", n)
	}
	return text
}
