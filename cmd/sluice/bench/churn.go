package bench

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"time"
)

// churnReport is what came of viewers that came and went.
type churnReport struct {
	Joins  int64   `json:"joins"`
	Failed tally   `json:"failed"`
	Rate   float64 `json:"joins_per_second"`
	// First is the time from dialing to the first whole key frame. Its stages are the
	// connection, the handshake of TLS where there is one, then until the server has agreed,
	// and from then on.
	First     percentiles `json:"first_picture"`
	Connect   percentiles `json:"connect"`
	Handshake percentiles `json:"handshake"`
	Answer    percentiles `json:"answer"`
	Picture   percentiles `json:"picture"`
	// The server's figures before and after; zero if nobody asks.
	Before held `json:"before"`
	After  held `json:"after"`
	// Settled is how long after the last one left the server's descriptors were
	// back to what they were; negative if they never were.
	Settled float64 `json:"settled_seconds"`

	err error
}

// held is what a process holds.
type held struct {
	PSS         int64 `json:"pss_bytes"`
	Descriptors int   `json:"descriptors"`
	Threads     int   `json:"threads"`
}

// held returns what of u a process holds.
func (u usage) held() held {
	return held{PSS: u.pss, Descriptors: u.descriptors, Threads: u.threads}
}

// churn makes viewers come and go. A nil one does nothing.
type churn struct {
	o       *options
	running sync.WaitGroup
	spent   time.Duration // on beginning visits; of run

	mu     sync.Mutex
	joins  int64
	failed tally
	first  histogram
	// Stages of first.
	connect, handshake, answer, picture histogram
}

// startChurn begins to churn until ctx ends; nil if that is not asked for.
func startChurn(ctx context.Context, o *options) *churn {
	if o.churn == 0 {
		return nil
	}
	c := &churn{o: o, failed: tally{}}
	c.running.Go(func() { c.run(ctx) })
	return c
}

// run starts a viewer whenever one is due, however the others fare.
func (c *churn) run(ctx context.Context) {
	var visits sync.WaitGroup
	defer visits.Wait()
	start := time.Now()
	defer func() { c.spent = time.Since(start) }() // before Wait
	for i := 0; ; i++ {
		sleepUntil(ctx, start.Add(time.Duration(float64(i)/c.o.churn*float64(time.Second))))
		if ctx.Err() != nil {
			return
		}
		visits.Go(func() { c.visit(context.WithoutCancel(ctx), i) })
	}
}

// errNoPicture is the error of a stream without a key frame.
var errNoPicture = errors.New("no key frame in time")

// visit is one viewer: joins, waits for a key frame, stays and leaves. A visit
// that has begun is not cut short by the end of the window.
func (c *churn) visit(ctx context.Context, i int) {
	watch, stream := c.o.place(i)
	t := c.o.watch[watch]
	asked := time.Now()
	v, err := opener{tls: &c.o.tls}.open(ctx, t.target, stream)
	if err == nil {
		defer v.close()
		err = v.firstPicture()
	}
	took := time.Since(asked)
	c.mu.Lock()
	c.joins++
	if err != nil {
		c.failed[reason(err)]++
	} else {
		c.count(v, took)
	}
	c.mu.Unlock()
	if err != nil {
		return
	}
	// Between half and three halves of the time asked for.
	stay := c.o.stay/2 + rand.N(c.o.stay+1)
	v.conn.SetReadDeadline(time.Now().Add(stay))
	_, err = io.Copy(io.Discard, v.conn.Conn)
	if !isTimeout(err) {
		if err == nil {
			err = io.EOF
		}
		c.mu.Lock()
		c.failed["while it stayed: "+reason(err)]++
		c.mu.Unlock()
	}
}

// count counts a viewer who saw a picture in time.
func (c *churn) count(v *viewer, took time.Duration) {
	c.first.add(took)
	c.connect.add(v.took.connect)
	if v.secure() {
		c.handshake.add(v.took.handshake)
	}
	c.answer.add(v.took.answer)
	c.picture.add(took - v.took.connect - v.took.handshake - v.took.answer)
}

// firstPicture reads until the first key frame is there.
func (v *viewer) firstPicture() error {
	v.conn.SetReadDeadline(time.Now().Add(openTimeout))
	r := v.reader()
	for {
		t, err := r.ReadTag()
		if isTimeout(err) {
			return errNoPicture
		}
		if err != nil {
			return err
		}
		if p, err := t.Packet(); err == nil && p.Key {
			return nil
		}
	}
}

// wait waits until all have left and reports.
func (c *churn) wait() *churnReport {
	if c == nil {
		return nil
	}
	c.running.Wait()
	return &churnReport{
		Joins: c.joins, Failed: c.failed, Rate: float64(c.joins) / max(c.spent, 1).Seconds(), First: percentilesOf(&c.first),
		Connect: percentilesOf(&c.connect), Handshake: percentilesOf(&c.handshake), Answer: percentilesOf(&c.answer), Picture: percentilesOf(&c.picture),
	}
}

// Waiting for a server after churn.
const (
	churnSettle = 15 * time.Second
	churnLook   = 100 * time.Millisecond
)

// settle waits until the server has as few descriptors as before.
func (r *churnReport) settle(ctx context.Context, b *bench, before usage) {
	if len(b.o.pids) == 0 {
		return
	}
	b.p.set("waiting for the server to settle", nil)
	r.Before, r.Settled = before.held(), -1
	began := time.Now()
	for time.Since(began) < churnSettle {
		now, _, err := b.procs.look()
		if err != nil {
			r.err = err
			return
		}
		r.After = now.held()
		if now.descriptors <= before.descriptors {
			r.Settled = time.Since(began).Seconds()
			return
		}
		sleepUntil(ctx, time.Now().Add(churnLook))
		if ctx.Err() != nil {
			return
		}
	}
}
