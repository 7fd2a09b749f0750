package rawconn

import (
	"net"
	"syscall"
)

// maxWrapped bounds the connections inside one another that Of looks into.
const maxWrapped = 8

// Of returns the system's side of a connection, its own or that of what is inside it by a method
// NetConn, as *tls.Conn has one; nil if there is none.
func Of(nc net.Conn) syscall.RawConn {
	for range maxWrapped {
		if sc, ok := nc.(syscall.Conn); ok {
			if raw, err := sc.SyscallConn(); err == nil {
				return raw
			}
		}
		outer, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		nc = outer.NetConn()
	}
	return nil
}
