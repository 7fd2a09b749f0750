// Package splice makes one run of the media that one connection after another to an upstream
// brings, so that a break of the upstream is no event for viewers: what a new connection repeats is
// dropped, what it goes on with has the timestamps that it would have had without the break.
//
//	connection 1  k p p p p k p p|
//	connection 2                k p p p p p k p …     its clock begins anywhere
//	run           k p p p p k p p     p p p k p …     on the clock of connection 1
//
// It knows what went on by marks: a hash of each packet, with its time, of the last few seconds.
// See [Run] for the rules.
package splice

import (
	"time"

	"sluice/flv"
)

// Out is where a run goes.
type Out interface {
	// Tag takes the next tag of the run, on the run's clock. Its data is valid until Tag returns.
	Tag(flv.Tag) error
	// Cut says that the next tags do not go on with what there was: they are the codec headers of
	// another encoding, or of the same after a gap that could not be joined, and the frames from
	// a key frame on, with timestamps of a clock of their own. It is called before the first of
	// them (hub.Publisher.Restart).
	Cut()
}

// Outcome says what became of a connection.
type Outcome uint8

// The outcomes.
const (
	First   Outcome = iota // there is nothing to join it to: all goes on as it is
	Joining                // nothing goes on: its place is being looked for, or a key frame waited for
	Joined                 // its packets follow on those before as if there had been no break
	Cut                    // it was gone on with at a key frame, after Out.Cut
)

// String returns a word for o.
func (o Outcome) String() string { return [...]string{"first", "joining", "joined", "cut"}[o] }

// Counts are what a run has seen since it was made.
type Counts struct {
	Joined uint64 // connections that were joined at the exact packet
	Cuts   uint64 // times that it went on at a key frame instead
	Known  uint64 // packets that came again and were dropped
	// Undecodable are frames that were dropped since frames are lost that they need: they came
	// behind a gap and before the next key frame.
	Undecodable uint64
}

// Config bounds the memory of a Run. The zero value is useful.
type Config struct {
	// MaxMarks is how many packets it remembers, 16 bytes each; 4096 if 0. It takes memory only
	// for those since the key frame before the newest, or of 3 s where that is more (10 s of a
	// stream without key frames): 5 KB for 25 pictures/s with sound and GOPs of 2 s.
	MaxMarks int
	// MaxHeld is how many bytes of packets it holds while it joins a connection, with at most
	// one packet beyond that; 4 MiB if 0.
	MaxHeld int
}

// Defaults of Config.
const (
	defaultMaxMarks = 4096
	defaultMaxHeld  = 4 << 20
)

// Run is the media of one connection after another, as one run. It is for one goroutine at a time.
//
//	First ──Begin──▶ Joining ──▶ Joined: catching up, then passing on ──Begin──▶ Joining
//	                    │            │ contradiction
//	                    │            ▼
//	                    │         Joining: waits for a key frame
//	                    ▼            ▼
//	                   Cut at a key frame: passing on ──Begin──▶ Joining
//
// The rules, each of which a test is named after:
//
//   - A connection is joined where a run of its packets is the same as one that went on: in each
//     track the same bytes in the same order, with timestamps that are off by the same, ±8 ms.
//     Tracks are compared each on its own, since servers interleave them as they like.
//   - A run begins at a key frame; in a stream without, and where the first key frame is not
//     known but the sound before it is, at any packet.
//   - It is sure with three packets whose bytes were seen only once, or such a key frame and new
//     bytes behind it; small pictures count for nothing. Until then, in still pictures and silence, what counts is the end of the burst that
//     the server begins with, which is now: of the places where the bytes fit, GOPs behind all
//     that is known included, that is taken which is now by the clock.
//   - What contradicts a run ends it: the connection is gone on with at a key frame.
type Run struct {
	cfg     Config
	outcome Outcome
	counts  Counts
	fresh   bool
	origin  time.Time // of arrivals

	// What went on.
	marks   marks
	tracks  []trackID
	headers headers
	newest  uint32 // the timestamp of the last frame
	edge    edge

	// Of the present connection.
	offset uint32  // what is added to its timestamps
	own    headers // that it has sent
	end    int64   // of the marks that are older than it
	// hadVideo says that pictures are among these.
	hadVideo bool
	joining
	place *guess // where it belongs, while it catches up with what is known
	fixed bool   // offset is decided
	since uint32 // timestamp of the first fresh frame
}

