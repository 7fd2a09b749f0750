package relay

import "time"

// position is how far a run of frames has come. Frames that were sent in a burst, or held up on their
// way, are older than the moment at which they come: after a break in the middle of a burst, what is missing
// began before the break. The zero position is that of no frame.
type position struct {
	first time.Time     // when the first frame came
	last  uint32        // the timestamp of the last one
	media time.Duration // from the first frame to the last
	least time.Duration // by how much a frame came later than the first one would have it, at the least
	at    time.Duration // from the coming of the first to that of the last
}

// drift is how fast least may grow, in parts of time: faster than any two clocks drift apart.
const drift = 1000

// take notes a frame.
func (p *position) take(timestamp uint32, now time.Time) {
	if p.first.IsZero() {
		*p = position{first: now, last: timestamp}
		return
	}
	p.media += time.Duration(int32(timestamp-p.last)) * time.Millisecond
	p.last = timestamp
	at := now.Sub(p.first)
	p.least = min(p.least+(at-p.at)/drift, at-p.media)
	p.at = at
}

// age returns how long ago the last frame was the newest one: 0 for no frame.
func (p *position) age(now time.Time) time.Duration {
	if p.first.IsZero() {
		return 0
	}
	return max(0, now.Sub(p.first)-p.media-p.least)
}
