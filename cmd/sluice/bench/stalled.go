package bench

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// stalledReport is what became of viewers that read nothing for a while, when they
// went on.
type stalledReport struct {
	Asked  int   `json:"asked"`
	Failed tally `json:"failed"` // could not join
	// Jumped went on at a key frame after a gap, Continued without one, Ended were
	// ended by the server, by reason. Silent got nothing new, and Broken something
	// that is no proper stream.
	Jumped    int   `json:"went_on_at_key_frame"`
	Continued int   `json:"went_on_without_gap"`
	Ended     tally `json:"ended"`
	Silent    int   `json:"silent"`
	Broken    int   `json:"broken"`

	first string // of what was broken
}

// stalled is a set of viewers that do not read. A nil one does nothing.
type stalled struct {
	c       *crowd
	joining sync.WaitGroup

	mu      sync.Mutex
	viewers []*stalledViewer
	r       stalledReport
}

// stalledViewer is one of them.
type stalledViewer struct {
	checker
	v *viewer
}

// startStalled makes the viewers join, until ctx ends; nil if there are to be none.
func startStalled(ctx context.Context, c *crowd) *stalled {
	if c.o.stalled == 0 {
		return nil
	}
	s := &stalled{c: c, r: stalledReport{Asked: c.o.stalled, Failed: tally{}, Ended: tally{}}}
	s.joining.Go(func() {
		paced(ctx, c.o.stalled, c.o.joinRate, func(i int) { s.join(ctx, i) })
	})
	return s
}

// join makes one join.
func (s *stalled) join(ctx context.Context, i int) {
	watch, stream := s.c.o.place(i)
	t := s.c.o.watch[watch]
	v, err := opener{tls: &s.c.o.tls, buffer: s.c.o.stalledBuffer}.open(ctx, t.target, stream)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.r.Failed[reason(err)]++
		return
	}
	k := s.c.newChecker(stream)
	k.measuring = nil
	if k.from != nil {
		k.early = k.from.sent.Load()
	}
	s.viewers = append(s.viewers, &stalledViewer{checker: k, v: v})
}

// resumeTime is how long a viewer that reads again may take to come to what is
// published then.
const resumeTime = 15 * time.Second

// judge lets all read again, ends them, and reports.
func (s *stalled) judge(ctx context.Context, p *progress) *stalledReport {
	if s == nil {
		return nil
	}
	s.joining.Wait()
	p.set(fmt.Sprintf("%d stalled viewers go on", len(s.viewers)), nil)
	interrupted := ctx.Err
	ctx, cancel := context.WithTimeout(ctx, resumeTime)
	defer cancel()
	resumed := time.Now()
	var reading sync.WaitGroup
	for _, x := range s.viewers {
		reading.Go(func() {
			stop := context.AfterFunc(ctx, x.v.close)
			defer stop()
			defer x.v.close()
			err := x.goOn(resumed)
			s.mu.Lock()
			defer s.mu.Unlock()
			if interrupted() == nil {
				s.r.count(x, err, ctx.Err() != nil)
			}
		})
	}
	reading.Wait()
	return &s.r
}

// goOn reads until what comes was published half a GOP or more after the viewer
// began to read again.
func (x *stalledViewer) goOn(resumed time.Time) error {
	r := x.v.reader()
	for {
		t, err := r.ReadTag()
		if err != nil {
			return err
		}
		x.tag(t, x.v.conn.lastRead)
		if x.live(resumed) {
			return nil
		}
	}
}

// foreignResume is how long a viewer of a stream that somebody else publishes reads:
// nobody knows what of it is new.
const foreignResume = 8 * time.Second

// live reports whether the viewer has come to what was published after it began to
// read again.
func (x *stalledViewer) live(resumed time.Time) bool {
	if x.from == nil {
		return time.Since(resumed) >= foreignResume
	}
	published := x.from.start.Add(x.loop.due(x.newest))
	return published.Sub(resumed) >= x.loop.gop/2
}

// count judges a viewer by what it read, and by how that ended. Missing frames are
// what one may expect here.
func (r *stalledReport) count(x *stalledViewer, err error, timeout bool) {
	wrong := x.bad() - x.Lost + x.rough
	switch {
	case wrong > 0:
		r.Broken++
		if r.first == "" && x.rough > 0 {
			r.first = x.broken
		} else if r.first == "" {
			r.first = x.first
		}
	case err != nil && timeout:
		r.Silent++
	case err != nil:
		r.Ended[reason(err)]++
	case x.gaps > 0:
		r.Jumped++
	default:
		r.Continued++
	}
}
