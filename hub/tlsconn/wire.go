package tlsconn

import (
	"errors"
	"net"
	"sync"
	"time"
)

// maxPending bounds the records that wait until somebody writes, in bytes. They are answers to what the
// peer sent for TLS alone, of which it sends few as long as it reads them.
const maxPending = 4 << 10

// answerTimeout is how long a peer has to take an answer that whoever reads makes, where no outlet writes.
const answerTimeout = 10 * time.Second

// errPending is the end of a peer that has us answer and does not read the answers.
var errPending = errors.New("tlsconn: too many answers wait for a peer that does not read them")

// wire is what a tls.Conn takes for its connection.
//
// crypto/tls calls Write with its lock for writing held, so the order in which records come is that
// in which they were encrypted, and the only one in which the peer can read them: those of AppendRecords
// and those that the reader makes have to go out through one place.
type wire struct {
	net.Conn                             // which carries the records
	slots    *slots                      // during the handshake; nil after it
	tryRead  func(p []byte) (int, error) // during Conn.TryRead; of the goroutine that reads
	post     post                        // after the handshake; of that goroutine, too

	mu         sync.Mutex
	direct     bool      // records are kept for AppendRecords
	collecting bool      // between collect and collected
	records    []byte    // that are kept; while collecting in the caller's buffer, behind what that has
	flush      func()    // see Conn.Direct
	writing    bool      // what comes is what somebody writes, and not only an answer of the reader's
	deadline   time.Time // for writing; zero for none
}

// NetConn returns the connection that carries the records, for whoever has the tls.Conn only (HTTP/2).
func (w *wire) NetConn() net.Conn { return w.Conn }

// Read reads encrypted bytes: for TryRead without blocking, and otherwise as the connection does.
func (w *wire) Read(p []byte) (int, error) {
	if err := w.post.check(); err != nil {
		return 0, err
	}
	if w.tryRead != nil {
		n, err := w.tryRead(p)
		w.post.came(n)
		return n, err
	}
	w.flushPending() // which was made of what was read just now
	w.slots.leave()
	n, err := w.Conn.Read(p)
	w.slots.enter()
	w.post.came(n)
	return n, err
}

// flushPending has pending records written.
func (w *wire) flushPending() {
	w.mu.Lock()
	flush, pending := w.flush, len(w.records) > 0
	w.mu.Unlock()
	if pending && flush != nil {
		flush()
	}
}

// Write takes records.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	if w.direct {
		defer w.mu.Unlock()
		if !w.collecting && len(w.records)+len(p) > maxPending {
			return 0, errPending
		}
		w.records = append(w.records, p...)
		return len(p), nil
	}
	// A write's deadline stays when it is done, and may have passed when the reader answers.
	now := time.Now()
	if !w.writing && w.slots == nil && !w.deadline.After(now) {
		w.Conn.SetWriteDeadline(now.Add(answerTimeout))
		defer w.restoreWriteDeadline()
	}
	// One that is under way when an outlet takes the connection over is the answer to what a peer
	// sent that does not wait for answers; only that peer sees what becomes of it.
	w.mu.Unlock()
	w.slots.leave()
	n, err := w.Conn.Write(p)
	w.slots.enter()
	return n, err
}

func (w *wire) restoreWriteDeadline() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.Conn.SetWriteDeadline(w.deadline)
}

// SetWriteDeadline is for the last record of a tls.Conn, which crypto/tls gives a deadline of its own.
func (w *wire) SetWriteDeadline(t time.Time) error {
	if w.isDirect() { // the deadline is that of another writer
		return nil
	}
	return w.setWriteDeadline(t)
}

// setWriteDeadline sets the deadline of whoever writes.
func (w *wire) setWriteDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = t
	return w.Conn.SetWriteDeadline(t)
}

func (w *wire) setWriting(writing bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writing = writing
}

func (w *wire) isDirect() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.direct
}

// collect appends what is pending to dst, and lets what follows be appended.
func (w *wire) collect(dst []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.records, w.collecting = append(dst, w.records...), true
}

// collected returns what collect has begun.
func (w *wire) collected() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	records := w.records
	w.records, w.collecting = nil, false
	return records
}
