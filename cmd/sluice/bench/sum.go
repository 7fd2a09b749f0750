package bench

import (
	"slices"
	"time"
)

// group is what is summed up for one URL over all rounds.
type group struct {
	findings
	latency, picture histogram
	counted          int
	bytes            int64
	expected         float64
	window           time.Duration // of all viewers together
	checking         int
}

// round adds a round, whose viewers have left.
func (r *report) round(c *crowd, w *window) {
	r.Rounds++
	r.Window = w.length.Seconds()
	if r.Viewers != nil {
		r.viewers(c, w)
	}
	if w.churn != nil {
		r.Churn = w.churn
	}
	if w.stalled != nil {
		r.Stalled = w.stalled
	}
	if c.files != nil {
		r.Players = c.files.report(w.length)
	}
	r.Tool = toolReport{CPU: cores(w.tool[0], w.tool[1]), PSS: w.tool[1].pss}
	r.others = othersCores(w.server, w.tool)
	if len(r.o.pids) > 0 {
		r.server(w, int(c.joined.Load()))
	}
}

// server reports the server's figures: CPU is the median of all rounds, the rest that
// of the first, since a server may keep memory for the next.
func (r *report) server(w *window, viewers int) {
	r.cpu = append(r.cpu, cores(w.server[0], w.server[1]))
	if r.Server != nil {
		r.Server.CPU = median(r.cpu)
		return
	}
	s := &serverReport{
		PIDs: r.o.pids, CPU: median(r.cpu),
		PSSStart: w.start.pss, PSSBefore: w.before.pss, PSSBegin: w.server[0].pss, PSSWindow: w.server[1].pss,
		PSSPeak: max(w.peak.pss, w.server[1].pss), Descriptors: w.server[1].descriptors, Threads: w.server[1].threads,
		FrontCPU: frontCores(w.server[0], w.server[1]), FrontPSS: w.server[1].frontPSS,
	}
	if viewers > 0 {
		held := s.PSSWindow
		if r.o.churn > 0 || r.o.stalled > 0 { // which have their share then
			held = s.PSSBegin
		}
		s.PerViewer = float64(held-s.PSSBefore) / float64(viewers)
	}
	if p := r.Publishers; p != nil && p.Asked > p.Failed.total() {
		// Streams that are watched one to one are pairs; the memory of both is
		// that of the publisher here.
		s.PerPublisher = float64(s.PSSWindow-s.PSSStart) / float64(p.Asked-p.Failed.total())
	}
	r.Server = s
}

// median returns the middle of some figures, 0 of none.
func median(of []float64) float64 {
	if len(of) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(of))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// viewers adds what a round's viewers have seen.
func (r *report) viewers(c *crowd, w *window) {
	v := r.Viewers
	v.Asked, v.Joined = v.Asked+r.o.viewers, v.Joined+int(c.joined.Load())
	for why, n := range c.failed {
		v.Failed[why] += n
	}
	r.opened.merge(&c.opened)
	r.shaken.merge(&c.shaken)
	v.Opened, v.Handshakes = percentilesOf(&r.opened), percentilesOf(&r.shaken)
	for _, x := range c.checks {
		g := r.groups[x.watch]
		g.checking++
		g.merge(&x.findings)
		g.latency.merge(&x.latency)
		if !x.picture.IsZero() {
			g.picture.add(x.picture.Sub(x.asked))
		}
		if x.ended != "" {
			v.Ended[x.ended]++
		}
	}
	e := newExpectation(c, w)
	c.counter.each(func(x counted) {
		if x.ended != "" {
			v.Ended[x.ended]++
		}
		if x.window > 0 {
			expected, slack := e.of(x)
			r.count(x, expected, slack)
		}
	})
	for i, g := range r.groups {
		out := r.Watch[i]
		out.Counting, out.Checking = g.counted, g.checking
		out.Findings, out.Latency, out.Picture = g.findings, percentilesOf(&g.latency), percentilesOf(&g.picture)
		if g.counted > 0 {
			out.Mean, out.Expected = float64(g.bytes)/float64(g.counted), g.expected/float64(g.counted)
		}
	}
}

// fair is the share of what it should have got that a viewer has to get.
const fair = 0.98

// count adds a counting viewer, which should have got the expected bytes, give or
// take slack.
func (r *report) count(x counted, expected, slack float64) {
	g, out := r.groups[x.watch], r.Watch[x.watch]
	if g.counted == 0 || x.bytes < out.Min {
		out.Min = x.bytes
	}
	out.Max = max(out.Max, x.bytes)
	g.counted++
	g.bytes += x.bytes
	g.window += x.window
	g.expected += expected
	if expected <= 0 {
		return
	}
	share := min(1, (float64(x.bytes)+slack)/expected)
	out.Worst = min(out.Worst, share)
	if share < fair {
		out.Short++
	}
}

// byteRate returns the bytes a second that a viewer got on average.
func (r *report) byteRate() float64 {
	var bytes int64
	var window time.Duration
	for _, g := range r.groups {
		bytes += g.bytes
		window += g.window
	}
	if window == 0 {
		return 0
	}
	return float64(bytes) / window.Seconds()
}

// enough is the share of the server's rate that the null server has to reach.
const enough = 0.95

// floorRound adds a comparison with the null server, which c watched.
func (r *report) floorRound(f floorRound, c *crowd) {
	if r.Floor == nil {
		r.Floor = &floorReport{Interval: milliseconds(r.o.interval), NoDelay: r.o.noDelay, Comparable: true}
	}
	var bytes int64
	var window time.Duration
	c.counter.each(func(x counted) {
		bytes += x.bytes
		window += x.window
		if x.ended != "" {
			r.problem("null server: a viewer %s", x.ended)
		}
	})
	r.tally("viewers of the null server failed to join", c.failed)
	out := r.Floor
	out.Rounds = append(out.Rounds, f)
	out.Rate = r.byteRate()
	if window > 0 {
		out.Received = float64(bytes) / window.Seconds()
	}
	if out.Received < enough*out.Rate {
		out.Comparable = false
	}
	var server, floor, ratios []float64
	for _, f := range out.Rounds {
		server, floor, ratios = append(server, f.Server), append(floor, f.Floor), append(ratios, f.Ratio)
	}
	out.Server, out.Floor, out.MedianRatio = median(server), median(floor), median(ratios)
	if out.Floor > 0 {
		out.Ratio = out.Server / out.Floor
	}
}
