package hub

import (
	"sync/atomic"

	"sluice/flv"
)

// cursor is a position in a stream's log, and what is to be had from there on. It holds
// no copy of anything. It has two uses: Viewer and Reader.
type cursor struct {
	dropped atomic.Uint64 // packets that it was too slow for

	fixedCodecs, scriptData, noAudio, noVideo bool // WatchOptions

	// Guarded by the stream's lock, held for writing: the stream's.
	stop    Reason
	started bool
	stopAt  uint64 // the packet at which it ends before its stream does, if stop is set

	// Guarded by the stream's lock, held for reading: the driver's. With the lock held for
	// writing, the stream may look too.
	next               uint64     // the next packet
	base               int64      // stream time of its timestamp 0
	headers            *headers   // those it has; nil before its first packet
	plan               *startPlan // where it starts, unless that is the usual place
	shape              flv.Shape
	audio, video       uint8 // which track of each type it gets
	hasAudio, hasVideo bool  // what the stream had when it started
	early              bool  // it has waited since before the first frame, and starts with it if there is only sound
	begun              bool  // it had its first frame, and has its base
	needKey            bool  // video is left out up to the next key frame
	evicted            bool  // ... because packets before it were gone: that counts as dropped
	wasPaused          bool
	complete           bool // its duration is over
}
