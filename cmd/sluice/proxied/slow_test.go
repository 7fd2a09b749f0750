package proxied

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pipes is a listener of connections in memory.
type pipes struct {
	callers chan accepted
	closed  chan struct{}
}

func newPipes() pipes { return pipes{make(chan accepted), make(chan struct{})} }

func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p pipes) Close() error {
	close(p.closed)
	return nil
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case a := <-p.callers:
		return a.nc, a.err
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// from is a connection in memory from an address.
type from struct {
	net.Conn
	addr net.Addr
}

func (f from) RemoteAddr() net.Addr { return f.addr }

// call connects from an address, once the listener takes it.
func (p pipes) call(addr string) net.Conn {
	near, far := net.Pipe()
	p.callers <- accepted{nc: from{far, &net.TCPAddr{IP: net.ParseIP(addr), Port: 40000}}}
	return near
}

// isClosed reports whether the other side closed a connection; it reads for an instant.
func isClosed(c net.Conn) bool {
	c.SetReadDeadline(time.Now().Add(time.Nanosecond))
	_, err := c.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}

// drip sends a byte now and then for as long as it is taken.
func drip(c net.Conn) {
	for {
		for _, b := range []byte("PROXY UNKNOWN " + strings.Repeat("x", 80)) {
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(90 * time.Millisecond)
		}
	}
}

// A header is there within 2 s, however it drips.
func TestDrippingHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		var log output
		l := Listen(p, Config{Trusted: proxies, Logger: log.logger()})
		defer l.Close()
		silent, dripping := p.call("10.0.0.1"), p.call("10.0.0.2")
		var dripper sync.WaitGroup
		defer dripper.Wait()
		dripper.Go(func() { drip(dripping) })
		time.Sleep(headerTimeout - time.Millisecond)
		assert.False(t, isClosed(silent))
		assert.False(t, isClosed(dripping))
		time.Sleep(2 * time.Millisecond)
		assert.True(t, isClosed(silent))
		assert.True(t, isClosed(dripping))
		assert.Contains(t, log.String(), "timeout")
	})
}

// Proxies that drip keep neither others waiting nor each other.
func TestDrippingProxyDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		l := Listen(p, Config{Trusted: proxies})
		defer l.Close()
		var dripping []net.Conn
		var drippers sync.WaitGroup
		defer drippers.Wait()
		for range maxHeaders {
			c := p.call("10.0.0.1")
			dripping = append(dripping, c)
			drippers.Go(func() { drip(c) })
		}
		began := time.Now()
		stranger := p.call("192.0.2.1")
		nc, err := l.Accept()
		require.NoError(t, err)
		assert.Equal(t, "192.0.2.1:40000", nc.RemoteAddr().String())
		assert.Zero(t, time.Since(began))
		stranger.Close()

		for range 10 {
			synctest.Wait() // the slot of the one before is free
			began = time.Now()
			honest := p.call("10.0.0.2")
			go io.WriteString(honest, v1TCP4("192.0.2.9"))
			nc, err = l.Accept()
			require.NoError(t, err)
			assert.Equal(t, "192.0.2.9:4660", nc.RemoteAddr().String())
			assert.LessOrEqual(t, time.Since(began), slowHeader)
			nc.Close()
		}
		assert.True(t, isClosed(dripping[0]), "the oldest had to go")
		assert.False(t, isClosed(dripping[1]), "one was enough")
		for _, c := range dripping {
			c.Close()
		}
	})
}

// Where nobody accepts, those whose headers have come wait, and none is dropped for another.
func TestHeadersThatHaveComeWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		l := Listen(p, Config{Trusted: proxies})
		defer l.Close()
		const n = 3 * maxHeaders
		clients := make(chan net.Conn, n)
		go func() {
			for range n {
				c := p.call("10.0.0.1")
				_, err := io.WriteString(c, v2TCP4(0))
				assert.NoError(t, err)
				clients <- c
			}
		}()
		time.Sleep(time.Hour)
		for range n {
			nc, err := l.Accept()
			require.NoError(t, err)
			defer nc.Close() // not before the last has come: they come in any order
		}
		for range n {
			(<-clients).Close()
		}
	})
}

// Close closes what is being read and what waits to be accepted, and returns when nothing
// runs any more.
func TestCloseEndsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		l := Listen(p, Config{Trusted: proxies})
		reading := p.call("10.0.0.1")
		whole := p.call("10.0.0.1")
		_, err := io.WriteString(whole, v2TCP4(0))
		require.NoError(t, err)
		synctest.Wait()
		stranger := p.call("192.0.2.1")
		synctest.Wait()
		require.NoError(t, l.Close())
		for _, c := range []net.Conn{reading, whole, stranger} {
			assert.True(t, isClosed(c))
		}
		_, err = l.Accept()
		assert.ErrorIs(t, err, net.ErrClosed)
		assert.NoError(t, l.Close())
	})
	t.Run("while full", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newPipes()
			l := Listen(p, Config{Trusted: proxies})
			var all []net.Conn
			for range maxHeaders + 1 { // the last one waits for a slot
				all = append(all, p.call("10.0.0.1"))
			}
			require.NoError(t, l.Close())
			for _, c := range all {
				assert.True(t, isClosed(c))
			}
		})
	})
}

// Errors of accepting reach the server, which waits before it tries again.
func TestAcceptErrors(t *testing.T) {
	p := newPipes()
	l := Listen(p, Config{})
	defer l.Close()
	errTooMany := errors.New("too many open files")
	go func() { p.callers <- accepted{err: errTooMany} }()
	_, err := l.Accept()
	assert.ErrorIs(t, err, errTooMany)
	go p.call("10.0.0.1")
	nc, err := l.Accept()
	require.NoError(t, err)
	assert.Equal(t, "10.0.0.1:40000", nc.RemoteAddr().String(), "nobody is trusted")
	nc.Close()
}

// A check of health that connects and says nothing is no reason for a warning.
func TestNoWarningOfSilence(t *testing.T) {
	l, log := listenTCP(t)
	c := dialFrom(t, proxyAddr, l.Addr())
	c.Close()
	assert.Eventually(t, func() bool { return strings.Contains(log.String(), "refused") }, 10*time.Second, time.Millisecond)
	l.Close()
	assert.NotContains(t, log.String(), "WARN")
}
