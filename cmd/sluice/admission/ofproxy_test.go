package admission

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ofProxies trusts 10.0.0.0/8.
func ofProxies(cfg Config) Config {
	cfg.Trusted = netip.MustParsePrefix("10.0.0.0/8").Contains
	return cfg
}

// request begins a request of a client on a proxy's connection.
func (g client) request(from string) bool {
	return connOf(g.in).beginRequest(netip.AddrPortFrom(netip.MustParseAddr(from), 0).String())
}

// answered ends it.
func (g client) answered() { connOf(g.in).endRequest() }

// What a proxy keeps in reserve counts for no address, however much it is.
func TestProxyKeepsConnections(t *testing.T) {
	r := newRig(t, ofProxies(Config{MaxPerAddress: 2}), true)
	kept := r.connectAll(t, 2*maxPendingPerAddress, "10.0.0.1")
	assert.Equal(t, len(kept), open(kept))
	assert.Equal(t, Figures{Open: len(kept), Idle: len(kept), Admitted: uint64(len(kept))}, r.Figures())
	assert.False(t, r.Overloaded())
	assert.Empty(t, r.addresses)
	for _, g := range kept {
		g.in.Close()
	}
	assert.Equal(t, Figures{Admitted: uint64(len(kept))}, r.Figures())
}

// Each request counts for its client, who may have MaxPerAddress of them at a time, over
// whichever connection.
func TestRequestsOfClients(t *testing.T) {
	r := newRig(t, ofProxies(Config{MaxPerAddress: 2}), true)
	c := r.connectAll(t, 4, "10.0.0.1")
	for _, g := range c[:2] {
		require.True(t, g.request("192.0.2.1"))
		MarkActive(g.in)
	}
	assert.False(t, c[2].request("192.0.2.1"))
	assert.False(t, c[2].request("::ffff:192.0.2.1"))
	assert.EqualValues(t, 2, r.Figures().TurnedByAddress)
	assert.True(t, c[2].open(), "it is for the handler to answer")
	require.True(t, c[2].request("192.0.2.2"))
	MarkAsking(c[2].in)
	assert.Equal(t, Figures{Open: 4, Asking: 1, Idle: 1, Admitted: 4, TurnedByAddress: 2}, r.Figures())
	require.Len(t, r.addresses, 2)

	c[0].answered()
	assert.Equal(t, 2, r.Figures().Idle)
	require.True(t, c[0].request("192.0.2.2"), "the next request is another's")
	require.True(t, c[3].request("192.0.2.1"))
	assert.Equal(t, 2, r.addresses[netip.MustParseAddr("192.0.2.1")].open)
	assert.Equal(t, 2, r.addresses[netip.MustParseAddr("192.0.2.2")].open)
	direct := r.connect(t, "192.0.2.2")
	require.NotNil(t, direct.in)
	assert.Equal(t, turnedByAddress, connOf(direct.in).current(), "and counts together with those that come directly")
	direct.in.Close()
	for _, g := range c {
		g.answered()
		g.in.Close()
	}
	assert.Empty(t, r.addresses)
	assert.Zero(t, r.Figures().Open)
}

// The marks do nothing to a connection without a request, and a request nothing to one that
// is closed or to be told that it is too many.
func TestRequestsInOtherStates(t *testing.T) {
	r := newRig(t, ofProxies(Config{MaxConnections: 1}), true)
	g := r.connect(t, "10.0.0.1")
	MarkAsking(g.in)
	MarkActive(g.in)
	MarkPending(g.in)
	g.answered()
	assert.Equal(t, idle, connOf(g.in).current())
	told := r.connect(t, "10.0.0.1")
	require.NotNil(t, told.in)
	assert.True(t, told.request("192.0.2.1"))
	told.answered()
	assert.Equal(t, turnedFull, connOf(told.in).current())
	g.in.Close()
	assert.True(t, g.request("192.0.2.1"))
	g.answered()
	assert.Equal(t, closed, connOf(g.in).current())
	assert.Empty(t, r.addresses)

	// Where nobody answers, as over RTMP, a proxy's connection is like any other.
	rtmp := newRig(t, ofProxies(Config{}), false)
	plain := rtmp.connect(t, "10.0.0.1")
	assert.True(t, plain.request("192.0.2.1"))
	assert.Equal(t, Figures{Open: 1, Pending: 1, Admitted: 1}, rtmp.Figures())
	assert.Contains(t, rtmp.addresses, netip.MustParseAddr("10.0.0.1"))
}

