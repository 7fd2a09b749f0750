package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
)

// way is how the viewers of a comparison reach a server of one's own.
type way string

// Ways.
const (
	wayPlain way = "plain" // without encryption
	wayTLS   way = "tls"   // which the server ends
	wayNginx way = "nginx" // TLS as well, which an nginx in front of the server ends
	wayEdge  way = "edge"  // without encryption, at an edge that pulls from the server
	wayChain way = "chain" // likewise, at an edge that pulls from such an edge
)

// allWays are all of them.
var allWays = []way{wayPlain, wayTLS, wayNginx, wayEdge, wayChain}

// encrypts reports whether viewers encrypt.
func (w way) encrypts() bool { return w == wayTLS || w == wayNginx }

// hops returns how many edges are between the publisher's server and the viewers.
func (w way) hops() int {
	switch w {
	case wayEdge:
		return 1
	case wayChain:
		return 2
	}
	return 0
}

// waysReport compares ways, each round one after the other.
type waysReport struct {
	Ways []*wayReport `json:"ways"`
}

// wayReport is about one way.
type wayReport struct {
	Way    way       `json:"way"`
	Rounds []waySide `json:"rounds"`
	// Medians of the rounds, each figure by itself.
	Median waySide `json:"medians"`
	// Ratio is that of the CPU to the first way's: the median of the rounds' ratios.
	Ratio float64 `json:"cpu_ratio"`
	// MoreP50 and MoreP99 are by how much latencies are more than the first way's: medians of the
	// rounds' differences.
	MoreP50 float64 `json:"more_p50_ms"`
	MoreP99 float64 `json:"more_p99_ms"`
}

// waySide is what one round gave for a way.
type waySide struct {
	comparedSide
	PerViewer float64 `json:"pss_per_viewer_bytes"`
	// Front is the part of CPU and memory that is nginx's.
	FrontCPU float64 `json:"front_cpu_cores,omitempty"`
	FrontPSS int64   `json:"front_pss_bytes,omitempty"`
	// Of viewers who came and went (-churn).
	Joins        int64   `json:"joins,omitempty"`
	Failed       int     `json:"failed,omitempty"`
	HandshakeP50 float64 `json:"handshake_p50_ms,omitempty"`
	HandshakeP99 float64 `json:"handshake_p99_ms,omitempty"`
	FirstP50     float64 `json:"first_picture_p50_ms,omitempty"`
	FirstP99     float64 `json:"first_picture_p99_ms,omitempty"`
}

// wayFlags adds the flags of such comparisons.
func (o *options) wayFlags(fs *flag.FlagSet) {
	fs.Func("ways", "compare servers of its own, in turn, by how the viewers reach them: `plain,tls,nginx,edge,chain`, or some of these; schemes of -watch follow", func(list string) error {
		for name := range strings.SplitSeq(list, ",") {
			w := way(strings.TrimSpace(name))
			if !slices.Contains(allWays, w) || slices.Contains(o.ways, w) {
				return errors.New("must be some of plain, tls, nginx, edge and chain, each once")
			}
			o.ways = append(o.ways, w)
		}
		return nil
	})
	fs.StringVar(&o.nginx, "nginx", "nginx", "`program` of nginx, for -ways (Linux)")
}

// compareWays compares, as often as there are rounds.
func compareWays(ctx context.Context, o *options, p *progress) (*report, error) {
	all := &report{o: o, Cores: newReport(o).Cores, Problems: []string{}, Ways: &waysReport{}}
	for _, w := range o.ways {
		all.Ways.Ways = append(all.Ways.Ways, &wayReport{Way: w})
	}
	for n := range o.rounds {
		sides := make([]waySide, 0, len(o.ways))
		for _, w := range o.ways {
			place := fmt.Sprintf("round %d, %s: ", n+1, w)
			p.within(place)
			r, err := oneWay(ctx, o, p, w)
			if err != nil {
				return nil, fmt.Errorf("%s%w", place, err)
			}
			all.Window, all.Tool, all.Interrupted = r.Window, r.Tool, r.Interrupted
			for _, text := range r.Problems {
				all.problem("%s%s", place, text)
			}
			if sides = append(sides, r.waySide()); ctx.Err() != nil {
				return all, nil
			}
		}
		for i, w := range all.Ways.Ways {
			w.Rounds = append(w.Rounds, sides[i])
		}
		all.Rounds++
	}
	all.Ways.sum()
	return all, nil
}

// oneWay measures a server of one's own that the viewers reach one way.
func oneWay(ctx context.Context, o *options, p *progress, w way) (r *report, err error) {
	p.set("starting a server", nil)
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	files, err := writeCertificate(dir)
	if err != nil {
		return nil, err
	}
	var cfg ownConfig
	if w == wayTLS {
		cfg.certificate = &files
	}
	s, err := startOwn(ctx, cfg)
	if err != nil {
		return nil, err
	}
	ending := func(close func() error) {
		if closeErr := close(); closeErr != nil && ctx.Err() == nil {
			err = errors.Join(err, closeErr)
		}
	}
	defer ending(s.close)
	hosts := s.hosts
	var fronts []int
	if w == wayNginx {
		f, err := startFront(ctx, o.nginx, dir, files, hosts)
		if err != nil {
			return nil, err
		}
		defer ending(f.close)
		hosts, fronts = f.hosts, f.pids
	}
	half := o.by(w)
	publish := s.hosts.of(half.publish)
	edges := &cluster{ctx: ctx}
	defer ending(edges.close)
	for from := s; len(edges.servers) < w.hops(); {
		if from, _, err = edges.edge(from, o.relay.upstreams[0], o.relay.rtt); err != nil {
			return nil, err
		}
		hosts = from.hosts
	}
	half = half.at(&hosts)
	if w.hops() > 0 {
		half.publish = publish
	}
	half.rounds, half.front = 1, fronts
	half.pids = slices.Concat([]int{s.cmd.Process.Pid}, fronts, edges.pids())
	defer p.set("ending the server", nil)
	return run(ctx, half, p)
}

