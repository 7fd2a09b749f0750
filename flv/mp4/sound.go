package mp4

// Timestamps of sound are in ms, which is no multiple of what a frame of sound lasts: 1024
// samples at 48 kHz come 21, 22, 21 ms apart. Players want durations that are exact, and
// some take each that is not for a gap or an overlap, which is heard. So the duration of a
// frame is what its codec says as long as timestamps agree with the sum of these; where
// they part for good, something is missing, or too much, and the frame before is made
// longer or shorter.

const (
	// slack is by how much a timestamp may differ from the sum of durations at the least,
	// in ms; otherwise by half a frame.
	slack = 3
	// lasting is after how many further samples a difference is there to stay, or for a gap
	// at the end of the file. It is not where an encoder sends several frames with the
	// timestamp of the first one.
	lasting = 8
	// correctionsPart is the part of samples that may be corrected: 1 in so many. With
	// more, the codec's durations are not what the sound has, and timestamps are taken.
	correctionsPart = 16
)

// clock gives the samples of a track their decoding times.
type clock struct {
	exact bool
	rate  int64 // units a second: the track's timescale

	n           int
	pos         int64  // of the last sample, in units
	frame       uint32 // of the last sample, in units
	corrections int
	longest     int64 // distance of two samples, in units
}

// next returns the decoding time of the sample that c is at, from the first one, in units. It
// is to be called for each sample in their order.
func (k *clock) next(c *cursor) int64 {
	at := c.time
	if k.rate != 1000 {
		at = (at*k.rate + 500) / 1000
	}
	if k.n == 0 {
		at = 0
	} else {
		if k.exact {
			if due := k.pos + int64(k.frame); !k.parts(c, due) {
				at = due
			} else {
				k.corrections++
			}
		}
		at = max(at, k.pos+1)
	}
	k.longest = max(k.longest, at-k.pos)
	k.n++
	k.pos, k.frame = at, c.frame
	return at
}

// parts reports whether the timestamps from c on have parted for good from what is due by
// durations.
func (k *clock) parts(c *cursor, due int64) bool {
	first := k.differs(c, due)
	if first == 0 {
		return false
	}
	ahead := *c
	for range lasting {
		due += int64(ahead.frame)
		if !ahead.next() {
			return first > 0
		}
		if k.differs(&ahead, due) != first {
			return false
		}
	}
	return true
}

// differs returns 1 for a sample that comes too late for when it is due, -1 for one that
// comes too early, 0 within what is allowed.
func (k *clock) differs(c *cursor, due int64) int {
	allowed := max(int64(c.frame)/2, slack*k.rate/1000)
	switch d := c.time*k.rate/1000 - due; {
	case d > allowed:
		return 1
	case d < -allowed:
		return -1
	}
	return 0
}

// clock returns the clock of a track that is complete.
func (t *track) clock() clock { return clock{exact: t.exact, rate: t.timescale} }

// completeSound decides whether durations can be exact.
func (t *track) completeSound() {
	const maxDuration = 1<<32 - 1 // of a sample (ISOBMFF §8.6.1.2)
	t.timescale, t.exact = int64(t.descriptions[0].rate), !t.rates
	for {
		k, c := t.clock(), t.samples.read()
		exact := t.exact
		for c.next() {
			k.next(&c)
			exact = exact && c.frame > 0 && k.corrections <= 1+k.n/correctionsPart+lasting
		}
		t.end, t.last = k.pos, int64(k.frame)
		if !t.exact {
			t.last = max(1, t.last*1000/int64(t.descriptions[t.current].rate))
			return
		}
		if exact && k.longest <= maxDuration {
			return
		}
		t.timescale, t.exact = 1000, false
	}
}