// A client that has too many pending ones gives up its own.
func TestPendingOfClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, ofProxies(Config{}), true)
		slow := r.connectAll(t, maxPendingPerAddress, "10.0.0.1")
		for _, g := range slow {
			require.True(t, g.request("192.0.2.1"))
		}
		others := r.connectAll(t, 10, "10.0.0.1")
		time.Sleep(3 * time.Second)
		require.True(t, others[0].request("192.0.2.2"))
		assert.Equal(t, len(slow), open(slow))
		require.True(t, others[1].request("192.0.2.1"))
		assert.Equal(t, len(slow)-1, open(slow))
		assert.Equal(t, 1, slow[0].closed)
		assert.Equal(t, len(others), open(others))
	})
}

// Where there are as many connections as there may be, what a proxy keeps goes when nothing
// that is pending has to, before one that is asking, and not before Patience has passed.
func TestIdleGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, ofProxies(Config{MaxConnections: 4}), true)
		asks := r.connect(t, "192.0.2.1")
		MarkAsking(asks.in)
		kept := r.connectAll(t, 2, "10.0.0.1")
		silent := r.connect(t, "192.0.2.2")
		next := r.connect(t, "192.0.2.3")
		require.NotNil(t, next.in)
		assert.Equal(t, turnedFull, connOf(next.in).current(), "all are young")
		time.Sleep(askingPatience + time.Second)
		for i, gone := range []client{silent, kept[0], kept[1], asks} {
			require.True(t, gone.open(), i)
			next := r.connect(t, fmt.Sprintf("192.0.2.%d", 10+i))
			require.NotNil(t, next.in)
			MarkActive(next.in)
			assert.False(t, gone.open(), i)
		}
	})
}

// Over a proxy's connection, a client that has enough is told so, as one that comes
// directly is; others go on.
func TestRefusalBehindProxy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	a := New(Config{MaxPerAddress: 1, Trusted: netip.MustParsePrefix("127.0.0.0/8").Contains})
	hold, held := make(chan struct{}), make(chan struct{})
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			close(held)
			<-hold
		}
		io.WriteString(w, r.RemoteAddr)
	})}
	a.Guard(srv, nil)
	guarded := srv.Handler
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = r.Header.Get("Client")
		guarded.ServeHTTP(w, r)
	})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(a.Listen(l, true)) }()
	client := &http.Client{}
	get := func(path, from string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String()+path, nil)
		assert.NoError(t, err)
		req.Header.Set("Client", from)
		res, err := client.Do(req)
		if !assert.NoError(t, err) {
			return 0, ""
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		assert.NoError(t, err)
		return res.StatusCode, string(body)
	}
	first := make(chan int, 1)
	go func() {
		status, _ := get("/held", "192.0.2.1:0")
		first <- status
	}()
	<-held
	for range 3 {
		status, body := get("/", "192.0.2.1:0")
		assert.Equal(t, http.StatusServiceUnavailable, status)
		assert.Contains(t, body, reasonFullOfAddress)
		for _, other := range []string{"192.0.2.2:0", "192.0.2.3:0"} {
			status, body = get("/", other)
			assert.Equal(t, http.StatusOK, status)
			assert.Equal(t, other, body)
		}
	}
	close(hold)
	assert.Equal(t, http.StatusOK, <-first)
	require.Eventually(t, func() bool { f := a.Figures(); return f.Idle == f.Open }, 10*time.Second, time.Millisecond)
	status, _ := get("/", "192.0.2.1:0")
	assert.Equal(t, http.StatusOK, status)
	assert.EqualValues(t, 3, a.Figures().TurnedByAddress)
	client.CloseIdleConnections()
	srv.Close()
	<-served
	a.Close()
	assert.Eventually(t, func() bool { return a.Figures().Open == 0 }, 10*time.Second, time.Millisecond)
	assert.Empty(t, a.addresses)
}
