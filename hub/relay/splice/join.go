package splice

import (
	"bytes"

	"sluice/flv"
)

// Bounds of joining a connection.
const (
	maxHeldTags = 2048
	maxGuesses  = 1024
	maxTries    = 1 << 20 // packets that are compared again for new guesses
	maxAnchors  = 48      // frames of a connection with which a run is tried to begin, without key frames

	// A burst is over when nothing more has been received and no packet came faster than its
	// timestamps tell for quietTime, or for longTime whatever has been received.
	quietTime = 20  // ms
	longTime  = 250 // ms
	// Sound alone is taken for all of a stream that had pictures after this time.
	noVideoTime = 1_000 // ms

	// How far from now the newest packet may be for the clock to confirm a guess at once, in ms;
	// not more than a quarter of the time after which bytes may come again.
	leastNear, mostNear = 100, 500
)

// joining is what a Run holds while it looks for the place of a connection.
type joining struct {
	held     []item // with data of its own
	bytes    int    // of held
	frames   int    // how many were fed to guesses
	usable   int    // of held: at those before a cut makes no sense, as their headers are gone
	guesses  []*guess
	keyed    bool   // a known key frame has led to a guess
	again    *guess // of the first key frame whose bytes are known: the newest mark that has them
	lost     bool   // a key frame is waited for, whatever comes
	tries    int    // packets that were compared again
	search   int    // how many frames there must be for another search
	hasVideo bool

	began  uint32 // arrival of the first frame
	best   uint32 // arrival minus timestamp of the least late frame
	bestAt uint32 // when that last became less
}

// join takes a tag of a connection whose place is being looked for.
func (r *Run) join(it *item, more, changed bool, out Out) error {
	j := &r.joining
	j.hasVideo = j.hasVideo || it.tag.Type == flv.TypeVideo
	if it.kind == header {
		if changed {
			j.usable = len(j.held)
		}
		if r.headers.has(it) {
			return nil
		}
		if old := r.headers.find(it.slot); old != nil && old.codec != it.codec {
			r.lose() // another encoder
			return nil
		}
	}
	if it.kind != frame && r.full() {
		return nil // headers are among its own; of the rest nothing depends
	}
	j.hold(it)
	if it.kind != frame {
		return nil
	}
	j.clock(it)
	j.guesses = keep(j.guesses, func(g *guess) bool { return g.feed(r, it) != contradiction })
	j.frames++
	if len(j.guesses) == 0 {
		j.keyed = false // its bytes came again in another GOP; the right one may follow
	}
	if it.key {
		r.guessKeys(it)
	}
	return r.decide(it, more, out)
}

// keep drops those that fail.
func keep(guesses []*guess, ok func(*guess) bool) []*guess {
	kept := guesses[:0]
	for _, g := range guesses {
		if ok(g) {
			kept = append(kept, g)
		}
	}
	clear(guesses[len(kept):])
	return kept
}

// hold keeps a copy of a tag.
func (j *joining) hold(it *item) {
	own := *it
	own.tag.Data = bytes.Clone(it.tag.Data)
	j.held = append(j.held, own)
	j.bytes += len(own.tag.Data)
}

// clock takes note of when a frame came.
func (j *joining) clock(it *item) {
	v := it.came - it.tag.Timestamp
	switch off := diff(v, j.best); {
	case j.frames == 0:
		j.best, j.bestAt = v, it.came
		if j.began == 0 {
			j.began = it.came
		}
	case off < -2:
		j.best, j.bestAt = v, it.came
	case off < 0:
		j.best = v
	}
}

// full reports whether no more may be held.
func (r *Run) full() bool {
	return r.bytes > r.cfg.MaxHeld || len(r.held) >= maxHeldTags
}

// guessKeys makes a guess for each mark of a key frame that the last frame, it, may be.
func (r *Run) guessKeys(it *item) {
	for i := r.marks.first; i < r.end && len(r.guesses) < maxGuesses; i++ {
		k := r.marks.at(i)
		if k.sum != it.sum || k.track != it.track || k.flags&markKey == 0 {
			continue
		}
		g := newGuess(&r.marks, it, r.frames-1, i)
		if r.again == nil || r.again.nth == g.nth {
			r.again = g.anew()
		}
		r.try(g)
		r.keyed = len(r.guesses) > 0
	}
}

// try adds a guess if all that is held agrees with it and no other says the same, unless that is of
// the same frame: a picture of several packets with the same bytes.
func (r *Run) try(g *guess) {
	for _, other := range r.guesses {
		if off := diff(other.delta, g.delta); off >= -jitter && off <= jitter && other.nth != g.nth {
			return
		}
	}
	for i := range r.held {
		if it := &r.held[i]; it.kind != frame {
			continue
		} else if r.tries++; r.tries > maxTries || g.feed(r, it) == contradiction {
			return
		}
	}
	r.guesses = append(r.guesses, g)
}

