package bench

import "time"

// expectation is how many bytes counting viewers should have got, each in its own
// window. It is worked out from the frames that were due then, less the time that
// they are on their way, and from what the protocol adds to them, which the checking
// viewers tell.
type expectation struct {
	pubs *publishers // nil if somebody else publishes
	by   []expected  // by URL
}

// expected is what is expected of the viewers of a URL.
type expected struct {
	ratio float64       // bytes received for each byte of FLV
	delay time.Duration // from when a frame is due to when it is there
	blur  time.Duration // how much that varies
	rate  float64       // bytes a second, if nothing is known of the stream
	slack float64       // bytes of the largest frame
	// tracks are those that the viewers are sent: a URL may ask for one of them.
	tracks trackSet
}

// newExpectation returns what is expected of a crowd that has left.
func newExpectation(c *crowd, w *window) *expectation {
	e := &expectation{pubs: c.pubs, by: make([]expected, len(c.o.watch))}
	checks := make([]struct {
		wire, parsed, window, count int64
		latency                     histogram
		largest                     int
		tracks                      trackSet
	}, len(e.by))
	for _, x := range c.checks {
		if x.ended != "" {
			continue
		}
		sum := &checks[x.watch]
		sum.count++
		sum.wire += x.v.conn.received.Load() - x.v.head
		sum.parsed += x.parsed
		sum.window += x.after - x.before
		sum.latency.merge(&x.latency)
		sum.largest = max(sum.largest, x.largest)
		for id := range x.tracks {
			sum.tracks[id] = sum.tracks[id] || x.tracks[id].begun
		}
	}
	for i := range e.by {
		sum := &checks[i]
		if sum.count == 0 || sum.parsed == 0 {
			continue
		}
		e.by[i] = expected{
			ratio: float64(sum.wire) / float64(sum.parsed),
			delay: sum.latency.mean(),
			blur:  sum.latency.percentile(99),
			rate:  float64(sum.window) / float64(sum.count) / w.length.Seconds(),
			slack: float64(sum.largest), tracks: sum.tracks,
		}
		if c.pubs != nil {
			e.by[i].slack = max(e.by[i].slack, float64(c.loop.largest(sum.tracks)))
			e.by[i].delay += c.pubs.interval / 2
			e.by[i].blur += c.pubs.interval
		}
	}
	return e
}

// of returns the bytes that a viewer should have got, and how many more or less are
// fine since they come at the edges of its window; 0 if nobody knows.
func (e *expectation) of(x counted) (bytes, slack float64) {
	w := e.by[x.watch]
	slack = w.slack + w.rate*w.blur.Seconds()
	if e.pubs == nil {
		return w.rate * x.window.Seconds(), slack
	}
	p := e.pubs.list[x.stream]
	from := clock.Add(time.Duration(x.began)).Add(-w.delay)
	return w.ratio * float64(p.bytesBefore(from.Add(x.window), w.tracks)-p.bytesBefore(from, w.tracks)), slack
}

// bytesBefore returns how much of some tracks was due before a moment, as FLV.
func (p *publication) bytesBefore(t time.Time, of trackSet) int64 {
	if p.sink == nil {
		return 0
	}
	return p.loop.bytes(p.loop.framesBefore(t.Sub(p.start)), of)
}
