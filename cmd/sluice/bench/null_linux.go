package bench

import (
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
	joining []nullSocket // not yet among those of the pump

	sealed []byte // of the pump: what it has encrypted last
}

// nullSocket is a connection that a pump writes to.
type nullSocket struct {
	fd int
	c  *nullClient // nil where nothing is encrypted
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
func (p *pumps) add(c *nullClient) {
	fd, err := detach(c.Conn)
	if err != nil {
		return
	}
	socket := nullSocket{fd: fd}
	if c.encrypted != nil {
		socket.c, c.in = c, nil
	}
	p.mu.Lock()
	s := &p.shards[p.next%len(p.shards)]
	p.next++
	p.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.joining = append(s.joining, socket)
}

// Overhead of a record of TLS 1.3 with the ciphers that Go chooses: the header, the content's
// type and the authentication tag (RFC 8446 §5.2), and what a record may hold beside.
const (
	recordOverhead = 5 + 1 + 16
	maxRecord      = 16 << 10
)

// encrypt encrypts so much of data that it is as long on the wire as data is.
func (s *shard) encrypt(c *nullClient, data []byte) []byte {
	records := (len(data) + maxRecord - 1) / maxRecord
	s.sealed = s.sealed[:0]
	c.out = &s.sealed
	c.encrypted.Write(data[:max(1, len(data)-records*recordOverhead)]) // into memory, which cannot fail
	return s.sealed
}

// pump writes to its descriptors, at every tick, until close. What a socket does
// not take is lost.
func (p *pumps) pump(s *shard) {
	var sockets []nullSocket
	defer func() {
		for _, socket := range append(sockets, s.joining...) {
			unix.Close(socket.fd)
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
		sockets = append(sockets, s.joining...)
		s.joining = nil
		s.mu.Unlock()
		kept := sockets[:0]
		for _, socket := range sockets {
			out := data
			if socket.c != nil {
				out = s.encrypt(socket.c, data)
			}
			if _, err := rawconn.SendNow(socket.fd, out); err != nil {
				unix.Close(socket.fd)
				continue
			}
			kept = append(kept, socket)
		}
		sockets = kept
	}
}

func (p *pumps) close() {
	close(p.stop)
	p.running.Wait()
}
