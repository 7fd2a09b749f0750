package bench

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Times between two lines of progress.
const (
	terminalProgress = 200 * time.Millisecond
	plainProgress    = 5 * time.Second
)

// progress writes a line about what is going on: the same one again and again on a
// terminal, one every few seconds otherwise.
type progress struct {
	out      io.Writer
	terminal bool
	stop     chan struct{}
	stopped  chan struct{}

	mu     sync.Mutex
	in     string // what the phases are part of, before their names
	phase  string
	status func() string
	began  time.Time // of the phase
}

// newProgress returns progress to out, to be closed.
func newProgress(out io.Writer) *progress {
	p := &progress{out: out, stop: make(chan struct{}), stopped: make(chan struct{})}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	go p.run()
	return p
}

// set says what is being done now; status adds what changes, and may be nil.
func (p *progress) set(phase string, status func() string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phase, p.status, p.began = p.in+phase, status, time.Now()
}

// within says what the phases to come are part of.
func (p *progress) within(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.in = what
}

func (p *progress) run() {
	defer close(p.stopped)
	every := plainProgress
	if p.terminal {
		every = terminalProgress
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			p.write()
		case <-p.stop:
			if p.terminal {
				fmt.Fprint(p.out, "\r\x1b[K")
			}
			return
		}
	}
}

// write writes a line.
func (p *progress) write() {
	p.mu.Lock()
	phase, status, since := p.phase, p.status, time.Since(p.began)
	p.mu.Unlock()
	if phase == "" {
		return
	}
	line := fmt.Sprintf("%s, %d s", phase, int(since.Seconds()))
	if status != nil {
		line += ": " + status()
	}
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K"+line)
	} else {
		fmt.Fprintln(p.out, line)
	}
}

func (p *progress) close() {
	close(p.stop)
	<-p.stopped
}
