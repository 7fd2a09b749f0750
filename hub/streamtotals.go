package hub

import (
	"cmp"
	"slices"
	"time"
)

// StreamTotals are the streams that there are, by state, and sums of what became of the tags
// of all since the hub was made, which outlast streams and never decrease.
type StreamTotals struct {
	Waiting int // viewers, no publisher
	Live    int
	Grace   int // publisher gone, viewers held
	Ended   int // that have viewers left, who are sent what is still to be sent

	LogBytes int64 // of memory, in the logs of all streams

	GOPCuts uint64            // how often a GOP outgrew its bound
	Jumps   uint64            // how often a publisher's clock jumped and was mended
	Filled  uint64            // frames of silence put in where a publisher sent no sound
	Skipped map[string]uint64 // tags that were not taken, by each of SkipReasons
}

// SkipReasons returns why tags are not taken, in words of a bounded set.
func SkipReasons() (words []string) {
	for why := notSkipped + 1; why < skips; why++ {
		words = append(words, why.String())
	}
	return words
}

// streamSums are the sums of one stream or of many.
type streamSums struct {
	cuts, jumps, filled uint64
	skipped             [skips]uint64
}

func (a *streamSums) add(b *streamSums) {
	a.cuts += b.cuts
	a.jumps += b.jumps
	a.filled += b.filled
	for why, n := range b.skipped {
		a.skipped[why] += n
	}
}

// sumsLocked returns what has become of the stream's tags.
func (s *Stream) sumsLocked() streamSums {
	return streamSums{cuts: s.log.gopCut, jumps: s.timeline.Jumps(), filled: s.facts.filled, skipped: s.facts.skipped}
}

// sumUpLocked adds up a stream that ends: nothing is published to it any more.
func (s *Stream) sumUpLocked() {
	sums, l := s.sumsLocked(), &s.hub.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	if !s.summed {
		s.summed = true
		l.streams.add(&sums)
	}
}

// StreamTotals returns the sums of all streams. It looks at each stream once, and at no viewer.
func (h *Hub) StreamTotals() StreamTotals {
	h.mu.Lock()
	t := StreamTotals{Ended: len(h.draining), LogBytes: h.logged.bytes.Load()}
	h.mu.Unlock()
	type present struct {
		stream *Stream
		sums   streamSums
	}
	var running []present
	for _, s := range h.all() {
		s.mu.RLock()
		switch s.state {
		case stateWaiting:
			if !s.isForNobodyLocked() {
				t.Waiting++
			}
		case stateLive:
			t.Live++
		case stateGrace:
			t.Grace++
		}
		if sums := s.sumsLocked(); sums != (streamSums{}) {
			running = append(running, present{s, sums})
		}
		s.mu.RUnlock()
	}
	h.ledger.mu.Lock()
	sums := h.ledger.streams
	for i := range running {
		if p := &running[i]; !p.stream.summed { // those that have ended meanwhile are in there
			sums.add(&p.sums)
		}
	}
	h.ledger.mu.Unlock()
	t.GOPCuts, t.Jumps, t.Filled = sums.cuts, sums.jumps, sums.filled
	t.Skipped = make(map[string]uint64, skips)
	for why := notSkipped + 1; why < skips; why++ {
		t.Skipped[why.String()] = sums.skipped[why]
	}
	return t
}

// Watched is how much a live stream is watched.
type Watched struct {
	Stream  string // as it may be shown: APP/NAME, or what Config.Disguise makes of it
	Viewers int    // those who wait for their first frame included
	Bitrate int64  // bits per second of tag bodies from its publisher, over the last seconds
}

// MostWatched returns the n live streams that have most viewers, the most watched first, those of
// self-tests left out. It looks at each stream once, and at no viewer.
func (h *Hub) MostWatched(n int) []Watched {
	now := time.Now()
	var live []Watched
	for _, s := range h.all() {
		s.mu.RLock()
		if s.pub != nil && !s.key.IsCheck() {
			live = append(live, Watched{s.pub.session.Shown(), len(s.viewers), s.facts.rate.perSecond(now) * 8})
		}
		s.mu.RUnlock()
	}
	slices.SortFunc(live, func(a, b Watched) int {
		return cmp.Or(cmp.Compare(b.Viewers, a.Viewers), cmp.Compare(a.Stream, b.Stream))
	})
	return slices.Clone(live[:min(n, len(live))])
}
