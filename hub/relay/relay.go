// Package relay carries streams between servers. It pulls streams of others into the hub, always or
// when the first viewer asks (an edge), and pushes streams of the hub to others. It knows no
// protocol: what opens connections is given to it.
//
//	hub ── EventWanted ──▶ Relay ──▶ pull ──▶ Config.Open ──▶ Source ─▶ splice ─▶ hub.Publisher
//	hub ── EventPublished ▶ Relay ──▶ push ──▶ Config.Send ──▶ Sink ◀── hub.Reader
//
// A pull is one publisher of the hub for as long as its stream goes on, however often its
// upstream breaks: package splice joins what comes after a break to what came before it. A push is
// a reader, which holds up nobody. README.md says how it works together.
package relay

import (
	"time"

	"sluice/flv"
)

// Kind is what a relay does.
type Kind uint8

// The kinds.
const (
	Pull   Kind = iota // a stream is always pulled
	Origin             // streams are pulled when their first viewers come
	Push               // streams are pushed
	kinds              // how many there are
)

// String returns the kind as figures and the API call it.
func (k Kind) String() string { return [kinds]string{"pull", "origin", "push"}[k] }

// State is what a connection of a relay does.
type State uint8

// The states. Slow and Held are those of pushes only.
const (
	Idle       State = iota // nothing to do: nobody publishes, or somebody else does what a pull would
	Connecting              // it is opened, and nothing has come or gone yet
	Live                    // media flow; of a push, and are acknowledged
	Slow                    // the target takes less than there is: it jumped to a key frame
	BackingOff              // it failed, and is tried again in a while
	Refused                 // the other server refused it, or cannot take what there is
	Held                    // its publisher is gone and may come back: the target is told nothing
	states                  // how many there are
)

// String returns the state as figures and the API call it.
func (s State) String() string {
	return [states]string{"idle", "connecting", "live", "slow", "backing off", "refused", "held"}[s]
}

// Opening is what a Source is opened for.
type Opening struct {
	URL URL
	// Path are the ids of the nodes that the stream is wanted for, this one last: the server is
	// told, so that it refuses if it is among them.
	Path []string
	// Back is how much further back than usual the stream should begin; 0 for nowhere. It is asked
	// only of a server that has told its node's id.
	Back time.Duration
}

// Source is one connection to a server that a stream is pulled from. One goroutine reads; Close may
// be called at any time, and ends a ReadTag under way.
type Source interface {
	// ReadTag returns the next tag, whose data is valid until the next call. The error is io.EOF
	// where the server said that the stream is over, and a *Failure, or what net returns,
	// otherwise.
	ReadTag() (flv.Tag, error)
	// Buffered reports whether another tag, or a part of it, has already been received: what was
	// sent in one burst is not over.
	Buffered() bool
	// Node returns the id of the Sluice at the other end, empty if it is none or did not tell.
	Node() string
	// Remote returns the address that was dialled, "HOST:PORT" in numbers.
	Remote() string
	Close() error
}

// Sending is what a Sink is opened for.
type Sending struct {
	URL URL
	// Path are the ids of the nodes through which the stream has come, this one last.
	Path []string
}

// Sink is one connection to a server that a stream is pushed to. One goroutine writes; the other
// methods may be called at any time.
type Sink interface {
	// Shape returns the form of what the server understands.
	Shape() flv.Shape
	// Takes reports whether the server understands a codec, as far as what it has announced, or has
	// not, tells.
	Takes(flv.Codec) bool
	// WriteTags sends tags, and returns when the system has taken them. The error of a server
	// that ended the stream is a *Failure.
	WriteTags([]flv.Tag) error
	// Unacknowledged returns how many bytes were written that the other end has not acknowledged
	// (TCP), false where that is not known.
	Unacknowledged() (int, bool)
	// Moved returns a channel with what the server asked for last, if it asked to go on elsewhere.
	Moved() <-chan Move
	// Ended returns a channel that is closed when the server has ended the connection; Err then
	// says why.
	Ended() <-chan struct{}
	Err() error
	Remote() string
	// Close says that the stream is over, and waits a few seconds at the most for the server to
	// take that. Abort just closes the connection: the server waits for another, if it does.
	Close() error
	Abort()
}

// Move is a server's request to go on elsewhere.
type Move struct {
	URL    URL    // with the name that was opened
	Detail string // for people
}