// searchAll makes guesses with any frame, not only key frames. It costs something, so it is done
// again only when there are twice as many. Of frames whose bytes came more often than once it takes
// the first, and none where there are key frames: sound alone must be sure then.
func (r *Run) searchAll() {
	if r.frames < r.search {
		return
	}
	r.search = 2 * r.frames
	nth, often := -1, r.marks.hasKeys()
	for i := range r.held {
		it := &r.held[i]
		if it.kind != frame {
			continue
		}
		if nth++; nth == maxAnchors {
			return
		}
		if r.marks.count(it.sum, r.end) != 1 {
			if often {
				continue
			}
			often = true
		}
		for m := r.marks.first; m < r.end && len(r.guesses) < maxGuesses; m++ {
			if k := r.marks.at(m); k.sum == it.sum && k.track == it.track {
				r.try(newGuess(&r.marks, it, nth, m))
			}
		}
	}
}

// single returns the guess if there is just one place that fits: the first where several differ only in
// which packet of a picture they begin with.
func (j *joining) single() *guess {
	if len(j.guesses) == 0 {
		return nil
	}
	for _, g := range j.guesses[1:] {
		if g.delta != j.guesses[0].delta {
			return nil
		}
	}
	return j.guesses[0]
}

// decide joins the connection, or cuts, when enough is known.
func (r *Run) decide(it *item, more bool, out Out) error {
	if g := r.single(); g != nil && g.tells >= enough {
		return r.joinAt(g, out)
	}
	quiet := it.came - r.bestAt
	full := r.full()
	if more && quiet < longTime && !full {
		return nil
	}
	if !r.keyed {
		r.searchAll()
		if g := r.single(); g != nil && g.tells >= enough {
			return r.joinAt(g, out)
		}
	}
	over := quiet >= quietTime || full
	if g := r.byClock(over); g != nil {
		return r.joinAt(g, out)
	}
	if over {
		return r.giveUp(it, out)
	}
	return nil
}

// byClock returns the guess whose newest packet is now, nil if none is near enough and the burst may
// not be over, or none is acceptable.
func (r *Run) byClock(over bool) *guess {
	var best *guess
	var late, period int32
	last := true // best is the newest
	hasKeys := r.marks.hasKeys()
	for _, g := range r.guesses {
		if hasKeys && !g.video { // sound alone must be sure
			continue
		}
		l := diff(r.best-g.delta, r.edge.value())
		if best != nil {
			if step := max(late-l, l-late); step > 0 && (period == 0 || step < period) {
				period = step
			}
		}
		if best == nil || max(l, -l) < max(late, -late) {
			last = best == nil || diff(g.delta, best.delta) >= 0
			best, late = g, l
		} else if diff(g.delta, best.delta) > 0 {
			last = false
		}
	}
	if best == nil {
		if !over || r.again == nil {
			return nil
		}
		return r.beyond(r.again.delta, r.marks.gop)
	}
	if gop := r.marks.gop; gop > 0 && hasKeys {
		period = gop
	}
	near := min(max(period/4, leastNear), mostNear)
	if late <= near && late >= -near && (over || best.tells > 0 && r.single() == best) {
		return best
	}
	if !over {
		return nil
	}
	if last && best.tells < 2 {
		if g := r.beyond(best.delta, period); g != nil {
			return g
		}
	}
	return best
}

// beyond returns the guess that the connection brings bytes that are known, as they were with delta,
// but so many times period later as the clock tells; nil if it tells that they are those known.
func (r *Run) beyond(delta uint32, period int32) *guess {
	if period == 0 {
		return nil
	}
	n := (diff(r.best-delta, r.edge.value()) + period/2) / period
	if n <= 0 {
		return nil
	}
	return &guess{delta: delta + uint32(n*period), beyond: true, nth: -1, newest: -1}
}

// giveUp goes on without joining, if that is possible yet.
func (r *Run) giveUp(it *item, out Out) error {
	first := -1
	for i := r.usable; i < len(r.held); i++ {
		switch h := &r.held[i]; {
		case h.kind != frame:
		case h.main:
			return r.cutAt(r.held[i:], out)
		case first < 0:
			first = i
		}
	}
	if first >= 0 && !r.needsKey(it) {
		return r.cutAt(r.held[first:], out)
	}
	if r.full() {
		r.counts.Undecodable += uint64(r.frames)
		r.drop()
	}
	return nil
}

// needsKey reports whether a cut must be at a key frame: there are pictures, or may come, and some
// of them are key frames.
func (r *Run) needsKey(it *item) bool {
	if r.hasVideo {
		return r.marks.hasKeys() || !r.hadVideo
	}
	return r.hadVideo && it.came-r.began < noVideoTime
}
