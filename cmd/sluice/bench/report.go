package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"
)

// report is all that a run has seen. Figures carry their unit in the name.
type report struct {
	Interrupted bool    `json:"interrupted"`
	Rounds      int     `json:"rounds"`
	Window      float64 `json:"window_seconds"`
	Cores       int     `json:"machine_cores"`

	Publishers *publisherReport `json:"publishers,omitempty"`
	Viewers    *viewerReport    `json:"viewers,omitempty"`
	Watch      []*watchReport   `json:"watch,omitempty"`
	Server     *serverReport    `json:"server,omitempty"`
	Tool       toolReport       `json:"tool"`
	Floor      *floorReport     `json:"floor,omitempty"`
	Churn      *churnReport     `json:"churn,omitempty"`
	Stalled    *stalledReport   `json:"stalled,omitempty"`
	Players    *playersReport   `json:"players,omitempty"` // of files
	Stills     *stillsReport    `json:"stills,omitempty"`
	Compared   *comparedReport  `json:"compared,omitempty"`
	Ways       *waysReport      `json:"compared_ways,omitempty"`
	Seek       *seekReport      `json:"seek,omitempty"`
	Breaks     []*breaksReport  `json:"breaks,omitempty"`
	Cold       *coldReport      `json:"cold,omitempty"`
	Pulls      *pullsReport     `json:"pulls,omitempty"`
	Cluster    *clusterReport   `json:"cluster,omitempty"`
	// Problems say what was not as it should be; the exit code is 1 if there are
	// any.
	Problems []string `json:"problems"`

	o      *options
	opened histogram
	shaken histogram
	groups []*group
	cpu    []float64 // of the server, by round
	others float64   // in the last window, as of floorRound
}

