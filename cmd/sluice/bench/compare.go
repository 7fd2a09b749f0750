package bench

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A comparison runs the same load without something and with it, in turn, and reports what
// that costs the server and the live viewers:
//
//	-record   servers of one's own, without recordings and with
//	-play     one server, without players of files and with
//	-stills   one server, without somebody who fetches stills and with
//	-relay targets   servers of one's own that push to 16 targets, without 4 bad ones and with
//
//	round: without ─▶ with    each with publishers and viewers of its own

// comparedReport is what a comparison gave.
type comparedReport struct {
	What   string          `json:"what"`
	Count  int             `json:"count"` // of them
	Rounds []comparedRound `json:"rounds"`
	// Medians of the rounds.
	Without comparedSide `json:"without"`
	With    comparedSide `json:"with"`
	MoreCPU float64      `json:"more_cpu_cores"` // median of the rounds' differences
	// Each is how much more memory there is for each: likewise, but with -play that of the
	// first round, since the server keeps some for the next.
	Each float64 `json:"each_bytes"`
	P99  float64 `json:"latency_p99_ratio"` // median of the rounds' ratios
	// Files and FileBytes are those that the last round recorded.
	Files     int   `json:"files,omitempty"`
	FileBytes int64 `json:"file_bytes,omitempty"`
	// Players of files, all rounds together.
	Players *playersReport `json:"players,omitempty"`
	// Stills, all rounds together.
	Stills *stillsReport `json:"stills,omitempty"`

	sameServer bool // in all rounds
}

// comparedRound is one round: first without, then with.
type comparedRound struct {
	Without comparedSide `json:"without"`
	With    comparedSide `json:"with"`
}

// comparedSide is one half of a round, or medians of such.
type comparedSide struct {
	CPU    float64 `json:"cpu_cores"`
	PSS    int64   `json:"pss_bytes"`
	P50    float64 `json:"latency_p50_ms"` // of the live viewers that check
	P99    float64 `json:"latency_p99_ms"`
	Lag    float64 `json:"lag_p99_ms"`       // of the tool's own writes
	Others float64 `json:"others_cpu_cores"` // as of floorRound
}

// compares reports whether the options ask for a comparison.
func (o *options) compares() bool {
	return o.record != "" || o.plays || o.stills || o.relay.mode == relayTargets
}

// compare compares, as often as there are rounds.
func compare(ctx context.Context, o *options, p *progress) (*report, error) {
	all := &report{o: o, Cores: newReport(o).Cores, Problems: []string{}, Compared: &comparedReport{What: "recordings", Count: o.publishers}}
	half := compareRecording
	switch {
	case o.plays:
		all.Compared.What, all.Compared.Count, all.Compared.sameServer = "players of files", o.players, true
		half = comparePlaying
	case o.stills:
		all.Compared.What, all.Compared.Count, all.Compared.sameServer = "stills", o.stillStreams, true
		half = compareStills
	case o.relay.mode == relayTargets:
		all.Compared.What, all.Compared.Count = fmt.Sprintf("bad targets beside %d good ones", goodTargets), badTargets
		half = compareTargets
	}
	for n := range o.rounds {
		var sides [2]comparedSide
		for i := range sides {
			place := fmt.Sprintf("round %d, %s: ", n+1, [...]string{"without", "with"}[i])
			p.within(place)
			r, err := half(ctx, o, p, i == 1, all.Compared)
			if err != nil {
				return nil, err
			}
			all.Window, all.Tool, all.Interrupted = r.Window, r.Tool, r.Interrupted
			for _, text := range r.Problems {
				all.problem("%s%s", place, text)
			}
			if sides[i] = r.side(); ctx.Err() != nil {
				return all, nil
			}
		}
		all.Compared.add(comparedRound{sides[0], sides[1]})
		all.Rounds++
	}
	if o.relay.mode == relayTargets && all.Compared.P99 > targetsBound {
		all.problem("with bad targets, frames took %.2f times as long to the good ones, p99, which is more than %.2f", all.Compared.P99, targetsBound)
	}
	return all, nil
}

// side returns what a run says for its half of a round.
func (r *report) side() comparedSide {
	var latency histogram
	for _, g := range r.groups {
		latency.merge(&g.latency)
	}
	s := comparedSide{Others: r.others, P50: milliseconds(latency.percentile(50)), P99: milliseconds(latency.percentile(99))}
	if r.Server != nil {
		s.CPU, s.PSS = r.Server.CPU, r.Server.PSSWindow
	}
	if r.Publishers != nil {
		s.Lag = r.Publishers.Lag.P99
	}
	return s
}

