// Package check is sluice check: a self-test against a running media server, this one or another.
// It publishes a clip under a random name, watches it over every output, compares each frame, and
// says of what does not work where to look.
//
//	clip ──▶ publisher ──▶ server ──▶ watchers: rtmp, rtmps, http, https, ws, wss
//	              │                       │
//	              └── what was sent when ─┴──▶ comparison ──▶ report
//
// The stream's name has the form of self-tests (hub.CheckName): a Sluice server does not record
// it, list it, or tell anybody of it.
package check

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"time"

	"sluice/hub"
)

// Exit codes of Run.
const (
	exitOK      = 0
	exitFailure = 1 // something does not work, or could not be tried
	exitUsage   = 2
)

// Sign returns the URL of a stream with a signature for a role; the URL itself where there are no
// secrets, and ErrNoSecret where there are some, and none for the stream.
type Sign func(role hub.Role, rawURL string) (string, error)

// ErrNoSecret is an error of Sign. Who shows something else needs no signature.
var ErrNoSecret = errors.New("no secret is for the stream")

// Run runs sluice check with the arguments after the word check, and returns its exit code. The
// report goes to stdout, errors to stderr. environ are the environment's variables, of which
// -health reads the server's addresses. The end of ctx ends the test early. sign may be nil.
func Run(ctx context.Context, args, environ []string, sign Sign, stdout, stderr io.Writer) int {
	o, err := parseFlags(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, helpText())
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "sluice check: %v (see sluice check -h)\n", err)
		return exitUsage
	}
	if o.health {
		return runHealth(ctx, o, environ, stdout, stderr)
	}
	o.sign = sign
	r, err := test(ctx, o)
	if err != nil {
		fmt.Fprintf(stderr, "sluice check: %v\n", err)
		return exitUsage
	}
	write := r.writeTable
	if o.json {
		write = r.writeJSON
	}
	if err := write(stdout); err != nil {
		fmt.Fprintf(stderr, "sluice check: writing the report: %v\n", err)
		return exitFailure
	}
	if !r.OK {
		return exitFailure
	}
	return exitOK
}

// times bound the parts of a test.
type times struct {
	all     time.Duration // the whole test
	lead    time.Duration // of the publisher before the watchers come
	open    time.Duration // until a server has agreed to publish or to play; the first byte of a stream takes no longer
	picture time.Duration // from there to the first key frame
	watch   time.Duration // of frames that are compared
	silence time.Duration // without a byte, while frames are sent
	slow    time.Duration // a first picture that takes longer is a fault, from the connect on
	late    time.Duration // frames that are longer on their way are a fault
	lumps   time.Duration // the same where they come in lumps: Sluice may gather for 1 s (SLUICE_COALESCE), half of it as a mean
	probe   time.Duration // to find out what answers in place of the protocol that was expected
}

// realTimes are those of a real test. Key frames come each second, so that a server without a cache
// shows a picture within a second; servers may wait for 10 s until they say that they do not know a
// stream.
var realTimes = times{
	all: 30 * time.Second, lead: 1200 * time.Millisecond, open: 11 * time.Second, picture: 7 * time.Second,
	watch: 3 * time.Second, silence: 5 * time.Second, slow: 3 * time.Second, late: 1500 * time.Millisecond,
	lumps: 700 * time.Millisecond,
	probe: 1500 * time.Millisecond,
}

// errInterrupted is why a test ended that somebody ended.
var errInterrupted = errors.New("interrupted")

// test runs the test. The error is one of usage.
func test(ctx context.Context, o options) (*report, error) {
	if o.name == "" {
		var random [16]byte
		rand.Read(random[:]) // never fails
		o.name = hub.CheckName(random)
	}
	ways, err := o.ways()
	if err != nil {
		return nil, err
	}
	c, err := newClip()
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, o.times.all)
	defer cancel()
	t := &tester{options: o, clip: c}
	r := &report{Stream: o.app + "/" + o.name, Began: time.Now()}
	t.run(bounded, ways, r)
	if ctx.Err() != nil {
		r.Interrupted = true
	}
	r.finish()
	return r, nil
}

// tester runs the parts of a test.
type tester struct {
	options
	clip *clip
}

// run publishes, watches and fills in the report.
func (t *tester) run(ctx context.Context, ways []way, r *report) {
	var pub *publication
	for _, w := range ways {
		if !w.publishes() {
			continue
		}
		var row *row
		pub, row = t.publish(ctx, w)
		r.Publish = append(r.Publish, row)
		if pub != nil {
			break // the first that takes it; the report has those that did not
		}
	}
	if pub == nil || !pub.last(t.times.lead) {
		for _, w := range ways {
			if !slices.Contains(t.skip, w.protocol) {
				r.Outputs = append(r.Outputs, &row{Protocol: w.protocol, URL: w.shown, NotTried: true})
			}
		}
	} else {
		r.Outputs = t.watchAll(ctx, ways, pub)
	}
	t.watchRecordings(ctx, ways, r)
	if pub == nil {
		return
	}
	lasted, err := pub.end()
	row := r.Publish[len(r.Publish)-1]
	row.Frames = pub.frames()
	if err != nil {
		row.fail(t.publishEnded(err, lasted))
	}
}