// New returns a Run that waits for its first connection.
func New(cfg Config) *Run {
	if cfg.MaxMarks <= 0 {
		cfg.MaxMarks = defaultMaxMarks
	}
	if cfg.MaxHeld <= 0 {
		cfg.MaxHeld = defaultMaxHeld
	}
	return &Run{cfg: cfg}
}

// Limit sets Config.MaxHeld anew, for the connection that Begin begins next.
func (r *Run) Limit(maxHeld int) { r.cfg.MaxHeld = maxHeld }

// Begin says that the next tags come from a new connection. It need not be called before the first.
// A connection that ended while it was being joined leaves no trace.
func (r *Run) Begin() {
	r.fresh, r.place, r.fixed = false, nil, false
	r.joining = joining{}
	r.own = nil
	if r.marks.n == 0 {
		r.outcome, r.offset = First, 0
		return
	}
	r.outcome = Joining
	r.end = r.marks.end()
	r.hadVideo = false
	for track, id := range r.tracks {
		r.hadVideo = r.hadVideo || id.typ() == flv.TypeVideo && r.marks.last(uint8(track), r.end) >= 0
	}
}

// Take takes the next tag of the connection, which came at now. It gives to out what goes on: often
// just that tag, none while the connection is being joined or brings what is known, and many when
// its place has been found. more says that another tag, or a part of it, has already been
// received: the burst that a server begins with is not over. t.Data is copied if it is held. An
// error is one of out, and the end of the Run.
func (r *Run) Take(t flv.Tag, now time.Time, more bool, out Out) error {
	if r.origin.IsZero() {
		r.origin = now
	}
	it := r.understand(t, uint32(now.Sub(r.origin)/time.Millisecond))
	changed := false // a header that replaces another one of this connection
	if it.kind == header {
		changed = r.own.set(&it, r.headers)
	}
	if r.outcome == Joining && !r.lost {
		return r.join(&it, more, changed, out)
	}
	return r.goOn(&it, out)
}

// pass lets a tag go on.
func (r *Run) pass(it *item, out Out) error {
	t := it.tag
	t.Timestamp += r.offset
	switch it.kind {
	case frame:
		r.remember(it, t.Timestamp)
	case script, opaque:
		// Its track is none of those that are compared.
		r.marks.push(mark{sum: it.sum, ts: t.Timestamp, track: maxTracks}, r.cfg.MaxMarks)
	case header:
		r.headers.set(it, r.own)
	}
	return out.Tag(t)
}

// remember makes the mark of a frame that goes on at a time.
func (r *Run) remember(it *item, ts uint32) {
	k := mark{sum: it.sum, ts: ts, track: it.track}
	if it.key {
		k.flags = markKey
		if it.main && !r.sameGOP(it.track, ts) {
			k.flags |= markGOP
		}
	}
	if p := r.place; p != nil && p.tracks[it.track].gap {
		p.tracks[it.track].gap = false
		k.flags |= markGap
	}
	r.marks.push(k, r.cfg.MaxMarks)
	r.newest = ts
	r.edge.note(it.came-ts, it.came)
	if !r.fresh {
		r.fresh, r.since = true, ts
	}
}

// sameGOP reports whether the newest GOP begins with the picture of a time: one that comes in
// several packets.
func (r *Run) sameGOP(track uint8, ts uint32) bool {
	if !r.marks.hasKeys() {
		return false
	}
	k := r.marks.at(r.marks.gops[1])
	return k.ts == ts && k.track == track
}

// Outcome returns what became of the present connection so far.
func (r *Run) Outcome() Outcome { return r.outcome }

// New reports whether frames of the present connection have gone on that were not known: it is
// worth something.
func (r *Run) New() bool { return r.fresh }

// Counts returns what the run has seen since it was made.
func (r *Run) Counts() Counts { return r.counts }
