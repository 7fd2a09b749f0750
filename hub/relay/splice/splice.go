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

// Run is the media of one connection after another, as one run. It is for one goroutine at a time.
type Run struct {
	cfg     Config
	outcome Outcome
	counts  Counts
	fresh   bool
}

// New returns a Run that waits for its first connection.
func New(cfg Config) *Run { return &Run{cfg: cfg} }

// Begin says that the next tags come from a new connection. It need not be called before the first.
// A connection that ended while it was being joined leaves no trace.
func (r *Run) Begin() { r.fresh = false }

// Take takes the next tag of the connection, which came at now. It gives to out what goes on: often
// just that tag, none while the connection is being joined or brings what is known, and many when
// its place has been found. more says that another tag, or a part of it, has already been
// received: the burst that a server begins with is not over. t.Data is copied if it is held. An
// error is one of out, and the end of the Run.
func (r *Run) Take(t flv.Tag, now time.Time, more bool, out Out) error {
	r.fresh = true
	return out.Tag(t)
}

// Outcome returns what became of the present connection so far.
func (r *Run) Outcome() Outcome { return r.outcome }

// New reports whether frames of the present connection have gone on that were not known: it is
// worth something.
func (r *Run) New() bool { return r.fresh }

// Counts returns what the run has seen since it was made.
func (r *Run) Counts() Counts { return r.counts }
