package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// pullsReport is about an edge that pulls very many streams. Its memory is compared with that of
// the same server which pulls none.
type pullsReport struct {
	Upstream string `json:"upstream"`
	Streams  int    `json:"streams"`
	// Memory of each stream: the process's (PSS), what the log of a stream holds, both at the end of
	// the window, and what is beyond it.
	PSS    float64 `json:"pss_bytes"`
	Log    float64 `json:"log_bytes"`
	Beyond float64 `json:"beyond_log_bytes"`
	// Heap are the objects on Go's heap, logs and garbage among them.
	Heap       float64 `json:"heap_bytes"`
	Goroutines float64 `json:"goroutines"`
	CPU        float64 `json:"cpu_cores"` // of all
	// Breaks are those of connections to the upstream, of all, of which so many were joined at the
	// exact packet, as the edge says: a machine that is too busy may have some.
	Breaks int `json:"breaks"`
	Joined int `json:"joined"`
}

// Bounds of pulls.
const (
	pullBound = 80 << 10 // bytes of each, beyond its log
	maxPulls  = 1500     // a variable may have 128 KB
	pullStart = time.Minute
)

// Figures of a server.
const (
	figureLive       = `sluice_streams{state="live"}`
	figureLog        = "sluice_stream_log_bytes"
	figureHeap       = "go_memory_classes_heap_objects_bytes"
	figureGoroutines = "go_goroutines"
)

// measurePulls measures an edge that pulls all of the streams.
func measurePulls(ctx context.Context, o *options, p *progress) (r *report, err error) {
	c := &cluster{ctx: ctx}
	defer func() { err = errors.Join(err, c.close()) }()
	p.set("starting servers", nil)
	origin, err := c.start()
	if err != nil {
		return nil, err
	}
	empty, emptyFigures, err := c.emptyServer()
	if err != nil {
		return nil, err
	}
	l, err := o.relayLoop()
	if err != nil {
		return nil, err
	}
	moved := *o
	moved.publish = origin.hosts.of(o.publish)
	p.set("opening "+numbered(o.publishers, "publisher"), nil)
	pubs, failed, err := openPublishers(ctx, &moved, l)
	if err != nil {
		return nil, err
	}
	defer pubs.close()
	p.set("the edge pulls", nil)
	over := o.relay.upstreams[0]
	proxy, err := c.proxy(origin.hosts.plain(over), o.relay.rtt)
	if err != nil {
		return nil, err
	}
	edge, err := c.start("SLUICE_PULL=" + o.pullList(over, proxy.Addr()))
	if err != nil {
		return nil, err
	}
	want := float64(o.publishers - failed.total())
	live := 0.
	if err := edge.await(ctx, pullStart, func(f map[string]float64) bool { live = f[figureLive]; return live >= want }); err != nil {
		return nil, fmt.Errorf("the edge has %.0f of %.0f streams: %w", live, want, err)
	}
	moved.watch = o.at(&edge.hosts).watch
	moved.pids = []int{edge.cmd.Process.Pid}
	b := &bench{o: &moved, p: p, procs: processes{pids: moved.pids}, loop: l, pubs: pubs, r: newReport(&moved), start: empty}
	b.r.published(l, pubs, failed)
	if err := b.round(ctx); err != nil {
		return nil, err
	}
	figures, err := edge.figures(ctx)
	if err != nil && ctx.Err() == nil {
		return nil, err
	}
	b.r.publishers(pubs)
	b.r.pulls(schemes[over][0], empty, emptyFigures, figures)
	b.r.close(ctx.Err() != nil)
	return b.r, nil
}

// emptyServer returns what a server takes that has no streams.
func (c *cluster) emptyServer() (usage, map[string]float64, error) {
	s, err := c.start()
	if err != nil {
		return usage{}, nil, err
	}
	figures, err := s.figures(c.ctx) // which costs memory as well
	if err != nil {
		return usage{}, nil, err
	}
	u, err := usageOf([]int{s.cmd.Process.Pid})
	c.servers = c.servers[:len(c.servers)-1]
	return u, figures, errors.Join(err, s.close())
}

// pullList returns the list of all streams, to be pulled from a HOST:PORT.
func (o *options) pullList(over protocol, host string) string {
	var b strings.Builder
	for n := range o.publishers {
		_, path, _ := strings.Cut(o.publish.at(n), "://")
		_, stream, _ := strings.Cut(path, "/")
		stream, _, _ = strings.Cut(stream, "?")
		fmt.Fprintf(&b, "%s %s\n", stream, over.upstream(host, stream))
	}
	return b.String()
}

// pulls reports the memory of an edge, beside that of an empty server.
func (r *report) pulls(over string, empty usage, before, after map[string]float64) {
	n := r.Publishers.Asked - r.Publishers.Failed.total()
	each := func(bytes float64) float64 { return bytes / float64(max(1, n)) }
	grown := func(name string) float64 { return each(after[name] - before[name]) }
	out := &pullsReport{
		Upstream: over, Streams: n, CPU: r.Server.CPU,
		PSS: each(float64(r.Server.PSSWindow - empty.pss)), Log: each(after[figureLog]),
		Heap: grown(figureHeap), Goroutines: grown(figureGoroutines),
		Breaks: int(after["sluice_relay_breaks_total"]), Joined: resumed(after, "joined"),
	}
	out.Beyond = out.PSS - out.Log
	r.Pulls = out
	if out.Beyond > pullBound {
		r.problem("a stream that is pulled takes %.0f KB beyond its log, which is more than %d", out.Beyond/1024, pullBound>>10)
	}
}

func (p *pullsReport) write(t *table) {
	t.section("%d streams pulled over %s by one edge", p.Streams, p.Upstream)
	t.row("memory of each", "%.1f KB (PSS), of which its log %.1f KB, beyond it %.1f KB; up to %d are fine", p.PSS/1024, p.Log/1024, p.Beyond/1024, pullBound>>10)
	t.row("of Go", "%.1f KB of heap with garbage, %.1f goroutines each", p.Heap/1024, p.Goroutines)
	t.row("breaks", "%d, of which %d were joined at the exact packet", p.Breaks, p.Joined)
	t.row("CPU", "%.3f cores, %.3f per mille of one each", p.CPU, 1000*p.CPU/float64(max(1, p.Streams)))
}
