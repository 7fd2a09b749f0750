package admission

import "net"

// First is given the first bytes that a connection sends, one at least, and keeps none of them.
// Its error is what the connection's reader gets in their place.
type First func(nc net.Conn, b []byte) error

// firstRead is what a connection has to show first. It belongs to whoever reads from it.
type firstRead struct{ look First } // nil once it was shown, and where nobody wants to see it

// passed returns what a read of a connection returned, n bytes in b and err, or what First says.
func (f *firstRead) passed(nc net.Conn, b []byte, n int, err error) (int, error) {
	look := f.look
	if look == nil || n == 0 {
		return n, err
	}
	f.look = nil
	if why := look(nc, b[:n]); why != nil {
		return 0, why
	}
	return n, err
}
