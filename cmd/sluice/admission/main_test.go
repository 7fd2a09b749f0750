package admission

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestMain fails the package if goroutines are left when its tests have ended.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// caller is a connection from an address that counts how often it is closed.
type caller struct {
	net.Conn
	from   net.Addr
	closed int
}

func (c *caller) RemoteAddr() net.Addr { return c.from }

func (c *caller) Close() error {
	c.closed++
	return nil
}

// backlog is a listener that accepts who is waiting there.
type backlog struct {
	net.Listener
	waiting []net.Conn
}

var errEmpty = errors.New("nobody is waiting")

func (s *backlog) Accept() (net.Conn, error) {
	if len(s.waiting) == 0 {
		return nil, errEmpty
	}
	c := s.waiting[0]
	s.waiting = s.waiting[1:]
	return c, nil
}

// rig is an admission control with a listener whose connections a test makes.
type rig struct {
	*Control
	backlog *backlog
	l       *Listener
}

func newRig(t *testing.T, cfg Config, answers bool) *rig {
	t.Helper()
	r := &rig{Control: New(cfg), backlog: &backlog{}}
	r.l = r.Listen(r.backlog, answers)
	t.Cleanup(func() {
		r.Close()
		assert.Equal(t, r.Figures(), r.l.Figures(), "the only listener has all connections")
	})
	return r
}

// client is a caller and the connection that was accepted from it; in is nil if it was
// turned away.
type client struct {
	*caller
	in net.Conn
}

// open reports whether the client was admitted and has not been given up.
func (g client) open() bool { return g.in != nil && g.closed == 0 }

// connect connects a client from an address.
func (r *rig) connect(t testing.TB, from string) client {
	t.Helper()
	g := client{caller: &caller{from: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 40000))}}
	r.backlog.waiting = append(r.backlog.waiting, g.caller)
	var err error
	if g.in, err = r.l.Accept(); err != nil {
		require.ErrorIs(t, err, errEmpty)
		require.Equal(t, 1, g.closed, "a connection that is turned away is closed")
	}
	return g
}

// crowdOf lets n come at once.
func (r *rig) connectAll(t testing.TB, n int, from string) []client {
	t.Helper()
	clients := make([]client, n)
	for i := range clients {
		clients[i] = r.connect(t, from)
	}
	return clients
}

// open counts the clients that were admitted and have not been given up.
func open(clients []client) (n int) {
	for _, g := range clients {
		if g.open() {
			n++
		}
	}
	return n
}

func markActive(clients ...client) {
	for _, g := range clients {
		MarkActive(g.in)
	}
}

func markAsking(clients ...client) {
	for _, g := range clients {
		MarkAsking(g.in)
	}
}
