// Package fanout carries what is in a stream's log to the sockets of its viewers.
//
// The cost of fan-out is the kernel's share of the write calls, so a few workers
// (pumps) each serve a shard of the viewers: a pass walks them, frames everything
// between a viewer's cursor and the head of the log into the worker's one buffer,
// and makes one non-blocking write. A healthy viewer has no goroutine and no
// buffer.
//
//	hub.Stream ─wakes─▶ worker ──pass──▶ Outlet ──one write──▶ connection
//	                                        │ not all of it taken
//	                                        ▼
//	                               goroutine with a deadline, until caught up
//
// An Outlet is the write half of one connection and keeps what goes out through
// it in order, whether a viewer's media or a session's own messages. One that
// can't take everything at once, and one whose connection has no file descriptor
// to write to directly (HTTP/2), is written to by a goroutine of its own, by
// the same code on the same cursors.
package fanout

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"sluice/hub/waitgroup"
)

// Fixed bounds.
const (
	// passLimit is about how many bytes one write of a pass holds. It bounds what is
	// kept framed for a viewer that does not take them, a large frame aside.
	passLimit = 32 << 10
	// drainLimit is the same for the goroutine of a congested viewer, and for a new
	// one, whose connection as a rule does not take a whole GOP at once.
	drainLimit = 8 << 10
	// maxUnsent is about how many bytes the kernel may hold for a connection that it
	// can't send yet. Left to itself it takes megabytes, of which a viewer that is
	// behind would have to see each before it could jump to the live edge.
	maxUnsent = 128 << 10
	// maxQueued bounds a session's own messages that wait for a congested
	// connection.
	maxQueued = 256 << 10
	// writeSlice is how much a congested connection has to take within
	// Config.WriteTimeout, where it can't be seen that its peer takes less.
	writeSlice = 32 << 10
	// looks is how often within Config.WriteTimeout the kernel is asked whether a
	// peer that is behind has taken anything.
	looks = 4
	// quietCheck is the time between two looks at whether the peers of a stream
	// that sends nothing are still there.
	quietCheck = 5 * time.Second
)

// Auto is the Config.Coalesce with which workers set their own pace: a pass begins
// as soon as there is something to send, unless passes take so long that they
// would use more than a quarter of the machine; then packets are merged, which
// adds less than 200 ms to their latency.
const Auto time.Duration = -1

// Config sets up a Pool. The zero value sends every packet at once.
type Config struct {
	// Workers is the number of pumps: one for each core if 0.
	Workers int
	// Coalesce is the time between the beginnings of two passes of a worker, for
	// which packets are merged into one write: 0 sends every packet at once, Auto
	// finds its own measure.
	Coalesce time.Duration
	// WriteTimeout is how long a viewer that is behind may take nothing at all
	// before it is ended with hub.ReasonStalled: 30 s if 0. It is exact to a quarter
	// of that.
	WriteTimeout time.Duration
	// MaxUnwritten bounds what congested viewers hold of large frames, all together, in
	// bytes: 256 MiB if 0. Viewers that wait for the same frame share one copy. When
	// there is no room, those with the highest cost each are ended with
	// hub.ReasonStalled.
	MaxUnwritten int64
}

// Pool is a set of workers and the viewers they serve. Its methods may be called
// from any goroutine.
type Pool struct {
	cfg     Config
	workers []*worker
	next    atomic.Uint32
	cancel  context.CancelFunc
	rests   sharedRests
	// congested are the outlets that are written to directly and are draining.
	congested atomic.Int64
	// running are workers, goroutines of congested outlets, calls of Feed.Done and
	// connections that are being closed. Outlets are their owners' to close at any
	// time, also while Close waits.
	running waitgroup.Group
}

// New starts a pool. It must be closed.
func New(cfg Config) *Pool {
	if cfg.Workers <= 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	if cfg.WriteTimeout <= 0 {
		cfg.WriteTimeout = 30 * time.Second
	}
	if cfg.MaxUnwritten <= 0 {
		cfg.MaxUnwritten = 256 << 20
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Pool{cfg: cfg, cancel: cancel, rests: sharedRests{most: cfg.MaxUnwritten}}
	for range cfg.Workers {
		w := newWorker(p)
		p.workers = append(p.workers, w)
		p.running.Go(func() { w.run(ctx) })
	}
	return p
}

// Close breaks off what is still being served, with hub.ReasonShuttingDown, and
// waits for every goroutine of the pool. End streams gently before, with
// hub.Shutdown. Nobody is served any more: to attach to an outlet closes it.
func (p *Pool) Close() {
	p.cancel()
	p.running.Wait()
}
