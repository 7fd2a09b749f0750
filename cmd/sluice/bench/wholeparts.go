package bench

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

// idleSettle is how long servers are left alone before their idle cost is measured.
const idleSettle = 3 * time.Second

// idle measures what nodes cost with nothing going on, and a server alone.
func (w *wholeCluster) idle(ctx context.Context) (err error) {
	single, err := startOwn(ctx, ownConfig{vars: []string{"SLUICE_CLUSTER=", "SLUICE_CLUSTER_NODE=", "SLUICE_NATS_URL="}})
	if err != nil {
		return err
	}
	defer single.close()
	w.p.set("idle", nil)
	sleepUntil(ctx, time.Now().Add(idleSettle))
	all := append([]*ownServer{single}, w.nodes...)
	var used [2][]usage
	var tool [2]usage
	for i := range used {
		if i == 1 {
			sleepUntil(ctx, time.Now().Add(w.o.duration))
		}
		for _, s := range all {
			u, err := usageOf([]int{s.cmd.Process.Pid})
			if err != nil {
				return err
			}
			used[i] = append(used[i], u)
		}
		if _, tool[i], err = (processes{}).look(); err != nil {
			return err
		}
	}
	i := &clusterIdleReport{}
	var servers [2]usage
	for n, s := range all {
		rss, err := s.resident()
		if err != nil {
			return err
		}
		cost := idleServer{CPU: cores(used[0][n], used[1][n]), RSS: rss, PSS: used[1][n].pss}
		for k := range servers {
			servers[k].cpu += used[k][n].cpu
			servers[k].at = used[k][n].at
		}
		if n == 0 {
			i.Single = cost
			continue
		}
		i.Nodes = append(i.Nodes, cost)
		i.CPU, i.RSS = max(i.CPU, cost.CPU-i.Single.CPU), max(i.RSS, cost.RSS-i.Single.RSS)
	}
	i.Others = othersCores(servers, tool)
	w.c.Idle = i
	if i.CPU > idleCPUBound || i.RSS > idleMemoryBound {
		w.r.problem("idle: a node costs %.2f %% of a core and %.1f MB more than a single server", i.CPU*100, mb(i.RSS))
	}
	return nil
}

// resident returns the resident memory of a server.
func (s *ownServer) resident() (int64, error) {
	rollup, err := os.ReadFile("/proc/" + strconv.Itoa(s.cmd.Process.Pid) + "/smaps_rollup")
	if err != nil {
		return 0, err
	}
	return parseRollup(rollup, "Rss:")
}

// watchAll has so many viewers watch a stream at a server. They are closed if one cannot.
func (w *wholeCluster) watchAll(ctx context.Context, s *ownServer, name string, n int) (all numberedViewers, err error) {
	all = make(numberedViewers, n)
	var mu sync.Mutex
	paced(ctx, n, w.o.joinRate, func(i int) {
		v, openErr := watchNumbered(ctx, opener{tls: &w.o.tls}, s.url(over(i), name))
		mu.Lock()
		defer mu.Unlock()
		if all[i] = v; openErr != nil {
			err = fmt.Errorf("a viewer: %s", reason(openErr))
		}
	})
	opened := all[:0]
	for _, v := range all {
		if v != nil {
			opened = append(opened, v)
		}
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		opened.close()
		return nil, err
	}
	return opened, nil
}

// seenWithin is how long pictures may take to come to viewers, in what is not measured.
const seenWithin = 30 * time.Second

// hop measures how much later frames are at another node.
func (w *wholeCluster) hop(ctx context.Context) error {
	w.p.set("hop", nil)
	s, err := publishNumbered(ctx, w.nodes[0].url(rtmpPlay, "hop").at(0), 1, numberedEvery)
	if err != nil {
		return err
	}
	defer s.close()
	h := &clusterHopReport{Viewers: hopViewers}
	if w.o.whole.viewers {
		h.Viewers = w.o.viewers
	}
	var sides [2]numberedViewers
	for i := range sides {
		if sides[i], err = w.watchAll(ctx, w.nodes[i], "hop", h.Viewers); err != nil {
			return err
		}
		defer sides[i].close()
		if err := sides[i].await(ctx, 1, seenWithin); err != nil {
			return err
		}
	}
	sleepUntil(ctx, time.Now().Add(min(w.o.warmup, w.o.duration)))
	keep := func(on bool) (noted [2][]map[int64]time.Time) {
		for i, side := range sides {
			for _, v := range side {
				noted[i] = append(noted[i], v.keep(on))
			}
		}
		return noted
	}
	before, err := w.look()
	if err != nil {
		return err
	}
	keep(true)
	sleepUntil(ctx, time.Now().Add(w.o.duration))
	noted := keep(false)
	after, err := w.look()
	if err != nil {
		return err
	}
	h.Others = before.others(after)
	var later []float64
	for i, there := range noted[0] {
		var newest int64
		for number := range noted[1][i] {
			newest = max(newest, number)
		}
		for number, at := range there {
			switch other, ok := noted[1][i][number]; {
			case ok:
				later = append(later, milliseconds(other.Sub(at)))
			case number < newest:
				h.Missing++
			}
		}
	}
	h.Frames = len(later)
	h.P50, h.P99, h.Max = at(50, later), at(99, later), at(100, later)
	w.c.Hop = h
	if h.Frames == 0 || h.P50 > hopP50Bound || h.P99 > hopP99Bound {
		w.r.problem("hop: p50 %.2f, p99 %.2f ms of %d frames", h.P50, h.P99, h.Frames)
	}
	return nil
}

// joinStreams is how many streams are joined, one each so often. They have as many frames as others: where a picture has just
// come, its first viewer at another node waits for the first frame of sound behind it.
const (
	joinStreams = 50
	joinPause   = 50 * time.Millisecond
)

// join measures first pictures of streams that live at another node, and of the same where they live.
func (w *wholeCluster) join(ctx context.Context) error {
	w.p.set("joins", nil)
	name := func(i int) string { return "join" + strconv.Itoa(i) }
	for i := range joinStreams {
		s, err := publishNumbered(ctx, w.nodes[0].url(rtmpPlay, name(i)).at(0), 1, numberedEvery)
		if err != nil {
			return err
		}
		defer s.close()
	}
	sleepUntil(ctx, time.Now().Add(2*time.Second))
	before, err := w.look()
	if err != nil {
		return err
	}
	j := &clusterJoinReport{Failed: tally{}}
	var times [2]histogram
	for i := range joinStreams {
		for side, node := range []int{1, 0} {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			sleepUntil(ctx, time.Now().Add(joinPause))
			asked := time.Now()
			v, err := opener{tls: &w.o.tls}.open(ctx, w.nodes[node].url(over(i), name(i)), 0)
			if err == nil {
				err = v.firstPicture()
				v.close()
			}
			if err != nil {
				j.Failed[reason(err)]++
				continue
			}
			times[side].add(time.Since(asked))
		}
	}
	after, err := w.look()
	if err != nil {
		return err
	}
	j.Others = before.others(after)
	j.Cold, j.Local = percentilesOf(&times[0]), percentilesOf(&times[1])
	w.c.Join = j
	w.r.tally("joins failed", j.Failed)
	if j.Cold.P99 > joinBound {
		w.r.problem("join: the first picture of a stream that lives elsewhere took %s ms, p99", short(j.Cold.P99))
	}
	return nil
}
