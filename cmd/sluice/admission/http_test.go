package admission

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/httpflv/answer"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// serveHTTP serves what an admission control lets in until the test ends. Requests to
// /decides are those whose handler decides.
func serveHTTP(t *testing.T, cfg Config, handler http.HandlerFunc) (*Control, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	a := New(cfg)
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 30 * time.Second}
	a.Guard(srv, func(r *http.Request) bool { return r.URL.Path == "/decides" })
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

// A connection is active from the end of a request's head to the end of its answer.
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

// A request with a body is not whole before the body has come. Until then its
// connection is pending, and not for long.
func TestSlowBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := pipes{callers: make(chan net.Conn), closed: make(chan struct{})}
		a := New(Config{})
		defer a.Close()
		srv := &http.Server{Handler: http.NotFoundHandler()}
		a.Guard(srv, nil)
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
			time.Sleep(answer.BodyTimeout - time.Millisecond)
			assert.Equal(t, 1, a.Figures().Open, head)
			time.Sleep(time.Second) // net/http waits a little before it closes
			assert.Zero(t, a.Figures().Open, head)
		}
		srv.Close()
		assert.ErrorIs(t, <-served, http.ErrServerClosed)
	})
}

// A handler that decides says what its connection is, also after it took it over.
func TestHandlerDecides(t *testing.T) {
	for _, hijacks := range []bool{false, true} {
		steps, done := make(chan string), make(chan struct{})
		step := func(name string) {
			steps <- name
			<-done
		}
		a, url := serveHTTP(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
			step("came")
			if hijacks {
				c, _, err := http.NewResponseController(w).Hijack()
				assert.NoError(t, err)
				assert.IsType(t, &tcpConn{}, c)
				defer c.Close()
				step("taken over")
			}
			Asking(r.Context())
			step("asking")
			Active(r.Context())
			step("active")
			Asking(r.Context())
			step("asking again")
		})
		c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		require.NoError(t, err)
		defer c.Close()
		rounds := 3
		if hijacks {
			rounds = 1
		}
		for range rounds {
			_, err = io.WriteString(c, "GET /decides HTTP/1.1\r\nHost: x\r\n\r\n")
			require.NoError(t, err)
			for _, want := range []struct {
				step            string
				pending, asking int
			}{
				{"came", 1, 0}, {"taken over", 1, 0}, {"asking", 0, 1}, {"active", 0, 0}, {"asking again", 0, 0},
			} {
				if want.step == "taken over" && !hijacks {
					continue
				}
				assert.Equal(t, want.step, <-steps)
				f := a.Figures()
				assert.Equal(t, [3]int{1, want.pending, want.asking}, [3]int{f.Open, f.Pending, f.Asking}, want.step)
				done <- struct{}{}
			}
			require.Eventually(t, func() bool {
				f := a.Figures()
				return f.Pending == f.Open && f.Asking == 0
			}, 10*time.Second, time.Millisecond, "it is pending after the answer, or closed")
		}
	}
}

// A request that was refused after asking leaves a pending connection, and one that is
// given up while it asks ends with its context.
func TestHandlerAsks(t *testing.T) {
	ended := make(chan error, 1)
	a, url := serveHTTP(t, Config{MaxConnections: 1}, func(w http.ResponseWriter, r *http.Request) {
		Asking(r.Context())
		if r.Method == http.MethodGet {
			<-r.Context().Done()
			ended <- r.Context().Err()
		}
		w.WriteHeader(http.StatusForbidden)
	})
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	defer c.Close()
	becomes := func(pending, asking int) {
		t.Helper()
		require.Eventually(t, func() bool {
			f := a.Figures()
			return f.Pending == pending && f.Asking == asking
		}, 10*time.Second, time.Millisecond)
	}
	_, err = io.WriteString(c, "HEAD /decides HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	res, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodHead})
	require.NoError(t, err)
	assert.Equal(t, http.StatusForbidden, res.StatusCode)
	becomes(1, 0)
	_, err = io.WriteString(c, "GET /decides HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	becomes(0, 1)
	a.mu.Lock()
	a.began = a.began.Add(-askingPatience) // it has been asking for long
	a.mu.Unlock()
	next, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	defer next.Close()
	assert.ErrorIs(t, <-ended, context.Canceled)
	becomes(1, 0)
}

// A client that is turned away is told why over HTTP.
func TestTurnedAwayIsAnswered(t *testing.T) {
	const page = "https://a.example"
	var listed answer.Origins
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
