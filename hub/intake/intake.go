// Package intake waits for bytes on many connections without a goroutine for each.
//
// A connection that waits in a Read owns a goroutine, with a stack and a buffer,
// although most of thousands of publishers and viewers have nothing to say at any
// moment. Here a few pumps, one a core, wait for all of them. When a connection has
// bytes, or its deadline has passed, or it was woken, its pump calls its run function;
// a pump runs one connection after the other:
//
//	Add ──▶ idle ──Wait──▶ waiting ──bytes, the end, deadline, Wake──▶ queued ──▶ run
//	         ▲                                                                     │
//	         └─────────────────────────────────────────────────────────────────────┘
//
// As with fan-out the cost is that of the calls into the kernel, so pumps pace
// themselves: passes that take much of a core are followed by a pause, in which
// bytes gather, and one read gets what many would have got. With little to do there
// is none.
//
// A run that blocks does not hold up the others: when a pump is stuck in one for
// some milliseconds, another goroutine takes over what it does, and the stuck one
// ends when it comes back.
//
// Measured against a goroutine for each connection (rounds in turn, on a busy machine,
// cmd/sluice/bench/README.md): 9,000 RTMP players of one stream take 5.5 KB each instead
// of 16.4, 60 MB of memory instead of 156; 2,000 publishers 80 KB each, log included,
// instead of 101 to 133. Players cost the same CPU, within what rounds differ by, and
// their latency is no higher. That of publishers could not be told apart.
//
// This is for Linux. Elsewhere, and with connections that have no descriptor to wait
// for (pipes), Add says errors.ErrUnsupported, and the caller reads in a goroutine. An
// Opener, as TLS connections are, is waited for by the descriptor below it.
package intake

import (
	"net"
	"runtime"
	"sync/atomic"
	"time"
)

// Fixed measures.
const (
	// share is the share of one core that a pump uses before it pauses.
	share = 0.3
	// maxPause is the longest pause between two passes of a pump.
	maxPause = 50 * time.Millisecond
	// minPause is the shortest pause that is made: a shorter one is added to the
	// next. The clock of the poller ticks about as often.
	minPause = time.Millisecond
	// stuckCheck is the time between two looks at a pump that runs something. A pump
	// that is found in the same run twice is stuck.
	stuckCheck = 3 * time.Millisecond
)

// Config sets up a Pool.
type Config struct {
	// Workers is the number of pumps: one for each core if 0.
	Workers int
}

// Pool is a set of pumps and the sources that they wait for. Its methods may be
// called from any goroutine.
type Pool struct {
	pumps []*pump
	next  atomic.Uint32
}

// New starts a pool. It must be closed. Where the system has nothing to wait with,
// the pool takes no sources.
func New(cfg Config) *Pool {
	if cfg.Workers <= 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	p := new(Pool)
	for range cfg.Workers {
		if pump, err := newPump(); err == nil {
			p.pumps = append(p.pumps, pump)
		}
	}
	return p
}

// Close ends the pumps and waits for runs under way. Sources that wait are not run
// any more, nor are those that are added later.
func (p *Pool) Close() {
	for _, pump := range p.pumps {
		pump.close()
	}
}

// Opener is a connection whose descriptor's bytes are not what its reader gets, since they
// are encrypted.
type Opener interface {
	net.Conn
	// NetConn returns the connection whose descriptor is waited for.
	NetConn() net.Conn
	// TryRead is Source.TryRead. read reads the descriptor's bytes, and its errors, among
	// them ErrNothing, are returned.
	TryRead(p []byte, read func(p []byte) (int, error)) (int, error)
}

// ErrNothing is what Source.TryRead returns when there is nothing to read yet. It
// is a net.Error that is a timeout.
var ErrNothing error = nothing{}

type nothing struct{}

func (nothing) Error() string   { return "intake: nothing to read yet" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }
