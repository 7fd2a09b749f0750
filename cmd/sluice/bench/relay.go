package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"sluice/cmd/sluice/demo"
)

// relayMode is what is measured of servers of one's own that relay to each other.
type relayMode string

// Modes.
const (
	relayBreaks  relayMode = "breaks"  // upstreams of edges break again and again
	relayCold    relayMode = "cold"    // a crowd comes to a stream that the edge does not have yet, or has
	relayTargets relayMode = "targets" // a stream is pushed to good targets, without bad ones and with
	relayPulls   relayMode = "pulls"   // one edge pulls very many streams
)

// relayModes are all of them.
var relayModes = []relayMode{relayBreaks, relayCold, relayTargets, relayPulls}

// relayOptions is what the flags say about relays.
type relayOptions struct {
	mode      relayMode // empty: none of them
	upstreams []protocol
	rtt       time.Duration // between an edge and its upstream; unset: by the mode
	breaks    int

	meddle meddling // nil: nobody does
}

// meddling is what a mode does beside the viewers of a run.
type meddling interface {
	// published is told what is published, before anything is measured.
	published(*publishers)
	// run does it while the window is measured, until ctx ends.
	run(ctx context.Context, c *crowd)
	// report adds what came of it, when the crowd has left.
	report(r *report, c *crowd)
}

// unset is the rtt that is chosen by the mode.
const unset = -1

// relayFlags adds the flags about relays.
func (o *options) relayFlags(fs *flag.FlagSet) {
	r := &o.relay
	r.rtt = unset
	fs.Func("relay", "measure servers of its own that relay to each other: `breaks`, cold, targets or pulls (see below)", func(name string) error {
		if r.mode = relayMode(name); !slices.Contains(relayModes, r.mode) {
			return errors.New("must be breaks, cold, targets or pulls")
		}
		return nil
	})
	fs.Func("upstream", "what edges pull over, for -relay and -ways edge: `http`, ws or rtmp; -relay breaks has an edge for each of several, like http,rtmp (default)", func(list string) error {
		r.upstreams = nil
		for name := range strings.SplitSeq(list, ",") {
			p := slices.IndexFunc(schemes[:], func(pair [2]string) bool { return pair[0] == strings.TrimSpace(name) })
			if p < 0 || slices.Contains(r.upstreams, protocol(p)) {
				return errors.New("must be some of http, ws and rtmp, each once")
			}
			r.upstreams = append(r.upstreams, protocol(p))
		}
		return nil
	})
	fs.Func("rtt", "the round trip between an edge and its upstream, a `time` (default 20ms with -relay breaks, else 0)", func(text string) (err error) {
		r.rtt, err = time.ParseDuration(text)
		if err == nil && (r.rtt < 0 || r.rtt > maxRTT) {
			err = errors.New("must be from 0 to 10s")
		}
		return err
	})
	fs.IntVar(&r.breaks, "breaks", 20, "how often upstreams break in the -duration of -relay breaks")
}

// maxRTT is the longest -rtt.
const maxRTT = 10 * time.Second

// helpRelay is what the help says of relays.
const helpRelay = `
-relay starts servers of its own, this program as above, and a proxy between them that
delays, breaks and counts connections. Without -publish and -watch it publishes and
watches streams of its own.
  breaks   publisher, origin, proxy, an edge for each -upstream, and viewers of both who
           check: 20 breaks in 1m, which must cost no frame, repeat none, and hold nobody
           up for longer than 3 round trips + 100 ms over HTTP, 7 over RTMP
  cold     5000 -viewers join a stream within a second that the edge has to fetch, and
           again when it has it, in turn, -rounds times
  targets  a stream is pushed to 16 targets that check it, without and with 4 bad ones: a
           black hole, one that reads nothing, one at half the rate, one that refuses
  pulls    one edge pulls all of 1000 -publishers: memory and CPU
-ways plain,edge,chain has viewers at a server, behind one hop, and behind two.
`

// relayDefaults sets what a mode has by itself where the flags say nothing.
func (o *options) relayDefaults(fs *flag.FlagSet) error {
	set := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { set[f.Name] = true })
	r := &o.relay
	def := func(name, value string) error {
		if set[name] {
			return nil
		}
		set[name] = true
		return fs.Set(name, value)
	}
	values := map[relayMode]map[string]string{
		relayBreaks:  {"upstream": "http,rtmp", "rtt": "20ms", "duration": "1m", "viewers": "20", "check": "1000000"},
		relayCold:    {"viewers": "5000", "rounds": "5"},
		relayTargets: {"rounds": "5", "duration": "10s"},
		relayPulls:   {"publishers": "1000", "viewers": "20", "check": "1000000"},
	}[r.mode]
	var errs []error
	for name, value := range values {
		errs = append(errs, def(name, value))
	}
	errs = append(errs, def("upstream", "http"), def("rtt", "0"))
	if r.mode != "" {
		errs = append(errs, def("publish", "rtmp://own/live/s%d"))
	}
	if r.mode != "" && r.mode != relayTargets {
		errs = append(errs, def("watch", "http://own/live/s%d.flv"))
	}
	if r.mode == relayCold && !set["publishers"] {
		o.publishers = o.rounds // a stream that the edge does not have yet for each
	}
	return errors.Join(errs...)
}

// validateRelay says what is wrong with the flags about relays.
func (o *options) validateRelay(wrong func(bad bool, text string) error) []error {
	r := &o.relay
	own := r.mode != "" && (len(o.pids) > 0 || o.churn > 0 || o.stalled > 0)
	return []error{
		wrong(r.mode != "" && runtime.GOOS != "linux", "-relay needs Linux"),
		wrong(own, "-relay goes without -pid, -churn and -stalled: its servers are its own"),
		wrong(r.breaks < 0, "-breaks must not be negative"),
		wrong(r.mode == relayBreaks && r.breaks > 0 && o.duration/time.Duration(max(1, r.breaks)) < shortestBreak, "-breaks are more than one in 500ms"),
		wrong(len(r.upstreams) > 1 && r.mode != relayBreaks, "-upstream is one, but for -relay breaks"),
		wrong(r.mode == relayCold && o.publishers < o.rounds, "-relay cold needs a stream for each of -rounds: -publishers"),
		wrong(r.mode == relayTargets && len(o.watch) > 0, "-relay targets goes without -watch: the targets check"),
		wrong(r.mode == relayTargets && o.publishers > 1, "-relay targets pushes one stream"),
		wrong(r.mode == relayPulls && o.publishers > maxPulls, fmt.Sprintf("-relay pulls takes %d -publishers at most", maxPulls)),
	}
}

// measureRelay returns what measures a mode that is no comparison.
func (o *options) measureRelay() func(ctx context.Context, o *options, p *progress) (*report, error) {
	return map[relayMode]func(ctx context.Context, o *options, p *progress) (*report, error){
		relayBreaks: measureBreaks, relayCold: measureCold, relayPulls: measurePulls,
	}[o.relay.mode]
}

// relayLoop returns what is published, for who has to know it before.
func (o *options) relayLoop() (*loop, error) { return o.loadLoop(demo.Clip()) }
