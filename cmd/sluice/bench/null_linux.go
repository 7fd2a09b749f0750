package bench

import (
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sluice/hub/rawconn"
)

// pumps write the bytes of a null server, as cheaply as that can be (hub/rawconn): each has a share of the descriptors, all
// of them outside Go's poller, and writes once to each at every interval.
type pumps struct {
	interval time.Duration
	pass     int    // bytes that an interval is good for
	data     []byte // of maxBehind passes
	stop     chan struct{}
	running  sync.WaitGroup
	shards   []shard

	mu   sync.Mutex
	next int // the shard of the next connection
}

// shard is what a pump writes to.
type shard struct {
	mu      sync.Mutex
	joining []int // descriptors, not yet among those of the pump
}

// maxBehind is how many passes are made good in one by a pump that comes late, so
// that its rate stays what it should be.
const maxBehind = 8

// newPumps starts n pumps that write pass bytes to each connection at every
// interval.
func newPumps(n int, interval time.Duration, pass int) (*pumps, error) {
	p := &pumps{interval: interval, pass: pass, data: make([]byte, pass*maxBehind), stop: make(chan struct{}), shards: make([]shard, n)}
	for i := range p.shards {
		p.running.Go(func() { p.pump(&p.shards[i]) })
	}
	return p, nil
}

// add takes a connection over.
func (p *pumps) add(conn net.Conn) {
	fd, err := detach(conn)
	if err != nil {
		return
	}
	p.mu.Lock()
	s := &p.shards[p.next%len(p.shards)]
	p.next++
	p.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.joining = append(s.joining, fd)
}

// pump writes to its descriptors, at every tick, until close. What a socket does
// not take is lost.
func (p *pumps) pump(s *shard) {
	var fds []int
	defer func() {
		for _, fd := range append(fds, s.joining...) {
			unix.Close(fd)
		}
	}()
	start, done := time.Now(), int64(0) // before the ticker's: no tick comes early
	ticker := time.NewTicker(p.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-p.stop:
			return
		}
		passes := int64(time.Since(start)/p.interval) - done
		if passes < 1 {
			continue
		}
		done += passes
		data := p.data[:p.pass*int(min(passes, maxBehind))]
		s.mu.Lock()
		fds = append(fds, s.joining...)
		s.joining = nil
		s.mu.Unlock()
		kept := fds[:0]
		for _, fd := range fds {
			if _, err := rawconn.SendNow(fd, data); err != nil {
				unix.Close(fd)
				continue
			}
			kept = append(kept, fd)
		}
		fds = kept
	}
}

func (p *pumps) close() {
	close(p.stop)
	p.running.Wait()
}