// add adds a round.
func (c *comparedReport) add(round comparedRound) {
	c.Rounds = append(c.Rounds, round)
	of := func(f func(comparedRound) float64) float64 {
		var all []float64
		for _, r := range c.Rounds {
			all = append(all, f(r))
		}
		return median(all)
	}
	medians := func(side func(comparedRound) comparedSide) comparedSide {
		return comparedSide{
			CPU:    of(func(r comparedRound) float64 { return side(r).CPU }),
			PSS:    int64(of(func(r comparedRound) float64 { return float64(side(r).PSS) })),
			P50:    of(func(r comparedRound) float64 { return side(r).P50 }),
			P99:    of(func(r comparedRound) float64 { return side(r).P99 }),
			Lag:    of(func(r comparedRound) float64 { return side(r).Lag }),
			Others: of(func(r comparedRound) float64 { return side(r).Others }),
		}
	}
	c.Without = medians(func(r comparedRound) comparedSide { return r.Without })
	c.With = medians(func(r comparedRound) comparedSide { return r.With })
	c.MoreCPU = of(func(r comparedRound) float64 { return r.With.CPU - r.Without.CPU })
	more := of(func(r comparedRound) float64 { return float64(r.With.PSS - r.Without.PSS) })
	if c.sameServer {
		more = float64(c.Rounds[0].With.PSS - c.Rounds[0].Without.PSS)
	}
	c.Each = more / float64(max(1, c.Count))
	c.P99 = of(func(r comparedRound) float64 {
		if r.Without.P99 == 0 {
			return 0
		}
		return r.With.P99 / r.Without.P99
	})
}

// compareRecording measures a server of one's own, with recordings or without.
func compareRecording(ctx context.Context, o *options, p *progress, with bool, c *comparedReport) (*report, error) {
	var dir string
	if with {
		var err error
		if dir, err = os.MkdirTemp(o.record, "sluice-bench-"); err != nil {
			return nil, fmt.Errorf("-record: %w", err)
		}
		defer os.RemoveAll(dir)
	}
	p.set("starting a server", nil)
	cfg := ownConfig{records: dir}
	if o.secures() {
		folder, err := os.MkdirTemp("", "sluice-bench-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(folder)
		files, err := writeCertificate(folder)
		if err != nil {
			return nil, err
		}
		cfg.certificate = &files
	}
	s, err := startOwn(ctx, cfg)
	if err != nil {
		return nil, err
	}
	half := o.at(&s.hosts)
	half.rounds, half.pids = 1, []int{s.cmd.Process.Pid}
	r, err := run(ctx, half, p)
	p.set("ending the server", nil)
	if err := errors.Join(err, s.close()); err != nil && ctx.Err() == nil {
		return nil, err
	}
	if r == nil {
		return nil, ctx.Err()
	}
	if with {
		if c.Files, c.FileBytes, err = recorded(dir); err != nil {
			return nil, fmt.Errorf("-record: %w", err)
		}
		if want := o.publishers - r.Publishers.Failed.total(); c.Files != want && !r.Interrupted {
			r.problem("%d streams made %d finished recordings", want, c.Files)
		}
	}
	return r, nil
}

// recorded returns how many finished recordings there are in a folder, and their bytes.
func recorded(dir string) (files int, bytes int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".flv") {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files, bytes = files+1, bytes+info.Size()
		return nil
	})
	return files, bytes, err
}

// comparePlaying measures the server, with players of files or without.
func comparePlaying(ctx context.Context, o *options, p *progress, with bool, c *comparedReport) (*report, error) {
	half := *o
	half.rounds, half.plays = 1, with
	r, err := run(ctx, &half, p)
	if err == nil && r.Players != nil {
		c.Players = c.Players.plus(r.Players)
	}
	return r, err
}

// write writes the comparison for people.
func (c *comparedReport) write(t *table) {
	t.section("%d %s: without and with, in turn", c.Count, c.What)
	for i, r := range c.Rounds {
		t.row(fmt.Sprintf("round %d", i+1), "without %v", r.Without)
		t.row("", "with    %v", r.With)
	}
	t.row("medians", "without %v", c.Without)
	t.row("", "with    %v", c.With)
	t.row("CPU", "%.3f cores more (median of the differences)", c.MoreCPU)
	t.row("memory", "%.1f KB more for each", c.Each/1024)
	if c.P99 > 0 {
		t.row("latency p99", "%.2f times as long (median of the ratios)", c.P99)
	}
	if c.Files > 0 {
		t.row("recorded", "%d files, %.0f KB each", c.Files, float64(c.FileBytes)/float64(c.Files)/1024)
	}
	if c.Players != nil {
		c.Players.write(t)
	}
	if c.Stills != nil {
		c.Stills.write(t)
	}
}

// String says what half a round gave.
func (s comparedSide) String() string {
	return fmt.Sprintf("%.3f cores, %.1f MB, latency p50 %s, p99 %s ms, lag of the tool %s ms; others %.2f cores",
		s.CPU, mb(s.PSS), short(s.P50), short(s.P99), short(s.Lag), s.Others)
}
