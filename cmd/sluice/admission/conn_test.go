package admission

import (
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sluice/httpflv"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// However a connection ends, it is counted once, and the door forgets it.
func TestClosedOnce(t *testing.T) {
	r := newRig(t, Config{}, false)
	clients := append(r.connectAll(t, 10, "192.0.2.1"), r.connectAll(t, 10, "2001:db8::1")...)
	markActive(clients[5:15]...)
	for _, g := range clients {
		g.in.Close()
		g.in.Close()
	}
	assert.Equal(t, Figures{Admitted: 20}, r.Figures())
	assert.Empty(t, r.addresses)
	assert.Empty(t, r.byAddress)
}

// The counts are true whatever comes, goes and stays.
func TestCountsHold(t *testing.T) {
	const most, perAddress = 60, 10
	for seed := range uint64(4) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			r := newRig(t, Config{MaxConnections: most, MaxPerAddress: perAddress}, seed%2 == 0)
			addresses := []string{"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1", "::1", "127.0.0.1", "10.1.1.1"}
			var clients []client
			for range 800 {
				switch n := random.IntN(16); {
				case n < 9:
					clients = append(clients, r.connect(t, addresses[random.IntN(len(addresses))]))
				case n < 15 && len(clients) > 0:
					g := clients[max(0, len(clients)-1-random.IntN(most))] // of late, or it is gone already
					switch {
					case g.in == nil:
					case n == 9:
						g.in.Close()
					case n == 10:
						connOf(g.in).pend()
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

// check compares what the door knows of the addresses with what it knows in all.
func (r *rig) check(t *testing.T) {
	t.Helper()
	open, pending := 0, 0
	for key, a := range r.addresses {
		require.Equal(t, key, a.key)
		require.Positive(t, a.open)
		require.LessOrEqual(t, a.open, r.cfg.MaxPerAddress)
		open += a.open
		n := 0
		for v := a.pending.first; v != nil; v = v.after {
			if v.from != a || v.after != nil && v.after.since <= v.since {
				require.Fail(t, "not in the queue of its address, or not in its place")
			}
			n++
		}
		require.Equal(t, n, a.pending.n)
		require.Equal(t, n > 0, a.place > 0)
		pending += n
	}
	for i, a := range r.byAddress {
		require.Equal(t, i+1, a.place)
		if i > 0 {
			require.False(t, r.byAddress.Less(i, (i-1)/2), "a heap")
		}
	}
	f := r.Figures()
	require.Equal(t, open, f.Open)
	require.Equal(t, pending, f.Pending)
	require.LessOrEqual(t, f.Open, r.cfg.MaxConnections)
	require.LessOrEqual(t, r.turned.n, maxTurned)
}

// admitted returns both ends of a connection through the door.
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

// What others look for in a connection of the operating system is there.
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

// Who is given up notices it: in a Read here, and as a reset there.
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

// serveHTTP serves through a door until the test ends.
func serveHTTP(t *testing.T, cfg Config, handler http.HandlerFunc) (*Control, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	a := New(cfg)
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 30 * time.Second}
	a.Guard(srv)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(a.Listen(l, true)) }()
	t.Cleanup(func() {
		srv.Close()
		<-served
		a.Close()
		assert.Eventually(t, func() bool { return a.Figures().Open == 0 }, 5*time.Second, time.Millisecond)
	})
	return a, "http://" + l.Addr().String()
}

// A connection is active from the whole head of a request to the end of its
// answer.
func TestRequestsBecomeActive(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	a, url := serveHTTP(t, Config{}, func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-answer
	})
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	defer c.Close()
	becomes := func(pending int) {
		t.Helper()
		require.Eventually(t, func() bool {
			f := a.Figures()
			return f.Open == 1 && f.Pending == pending
		}, 10*time.Second, time.Millisecond)
	}
	becomes(1)
	for range 3 {
		_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n")
		require.NoError(t, err)
		assert.Equal(t, 1, a.Figures().Pending)
		_, err = io.WriteString(c, "\r\n")
		require.NoError(t, err)
		<-asked
		becomes(0)
		answer <- struct{}{}
		becomes(1)
	}
}

// pipes is a listener of connections in memory.
type pipes struct {
	net.Listener
	callers chan net.Conn
	closed  chan struct{}
}

func (h pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (h pipes) Close() error {
	close(h.closed)
	return nil
}

func (h pipes) Accept() (net.Conn, error) {
	select {
	case c := <-h.callers:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// A request with a body is not whole before the body has come. Until then it is
// pending, and not for long.
func TestSlowBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := pipes{callers: make(chan net.Conn), closed: make(chan struct{})}
		a := New(Config{})
		defer a.Close()
		srv := &http.Server{Handler: http.NotFoundHandler()}
		a.Guard(srv)
		served := make(chan error, 1)
		go func() { served <- srv.Serve(a.Listen(h, true)) }()

		for _, head := range []string{
			"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhello",
			"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		} {
			client, server := net.Pipe()
			h.callers <- server
			go io.Copy(io.Discard, client)
			_, err := io.WriteString(client, head)
			require.NoError(t, err)
			synctest.Wait()
			assert.Equal(t, 1, a.Figures().Pending, head)
			time.Sleep(BodyTimeout - time.Millisecond)
			assert.Equal(t, 1, a.Figures().Open, head)
			time.Sleep(time.Second) // net/http waits a little before it closes
			assert.Zero(t, a.Figures().Open, head)
		}
		srv.Close()
		assert.ErrorIs(t, <-served, http.ErrServerClosed)
	})
}

// A connection that its handler takes over stays active.
func TestHijackedStaysActive(t *testing.T) {
	taken := make(chan net.Conn, 1)
	a, url := serveHTTP(t, Config{}, func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if assert.NoError(t, err) {
			taken <- c
		}
	})
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n") // even so
	require.NoError(t, err)
	in := <-taken
	assert.IsType(t, &tcpConn{}, in)
	assert.Equal(t, Figures{Open: 1, Admitted: 1}, a.Figures())
	in.Close()
	assert.Equal(t, Figures{Admitted: 1}, a.Figures())
}

// Who comes over HTTP and is turned away learns why.
func TestTurnedAwayIsAnswered(t *testing.T) {
	const page = "https://a.example"
	var listed httpflv.Origins
	require.NoError(t, listed.UnmarshalText([]byte(page)))
	for _, c := range []struct {
		name   string
		cfg    Config
		reason string
		origin string // which may read it
	}{
		{"in all", Config{MaxConnections: 1}, "the server has as many connections as it takes", "*"},
		{"of an address", Config{MaxPerAddress: 1}, "the server has as many connections from your address as it takes", "*"},
		{"for some pages", Config{MaxConnections: 1, AllowOrigins: listed}, "the server has as many connections as it takes", page},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, url := serveHTTP(t, c.cfg, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			ctx, leave := context.WithCancel(t.Context())
			client := &http.Client{}
			defer client.CloseIdleConnections()
			viewer := make(chan struct{})
			go func() {
				defer close(viewer)
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
				client.Do(req)
			}()
			require.Eventually(t, func() bool {
				f := a.Figures()
				return f.Open == 1 && f.Pending == 0
			}, 10*time.Second, time.Millisecond)
			for range 3 {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("hello"))
				require.NoError(t, err)
				req.Header.Set("Origin", page)
				res, err := client.Do(req)
				require.NoError(t, err)
				assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
				assert.Equal(t, "application/json", res.Header.Get("Content-Type"))
				assert.Equal(t, c.origin, res.Header.Get("Access-Control-Allow-Origin"))
				assert.NotEmpty(t, res.Header.Get("Retry-After"))
				assert.True(t, res.Close)
				var body map[string]string
				require.NoError(t, json.NewDecoder(res.Body).Decode(&body))
				assert.Equal(t, map[string]string{"error": "too many", "reason": c.reason}, body)
				res.Body.Close()
			}
			leave()
			<-viewer
			f := a.Figures()
			assert.EqualValues(t, 3, f.TurnedFull+f.TurnedByAddress)
			assert.EqualValues(t, 1, f.Admitted)
		})
	}
}

// Only so many are answered at a time; an old one of them makes room for a new one.
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
		assert.Equal(t, active, connOf(r.connect(t, "192.0.2.3").in).asks(true), "admitted")
	})
}

// The descriptor of who is given up is free when the newcomer is in.
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
