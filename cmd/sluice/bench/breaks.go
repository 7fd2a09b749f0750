package bench

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/hub/relay/relaytest"
)

// breaksReport is about the upstream of one edge that broke again and again.
type breaksReport struct {
	Upstream string `json:"upstream"` // what the edge pulls over
	Breaks   int    `json:"breaks"`
	// Hit is how many of them reset a connection, Connections how many the edge has made.
	Hit         int `json:"breaks_that_hit"`
	Connections int `json:"connections"`
	// Joined is after how many of them the edge went on at the exact packet, Cut at a key frame, as it
	// says itself.
	Joined int `json:"joined"`
	Cut    int `json:"cut"`
	// Stall is by how much longer than usual, which is its median, frames were on their way to a
	// viewer at most, of each viewer and break, in the half of the time until the next. Quiet is
	// the same of the other halves: what the machine does.
	Stall percentiles `json:"stall"`
	Quiet percentiles `json:"quiet"`
	Bound float64     `json:"bound_ms"` // of the stall
}

// breaker breaks the upstreams of edges, each of which has a URL of the viewers.
type breaker struct {
	edges     []*ownServer
	proxies   []*relaytest.Proxy
	upstreams []protocol
	watches   []int // how many URLs each edge has
	rtt       time.Duration
	breaks    int
	every     time.Duration

	hit []atomic.Int32 // by edge
}

// shortestBreak is the least time from one break to the next.
const shortestBreak = 500 * time.Millisecond

// Bounds of a stall: so many round trips, and what two programs may need besides.
const (
	httpRoundTrips = 3
	rtmpRoundTrips = 7
	stallSlack     = 100 * time.Millisecond
)

// stallBound returns how long a break may hold up viewers.
func stallBound(over protocol, rtt time.Duration) time.Duration {
	if over == rtmpPlay {
		return rtmpRoundTrips*rtt + stallSlack
	}
	return httpRoundTrips*rtt + stallSlack
}

// measureBreaks measures what viewers of edges notice of it.
func measureBreaks(ctx context.Context, o *options, p *progress) (r *report, err error) {
	c := &cluster{ctx: ctx}
	defer func() { err = errors.Join(err, c.close()) }()
	p.set("starting servers", nil)
	origin, err := c.start("SLUICE_LOG_DURATION=10s")
	if err != nil {
		return nil, err
	}
	moved := *o
	moved.publish, moved.watch = origin.hosts.of(o.publish), nil
	meddle := &breaker{
		upstreams: o.relay.upstreams, rtt: o.relay.rtt, breaks: o.relay.breaks,
		every: o.duration / time.Duration(max(1, o.relay.breaks)), hit: make([]atomic.Int32, len(o.relay.upstreams)),
	}
	for _, over := range o.relay.upstreams {
		edge, proxy, err := c.edge(origin, over, o.relay.rtt)
		if err != nil {
			return nil, err
		}
		meddle.edges, meddle.proxies = append(meddle.edges, edge), append(meddle.proxies, proxy)
		for _, w := range o.watch {
			w.target, w.via = edge.hosts.of(w.target), "of an edge that pulls over "+schemes[over][0]
			w.percent = 0
			moved.watch = append(moved.watch, w)
			meddle.watches = append(meddle.watches, len(meddle.proxies)-1)
		}
	}
	if moved.mix, err = newMix(make([]int, len(moved.watch))); err != nil {
		return nil, err
	}
	moved.pids = c.pids()
	moved.relay.meddle = meddle
	return run(ctx, &moved, p)
}

func (k *breaker) published(*publishers) {}

// run breaks the upstreams; one edge's breaks are between those of another.
//
//	period:  0   │   1   │   2   │   3   │   4   │ …
//	           break   quiet   break   quiet
func (k *breaker) run(ctx context.Context, c *crowd) {
	began := time.Now()
	var all sync.WaitGroup
	for i, proxy := range k.proxies {
		period := func(n int) {
			for watch, of := range k.watches {
				if of == i {
					c.periods[watch].Store(int32(n))
				}
			}
		}
		all.Go(func() {
			for n := range k.breaks {
				at := began.Add(k.every*time.Duration(n) + k.every*time.Duration(i)/time.Duration(2*len(k.proxies)))
				if sleepUntil(ctx, at); ctx.Err() != nil {
					return
				}
				period(2*n + 1)
				if proxy.Break() > 0 {
					k.hit[i].Add(1)
				}
				sleepUntil(ctx, at.Add(k.every/2))
				period(2*n + 2)
			}
		})
	}
	all.Wait()
}

func (k *breaker) report(r *report, c *crowd) {
	for i, over := range k.upstreams {
		out := &breaksReport{
			Upstream: schemes[over][0], Breaks: k.breaks, Hit: int(k.hit[i].Load()), Connections: k.proxies[i].Accepted(),
			Bound: milliseconds(stallBound(over, k.rtt)),
		}
		var stall, quiet histogram
		for _, x := range c.checks {
			if k.watches[x.watch] == i {
				x.stalls(k.every/2, &stall, &quiet)
			}
		}
		out.Stall, out.Quiet = percentilesOf(&stall), percentilesOf(&quiet)
		if figures, err := k.edges[i].figures(context.Background()); err == nil {
			out.Joined, out.Cut = resumed(figures, "joined"), resumed(figures, "cut")
		}
		r.Breaks = append(r.Breaks, out)
		if out.Hit < out.Breaks {
			r.problem("pulled over %s: %d of %d breaks met no connection", out.Upstream, out.Breaks-out.Hit, out.Breaks)
		}
		if out.Stall.Max > out.Bound {
			r.problem("pulled over %s: a break held a viewer up for %s ms, which is more than %.0f", out.Upstream, short(out.Stall.Max), out.Bound)
		}
	}
}

// resumed returns how often a server says that it went on in a way after a break.
func resumed(figures map[string]float64, way string) (n int) {
	for name, value := range figures {
		if strings.HasPrefix(name, "sluice_relay_resumed_total{") && strings.Contains(name, strconv.Quote(way)) {
			n += int(value)
		}
	}
	return n
}

// stalls adds what a viewer has seen of each break to stall, and of what was between them to
// quiet. A frame that is later than half of the time between breaks is so by the break before.
func (c *checker) stalls(half time.Duration, stall, quiet *histogram) {
	usual := c.latency.percentile(50)
	for n := 1; n < len(c.worst); n += 2 {
		worst := max(0, c.worst[n]-usual)
		if n+1 < len(c.worst) {
			if after := max(0, c.worst[n+1]-usual); after > half {
				worst = max(worst, after)
			} else {
				quiet.add(after)
			}
		}
		stall.add(worst)
	}
}

func (b *breaksReport) write(t *table) {
	t.section("breaks of the upstream over %s: %d, of which %d met one; %d connections", b.Upstream, b.Breaks, b.Hit, b.Connections)
	t.row("the edge went on", "%d times at the exact packet, %d at a key frame, as it says", b.Joined, b.Cut)
	t.row("stall", "%v; at most %.0f ms are fine", b.Stall, b.Bound)
	t.row("without a break", "%v", b.Quiet)
}
