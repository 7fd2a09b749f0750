package bench

import (
	"fmt"
	"io"
	"strings"
)

// table collects lines of a name and figures.
type table struct{ b strings.Builder }

// section begins a part of the table.
func (t *table) section(format string, args ...any) {
	if t.b.Len() > 0 {
		t.b.WriteByte('\n')
	}
	fmt.Fprintf(&t.b, format+"\n", args...)
}

// row adds a line.
func (t *table) row(name, format string, args ...any) {
	fmt.Fprintf(&t.b, "  %-18s %s\n", name, fmt.Sprintf(format, args...))
}

// counts adds a line if something was counted.
func (t *table) counts(name string, c tally) {
	if len(c) > 0 {
		t.row(name, "%v", c)
	}
}

// writeTable writes the report for people.
func (r *report) writeTable(w io.Writer) error {
	t := &table{}
	if p := r.Publishers; p != nil {
		t.section("publishers: %d to %s", p.Asked, p.URL)
		t.row("each", "%.0f kbps, %.1f tags/s, written %s", p.Bitrate/1000, p.TagRate, gathered(p.Interval))
		t.row("lag of the tool", "%v", p.Lag)
		t.counts("failed", p.Failed)
		t.counts("ended", p.Ended)
	}
	if v := r.Viewers; v != nil {
		t.section("viewers: %d, %d joined", v.Asked, v.Joined)
		t.row("time to open", "%v", v.Opened)
		if v.Handshakes.Count > 0 {
			t.row("of it TLS", "%v", v.Handshakes)
		}
		t.counts("failed", v.Failed)
		t.counts("ended", v.Ended)
	}
	for _, w := range r.Watch {
		w.write(t, r.Window)
	}
	r.writeServer(t)
	if f := r.Floor; f != nil {
		t.section("floor: a null server, every %.0f ms, nodelay %t", f.Interval, f.NoDelay)
		for i, round := range f.Rounds {
			t.row(fmt.Sprintf("round %d", i+1), "server %.3f cores, floor %.3f cores, ratio %.2f; others %.2f cores", round.Server, round.Floor, round.Ratio, round.Others)
		}
		t.row("bytes a viewer", "server %.0f/s, floor %.0f/s", f.Rate, f.Received)
		t.row("CPU, medians", "server %.3f cores, floor %.3f cores, ratio %.2f", f.Server, f.Floor, f.Ratio)
		t.row("ratio, median", "%.2f", f.MedianRatio)
		if !f.Comparable {
			t.row("beware", "the null server got too little of the machine to write as much: the ratio means little")
		}
	}
	r.writeModes(t)
	if len(r.Problems) == 0 {
		t.section("no problems")
	} else {
		t.section("problems:")
		for _, p := range r.Problems {
			fmt.Fprintf(&t.b, "  %s\n", p)
		}
	}
	_, err := io.WriteString(w, t.b.String())
	return err
}

// gathered says how frames are written.
func gathered(ms float64) string {
	if ms == 0 {
		return "at once"
	}
	return fmt.Sprintf("every %.0f ms", ms)
}

// String lists the percentiles.
func (p percentiles) String() string {
	if p.Count == 0 {
		return "none"
	}
	return fmt.Sprintf("p50 %s, p95 %s, p99 %s, max %s ms", short(p.P50), short(p.P95), short(p.P99), short(p.Max))
}

