package admission

import (
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// However a connection ends, it is counted once, and nothing of it is kept.
func TestClosedOnce(t *testing.T) {
	r := newRig(t, Config{}, false)
	clients := append(r.connectAll(t, 10, "192.0.2.1"), r.connectAll(t, 10, "2001:db8::1")...)
	markActive(clients[5:15]...)
	markAsking(clients[2:7]...) // of which two are active
	for _, g := range clients {
		g.in.Close()
		g.in.Close()
	}
	assert.Equal(t, Figures{Admitted: 20}, r.Figures())
	assert.Empty(t, r.addresses)
	assert.Nil(t, r.pending.most())
	assert.Nil(t, r.asking.most())
}

// The counts are right, whatever connections come, go and change their state.
func TestCountsHold(t *testing.T) {
	const most, perAddress = 60, 10
	for seed := range uint64(4) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			r := newRig(t, Config{MaxConnections: most, MaxPerAddress: perAddress}, seed%2 == 0)
			addresses := []string{"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1", "::1", "127.0.0.1", "10.1.1.1"}
			var clients []client
			for range 800 {
				switch n := random.IntN(20); {
				case n < 9:
					clients = append(clients, r.connect(t, addresses[random.IntN(len(addresses))]))
				case n < 19 && len(clients) > 0:
					g := clients[max(0, len(clients)-1-random.IntN(most))] // a recent one, or it is gone already
					switch {
					case g.in == nil:
					case n == 9:
						g.in.Close()
					case n == 10:
						become(g.in, pending, pending, asking, active)
					case n == 11:
						MarkPending(g.in)
					case n < 15:
						MarkAsking(g.in)
					default:
						MarkActive(g.in)
					}
				default:
					time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
				}
				r.check(t)
			}
			for _, g := range clients {
				if g.in != nil {
					g.in.Close()
				}
			}
			r.check(t)
			f := r.Figures()
			assert.Zero(t, f.Open)
			assert.Empty(t, r.addresses)
			assert.Zero(t, r.turned.n)
			assert.NotZero(t, f.GivenUp)
			assert.NotZero(t, f.TurnedFull)
			assert.NotZero(t, f.TurnedByAddress)
		})
	}
}

// check compares what is known of each address with the numbers in all.
func (r *rig) check(t *testing.T) {
	t.Helper()
	open, waits := 0, [2]int{}
	for key, a := range r.addresses {
		require.Equal(t, key, a.key)
		require.Positive(t, a.open)
		require.LessOrEqual(t, a.open, r.cfg.MaxPerAddress)
		open += a.open
		for i, g := range []*group{&a.pending, &a.asking} {
			n := 0
			for c := g.first; c != nil; c = c.after {
				if c.from != a || c.state != []state{pending, asking}[i] || c.after != nil && c.after.since <= c.since {
					require.Fail(t, "not in the queue of its address and state, or not in its place")
				}
				n++
			}
			require.Equal(t, n, g.n)
			require.Equal(t, n > 0, g.place > 0)
			require.Same(t, a, g.of)
			waits[i] += n
		}
	}
	for i, w := range []*waiting{&r.pending, &r.asking} {
		require.Equal(t, waits[i], w.n)
		for i, g := range w.byAddress {
			require.Equal(t, i+1, g.place)
			if i > 0 {
				require.False(t, w.byAddress.Less(i, (i-1)/2), "a heap")
			}
		}
	}
	f := r.Figures()
	require.Equal(t, open, f.Open)
	require.Equal(t, waits, [2]int{f.Pending, f.Asking})
	require.LessOrEqual(t, f.Open, r.cfg.MaxConnections)
	require.LessOrEqual(t, r.turned.n, maxTurned)
}

// admittedTCP returns both ends of a connection that was admitted.
func admittedTCP(t *testing.T, a *Control, answers bool) (client *net.TCPConn, accepted net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	accepted, err = a.Listen(l, answers).Accept()
	require.NoError(t, err)
	t.Cleanup(func() { accepted.Close() })
	return c.(*net.TCPConn), accepted
}

// An admitted connection can still do what a connection of the operating system can.
func TestTCPConnectionsStayWhatTheyAre(t *testing.T) {
	a := New(Config{})
	defer a.Close()
	client, c := admittedTCP(t, a, false)
	assert.Implements(t, (*syscall.Conn)(nil), c)
	assert.Implements(t, (*io.ReaderFrom)(nil), c)
	assert.Implements(t, (*io.WriterTo)(nil), c)
	assert.Implements(t, (*interface{ CloseWrite() error })(nil), c)
	assert.Implements(t, (*interface{ SetNoDelay(bool) error })(nil), c)
	raw, err := c.(syscall.Conn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(uintptr) {}))
	require.NoError(t, c.(interface{ CloseWrite() error }).CloseWrite())
	_, err = client.Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.EOF)
	assert.Equal(t, 1, a.Figures().Open, "it is only shut")
	c.Close()
	assert.Zero(t, a.Figures().Open)
	assert.ErrorIs(t, raw.Control(func(uintptr) {}), net.ErrClosed)
}

// A connection that is given up ends a Read at the server, and is reset for the client.
func TestGivenUpIsClosed(t *testing.T) {
	a := New(Config{MaxConnections: 1, Patience: time.Nanosecond})
	defer a.Close()
	client, c := admittedTCP(t, a, false)
	ended := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		ended <- err
	}()
	time.Sleep(time.Millisecond) // it is old then
	_, next := admittedTCP(t, a, false)
	assert.ErrorIs(t, <-ended, net.ErrClosed)
	_, err := client.Read(make([]byte, 1))
	assert.ErrorIs(t, err, syscall.ECONNRESET)
	next.Close()
}

// Only so many are told why at a time; an old one of them makes room for a new one.
func TestFewAreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{MaxConnections: 1}, true)
		viewer := r.connect(t, "192.0.2.1")
		markActive(viewer)
		answered := r.connectAll(t, maxTurned, "192.0.2.2")
		assert.Equal(t, maxTurned, open(answered))
		assert.False(t, r.connect(t, "192.0.2.3").open())
		time.Sleep(later)
		assert.True(t, r.connect(t, "192.0.2.3").open())
		assert.False(t, answered[0].open())
		assert.Equal(t, Figures{Open: 1, Admitted: 1, TurnedFull: maxTurned + 2}, r.Figures())
		answered[1].in.Close()
		assert.True(t, r.connect(t, "192.0.2.3").open())
		viewer.in.Close()
		assert.Equal(t, pending, connOf(r.connect(t, "192.0.2.3").in).current(), "admitted")
	})
}

// The descriptor of a connection that is given up is free before the newcomer is let in.
func TestDescriptorsStayWithinTheBound(t *testing.T) {
	if _, err := os.ReadDir("/proc/self/fd"); err != nil {
		t.Skip("no /proc here")
	}
	const most = 16
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	a := New(Config{MaxConnections: most})
	defer a.Close()
	through := a.Listen(l, false)
	open := func() int {
		files, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(files)
	}
	before := open()
	var accepted []net.Conn
	for range 5 * most {
		c, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		in, err := through.Accept()
		require.NoError(t, err)
		c.Close()
		accepted = append(accepted, in)
		require.LessOrEqual(t, open(), before+most)
	}
	for _, c := range accepted {
		c.Close()
	}
}
