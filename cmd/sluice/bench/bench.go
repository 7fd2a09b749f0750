// Package bench is sluice bench: it publishes streams to a media server, this one
// or another, watches them with very many viewers, checks what some of them get, and
// measures what that costs the server.
//
//	publishers ──▶ server ──▶ counter    drops and counts
//	    │             ├─────▶ checking   parse, compare, measure latency
//	    │             ├─────▶ churn      join, see a picture, leave
//	    │             ├─────▶ stalled    read nothing, go on later
//	    │             └─────▶ players    of recorded files
//	    └── what was sent when ──▶ checking
package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
)

// Exit codes of Run.
const (
	exitOK      = 0
	exitFailure = 1 // something was lost, or wrong, or ended, or could not be run
	exitUsage   = 2
)

// Run runs sluice bench with the arguments after the word bench, and returns its
// exit code. The report goes to stdout, progress and errors to stderr. The end of
// ctx ends the run early, with a report of what was seen until then.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseFlags(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, helpText())
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "sluice bench: %v (see sluice bench -h)\n", err)
		return exitUsage
	}
	raiseFileLimit()
	if o.null {
		if err := runNull(ctx, o.nullConfig(), stdout); err != nil {
			fmt.Fprintf(stderr, "sluice bench: %v\n", err)
			return exitFailure
		}
		return exitOK
	}
	if o.make != "" {
		if err := makeRecording(ctx, o, stdout); err != nil {
			fmt.Fprintf(stderr, "sluice bench: %v\n", err)
			return exitFailure
		}
		return exitOK
	}
	p := newProgress(stderr)
	measure := run
	switch {
	case len(o.ways) > 0:
		measure = compareWays
	case o.compares():
		measure = compare
	case o.relay.mode != "":
		measure = o.measureRelay()
	case len(o.whole.parts) > 0:
		measure = measureCluster
	case o.seeking:
		measure = seek
	}
	r, err := measure(ctx, o, p)
	p.close()
	if err != nil {
		fmt.Fprintf(stderr, "sluice bench: %v\n", err)
		return exitFailure
	}
	if o.json {
		err = r.writeJSON(stdout)
	} else {
		err = r.writeTable(stdout)
	}
	if err != nil {
		fmt.Fprintf(stderr, "sluice bench: writing the report: %v\n", err)
		return exitFailure
	}
	if len(r.Problems) > 0 {
		return exitFailure
	}
	return exitOK
}