// short writes a number of ms with as many digits as matter.
func short(ms float64) string {
	switch {
	case ms < 10:
		return fmt.Sprintf("%.2f", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f", ms)
	}
	return fmt.Sprintf("%.0f", ms)
}

func (w *watchReport) write(t *table, window float64) {
	t.section("%s: %s", w.Protocol, w.URL)
	if w.Counting > 0 {
		t.row("counting", "%s, %.0f kbps each in %.1f s", numbered(w.Counting, "viewer"), w.Mean*8/1000/window, window)
		t.row("bytes each", "min %d, mean %.0f, max %d", w.Min, w.Mean, w.Max)
		if w.Expected > 0 {
			t.row("expected", "%.0f; %d got less than 98 %%, the worst %.1f %%", w.Expected, w.Short, w.Worst*100)
		} else {
			t.row("expected", "unknown: nobody checked to the end")
		}
	}
	if w.Checking == 0 {
		return
	}
	f := w.Findings
	t.row("checking", "%s, %d frames", numbered(w.Checking, "viewer"), f.Frames)
	t.row("found", "%d lost, %d unequal, %d reordered, %d wrong timestamps, %d wrong starts, %d malformed",
		f.Lost, f.Unequal, f.Reordered, f.BadTime, f.WrongStart, f.Malformed)
	if w.Latency.Count > 0 {
		t.row("latency", "%v (%d frames)", w.Latency, w.Latency.Count)
	}
	if w.Picture.Count > 0 {
		t.row("first picture", "%v", w.Picture)
	}
}

// writeServer writes about the processes.
func (r *report) writeServer(t *table) {
	if s := r.Server; s != nil {
		t.section("server: process %s", strings.Trim(fmt.Sprint(s.PIDs), "[]"))
		t.row("CPU", "%.3f cores of %d", s.CPU, r.Cores)
		t.row("memory (PSS)", "%.1f MB at first, %.1f before the viewers, %.1f in the window, at most %.1f",
			mb(s.PSSStart), mb(s.PSSBefore), mb(s.PSSWindow), mb(s.PSSPeak))
		if s.PerViewer != 0 {
			t.row("per viewer", "%.2f KB", s.PerViewer/1024)
		}
		if s.PerPublisher != 0 {
			t.row("per publisher", "%.1f KB, with its viewers", s.PerPublisher/1024)
		}
		t.row("descriptors", "%d, %d threads", s.Descriptors, s.Threads)
	}
	if r.Tool.PSS > 0 {
		t.section("this tool")
		t.row("CPU", "%.3f cores", r.Tool.CPU)
		t.row("memory (PSS)", "%.1f MB", mb(r.Tool.PSS))
	}
}

// numbered returns how many of something there are, in words: 1 viewer, 2 viewers.
func numbered[N int | int64](n N, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// mb returns bytes in MB of 2^20.
func mb(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// writeModes writes about churn and stalled viewers.
func (r *report) writeModes(t *table) {
	if r.Compared != nil {
		r.Compared.write(t)
	}
	if r.Ways != nil {
		r.Ways.write(t)
	}
	if r.Seek != nil {
		r.Seek.write(t)
	}
	for _, b := range r.Breaks {
		b.write(t)
	}
	if r.Cold != nil {
		r.Cold.write(t)
	}
	if r.Pulls != nil {
		r.Pulls.write(t)
	}
	if r.Cluster != nil {
		r.Cluster.write(t)
	}
	if c := r.Churn; c != nil {
		t.section("churn: %s joined and left, %.1f a second", numbered(c.Joins, "viewer"), c.Rate)
		t.row("first picture", "%v", c.First)
		t.row("of it connecting", "%v", c.Connect)
		if c.Handshake.Count > 0 {
			t.row("... TLS", "%v", c.Handshake)
		}
		t.row("... the answer", "%v", c.Answer)
		t.row("... the picture", "%v", c.Picture)
		t.counts("failed", c.Failed)
		if c.Before.Descriptors > 0 {
			t.row("descriptors", "%d before, %d after (%.1f s)", c.Before.Descriptors, c.After.Descriptors, c.Settled)
			t.row("memory (PSS)", "%.1f MB before, %.1f after", mb(c.Before.PSS), mb(c.After.PSS))
			t.row("threads", "%d before, %d after", c.Before.Threads, c.After.Threads)
		}
	}
	if s := r.Stalled; s != nil {
		t.section("stalled: %s read nothing for %.0f s, and went on then", numbered(s.Asked-s.Failed.total(), "viewer"), r.Window)
		t.row("went on", "%d at a key frame after a gap, %d without a gap", s.Jumped, s.Continued)
		t.row("did not", "%d silent, %d broken", s.Silent, s.Broken)
		t.counts("ended", s.Ended)
		t.counts("failed", s.Failed)
		if r.Server != nil {
			t.row("memory (PSS)", "grew by %.1f MB at most", mb(r.Server.PSSPeak-r.Server.PSSBegin))
		}
	}
}