// percentiles are those of a number of times.
type percentiles struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P95   float64 `json:"p95_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

// percentilesOf returns those of a histogram.
func percentilesOf(h *histogram) percentiles {
	return percentiles{
		Count: h.count,
		P50:   milliseconds(h.percentile(50)), P95: milliseconds(h.percentile(95)),
		P99: milliseconds(h.percentile(99)), Max: milliseconds(h.most),
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// publisherReport is about what was published.
type publisherReport struct {
	URL      string  `json:"url"`
	Asked    int     `json:"asked"`
	Failed   tally   `json:"failed"`
	Ended    tally   `json:"ended"`
	Bitrate  float64 `json:"bitrate_bps"` // of one, as FLV
	TagRate  float64 `json:"tags_per_second"`
	Interval float64 `json:"write_interval_ms"`
	// Lag is how late the tool was with its writes.
	Lag percentiles `json:"lag"`
}

// viewerReport is about all viewers.
type viewerReport struct {
	Asked  int         `json:"asked"`
	Joined int         `json:"joined"`
	Failed tally       `json:"failed"`
	Ended  tally       `json:"ended"`
	Opened percentiles `json:"opened"`
	// Handshakes are those of TLS, a part of it.
	Handshakes percentiles `json:"handshakes"`
}

// watchReport is about the viewers of one URL.
type watchReport struct {
	URL      string `json:"url"`
	Protocol string `json:"protocol"`
	// Counting viewers: bytes in the window for each, and what it should have got
	// by what was published and by what the checking viewers got.
	Counting int     `json:"counting_viewers"`
	Expected float64 `json:"expected_bytes"` // on average
	Min      int64   `json:"min_bytes"`
	Mean     float64 `json:"mean_bytes"`
	Max      int64   `json:"max_bytes"`
	// Worst is the least share of what it should have got that a viewer got, once
	// it is given what may have fallen on either side of its window's edges. Short
	// is how many got less than 98 %.
	Worst float64 `json:"worst_share"`
	Short int     `json:"short"`
	// Checking viewers.
	Checking int         `json:"checking_viewers"`
	Findings findings    `json:"checked"`
	Latency  percentiles `json:"latency"`
	Picture  percentiles `json:"first_picture"`
}

// serverReport is about the server's processes.
type serverReport struct {
	PIDs         []int   `json:"pids"`
	CPU          float64 `json:"cpu_cores"`
	PSSStart     int64   `json:"pss_start_bytes"`  // before the publishers
	PSSBefore    int64   `json:"pss_before_bytes"` // before the viewers
	PSSBegin     int64   `json:"pss_begin_bytes"`  // of the window
	PSSWindow    int64   `json:"pss_window_bytes"` // at its end
	PSSPeak      int64   `json:"pss_peak_bytes"`   // in it
	PerViewer    float64 `json:"pss_per_viewer_bytes,omitempty"`
	PerPublisher float64 `json:"pss_per_publisher_bytes,omitempty"`
	Descriptors  int     `json:"descriptors"`
	Threads      int     `json:"threads"`
	// Of CPU and PSSWindow, what is of those in front of the server.
	FrontCPU float64 `json:"front_cpu_cores,omitempty"`
	FrontPSS int64   `json:"front_pss_bytes,omitempty"`
}

// toolReport is about this process.
type toolReport struct {
	CPU float64 `json:"cpu_cores"`
	PSS int64   `json:"pss_bytes"`
}

// floorReport compares with the null server. Its rates are those of a viewer.
type floorReport struct {
	Interval float64      `json:"interval_ms"`
	NoDelay  bool         `json:"nodelay"`
	Rate     float64      `json:"bytes_per_second"`
	Received float64      `json:"floor_bytes_per_second"`
	Rounds   []floorRound `json:"rounds"`
	Server   float64      `json:"server_cpu_cores"` // medians
	Floor    float64      `json:"floor_cpu_cores"`
	Ratio    float64      `json:"ratio"` // of the medians
	// MedianRatio is the median of the rounds' ratios: what to trust where the machine
	// has other work, which comes and goes.
	MedianRatio float64 `json:"median_ratio"`
	// Comparable tells that the null server was able to write as much as it should.
	Comparable bool `json:"comparable"`
}

// newReport returns an empty report.
func newReport(o *options) *report {
	r := &report{o: o, Window: o.duration.Seconds(), Cores: runtime.NumCPU(), Problems: []string{}}
	if len(o.watch) > 0 {
		r.Viewers = &viewerReport{Failed: tally{}, Ended: tally{}}
	}
	for _, t := range o.watch {
		r.Watch = append(r.Watch, &watchReport{URL: t.String(), Protocol: strings.TrimSpace(t.kind() + " " + t.via), Worst: 1})
		r.groups = append(r.groups, &group{})
	}
	return r
}

// published reports what is published.
func (r *report) published(l *loop, ps *publishers, failed tally) {
	r.Publishers = &publisherReport{
		URL: r.o.publish.String(), Asked: r.o.publishers, Failed: failed,
		Bitrate: l.bitrate(), TagRate: l.tagRate(), Interval: milliseconds(ps.interval),
	}
}

// publishers reports how publishing went, at the end.
func (r *report) publishers(ps *publishers) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	r.Publishers.Ended = ps.ended
	r.Publishers.Lag = percentilesOf(&ps.lag)
}

func (r *report) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// close lists the problems.
func (r *report) close(interrupted bool) {
	r.Interrupted = interrupted
	if interrupted {
		r.problem("interrupted")
	}
	if p := r.Publishers; p != nil {
		r.tally("publishers failed", p.Failed)
		r.tally("publishers ended", p.Ended)
	}
	if v := r.Viewers; v != nil {
		r.tally("viewers failed to join", v.Failed)
		r.tally("viewers ended", v.Ended)
	}
	for _, w := range r.Watch {
		if f := w.Findings; f.bad() > 0 {
			r.problem("%s: %d lost, %d unequal, %d reordered frames, %d wrong timestamps, %d wrong starts, %d malformed; first: %s",
				w.Protocol, f.Lost, f.Unequal, f.Reordered, f.BadTime, f.WrongStart, f.Malformed, f.first)
		}
		if w.Checking > 0 && w.Findings.Frames == 0 {
			r.problem("%s: the checking viewers got nothing", w.Protocol)
		}
		if w.Short > 0 {
			r.problem("%s: %s got less than %.0f %% of what they should have", w.Protocol, numbered(w.Short, "viewer"), fair*100)
		}
	}
	if c := r.Churn; c != nil {
		r.tally("churning viewers failed", c.Failed)
		if c.Settled < 0 {
			r.problem("churn: the server kept %d descriptors, of %d before", c.After.Descriptors, c.Before.Descriptors)
		}
	}
	if p := r.Players; p != nil {
		r.tally("players failed to join", p.Failed)
		r.tally("players ended", p.Ended)
	}
	if s := r.Stills; s != nil {
		r.tally("stills failed", s.Failed)
	}
	if s := r.Stalled; s != nil {
		r.tally("stalled viewers failed to join", s.Failed)
		if s.Broken > 0 {
			r.problem("%d stalled viewers got a broken stream; first: %s", s.Broken, s.first)
		}
		if s.Silent > 0 {
			r.problem("%d stalled viewers got nothing new and were not ended", s.Silent)
		}
	}
}

// tally adds a problem if something was counted.
func (r *report) tally(what string, t tally) {
	if n := t.total(); n > 0 {
		r.problem("%d %s: %v", n, what, t)
	}
}

// writeJSON writes the report as JSON.
func (r *report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}
