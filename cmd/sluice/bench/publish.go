package bench

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/flv"
	"sluice/rtmp"
)

// publication is one published stream.
type publication struct {
	number int
	loop   *loop
	sink   sink      // nil if it could not begin
	start  time.Time // when frame 0 is due

	sent  atomic.Int64 // frames handed to the sink, or about to be
	times *sendTimes   // nil if nobody asks

	// Of the goroutine that drives it.
	next time.Time
}

// sink takes the tags of a publication; *rtmp.Publisher is one.
type sink interface {
	// WriteTags may not keep the slice, nor change the tags' Data.
	WriteTags([]flv.Tag) error
	Close() error
}

// sendTimes remembers when the last frames of a publication were written: frame n
// at n modulo its length. Any goroutine may ask.
type sendTimes [8192]atomic.Int64

// clock is the time of this process that moments are counted from.
var clock = time.Now()

// moment returns the nanoseconds since clock.
func moment(t time.Time) int64 { return int64(t.Sub(clock)) }

// sentAt returns the moment at which frame n was written; ok is false if that is
// not known, or no more.
func (p *publication) sentAt(n int64) (at int64, ok bool) {
	if p.times == nil || n < 0 {
		return 0, false
	}
	at = p.times[n%int64(len(p.times))].Load()
	// The newest frames may overwrite what was just read.
	sent := p.sent.Load()
	return at, n < sent && n >= sent-int64(len(p.times))+maxBatch
}

// maxBatch is how many tags go in one write at most.
const maxBatch = 256

// write writes what is due at now, and tells how many frames that was.
func (p *publication) write(now time.Time, batch []flv.Tag) (int, error) {
	first := p.sent.Load()
	n := first
	for batch = batch[:0]; len(batch) < maxBatch && !p.start.Add(p.loop.due(n)).After(now); n++ {
		batch = append(batch, p.loop.tag(n))
	}
	if len(batch) == 0 {
		return 0, nil
	}
	if p.times != nil {
		at := moment(time.Now())
		for i := first; i < n; i++ {
			p.times[i%int64(len(p.times))].Store(at)
		}
	}
	p.sent.Store(n)
	return len(batch), p.sink.WriteTags(batch)
}

// schedule sets when to write next: with the next frame, or at the next of the
// publication's ticks, which are interval apart.
func (p *publication) schedule(now time.Time, interval time.Duration) {
	if interval == 0 {
		p.next = p.start.Add(p.loop.due(p.sent.Load()))
		return
	}
	p.next = p.next.Add(interval)
	if late := now.Sub(p.next); late > 0 {
		p.next = p.next.Add(late.Truncate(interval))
	}
}

// publishers drives many publications.
type publishers struct {
	loop     *loop
	interval time.Duration // of the writes; 0 writes each frame when it is due
	list     []*publication

	measuring atomic.Bool // lag is counted
	running   sync.WaitGroup
	stop      context.CancelFunc

	mu    sync.Mutex
	lag   histogram
	ended tally
}

// Sharing of the work: up to ownGoroutine publications have a goroutine each, more
// share one for each core. Beyond maxTagRate tags a second in all, writes are
// gathered.
const (
	ownGoroutine  = 32
	maxTagRate    = 8000
	gatheredWrite = 100 * time.Millisecond
)

// automaticInterval returns the interval that a number of publications of a loop
// ask for.
func automaticInterval(l *loop, n int) time.Duration {
	if l.tagRate()*float64(n) <= maxTagRate {
		return 0
	}
	return gatheredWrite
}

// run begins to publish: publication i starts gop*i/n after the first, so that key
// frames are spread over time.
func (ps *publishers) run(ctx context.Context) {
	ctx, ps.stop = context.WithCancel(ctx)
	ps.ended = tally{}
	now := time.Now()
	shards := make([]drivers, min(len(ps.list), runtime.GOMAXPROCS(0)))
	if len(ps.list) <= ownGoroutine {
		shards = make([]drivers, len(ps.list))
	}
	for i, p := range ps.list {
		if p.sink == nil {
			continue
		}
		p.start = now.Add(ps.loop.gop * time.Duration(i) / time.Duration(len(ps.list)))
		p.next = p.start
		if ps.interval > 0 { // spread, whatever the GOP
			p.next = p.next.Add(ps.interval * time.Duration(i) / time.Duration(len(ps.list)))
		}
		shard := &shards[i%len(shards)]
		*shard = append(*shard, p)
	}
	for _, shard := range shards {
		ps.running.Go(func() { ps.drive(ctx, shard) })
	}
}

// lagStep is how many lags a driver collects before it adds them to those of all.
const lagStep = 256

