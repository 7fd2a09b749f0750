package cluster

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sluice/flv"
	"sluice/hub"
)

// Position is the place of a packet in a stream, the same at all nodes.
type Position struct {
	// Incarnation is the id of the stream's life, from its first publisher until it is over: 16 digits
	// of hex.
	Incarnation string
	// Epoch grows by one whenever another node becomes the owner.
	Epoch uint64
	// Number is that of the packet. Numbers grow from packet to packet and from epoch to epoch, and
	// may leave some out.
	Number uint64
}

// String returns what ParsePosition reads.
func (p Position) String() string {
	return p.Incarnation + "/" + strconv.FormatUint(p.Epoch, 10) + "/" + strconv.FormatUint(p.Number, 10)
}

// ParsePosition reads INCARNATION/EPOCH/NUMBER.
func ParsePosition(text string) (Position, error) {
	incarnation, rest, _ := strings.Cut(text, "/")
	epoch, number, _ := strings.Cut(rest, "/")
	p := Position{Incarnation: incarnation}
	var errEpoch, errNumber error
	p.Epoch, errEpoch = strconv.ParseUint(epoch, 10, 64)
	p.Number, errNumber = strconv.ParseUint(number, 10, 64)
	if len(incarnation) > maxIncarnation || !hub.IsNodeID(incarnation) || errEpoch != nil || errNumber != nil {
		return Position{}, fmt.Errorf("no position: it is INCARNATION/EPOCH/NUMBER")
	}
	return p, nil
}

// maxIncarnation bounds an incarnation's id, in bytes.
const maxIncarnation = 32

// Opening is what a Source is opened for.
type Opening struct {
	Address string // HOST:PORT of the owner's inner protocol
	Boot    string // the id of the owner's process: another one that answers there is refused
	Key     hub.Key
	From    *Position // the first packet that is wanted; nil for the newest key frame
}

// Source is one connection to a node from which a stream is copied. One goroutine calls Next; Close may be
// called at any time, and ends a Next under way.
type Source interface {
	// Start returns what the node said of where it begins.
	Start() Start
	// Next returns what comes next, whose data is valid until the next call; each second where nothing comes,
	// an item that says nothing, as a sign of life. The error is *Ended where the node said that the stream is
	// over.
	Next() (Item, error)
	Close() error
}

// Open opens a Source. The error is a *hub.Refusal where the node refused, ErrStale where it is no
// owner of the epoch that is asked for any more, and what net returns otherwise.
type Open func(context.Context, Opening) (Source, error)

// Start is where a copy begins.
type Start struct {
	At   Position // of the first packet that follows
	Time int64    // its time, in ms of the stream's clock
	// Joined says that it begins with the packet that was asked for, or with the first one of a later
	// epoch that follows on what was asked for: nothing is missing and nothing comes twice.
	Joined bool
	// Audio and Video say which main tracks there are, where Tracks says that this is known.
	Tracks, Audio, Video bool
	Boot                 string // the id of the node's process
}

// tracks notes which main tracks there are, where any is known.
func (s *Start) tracks(video, audio flv.Codec) {
	s.Video, s.Audio = video != 0, audio != 0
	s.Tracks = s.Video || s.Audio
}

// Item is a packet, or something that is said between two.
type Item struct {
	Tag    flv.Tag  // as it was sent; its timestamp is Time modulo 2^32. Of Type 0 where there is none
	At     Position // of a header: that of the packet that it precedes
	Time   int64    // ms, on the stream's clock
	Header bool     // metadata or a codec header
	Reset  bool     // none of the headers before this one is in force any more
	First  bool     // it is the first one of what was not encoded in one go with what came before
	Lost   uint64   // so many packets before it were lost, since the copy was slow
}

// Ended is why a stream is over, as its owner says.
type Ended struct{ Reason hub.Reason }

func (e *Ended) Error() string { return "the stream is over: " + e.Reason.String() }

// Outflow is a stream that this node gives to another one. One goroutine calls Next; Close may be called at
// any time.
type Outflow interface {
	Start() Start
	// Next waits for packets, until the time given, and returns them; none where nothing came. They are
	// valid until the next call. The error is *Ended behind the last one.
	Next(ctx context.Context, until time.Time) ([]Item, error)
	Close()
}

// Streams gives streams to other nodes: what a server of the inner protocol asks.
type Streams interface {
	// Serve begins at a position, or at the newest key frame. asker is the id of the process that wants
	// it. The error is a *hub.Refusal, or ErrStale where this node does not have the epoch that is
	// asked for. It returns as soon as it is known where the stream begins, or ctx ends.
	Serve(ctx context.Context, asker string, key hub.Key, from *Position) (Outflow, error)
}

// ErrStale is the error of a node that is asked for a later epoch than it has: another one has become the
// owner.
var ErrStale = fmt.Errorf("cluster: another node owns the stream by now")
