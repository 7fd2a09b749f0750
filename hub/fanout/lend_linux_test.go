package fanout

import (
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// lender lends the descriptor of a TCP connection.
type lender struct {
	*net.TCPConn
	mu     sync.Mutex
	revoke func()
	closed bool
}

func (l *lender) Lend(revoke func()) (int, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, false
	}
	l.revoke = revoke
	fd := -1
	raw, _ := l.SyscallConn()
	raw.Control(func(n uintptr) { fd = int(n) })
	return fd, fd >= 0
}

func (l *lender) Close() error {
	l.mu.Lock()
	revoke := l.revoke
	l.closed = true
	l.mu.Unlock()
	if revoke != nil {
		revoke()
	}
	return l.TCPConn.Close()
}

// around is a connection around another, as a session may have it.
type around struct{ *lender }

func (a around) NetConn() net.Conn { return a.lender }
func (a around) Lend()             {} // another's method

// An outlet writes to the descriptor that its connection, or the one inside of it, lends,
// until that is closed, by the outlet or by anybody else.
func TestOutletBorrows(t *testing.T) {
	for name, end := range map[string]func(l *lender, o *Outlet){
		"outlet":     func(_ *lender, o *Outlet) { o.Close() },
		"connection": func(l *lender, _ *Outlet) { l.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Config{Workers: 1}, hub.Config{})
			s := w.publish("a")
			s.send("K", 20)
			near, far := dial(t, 1<<20)
			l := &lender{TCPConn: near.(*net.TCPConn)}
			o := w.pool.NewOutlet(around{l})
			borrowed := func() bool {
				o.mu.Lock()
				defer o.mu.Unlock()
				return o.fd != noDescriptor
			}
			assert.True(t, borrowed())
			v := w.attach(o, s.key)
			buf := make([]byte, len(message("head a")))
			_, err := far.Read(buf)
			require.NoError(t, err)
			assert.Equal(t, message("head a"), buf)
			end(l, o)
			assert.False(t, borrowed())
			s.send("P", 20)
			assert.Equal(t, hub.ReasonClientLeft, <-v.done)
		})
	}
	t.Run("closed", func(t *testing.T) {
		near, _ := dial(t, 1<<20)
		l := &lender{TCPConn: near.(*net.TCPConn)}
		l.Close()
		p := New(Config{Workers: 1})
		defer p.Close()
		_, err := p.NewOutlet(l).Write([]byte("x"))
		assert.ErrorIs(t, err, net.ErrClosed)
	})
}