// drive writes for its publications until ctx ends.
func (ps *publishers) drive(ctx context.Context, queue drivers) {
	heap.Init(&queue)
	batch := make([]flv.Tag, 0, maxBatch)
	lags := make([]time.Duration, 0, lagStep)
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer func() { ps.addLags(lags) }()
	for len(queue) > 0 {
		p := queue[0]
		now := time.Now()
		if wait := p.next.Sub(now); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
			now = time.Now()
		}
		if ctx.Err() != nil {
			return
		}
		planned := p.next
		n, err := p.write(now, batch)
		if err != nil {
			ps.end(err)
			heap.Pop(&queue)
			continue
		}
		if n > 0 && ps.measuring.Load() {
			if lags = append(lags, now.Sub(planned)); len(lags) == lagStep {
				ps.addLags(lags)
				lags = lags[:0]
			}
		}
		if n < maxBatch {
			p.schedule(now, ps.interval)
		}
		heap.Fix(&queue, 0)
	}
}

func (ps *publishers) addLags(lags []time.Duration) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, lag := range lags {
		ps.lag.add(lag)
	}
}

// end counts a publication that the server has ended.
func (ps *publishers) end(err error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.ended[reason(err)]++
}

// close ends all publications properly and waits.
func (ps *publishers) close() {
	ps.stop()
	ps.running.Wait()
	limit := make(chan struct{}, maxOpening)
	var closing sync.WaitGroup
	for _, p := range ps.list {
		if p.sink == nil {
			continue
		}
		limit <- struct{}{}
		closing.Go(func() {
			p.sink.Close()
			<-limit
		})
	}
	closing.Wait()
}

// drivers is a heap of publications by when they are to be written to.
type drivers []*publication

func (d drivers) Len() int           { return len(d) }
func (d drivers) Less(i, j int) bool { return d[i].next.Before(d[j].next) }
func (d drivers) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *drivers) Push(x any)        { *d = append(*d, x.(*publication)) }
func (d *drivers) Pop() any {
	last := len(*d) - 1
	p := (*d)[last]
	*d = (*d)[:last]
	return p
}

// openPublishers begins to publish all streams.
func openPublishers(ctx context.Context, o *options, l *loop) (*publishers, tally, error) {
	ps := &publishers{loop: l, interval: o.publishInterval}
	if ps.interval == automatic {
		ps.interval = automaticInterval(l, o.publishers)
	}
	list := make([]*publication, o.publishers)
	failed := tally{}
	var mu sync.Mutex
	paced(ctx, len(list), o.joinRate, func(i int) {
		ctx, cancel := context.WithTimeout(ctx, openTimeout)
		defer cancel()
		p, err := openPublication(ctx, o, i, l)
		mu.Lock()
		defer mu.Unlock()
		if list[i] = p; err != nil {
			failed[reason(err)]++
		}
	})
	for i, p := range list {
		if p == nil { // a place is kept, so that numbers stay those of the streams
			list[i] = &publication{number: i, loop: l}
		}
	}
	ps.list = list
	if failed.total() == len(list) {
		return nil, nil, fmt.Errorf("publishing: %v", failed)
	}
	for i := range o.timed() {
		list[i].times = new(sendTimes)
	}
	ps.run(ctx)
	return ps, failed, nil
}

// maxTimed is how many publications remember when they sent what without a viewer
// that checks them; they take 64 KB each.
const maxTimed = 64

// timed returns the streams whose sending times are asked for.
func (o *options) timed() map[int]bool {
	streams := map[int]bool{}
	if o.publishers <= maxTimed {
		for i := range o.publishers {
			streams[i] = true
		}
	}
	if len(o.watch) == 0 {
		return streams
	}
	for i := range o.checkNumbers() {
		_, stream := o.place(i)
		streams[stream] = true
	}
	return streams
}

// openPublication publishes a stream's headers.
func openPublication(ctx context.Context, o *options, number int, l *loop) (*publication, error) {
	client := &rtmp.Client{TLS: o.tls.config(o.publish.host())}
	pub, err := client.Publish(ctx, o.publish.at(number))
	if err != nil {
		return nil, err
	}
	if err := pub.WriteTags(l.header); err != nil {
		pub.Close()
		return nil, err
	}
	return &publication{number: number, loop: l, sink: pub}, nil
}

// parseRate reads bits per second: 206000, 206k or 2M.
func parseRate(s string) (float64, error) {
	unit := 1.0
	switch {
	case strings.HasSuffix(s, "k"):
		unit = 1e3
	case strings.HasSuffix(s, "M"):
		unit = 1e6
	case strings.HasSuffix(s, "G"):
		unit = 1e9
	}
	n, err := strconv.ParseFloat(strings.TrimRight(s, "kMG"), 64)
	if err != nil || !(n > 0) || n*unit > 1e12 {
		return 0, errors.New("must be bits per second, like 206000, 206k or 2M")
	}
	return n * unit, nil
}
