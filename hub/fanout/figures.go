package fanout

import (
	"sync/atomic"
	"time"
)

// Figures are what a pool has done since it was made, and how many viewers are congested now.
type Figures struct {
	Workers   int
	Passes    uint64        // of all workers
	Spent     time.Duration // in passes, by the clock on the wall
	Served    uint64        // viewers, each once in each pass over its stream
	Congested int           // connections, now, that are written to directly and have not taken all that is due
}

// Figures returns the present figures. It waits for nobody: no lock of a pass is taken.
func (p *Pool) Figures() Figures {
	f := Figures{Workers: len(p.workers), Congested: int(p.congested.Load())}
	for _, w := range p.workers {
		f.Passes += w.work.passes.Load()
		f.Spent += time.Duration(w.work.nanoseconds.Load())
		f.Served += w.work.served.Load()
	}
	return f
}

// work is what a worker has done. Only its goroutine changes it, once a pass.
type work struct {
	passes, nanoseconds, served atomic.Uint64
}

// passed notes a pass that served so many viewers.
func (w *work) passed(viewers int, took time.Duration) {
	w.passes.Store(w.passes.Load() + 1)
	w.nanoseconds.Store(w.nanoseconds.Load() + uint64(took))
	w.served.Store(w.served.Load() + uint64(viewers))
}
