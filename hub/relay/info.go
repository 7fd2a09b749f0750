package relay

import (
	"errors"
	"time"

	"sluice/hub"
)

// MaxRules bounds the rules that are made at run time.
const MaxRules = 1000

// Errors of adding and removing rules; test with errors.Is.
var (
	ErrNoRule  = errors.New("there is no such relay")
	ErrExists  = errors.New("there is such a relay already")
	ErrFull    = errors.New("there are too many relays already")
	ErrByConf  = errors.New("the relay is of the configuration, which is where it ends")
	ErrUnsaved = errors.New("the relays cannot be written") // the change counts, and will be lost at a restart
)

// RuleInfo is what is told of a rule.
type RuleInfo struct {
	ID string // "pull-1", "push-3": the same until the process ends, or for good where it is kept
	By string // SLUICE_PULL, SLUICE_ORIGIN, SLUICE_PUSH, or "api"
	Rule
	Connections []ConnectionInfo // one for each stream that it relays, or would
}

// ConnectionInfo is what is told of one connection of a relay. Nothing in it is secret.
type ConnectionInfo struct {
	Key     hub.Key
	URL     URL // the present one
	State   State
	Since   time.Time // when the state began
	Remote  string    // HOST:PORT in numbers; "" while there is no connection
	Node    string    // of the Sluice at the other end; "" for none
	Detail  string    // what there is to say of the state, and why it is refused, or backs off; for people
	Error   string    // why it failed or broke the last time, though it may be live again; "" for never
	Session uint64    // of a pull, that of its publisher; 0 for none

	Bytes   uint64 // of media, received or sent
	Dropped uint64 // packets that a target was too slow for
	Tries   uint64 // to connect
	Breaks  uint64 // of connections that had been live
	Joined  uint64 // of these, where it went on at the exact packet
	Cuts    uint64 // and where at a key frame

	Lag  time.Duration // behind the newest packet, of a push
	Next time.Time     // when it is tried again; zero while it is not to be
}

// Figures are sums by kind: of connections by their state now, of the rest since the process began.
type Figures struct {
	Connections                                 [kinds][states]int
	Bytes, Dropped, Tries, Breaks, Joined, Cuts [kinds]uint64
}

// Event is a change of a connection's State that is told (Config.Told).
type Event struct {
	Kind           Kind
	Rule           string // its id
	ConnectionInfo        // after the change
}

// Kinds returns all kinds.
func Kinds() []Kind { return []Kind{Pull, Origin, Push} }

// States returns those that a connection of a kind can have.
func (k Kind) States() []State {
	if k == Push {
		return []State{Idle, Connecting, Live, Slow, BackingOff, Refused, Held}
	}
	return []State{Idle, Connecting, Live, BackingOff, Refused}
}
