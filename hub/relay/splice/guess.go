package splice

import (
	"math"

	"sluice/flv"
)

// Timestamps of the same packets on two connections are off by the same, within jitter ms: servers
// round them, this one and those before it, to which what is known owes its time.
const jitter = 8

// Evidence of a guess: packets whose bytes were seen just once are telling. Those of a still
// picture are small, and may come again in the next GOP.
const (
	enough     = 3  // telling packets: it is sure
	smallVideo = 64 // bytes; smaller video packets tell nothing
)

// guess is where a connection may belong: what its clock is off by, and for each track which mark
// comes next. It goes on as long as each packet is the one that it must be.
type guess struct {
	delta  uint32 // the run's clock minus the connection's, of the pair that led to it
	mark   int64  // of that pair
	nth    int    // of that pair: which frame of the connection
	track  uint8  // of that pair
	beyond bool   // the connection begins behind all marks: delta is by the clock
	fed    int    // frames of the connection so far

	lo, hi int32  // differences from delta that were met
	sum, n int64  // of all differences, and how many
	newest int64  // the last mark that was met
	full   uint32 // what its timestamp differs by, all 32 bits
	tells  int    // telling packets
	video  bool   // video packets are among those that were met
	tracks [maxTracks]cursor
}

// cursor is a guess's place in a track.
type cursor struct {
	state cursorState
	next  int64 // behind the last mark that was met
	seen  bool
	gap   bool // it was passed with a packet that may not follow on the last mark
}

type cursorState uint8

const (
	ahead   cursorState = iota // no packet has been found among the marks
	inside                     // the last one was
	passed                     // all of the marks came
	waiting                    // packets between are lost: a key frame must come
)

// verdict is what a guess makes of a frame.
type verdict uint8

const (
	known verdict = iota // it went on before
	fresh
	undecodable // it is behind a gap
	contradiction
)

// newGuess returns the guess that the nth frame of the connection is the packet of a mark.
func newGuess(m *marks, it *item, nth int, number int64) *guess {
	return &guess{delta: m.at(number).ts - it.tag.Timestamp, mark: number, nth: nth, track: it.track, newest: -1}
}

// anew returns the guess as it was before any packet.
func (g *guess) anew() *guess {
	return &guess{delta: g.delta, mark: g.mark, nth: g.nth, track: g.track, beyond: g.beyond, newest: -1}
}

// feed takes the connection's next frame.
func (g *guess) feed(r *Run, it *item) verdict {
	nth := g.fed
	g.fed++
	v := g.place(r, it, nth)
	if v == fresh && g.video && g.tells > 0 && g.tells < enough && tells(r, it) && r.marks.count(it.sum, r.end) == 0 {
		g.tells++ // new bytes follow: it is no still picture of which a key frame came again
	}
	return v
}

// tells reports whether a packet is large enough to tell something.
func tells(r *Run, it *item) bool { return len(it.tag.Data) >= smallVideo || !r.isVideo(it.track) }

// place says what the connection's nth frame is.
func (g *guess) place(r *Run, it *item, nth int) verdict {
	c := &g.tracks[it.track]
	c.seen = true
	switch c.state {
	case inside:
		i := r.marks.next(it.track, c.next, r.end)
		if i == r.end {
			c.state = passed
			return fresh
		}
		if k := r.marks.at(i); k.flags&markGap != 0 {
			if off := diff(k.ts, it.tag.Timestamp+g.delta); off > 0 && (k.sum != it.sum || !g.fits(off)) {
				return known // as good as that: lost, and too late now
			}
		}
		return g.meet(r, it, i)
	case passed:
		return fresh
	case waiting:
		return g.behind(r, it)
	}
	switch {
	case g.beyond:
		return g.byTime(r, it)
	case it.track != g.track:
	case nth < g.nth:
		return known // older than all marks
	case nth == g.nth:
		return g.meet(r, it, g.mark)
	}
	return g.find(r, it)
}

// find looks for the first packet of a track.
func (g *guess) find(r *Run, it *item) verdict {
	at := it.tag.Timestamp + g.delta
	last := int64(-1)
	after, older := false, false
	for i := r.marks.next(it.track, 0, r.end); i < r.end; i = r.marks.next(it.track, i+1, r.end) {
		off := diff(r.marks.at(i).ts, at)
		if off > 0 && !after {
			after = true
			older = last < 0 || r.marks.at(i).flags&markGap != 0 // or lost
		}
		last = i
		if g.fits(off) && r.marks.at(i).sum == it.sum {
			return g.meet(r, it, i)
		}
	}
	switch {
	case last < 0 || diff(at, r.marks.at(last).ts) >= -jitter/4: // another packet than the last, so a later one
		return g.behind(r, it)
	case older:
		return known
	}
	return contradiction
}

// byTime says whether a packet of a track is known by nothing but its time.
func (g *guess) byTime(r *Run, it *item) verdict {
	last := r.marks.last(it.track, r.end)
	if last < 0 || diff(it.tag.Timestamp+g.delta, r.marks.at(last).ts) > 0 {
		return g.behind(r, it)
	}
	return known
}

// behind takes a packet that comes behind all of its track that is known, and perhaps not at once:
// video goes on at a key frame.
func (g *guess) behind(r *Run, it *item) verdict {
	c := &g.tracks[it.track]
	if r.tracks[it.track].typ() == flv.TypeVideo && !it.key {
		c.state = waiting
		return undecodable
	}
	c.state, c.gap = passed, true
	return fresh
}

// meet takes a packet that must be the one of a mark.
func (g *guess) meet(r *Run, it *item, number int64) verdict {
	k := r.marks.at(number)
	off := diff(k.ts, it.tag.Timestamp+g.delta)
	if k.sum != it.sum || k.track != it.track || !g.fits(off) {
		return contradiction
	}
	g.lo, g.hi = min(g.lo, off), max(g.hi, off)
	g.sum += int64(off)
	g.n++
	if number > g.newest {
		g.newest, g.full = number, k.ts-it.tag.Timestamp
	}
	g.video = g.video || r.isVideo(it.track)
	if g.tells < enough && tells(r, it) && r.marks.count(k.sum, r.end) == 1 {
		g.tells++
	}
	c := &g.tracks[it.track]
	c.state, c.next = inside, number+1
	return known
}

// fits reports whether a difference lies as close to the others as it must.
func (g *guess) fits(off int32) bool { return max(g.hi, off)-min(g.lo, off) <= jitter }

// offset returns what to add to timestamps of the connection: the mean difference of all packets that
// were met, and in bit 31 that of the last one, since a clock may have wrapped at 2^31 on one side.
func (g *guess) offset() uint32 {
	if g.n == 0 {
		return g.delta
	}
	mean := uint32(int32(math.Round(float64(g.sum) / float64(g.n))))
	return g.full + uint32(diff(g.delta+mean, g.full))
}

// over reports whether all tracks that have marks have passed them.
func (g *guess) over(r *Run) bool {
	for track := range r.tracks {
		if g.tracks[track].state != passed && r.marks.next(uint8(track), 0, r.end) < r.end {
			return false
		}
	}
	return true
}
