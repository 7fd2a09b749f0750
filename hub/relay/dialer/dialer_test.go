package dialer

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"sluice/hub/relay"
)

func TestIsPublic(t *testing.T) {
	for text, want := range map[string]bool{
		"8.8.8.8": true, "1.1.1.1": true, "100.63.255.255": true, "100.128.0.0": true,
		"172.15.255.255": true, "172.32.0.0": true, "192.0.1.1": true, "198.17.255.255": true, "198.20.0.0": true,
		"223.255.255.255": true, "169.253.255.255": true, "11.0.0.0": true,
		"2606:4700::1111": true, "2a00::1": true, "2001:200::1": true, "2001:4860:4860::8888": true,

		"0.0.0.0": false, "0.1.2.3": false, "10.0.0.1": false, "10.255.255.255": false,
		"100.64.0.0": false, "100.127.255.255": false, "127.0.0.1": false, "127.255.255.255": false,
		"169.254.169.254": false, "172.16.0.0": false, "172.31.255.255": false,
		"192.0.0.8": false, "192.0.2.1": false, "192.88.99.1": false, "192.168.0.1": false,
		"198.18.0.1": false, "198.19.255.255": false, "198.51.100.1": false, "203.0.113.1": false,
		"224.0.0.1": false, "239.255.255.255": false, "240.0.0.1": false, "255.255.255.255": false,

		"::": false, "::1": false, "fe80::1": false, "fe80::1%eth0": false, "2a00::1%eth0": false, "fec0::1": false,
		"fc00::1": false, "fd12:3456::1": false, "ff02::1": false, "ff0e::1": false, "100::1": false,
		"2001::1": false, "2001:0:4136:e378::1": false, "2001:1ff::1": false, "2001:db8::1": false, "3fff:fff::1": false,
		"5f00::1": false, "4000::1": false,

		// Those of IPv4 within.
		"::ffff:8.8.8.8": true, "::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::127.0.0.1": false, "::8.8.8.8": false,
		"::ffff:0:8.8.8.8": false, "64:ff9b::8.8.8.8": true, "64:ff9b::10.0.0.1": false, "64:ff9b::169.254.169.254": false,
		"64:ff9b:1::8.8.8.8": false, "2002:808:808::1": true, "2002:7f00:1::1": false, "2002:c0a8:1::1": false,
		"2002:a9fe:a9fe::1": false,
	} {
		assert.Equal(t, want, isPublic(netip.MustParseAddr(text)), text)
	}
	assert.False(t, isPublic(netip.Addr{}))
}

// listen accepts connections and closes them.
func listen(t *testing.T, host string) (port string) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	require.NoError(t, err)
	var done sync.WaitGroup
	done.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			nc.Close()
		}
	})
	t.Cleanup(func() {
		l.Close()
		done.Wait()
	})
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port
}

func cause(t *testing.T, err error) relay.Cause {
	t.Helper()
	var f *relay.Failure
	require.ErrorAs(t, err, &f)
	return f.Cause
}

func TestDial(t *testing.T) {
	port := listen(t, "127.0.0.1")
	d := New(0)
	nc, err := d.Dial(t.Context(), "tcp", "127.0.0.1:"+port, true)
	require.NoError(t, err)
	nc.Close()
	for _, address := range []string{"127.0.0.1:" + port, "localhost:" + port, "[::ffff:127.0.0.1]:" + port} {
		_, err = d.Dial(t.Context(), "tcp", address, false)
		assert.Equal(t, relay.CauseURL, cause(t, err), address)
		assert.EqualError(t, err, "leads to a private address")
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l.Close()
	_, err = d.Dial(t.Context(), "tcp", l.Addr().String(), true)
	assert.Equal(t, relay.CauseConnection, cause(t, err))
	assert.EqualError(t, err, "the connection is refused")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = d.Dial(ctx, "tcp", "127.0.0.1:"+port, true)
	assert.ErrorIs(t, err, context.Canceled)
	assert.EqualError(t, err, "given up")
	assert.Empty(t, d.busy)
	assert.Empty(t, d.slots)
}

// resolver answers every question for the address of a name with what answer returns.
func resolver(t *testing.T, answer func(name string) []string) *net.Resolver {
	var done sync.WaitGroup
	t.Cleanup(done.Wait)
	return &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe() // to net, no packets: a message has its length before it (RFC 1035 §4.2.2)
		done.Go(func() {
			defer far.Close()
			for {
				var size [2]byte
				if _, err := io.ReadFull(far, size[:]); err != nil {
					return
				}
				b := make([]byte, binary.BigEndian.Uint16(size[:]))
				var m dnsmessage.Message
				if _, err := io.ReadFull(far, b); err != nil || m.Unpack(b) != nil {
					return
				}
				m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
				if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
					for _, a := range answer(q.Name.String()) {
						m.Answers = append(m.Answers, dnsmessage.Resource{
							Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 3600},
							Body:   &dnsmessage.AResource{A: netip.MustParseAddr(a).As4()},
						})
					}
				}
				b, _ = m.Pack()
				far.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
			}
		})
		return near, nil
	}}
}

