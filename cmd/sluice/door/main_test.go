package door

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

// caller is a connection that comes from an address and can be closed.
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

// street is a listener that accepts who is waiting there.
type street struct {
	net.Listener
	waiting []net.Conn
}

var errEmpty = errors.New("nobody is waiting")

func (s *street) Accept() (net.Conn, error) {
	if len(s.waiting) == 0 {
		return nil, errEmpty
	}
	c := s.waiting[0]
	s.waiting = s.waiting[1:]
	return c, nil
}

// entrance is a door on a street.
type entrance struct {
	*Door
	street *street
	l      net.Listener
}

func newEntrance(t *testing.T, cfg Config, answers bool) *entrance {
	t.Helper()
	e := &entrance{Door: New(cfg), street: &street{}}
	e.l = e.Listen(e.street, answers)
	t.Cleanup(e.Close)
	return e
}

// guest is a caller and the connection that was accepted of it, nil if it was
// turned away.
type guest struct {
	*caller
	in net.Conn
}

// here reports whether the guest is in and was not given up.
func (g guest) here() bool { return g.in != nil && g.closed == 0 }

// comes lets somebody come from an address.
func (e *entrance) comes(t testing.TB, from string) guest {
	t.Helper()
	g := guest{caller: &caller{from: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 40000))}}
	e.street.waiting = append(e.street.waiting, g.caller)
	var err error
	if g.in, err = e.l.Accept(); err != nil {
		require.ErrorIs(t, err, errEmpty)
		require.Equal(t, 1, g.closed, "who is turned away is closed")
	}
	return g
}

// crowdOf lets n come at once.
func (e *entrance) crowdOf(t testing.TB, n int, from string) []guest {
	t.Helper()
	guests := make([]guest, n)
	for i := range guests {
		guests[i] = e.comes(t, from)
	}
	return guests
}

// here counts who is in and was not given up.
func here(guests []guest) (n int) {
	for _, g := range guests {
		if g.here() {
			n++
		}
	}
	return n
}

func settle(guests ...guest) {
	for _, g := range guests {
		Settle(g.in)
	}
}
