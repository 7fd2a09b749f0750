package httpflv

import (
	"errors"
	"net"
	"time"

	"sluice/hub/fanout"
	"sluice/hub/intake"
)

// maxIgnored is how much a viewer over HTTP may send behind its request before nobody reads any more
// of it, in bytes: it has nothing to say.
const maxIgnored = 64 << 10

// Bounds on what one read may be of: with little in it TLS reads up to 16 records before, and all of them
// cost.
const (
	minIgnored = 64  // bytes that a read counts as, at least
	turnReads  = 100 // reads at a time; then it is the turn of others
)

// encryptedInput reads what the client of a body sends over TLS and ignores it. There are things in it
// that TLS has to answer (a key update, RFC 8446 §4.6.3), and the client's end. Nobody reads from
// viewers who are not encrypted: what becomes of them is seen when they are written to.
type encryptedInput struct {
	source  *intake.Source
	outlet  *fanout.Outlet // set by begin, before anything is read
	ignored int            // of the goroutine that runs the source
}

// readEncrypted returns what reads from a connection, nil if that is not encrypted, or can't be waited for.
func (h *Handler) readEncrypted(conn net.Conn) *encryptedInput {
	if _, ok := conn.(intake.Opener); !ok || h.Intake == nil {
		return nil
	}
	in := new(encryptedInput)
	source, err := h.Intake.Add(conn, in.run)
	if err != nil {
		return nil
	}
	in.source = source
	return in
}

// begin begins to read. outlet is closed when the client has left.
func (in *encryptedInput) begin(outlet *fanout.Outlet) {
	if in == nil {
		return
	}
	in.outlet = outlet
	in.source.Wake() // TLS may have read more than the request
	in.source.Wait(time.Time{})
}

// run reads what there is.
func (in *encryptedInput) run() {
	var buf [512]byte
	for reads := 0; in.ignored <= maxIgnored; reads++ {
		if reads == turnReads {
			in.source.Wake()
			in.source.Wait(time.Time{})
			return
		}
		n, err := in.source.TryRead(buf[:])
		in.ignored += max(n, minIgnored)
		if err == nil {
			continue
		}
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			in.source.Wait(time.Time{})
			return
		}
		in.outlet.Fail(err)
		return
	}
}

// encryptedOutput is the connection of an outlet that is also read from.
type encryptedOutput struct {
	net.Conn
	source *intake.Source
}

// outOf returns the connection of the outlet.
func outOf(conn net.Conn, in *encryptedInput) fanout.Conn {
	if in == nil {
		return conn
	}
	return &encryptedOutput{conn, in.source}
}

// NetConn returns the connection itself.
func (o *encryptedOutput) NetConn() net.Conn { return o.Conn }

// Close takes the connection out of the intake first, as that requires.
func (o *encryptedOutput) Close() error {
	o.source.Close()
	return o.Conn.Close()
}