// A name that leads elsewhere the second time is asked for the second time, and what it leads to
// is looked at.
func TestDialNameThatMoves(t *testing.T) {
	port := listen(t, "127.0.0.1")
	var asked atomic.Int32
	d := New(1)
	d.mayDial = func(a netip.Addr) bool { return a == netip.MustParseAddr("127.0.0.1") } // the public one here
	d.Resolver = resolver(t, func(name string) []string {
		assert.Equal(t, "moves.example.", name)
		if asked.Add(1) == 1 {
			return []string{"127.0.0.1"}
		}
		return []string{"127.0.0.2"}
	})
	nc, err := d.Dial(t.Context(), "tcp", "moves.example:"+port, false)
	require.NoError(t, err)
	nc.Close()
	_, err = d.Dial(t.Context(), "tcp", "moves.example:"+port, false)
	assert.Equal(t, relay.CauseURL, cause(t, err))
	assert.NotContains(t, err.Error(), "moves")
	assert.EqualValues(t, 2, asked.Load())
}

// Of several addresses only those are dialled that may be.
func TestDialNameOfSeveral(t *testing.T) {
	port := listen(t, "127.0.0.1")
	d := New(1)
	d.mayDial = func(a netip.Addr) bool { return a == netip.MustParseAddr("127.0.0.1") }
	d.Resolver = resolver(t, func(string) []string { return []string{"127.0.0.3", "127.0.0.1", "127.0.0.2"} })
	nc, err := d.Dial(t.Context(), "tcp", "several.example:"+port, false)
	require.NoError(t, err)
	defer nc.Close()
	assert.Equal(t, "127.0.0.1:"+port, nc.RemoteAddr().String())
}

func TestDialNameOfNobody(t *testing.T) {
	d := New(1)
	d.Resolver = resolver(t, func(string) []string { return []string{} })
	_, err := d.Dial(t.Context(), "tcp", "nobody.example:80", false)
	assert.Equal(t, relay.CauseConnection, cause(t, err))
	assert.EqualError(t, err, "the host has no address")
}

// Dials wait for each other, those to one address while half of all are under way, and a wait ends
// with its context.
func TestDialsAreBounded(t *testing.T) {
	d := New(4)
	dialled, goOn := make(chan netip.Addr, 100), make(chan struct{})
	d.mayDial = func(a netip.Addr) bool {
		dialled <- a
		<-goOn
		return false
	}
	var done sync.WaitGroup
	start := func(address string) {
		done.Go(func() {
			_, err := d.Dial(t.Context(), "tcp", address, false)
			assert.ErrorIs(t, err, errPrivate)
		})
	}
	for range 10 {
		start("127.0.0.1:1")
	}
	<-dialled
	<-dialled
	start("127.0.0.2:1")
	start("127.0.0.3:1")
	assert.ElementsMatch(t, []string{"127.0.0.2", "127.0.0.3"}, []string{(<-dialled).String(), (<-dialled).String()},
		"other addresses have their turn")

	for _, address := range []string{"127.0.0.1:1", "127.0.0.4:1"} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err := d.Dial(ctx, "tcp", address, false)
		cancel()
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, relay.CauseConnection, cause(t, err))
		assert.EqualError(t, err, "could not connect in time")
	}
	assert.Empty(t, dialled)

	close(goOn)
	done.Wait()
	assert.Len(t, dialled, 8)
	assert.Empty(t, d.busy)
	assert.Empty(t, d.slots)
}

func TestFailure(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&net.DNSError{Name: "secret", IsNotFound: true}, "the host has no address"},
		{&net.DNSError{Name: "secret", IsTemporary: true}, "the host's address could not be found out"},
		{context.DeadlineExceeded, "could not connect in time"},
		{errors.New("secret"), "the connection failed"},
	} {
		assert.EqualError(t, failure(c.err), c.want)
	}
}
