package bench

// expectation is how many bytes counting viewers should have got in a window. A
// stream takes more bytes than were published of it, by what the protocol adds;
// how much that is, the checking viewers tell.
type expectation struct {
	ratio     []float64 // by URL: bytes received for each byte published
	mean      []float64 // by URL: bytes of a checking viewer, if nothing is known of the stream
	published []int64   // by stream, nil if somebody else publishes
	slack     float64   // bytes: a frame that falls on either side of the window's edges
	length    float64   // seconds of the window
}

// newExpectation returns what is expected of a crowd.
func newExpectation(o *options, c *crowd, w *window) *expectation {
	e := &expectation{ratio: make([]float64, len(o.watch)), mean: make([]float64, len(o.watch)), length: w.length.Seconds()}
	if c.pubs != nil {
		e.slack = float64(c.loop.largest())
		for i, first := range w.sent[0] {
			e.published = append(e.published, c.loop.bytes(w.sent[1][i])-c.loop.bytes(first))
		}
	}
	checks := make([]float64, len(o.watch))
	published := make([]float64, len(o.watch))
	for _, x := range c.checks {
		if x.ended != "" {
			continue
		}
		checks[x.watch]++
		e.mean[x.watch] += float64(x.after - x.before)
		if e.published != nil {
			published[x.watch] += float64(e.published[x.stream])
		}
		e.slack = max(e.slack, float64(x.largest))
	}
	for i := range o.watch {
		if published[i] > 0 {
			e.ratio[i] = e.mean[i] / published[i]
		}
		if checks[i] > 0 {
			e.mean[i] /= checks[i]
		}
	}
	return e
}

// of returns the bytes that a viewer should have got, and how many more or less are
// fine; 0 if nobody knows.
func (e *expectation) of(x counted) (bytes, slack float64) {
	bytes = e.mean[x.watch]
	if e.published != nil {
		bytes = e.ratio[x.watch] * float64(e.published[x.stream])
	}
	return bytes * x.window.Seconds() / e.length, e.slack
}
