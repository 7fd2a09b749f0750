package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"time"
)

// clusterPart is something that is measured of servers that are one.
type clusterPart string

// Parts, in the order in which they are measured.
const (
	clusterIdle    clusterPart = "idle"    // what a node costs with nothing going on
	clusterHop     clusterPart = "hop"     // how much later a frame is at another node
	clusterJoin    clusterPart = "join"    // the first picture of a stream that lives elsewhere
	clusterPublish clusterPart = "publish" // a new name, when the node is killed that decides on records
	clusterKill    clusterPart = "kill"    // an owner is killed under its viewers at other nodes
)

// clusterParts are all of them.
var clusterParts = []clusterPart{clusterIdle, clusterHop, clusterJoin, clusterPublish, clusterKill}

// clusterOptions is what the flags say about servers that are one.
type clusterOptions struct {
	parts   []clusterPart // none: nothing of that
	viewers bool          // -viewers was given
}

// Viewers where -viewers says nothing.
const (
	hopViewers  = 2 // at each of two nodes
	killViewers = 1000
)

// clusterFlags adds the flag about them.
func (o *options) clusterFlags(fs *flag.FlagSet) {
	fs.BoolFunc("cluster", "measure three servers of its own that are one (see below); -cluster=hop,kill is some of idle, hop, join, publish and kill", func(list string) error {
		o.whole.parts = clusterParts
		if list == "true" {
			return nil
		}
		var some []clusterPart
		for name := range strings.SplitSeq(list, ",") {
			p := clusterPart(strings.TrimSpace(name))
			if !slices.Contains(clusterParts, p) || slices.Contains(some, p) {
				return errors.New("must be some of idle, hop, join, publish and kill, each once")
			}
			some = append(some, p)
		}
		o.whole.parts = some
		return nil
	})
}

// helpCluster is what the help says of it.
const helpCluster = `
-cluster starts three nodes of one cluster on loopback, this program as above, and measures
with frames that are numbered:
  idle     CPU and memory of each for -duration with nothing going on, beside one server alone
  hop      how much later each of 50 frames a second is at another node than at the one where
           it is published, for -duration, with 2 -viewers at each, over HTTP-FLV and RTMP
  join     the first picture of each of 50 streams that live at another node
  publish  how long new names wait to be let in when the node is killed that decides on
           records, -rounds times (5)
  kill     an owner is killed under 1000 -viewers at the two others, and its publisher comes back
           at one of them: who is ended, what comes twice, and when the picture goes on
`

// clusterDefaults sets what it has by itself where the flags say nothing.
func (o *options) clusterDefaults(fs *flag.FlagSet) error {
	if len(o.whole.parts) == 0 {
		return nil
	}
	set := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { set[f.Name] = true })
	o.whole.viewers = set["viewers"]
	if !set["rounds"] {
		return fs.Set("rounds", "5")
	}
	return nil
}

// validateCluster says what is wrong with the flags about it.
func (o *options) validateCluster(wrong func(bad bool, text string) error) []error {
	on := len(o.whole.parts) > 0
	return []error{
		wrong(on && runtime.GOOS != "linux", "-cluster needs Linux"),
		wrong(on && (o.publishes || len(o.watch) > 0 || len(o.pids) > 0), "-cluster goes without -publish, -watch and -pid: all of it is its own"),
		wrong(on && o.viewers < 1, "-cluster needs a viewer"),
	}
}

// wholeCluster is a cluster of one's own.
type wholeCluster struct {
	o     *options
	p     *progress
	names []string // HOST:PORT, as in SLUICE_CLUSTER
	nodes []*ownServer
	r     *report
	c     *clusterReport
}

// clusterNodes is how many nodes there are.
const clusterNodes = 3

// measureCluster measures the parts that are asked for.
func measureCluster(ctx context.Context, o *options, p *progress) (r *report, err error) {
	w := &wholeCluster{o: o, p: p, nodes: make([]*ownServer, clusterNodes), r: newReport(o), c: &clusterReport{}}
	w.r.Cluster = w.c
	defer func() { err = errors.Join(err, w.close(ctx)) }()
	p.set("starting three nodes", nil)
	for range w.nodes {
		name, err := quietAddress()
		if err != nil {
			return nil, err
		}
		w.names = append(w.names, name)
	}
	for i := range w.nodes {
		if err := w.start(ctx, i); err != nil {
			return nil, err
		}
	}
	parts := map[clusterPart]func(context.Context) error{
		clusterIdle: w.idle, clusterHop: w.hop, clusterJoin: w.join, clusterPublish: w.publish, clusterKill: w.kill,
	}
	for _, part := range clusterParts {
		if !slices.Contains(o.whole.parts, part) || ctx.Err() != nil {
			continue
		}
		p.set("waiting until the nodes agree on who decides", nil)
		if err := w.usable(ctx); err != nil {
			return nil, err
		}
		if err := parts[part](ctx); err != nil && ctx.Err() == nil {
			return nil, fmt.Errorf("%s: %w", part, err)
		}
	}
	w.r.close(ctx.Err() != nil)
	return w.r, nil
}

