package fanout

import "net"

// Lender is a connection that lends its file descriptor to the one outlet that writes to
// it. Without that, each write has to ask the connection to keep the descriptor open
// meanwhile (syscall.RawConn.Control), which costs two looks at memory that is seldom in
// the processor's cache, and four atomic operations, for each viewer and pass.
//
// A descriptor's number is given to another connection as soon as it is closed, and
// several parties may close a connection at any moment: its session, the admission, the
// outlet. So the one place that they all come to, the connection's Close, calls the
// number back first.
type Lender interface {
	// Lend returns the connection's descriptor, which does not block and stays the
	// connection's until revoke has returned. Close calls revoke before it closes the
	// descriptor. ok is false if the descriptor is lent or the connection is being
	// closed already; revoke is not called then.
	Lend(revoke func()) (fd int, ok bool)
}

// noDescriptor is the fd of an outlet that has no descriptor of its own to write to.
const noDescriptor = -1

// borrow asks the connection for its descriptor. Others may be around it (NetConn), as
// long as they let their bytes through unchanged, which those do that have a SyscallConn, and
// a Sealer, past which only records go.
func (o *Outlet) borrow() {
	// revoke waits for the lock, so it finds what is set here.
	o.mu.Lock()
	defer o.mu.Unlock()
	for c := any(o.conn); c != nil; {
		switch t := c.(type) {
		case Lender:
			if fd, ok := t.Lend(o.revoke); ok {
				o.fd = int32(fd)
			}
			return
		case interface{ NetConn() net.Conn }:
			c = t.NetConn()
		default:
			return
		}
	}
}

// revoke gives the descriptor back. No write to it is under way when it returns, and
// none follows: they are made with the lock held.
func (o *Outlet) revoke() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fd = noDescriptor
}
