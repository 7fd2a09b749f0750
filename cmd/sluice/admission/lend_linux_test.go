package admission

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"sluice/hub/fanout"
)

// A descriptor is lent once, and called back before it is closed.
func TestLend(t *testing.T) {
	d := New(Config{})
	defer d.Close()
	_, accepted := admittedTCP(t, d, false)
	c := accepted.(*tcpConn)
	revoked := 0
	fd, ok := c.Lend(func() {
		revoked++
		raw, err := c.SyscallConn()
		require.NoError(t, err)
		require.NoError(t, raw.Control(func(n uintptr) {}), "it is open still")
	})
	require.True(t, ok)
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	require.NoError(t, err)
	assert.Equal(t, unix.SOCK_STREAM, kind)
	_, ok = c.Lend(func() { t.Error("of a loan that there was not") })
	assert.False(t, ok)
	c.Close()
	c.Close()
	assert.Equal(t, 1, revoked)
	_, ok = c.Lend(func() { t.Error("of a closed connection") })
	assert.False(t, ok)
}

// Connections are closed by others in the midst of what an outlet writes. The number of a
// descriptor that was closed is another's at once, which gets none of it.
func TestNothingIsWrittenToAnothersDescriptor(t *testing.T) {
	d := New(Config{})
	defer d.Close()
	pool := fanout.New(fanout.Config{Workers: 1})
	defer pool.Close()
	rounds := 400
	if testing.Short() {
		rounds = 50
	}
	again := 0
	for round := range rounds {
		client, accepted := admittedTCP(t, d, false)
		number := descriptorOf(t, accepted)
		outlet := pool.NewOutlet(accepted)
		var writing sync.WaitGroup
		begun := make(chan struct{})
		for range 2 {
			writing.Go(func() {
				// One of them may fill the outlet, which ends both, before the other has begun.
				begins := sync.OnceFunc(func() { begun <- struct{}{} })
				defer begins()
				for n := 0; ; n++ {
					if _, err := outlet.Write([]byte("for the client")); err != nil {
						return
					}
					if n == 1 {
						begins()
					}
				}
			})
		}
		go func() { // what it takes keeps the writers writing
			buf := make([]byte, 64<<10)
			for {
				if _, err := client.Read(buf); err != nil {
					return
				}
			}
		}()
		<-begun
		<-begun
		for end := time.Now().Add(time.Duration(round%20) * 5 * time.Microsecond); time.Now().Before(end); {
		}
		accepted.Close()
		// A pair gets the lowest numbers that are free.
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		writing.Wait()
		for i, fd := range pair {
			if fd == number {
				again++
			}
			n, err := unix.Read(pair[1-i], make([]byte, 64))
			require.ErrorIs(t, err, unix.EAGAIN, "%d bytes for another", n)
		}
		unix.Close(pair[0])
		unix.Close(pair[1])
		outlet.Close()
		client.Close()
	}
	assert.Greater(t, again, rounds/4, "the numbers were used again")
}

// descriptorOf returns the number of a connection's descriptor.
func descriptorOf(t *testing.T, c net.Conn) (fd int) {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	require.NoError(t, errors.Join(err, raw.Control(func(n uintptr) { fd = int(n) })))
	return fd
}
