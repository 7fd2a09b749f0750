package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// maxStillsAtATime is how many stills a page fetches at a time.
const maxStillsAtATime = 2

// stillPage fetches stills as a page does that shows cards of streams: one of each stream in a
// time, spread over it, a few at once.
type stillPage struct {
	o       *options
	client  *http.Client
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu sync.Mutex
	r  stillsReport
	h  histogram
}

// stillsReport is about the stills that were fetched.
type stillsReport struct {
	URL     string      `json:"url"`
	Streams int         `json:"streams"`
	Every   float64     `json:"every_seconds"`
	Fetched int         `json:"fetched"`
	Bytes   int64       `json:"bytes"`
	Failed  tally       `json:"failed"`
	Took    percentiles `json:"took"`
}

// openStillPage begins to fetch. It must be closed.
func openStillPage(ctx context.Context, o *options) *stillPage {
	ctx, cancel := context.WithCancel(ctx)
	p := &stillPage{
		o: o, cancel: cancel, client: &http.Client{Transport: &http.Transport{MaxConnsPerHost: maxStillsAtATime, TLSClientConfig: o.tls.config(o.still.host())}, Timeout: openTimeout},
		r: stillsReport{URL: o.still.String(), Streams: o.stillStreams, Every: o.stillEvery.Seconds(), Failed: tally{}},
	}
	began := time.Now()
	for worker := range min(maxStillsAtATime, o.stillStreams) {
		p.running.Go(func() {
			for i := worker; ; i += maxStillsAtATime {
				sleepUntil(ctx, began.Add(time.Duration(float64(i)/float64(o.stillStreams)*float64(o.stillEvery))))
				if ctx.Err() != nil {
					return
				}
				p.fetch(ctx, i%o.stillStreams)
			}
		})
	}
	return p
}

// fetch fetches the still of one stream.
func (p *stillPage) fetch(ctx context.Context, stream int) {
	began := time.Now()
	n, err := p.get(ctx, p.o.still.at(stream))
	took := time.Since(began)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case ctx.Err() != nil:
	case err != nil:
		p.r.Failed[reason(err)]++
	default:
		p.r.Fetched++
		p.r.Bytes += n
		p.h.add(took)
	}
}

func (p *stillPage) get(ctx context.Context, rawURL string) (int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return 0, refusedError{"malformed URL"}
	}
	answer, err := p.client.Do(request)
	if err != nil {
		var at *url.Error // which repeats the URL
		if errors.As(err, &at) {
			err = at.Err
		}
		return 0, err
	}
	defer answer.Body.Close()
	n, err := io.Copy(io.Discard, answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = refusedError{fmt.Sprintf("refused: HTTP status %d", answer.StatusCode)}
	}
	return n, err
}

// close ends it, and returns what it has seen.
func (p *stillPage) close() *stillsReport {
	p.cancel()
	p.running.Wait()
	p.client.CloseIdleConnections()
	p.r.Took = percentilesOf(&p.h)
	return &p.r
}

// plus adds those of another round, whose times stand for both.
func (r *stillsReport) plus(q *stillsReport) *stillsReport {
	if r == nil {
		return q
	}
	for why, n := range r.Failed {
		q.Failed[why] += n
	}
	q.Fetched, q.Bytes = q.Fetched+r.Fetched, q.Bytes+r.Bytes
	return q
}

func (r *stillsReport) write(t *table) {
	t.section("stills of %d streams every %g s: %d, in all rounds", r.Streams, r.Every, r.Fetched)
	t.row("each", "%.1f KB on average; p50 %s, p99 %s ms in the last round", float64(r.Bytes)/float64(max(1, r.Fetched))/1024, short(r.Took.P50), short(r.Took.P99))
	t.counts("failed", r.Failed)
}

// compareStills measures the server, with somebody who fetches stills or without.
func compareStills(ctx context.Context, o *options, p *progress, with bool, c *comparedReport) (*report, error) {
	half := *o
	half.rounds, half.stills = 1, with
	r, err := run(ctx, &half, p)
	if err == nil && r.Stills != nil {
		c.Stills = c.Stills.plus(r.Stills)
	}
	return r, err
}
