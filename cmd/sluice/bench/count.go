package bench

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"sluice/httpflv/websocket"
)

// counter holds the viewers that only count the bytes they are sent. Its methods
// may be called from several goroutines.
type counter interface {
	// add takes a viewer over, connection and all.
	add(v *viewer, watch, stream int) error
	// begin starts the window, in which each viewer counts for d.
	begin(d time.Duration)
	// finish waits until all windows are over, and ends those that are not now if
	// cut is set.
	finish(cut bool)
	// each calls f with every viewer; after finish.
	each(f func(counted))
	// status tells how many viewers are there still, and what came for all of
	// them.
	status() (alive int, received int64)
	// close ends all of them.
	close()
}

// counted is what a viewer of a counter has seen.
type counted struct {
	watch, stream int           // as told to add
	bytes         int64         // in its window
	began         int64         // the window's first moment
	window        time.Duration // how long it was; 0 if it has none
	ended         string        // why it ended, empty if it didn't
}

// Words to the server, so that it does not take a counting viewer for dead. RTMP
// servers may ask for an acknowledgement after a window, which is 2.5 MB with most
// of them, and end clients that are silent for minutes; a Pong may be sent unasked (RFC 6455
// §5.5.3).
const (
	ackEvery   = 1_000_000 // bytes
	speakEvery = 40 * time.Second
)

// tell returns what a viewer has to say after the given number of bytes, nil if
// nothing; spoke is the number at which it spoke last. An encrypted one says by time alone
// what was prepared.
func (p protocol) tell(received, spoke int64, silent time.Duration, prepared *words) []byte {
	switch {
	case prepared != nil && silent < speakEvery:
		return nil
	case prepared != nil:
		return prepared.next()
	case silent >= speakEvery, p == rtmpPlay && received-spoke >= ackEvery:
		return p.word(received)
	}
	return nil
}

// word returns what a viewer has to say from time to time, nil if nothing.
func (p protocol) word(received int64) []byte {
	switch p {
	case rtmpPlay:
		return appendAck(nil, uint32(received))
	case wsFLV:
		return websocket.AppendPong(nil, nil)
	}
	return nil
}

// appendAck appends an Acknowledgement (RTMP 1.0 §5.4.3) with the chunk header of
// form 0 on chunk stream 2 (§5.3.1).
func appendAck(dst []byte, received uint32) []byte {
	const chunkStream, acknowledgement, size = 2, 3, 4
	dst = append(dst, chunkStream, 0, 0, 0, 0, 0, size, acknowledgement, 0, 0, 0, 0)
	return binary.BigEndian.AppendUint32(dst, received)
}

// readers is the counter for every system: a goroutine for each viewer.
type readers struct {
	buffers  sync.Pool
	running  sync.WaitGroup
	alive    atomic.Int64
	received atomic.Int64

	mu      sync.Mutex
	viewers []*reading
	started time.Time // of the window
	length  time.Duration
	closing bool
}

// reading is a viewer of readers.
type reading struct {
	counted
	v      *viewer
	total  atomic.Int64
	before int64 // total when the window began
}

// newReaders returns an empty counter.
func newReaders() *readers {
	return &readers{buffers: sync.Pool{New: func() any { return new([readBuffer]byte) }}}
}

func (r *readers) add(v *viewer, watch, stream int) error {
	x := &reading{counted: counted{watch: watch, stream: stream}, v: v}
	x.total.Store(v.conn.received.Load())
	r.mu.Lock()
	defer r.mu.Unlock()
	r.viewers = append(r.viewers, x)
	r.alive.Add(1)
	r.running.Go(func() { r.read(x) })
	return nil
}

// read counts until the connection ends.
func (r *readers) read(x *reading) {
	conn := x.v.conn.Conn
	spoke, spokeAt := x.total.Load(), time.Now()
	for {
		buf := r.buffers.Get().(*[readBuffer]byte)
		n, err := conn.Read(buf[:])
		r.buffers.Put(buf)
		r.received.Add(int64(n))
		total := x.total.Add(int64(n))
		if err != nil {
			r.mu.Lock()
			if !r.closing {
				x.ended = reason(err)
			}
			r.mu.Unlock()
			r.alive.Add(-1)
			return
		}
		if b := x.v.protocol.tell(total, spoke, time.Since(spokeAt), x.v.words); b != nil {
			spoke, spokeAt = total, time.Now()
			conn.SetWriteDeadline(spokeAt.Add(time.Second))
			conn.Write(b) // a server that does not take it ends the connection
		}
	}
}

func (r *readers) begin(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started, r.length = time.Now(), d
	for _, x := range r.viewers {
		x.before = x.total.Load()
	}
}

func (r *readers) finish(cut bool) {
	if wait := time.Until(r.started.Add(r.length)); wait > 0 && !cut {
		time.Sleep(wait)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	length := time.Since(r.started)
	for _, x := range r.viewers {
		x.began, x.window, x.bytes = moment(r.started), length, x.total.Load()-x.before
	}
}

func (r *readers) each(f func(counted)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.viewers {
		f(x.counted)
	}
}

func (r *readers) status() (int, int64) { return int(r.alive.Load()), r.received.Load() }

func (r *readers) close() {
	r.mu.Lock()
	r.closing = true
	for _, x := range r.viewers {
		x.v.conn.Close()
	}
	r.mu.Unlock()
	r.running.Wait()
}