// quietAddress returns a free HOST:PORT that the system gives to nobody by itself: a node that was killed comes back at it.
func quietAddress() (string, error) {
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000))
		if l, err := net.Listen("tcp", address); err == nil {
			return address, l.Close()
		}
	}
	return "", errors.New("no port is free")
}

// start starts a node, for the first time or again.
func (w *wholeCluster) start(ctx context.Context, i int) error {
	s, err := startOwn(ctx, ownConfig{vars: []string{
		"SLUICE_CLUSTER=" + strings.Join(w.names, ","), "SLUICE_CLUSTER_NODE=" + w.names[i], "SLUICE_CLUSTER_SECRET=", "SLUICE_CLUSTER_DIR=",
		"SLUICE_STATE_DIR=", "SLUICE_CLUSTER_MEDIA_ADDR=", "SLUICE_CLUSTER_MEDIA_ADVERTISE=", "SLUICE_NATS_URL=",
	}})
	if err == nil {
		w.nodes[i] = s
	}
	return err
}

// close ends all nodes at the same time.
func (w *wholeCluster) close(ctx context.Context) error {
	ended := make(chan error)
	n := 0
	for _, s := range w.nodes {
		if s != nil {
			n++
			go func() { ended <- s.close() }()
		}
	}
	var err error
	for range n {
		err = errors.Join(err, <-ended)
	}
	if ctx.Err() != nil { // they were ended by that
		return nil
	}
	return err
}

// usableWithin is how long a cluster may take until it can decide on records, after the loss of a node too.
const usableWithin = 60 * time.Second

// usable waits until all nodes have all records and agree on who decides.
func (w *wholeCluster) usable(ctx context.Context) error {
	until := time.Now().Add(usableWithin)
	for w.leader() < 0 || slices.ContainsFunc(w.nodes, func(s *ownServer) bool { return s.killed || !s.engine.whole.Load() }) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(until) {
			return errors.New("the nodes do not agree on who decides on records")
		}
		sleepUntil(ctx, time.Now().Add(50*time.Millisecond))
	}
	return nil
}

// leader returns which node decides on records; -1 if the nodes do not agree.
func (w *wholeCluster) leader() int {
	var name *string
	for _, s := range w.nodes {
		if s.killed {
			continue
		}
		now := s.engine.leader.Load()
		if now == nil || name != nil && *now != *name {
			return -1
		}
		name = now
	}
	if name == nil {
		return -1
	}
	return slices.Index(w.names, *name)
}

// others returns the nodes that run, but for one.
func (w *wholeCluster) others(but int) (some []*ownServer) {
	for i, s := range w.nodes {
		if i != but && !s.killed {
			some = append(some, s)
		}
	}
	return some
}

// look looks at what the nodes that run, and the machine, use.
func (w *wholeCluster) look() (u clusterUsage, err error) {
	var p processes
	for _, s := range w.others(-1) {
		p.pids = append(p.pids, s.cmd.Process.Pid)
	}
	u.nodes, u.tool, err = p.look()
	return u, err
}

// clusterUsage is what the nodes have used, and this program.
type clusterUsage struct{ nodes, tool usage }

// others returns what others used between two looks at the same nodes, in cores.
func (u clusterUsage) others(now clusterUsage) float64 {
	return othersCores([2]usage{u.nodes, now.nodes}, [2]usage{u.tool, now.tool})
}

// url returns where a stream is at a server.
func (s *ownServer) url(over protocol, name string) target {
	return target{pattern: over.upstream(s.hosts.plain(over), "live/"+name), protocol: over}
}

// over is the protocol of the ith viewer: HTTP-FLV and RTMP in turn.
func over(i int) protocol { return [...]protocol{httpFLV, rtmpPlay}[i%2] }
