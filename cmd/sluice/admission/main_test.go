package admission

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain fails the package if goroutines are left when its tests have ended.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := leftGoroutines(5 * time.Second); code == 0 && len(left) > 0 {
		fmt.Fprintf(os.Stderr, "leaked goroutines:\n\n%s\n", strings.Join(left, "\n\n"))
		code = 1
	}
	os.Exit(code)
}

// leftGoroutines returns the stacks of goroutines, other than the caller's and the
// test framework's, that are still there after the grace.
func leftGoroutines(grace time.Duration) []string {
	for deadline := time.Now().Add(grace); ; time.Sleep(10 * time.Millisecond) {
		buf := make([]byte, 4<<20)
		stacks := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
		var left []string
		for _, s := range stacks[1:] { // the first is the caller's
			if !strings.Contains(s, "testing.(*M).startAlarm") && !strings.Contains(s, "os/signal.") {
				left = append(left, s)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

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
	l       net.Listener
}

func newRig(t *testing.T, cfg Config, answers bool) *rig {
	t.Helper()
	r := &rig{Control: New(cfg), backlog: &backlog{}}
	r.l = r.Listen(r.backlog, answers)
	t.Cleanup(r.Close)
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
