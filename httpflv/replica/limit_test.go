package replica

import (
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub/cluster"
)

// addressed is a connection from an address, which is not closed for real.
type addressed struct {
	net.Conn
	from string
}

func (a addressed) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(a.from), 1))
}

func TestLimiter(t *testing.T) {
	var l limiter
	now := time.Unix(1e9, 0)
	conn := func(from string) *limitedConn {
		nc := addressed{from: from}
		return &limitedConn{Conn: nc, limiter: &l, from: addressOf(nc), since: now}
	}
	enter := func(from string) (c, gone *limitedConn, ok bool) {
		c = conn(from)
		gone, ok = l.enter(c)
		return c, gone, ok
	}
	first, _, ok := enter("10.0.0.1")
	require.True(t, ok)
	for range maxUnprovenPerAddress - 1 {
		_, gone, ok := enter("10.0.0.1")
		require.True(t, ok && gone == nil)
	}
	_, gone, ok := enter("10.0.0.1")
	assert.False(t, ok, "the address has as many as it may, and all are new")
	assert.Nil(t, gone)
	now = now.Add(provingTime)
	_, gone, ok = enter("::ffff:10.0.0.1")
	assert.True(t, ok)
	assert.Same(t, first, gone, "the oldest gives way")
	for i := range maxUnproven - maxUnprovenPerAddress {
		_, gone, ok := enter([]string{"2001:db8::1", "2001:db8:0:1::1"}[i%2])
		require.True(t, ok && gone == nil)
	}
	assert.Equal(t, maxUnproven, l.unproven.Len())
	mine, gone, ok := enter("10.0.0.2")
	assert.True(t, ok, "others are let in")
	assert.Equal(t, first.from, gone.from, "for one of the address with the most")
	l.release(mine)
	l.release(mine)
	crowd := 0
	for _, _, ok = enter("2001:db8::2"); ok; _, _, ok = enter("2001:db8::2") {
		crowd++
	}
	assert.Greater(t, crowd, 50, "others give way to it, until it is the one with the most")
	assert.Equal(t, maxUnproven, l.unproven.Len())
	assert.Len(t, l.byAddress, 3, "of IPv6, a network is one address")
	for l.unproven.Len() > 0 {
		l.release(l.unproven.Front().Value.(*limitedConn))
	}
	assert.Empty(t, l.byAddress)
}

// Who floods the server with connections that ask nothing keeps no node away, and copies have no part in that.
func TestFlood(t *testing.T) {
	l := newLog(packet(at(1), 0, "x"))
	s := NewServer(Config{Streams: l, Secret: secret, Node: boot}, nil)
	address := serve(t, s)
	source := open(t, address, nil)
	read(t, source, 1)
	for range maxUnprovenPerAddress + 50 {
		nc, err := net.Dial("tcp", address)
		require.NoError(t, err)
		t.Cleanup(func() { nc.Close() })
	}
	eventually(t, func() bool {
		other, err := opener().Open(t.Context(), cluster.Opening{Address: address, Boot: boot, Key: demo})
		if err == nil {
			other.Close()
		}
		return err == nil
	})
	l.add(packet(at(2), 40, "y"))
	read(t, source, 1)
}

// A copy costs one goroutine, at the server; who reads it is the other one.
func TestOneGoroutine(t *testing.T) {
	const copies = 20
	l := newLog(packet(at(1), 0, "x"))
	address := serveLog(t, l)
	read(t, open(t, address, nil), 1)
	before := runtime.NumGoroutine()
	for range copies {
		read(t, open(t, address, nil), 1)
	}
	for began := time.Now(); runtime.NumGoroutine() > before+copies; time.Sleep(time.Millisecond) {
		require.Less(t, time.Since(began), 20*time.Second) // eventually has a goroutine itself
	}
}
