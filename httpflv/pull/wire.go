package pull

import (
	"net"
	"os"
	"syscall"
	"time"

	"sluice/hub/rawconn"
)

// wire is a source's connection, in the clear or what carries TLS. It is read by one goroutine.
type wire struct {
	net.Conn
	raw     syscall.RawConn // nil where there is none
	silence time.Duration   // how long a Read may take; 0 for as long as it takes
	until   time.Time       // when all of them must be done, if silence is not 0
	set     time.Time       // the deadline that the connection has
	now     bool            // Read waits for nothing
}

func newWire(nc net.Conn) *wire {
	w := &wire{Conn: nc}
	if rawconn.Supported {
		w.raw = rawconn.Of(nc)
	}
	return w
}

// allow lets all reads that follow take so long together; 0 for as long as it takes.
func (w *wire) allow(d time.Duration) {
	w.silence, w.until = d, time.Now().Add(d)
	if d == 0 && !w.set.IsZero() {
		w.set = time.Time{}
		w.SetReadDeadline(w.set)
	}
}

// Read reads what there is. What takes too long, and with now what is not there, is an
// os.ErrDeadlineExceeded, after which crypto/tls goes on.
func (w *wire) Read(p []byte) (int, error) {
	if w.now {
		if w.raw == nil {
			return 0, os.ErrDeadlineExceeded
		}
		n, err := rawconn.TryRead(w.raw, p)
		if n == 0 && err == nil {
			err = os.ErrDeadlineExceeded
		}
		return n, err
	}
	if w.silence > 0 {
		deadline := time.Now().Add(w.silence)
		if w.until.Before(deadline) {
			deadline = w.until
		}
		// A deadline costs as much as a short read: one that is a little early does as well.
		if early := deadline.Sub(w.set); early < 0 || early > w.silence/16 {
			w.set = deadline
			if err := w.SetReadDeadline(deadline); err != nil {
				return 0, err
			}
		}
	}
	return w.Conn.Read(p)
}
