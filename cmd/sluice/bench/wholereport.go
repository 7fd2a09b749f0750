package bench

import (
	"fmt"
	"slices"
)

// clusterReport is about servers that are one. Parts that were not asked for are nil.
type clusterReport struct {
	Idle    *clusterIdleReport    `json:"idle,omitempty"`
	Hop     *clusterHopReport     `json:"hop,omitempty"`
	Join    *clusterJoinReport    `json:"join,omitempty"`
	Publish *clusterPublishReport `json:"publish,omitempty"`
	Kill    *clusterKillReport    `json:"kill,omitempty"`
}

// What is to be reached.
const (
	idleCPUBound    = 0.01     // of a core, more than a single server
	idleMemoryBound = 20 << 20 // bytes, likewise
	hopP50Bound     = 1        // ms
	hopP99Bound     = 8
	joinBound       = 50 // p99
	publishBound    = 500
	pictureBound    = 500
)

// idleServer is what one server costs that does nothing.
type idleServer struct {
	CPU float64 `json:"cpu_cores"`
	RSS int64   `json:"rss_bytes"`
	PSS int64   `json:"pss_bytes"`
}

// clusterIdleReport is about nodes with nothing going on, and a server alone.
type clusterIdleReport struct {
	Single idleServer   `json:"single"`
	Nodes  []idleServer `json:"nodes"`
	CPU    float64      `json:"more_cpu_cores"` // of the node that needs most
	RSS    int64        `json:"more_rss_bytes"`
	Others float64      `json:"others_cores"`
}

// clusterHopReport is about frames at another node than the one where they are published: how much later than there.
type clusterHopReport struct {
	Viewers int     `json:"viewers"` // at each of the two
	Frames  int     `json:"frames"`  // compared
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	Max     float64 `json:"max_ms"`
	Missing int     `json:"missing"`
	Others  float64 `json:"others_cores"`
}

// clusterJoinReport is about first pictures.
type clusterJoinReport struct {
	Cold   percentiles `json:"cold"`  // of streams that live elsewhere
	Local  percentiles `json:"local"` // of the same, where they live
	Failed tally       `json:"failed,omitempty"`
	Others float64     `json:"others_cores"`
}

// clusterPublishReport is about new names without the node that decided on records.
type clusterPublishReport struct {
	Rounds [][]float64 `json:"rounds_ms"` // how long each waited, of each round, the first one right after the kill
	Worst  float64     `json:"worst_ms"`
	Failed tally       `json:"failed,omitempty"`
	Others float64     `json:"others_cores"` // in the busiest round
}

// clusterKillReport is about an owner that was killed.
type clusterKillReport struct {
	Viewers  int     `json:"viewers"`
	Again    float64 `json:"publisher_again_ms"` // until its publisher was let in elsewhere
	Ended    tally   `json:"ended,omitempty"`
	Without  int     `json:"without_picture"`
	Repeated int     `json:"repeated_frames"`
	Missing  int     `json:"missing_frames"` // within what one connection of the publisher brought
	P50      float64 `json:"picture_p50_ms"` // behind the first key frame of the publisher that came back
	Worst    float64 `json:"picture_worst_ms"`
	Others   float64 `json:"others_cores"`
}

func (c *clusterReport) write(t *table) {
	t.section("three nodes of one cluster on loopback, and what other programs used meanwhile, in cores")
	if i := c.Idle; i != nil {
		t.row("idle: alone", "%v", i.Single)
		for n, s := range i.Nodes {
			t.row(fmt.Sprintf("node %d", n+1), "%v", s)
		}
		t.row("more", "%.2f %% of a core, %.1f MB, the node with most; up to %g %% and %d MB are fine; others %.2f",
			i.CPU*100, mb(i.RSS), idleCPUBound*100.0, idleMemoryBound>>20, i.Others)
	}
	if h := c.Hop; h != nil {
		t.row("hop", "p50 %.2f, p99 %.2f, max %.2f ms later, %d frames, %s at each node; up to %d and %d are fine; others %.2f",
			h.P50, h.P99, h.Max, h.Frames, numbered(h.Viewers, "viewer"), hopP50Bound, hopP99Bound, h.Others)
	}
	if j := c.Join; j != nil {
		t.row("join: elsewhere", "%v (%d streams); up to %d ms are fine; others %.2f", j.Cold, j.Cold.Count, joinBound, j.Others)
		t.row("where it lives", "%v", j.Local)
		t.counts("failed", j.Failed)
	}
	if p := c.Publish; p != nil {
		for n, round := range p.Rounds {
			t.row(fmt.Sprintf("new names %d", n+1), "let in after %s ms", listed(round))
		}
		t.row("worst", "%.0f ms; up to %d are fine; others %.2f", p.Worst, publishBound, p.Others)
		t.counts("failed", p.Failed)
	}
	if k := c.Kill; k != nil {
		t.row("owner killed", "%s: %d ended, %d frames repeated, %d missing, %d without a picture", numbered(k.Viewers, "viewer"),
			k.Ended.total(), k.Repeated, k.Missing, k.Without)
		t.row("picture", "p50 %.0f, worst %.0f ms behind the first key frame of the publisher, which was let in after %.0f; up to %d are fine; others %.2f",
			k.P50, k.Worst, k.Again, pictureBound, k.Others)
		t.counts("ended", k.Ended)
	}
}

// String says what a server costs.
func (s idleServer) String() string {
	return fmt.Sprintf("%.2f %% of a core, %.1f MB resident (PSS %.1f)", s.CPU*100, mb(s.RSS), mb(s.PSS))
}

// listed writes times in ms.
func listed(all []float64) (text string) {
	for i, ms := range all {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%.0f", ms)
	}
	return text
}

// at returns which of some times so many percent do not exceed; 0 of none. It sorts them.
func at(percent float64, of []float64) float64 {
	if len(of) == 0 {
		return 0
	}
	slices.Sort(of)
	return of[min(len(of)-1, int(float64(len(of))*percent/100))]
}
