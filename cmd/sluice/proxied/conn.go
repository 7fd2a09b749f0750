package proxied

import "net"

// tcpConn is the connection of a proxy for a client: an admission.Proxied.
type tcpConn struct {
	*net.TCPConn
	client *net.TCPAddr
}

// RemoteAddr returns the client's address.
func (c *tcpConn) RemoteAddr() net.Addr { return c.client }

// ProxyConn returns the connection itself, whose remote address is the proxy's.
func (c *tcpConn) ProxyConn() *net.TCPConn { return c.TCPConn }

// plainConn is a connection of any other type.
type plainConn struct {
	net.Conn
	client *net.TCPAddr
}

// RemoteAddr returns the client's address.
func (c *plainConn) RemoteAddr() net.Addr { return c.client }

func newConn(nc net.Conn, client *net.TCPAddr) net.Conn {
	if tcp, ok := nc.(*net.TCPConn); ok {
		return &tcpConn{tcp, client}
	}
	return &plainConn{nc, client}
}