// by returns options whose viewers, and publishers that encrypt, go a way.
func (o *options) by(w way) *options {
	by := *o
	by.publish, by.watch = o.publish.encrypted(o.publish.secure && w.encrypts()), nil
	for _, watched := range o.watch {
		watched.target = watched.encrypted(w.encrypts())
		by.watch = append(by.watch, watched)
	}
	return &by
}

// waySide returns what a run says for its way.
func (r *report) waySide() waySide {
	side := waySide{comparedSide: r.side()}
	if s := r.Server; s != nil {
		side.PerViewer, side.FrontCPU, side.FrontPSS = s.PerViewer, s.FrontCPU, s.FrontPSS
	}
	if v := r.Viewers; v != nil {
		side.Failed = v.Failed.total()
		side.HandshakeP50, side.HandshakeP99 = v.Handshakes.P50, v.Handshakes.P99
	}
	if c := r.Churn; c != nil {
		side.Joins, side.Failed = c.Joins, side.Failed+c.Failed.total()
		side.HandshakeP50, side.HandshakeP99 = c.Handshake.P50, c.Handshake.P99
		side.FirstP50, side.FirstP99 = c.First.P50, c.First.P99
	}
	return side
}

// sum sums the rounds up.
func (c *waysReport) sum() {
	for _, w := range c.Ways {
		of := func(f func(waySide) float64) float64 {
			var all []float64
			for _, side := range w.Rounds {
				all = append(all, f(side))
			}
			return median(all)
		}
		w.Median = waySide{
			comparedSide: comparedSide{
				CPU: of(func(s waySide) float64 { return s.CPU }), PSS: int64(of(func(s waySide) float64 { return float64(s.PSS) })),
				P50: of(func(s waySide) float64 { return s.P50 }), P99: of(func(s waySide) float64 { return s.P99 }),
				Lag: of(func(s waySide) float64 { return s.Lag }), Others: of(func(s waySide) float64 { return s.Others }),
			},
			PerViewer: of(func(s waySide) float64 { return s.PerViewer }),
			FrontCPU:  of(func(s waySide) float64 { return s.FrontCPU }), FrontPSS: int64(of(func(s waySide) float64 { return float64(s.FrontPSS) })),
			Joins:        int64(of(func(s waySide) float64 { return float64(s.Joins) })),
			Failed:       int(of(func(s waySide) float64 { return float64(s.Failed) })),
			HandshakeP50: of(func(s waySide) float64 { return s.HandshakeP50 }), HandshakeP99: of(func(s waySide) float64 { return s.HandshakeP99 }),
			FirstP50: of(func(s waySide) float64 { return s.FirstP50 }), FirstP99: of(func(s waySide) float64 { return s.FirstP99 }),
		}
		var ratios, p50s, p99s []float64
		for i, side := range w.Rounds {
			first := c.Ways[0].Rounds[i]
			if first.CPU > 0 {
				ratios = append(ratios, side.CPU/first.CPU)
			}
			p50s, p99s = append(p50s, side.P50-first.P50), append(p99s, side.P99-first.P99)
		}
		w.Ratio, w.MoreP50, w.MoreP99 = median(ratios), median(p50s), median(p99s)
	}
}

// write writes the comparison for people.
func (c *waysReport) write(t *table) {
	for _, w := range c.Ways {
		t.section("%s:", w.Way)
		for i, side := range w.Rounds {
			t.row(fmt.Sprintf("round %d", i+1), "%v", side)
		}
		t.row("medians", "%v", w.Median)
		t.row("CPU", "%.2f times that of %s (median of the rounds' ratios)", w.Ratio, c.Ways[0].Way)
		t.row("latency", "p50 %+.2f, p99 %+.2f ms beside that of %s (medians of the rounds' differences)", w.MoreP50, w.MoreP99, c.Ways[0].Way)
	}
}

// String says what a way gave.
func (s waySide) String() string {
	text := fmt.Sprintf("%v; %.1f KB a viewer", s.comparedSide, s.PerViewer/1024)
	if s.FrontPSS > 0 {
		text += fmt.Sprintf("; of that nginx %.3f cores, %.1f MB", s.FrontCPU, mb(s.FrontPSS))
	}
	if s.HandshakeP99 > 0 {
		text += fmt.Sprintf("; handshakes p50 %s, p99 %s ms", short(s.HandshakeP50), short(s.HandshakeP99))
	}
	if s.Joins > 0 {
		text += fmt.Sprintf("; %d joins, first picture p50 %s, p99 %s ms", s.Joins, short(s.FirstP50), short(s.FirstP99))
	}
	if s.Failed > 0 {
		text += fmt.Sprintf("; %d failed", s.Failed)
	}
	return text
}
