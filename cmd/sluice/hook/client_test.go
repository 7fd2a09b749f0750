package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// client makes a client of a server in memory.
func client(t *testing.T, s *server) *Client {
	t.Helper()
	c, err := NewClient(ClientConfig{URL: fixed(address), Dial: s.dial})
	require.NoError(t, err)
	t.Cleanup(func() {
		c.Close()
		s.running.Wait()
	})
	return c
}

// post asks, and returns the answer, how long it took and the error.
func post(c *Client, ctx context.Context) (Answer, time.Duration, error) {
	began := time.Now()
	var got Answer
	err := c.Ask(ctx, hub.RoleWatch, "text/x-test", func() []byte { return []byte("the question") }, func(a Answer) error { got = a; return nil })
	return got, time.Since(began), err
}

// Each of them has an outcome and a bound.
func TestBadServers(t *testing.T) {
	var written atomic.Int64
	write := func(c net.Conn, text string) bool {
		n, err := io.WriteString(c, text)
		written.Add(int64(n))
		return err == nil
	}
	after := func(f func(c net.Conn)) func(net.Conn) {
		return func(c net.Conn) {
			if _, _, err := takeRequest(c); err == nil {
				f(c)
			}
		}
	}
	hang := func(c net.Conn) { c.Read(make([]byte, 1)) } // until it is closed
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
	for _, test := range []struct {
		name   string
		serve  func(net.Conn)
		status int    // of an answer
		body   string // likewise
		err    string
		within time.Duration
		most   int64 // bytes that were taken of the server
	}{
		{"takes nothing", func(net.Conn) { time.Sleep(time.Minute) }, 0, "", "in time", 3 * time.Second, 0},
		{"hangs", after(hang), 0, "", "in time", 3 * time.Second, 0},
		{"hangs in the answer", after(func(c net.Conn) { write(c, head+"Content-Length: 3\r\n\r\nab"); hang(c) }), 0, "", "in time", 3 * time.Second, 100},
		{"drips its header", after(func(c net.Conn) {
			for write(c, "H") {
				time.Sleep(100 * time.Millisecond)
			}
		}), 0, "", "in time", 3 * time.Second, 40},
		{"drips its answer", after(func(c net.Conn) {
			write(c, head+"Content-Length: 1000\r\n\r\n")
			for write(c, "x") {
				time.Sleep(100 * time.Millisecond)
			}
		}), 0, "", "in time", 3 * time.Second, 200},
		{"redirects", after(func(c net.Conn) {
			write(c, "HTTP/1.1 307 Moved\r\nLocation: http://other.example/?s3cret\r\nContent-Length: 0\r\n\r\n")
		}), 307, "", "", 0, 200},
		{"sends 1 GB", after(func(c net.Conn) {
			write(c, head+"Content-Length: 1073741824\r\n\r\n")
			for write(c, strings.Repeat("x", 4<<10)) {
			}
		}), 0, "", "of 65536 bytes or less", 0, maxAnswer + 16<<10},
		{"sends for ever, in chunks", after(func(c net.Conn) {
			write(c, head+"Transfer-Encoding: chunked\r\n\r\n")
			for write(c, "400\r\n"+strings.Repeat("x", 1<<10)+"\r\n") {
			}
		}), 0, "", "of 65536 bytes or less", 0, maxAnswer + 16<<10},
		{"sends a header for ever", after(func(c net.Conn) {
			write(c, "HTTP/1.1 200 OK\r\n")
			for write(c, "X-Header: "+strings.Repeat("x", 1<<10)+"\r\n") {
			}
		}), 0, "", "broke off", 0, 2 * maxAnswer},
		{"says to go on for ever", after(func(c net.Conn) {
			for write(c, "HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n") {
			}
		}), 0, "", "broke off", 3 * time.Second, 2 * maxAnswer},
		{"exactly 64 KiB", after(func(c net.Conn) { write(c, head+"Content-Length: 65536\r\n\r\n"+strings.Repeat("x", 64<<10)) }),
			200, strings.Repeat("x", 64<<10), "", 0, 2 * maxAnswer},
		{"closes at once", func(net.Conn) {}, 0, "", "broke off", 0, 0},
		{"closes after the question", after(func(net.Conn) {}), 0, "", "broke off", 0, 0},
		{"closes in the answer", after(func(c net.Conn) { write(c, head+"Content-Length: 10\r\n\r\nab") }), 0, "", "broke off", 0, 100},
		{"answers twice", after(func(c net.Conn) {
			write(c, head+"Content-Length: 1\r\n\r\n0"+head+"Content-Length: 1\r\n\r\n1")
		}), 200, "0", "", 0, 1000},
		{"is no HTTP", after(func(c net.Conn) { write(c, "220 s3cret ESMTP\r\n") }), 0, "", "broke off", 0, 100},
		{"has two lengths", after(func(c net.Conn) { write(c, head+"Content-Length: 1\r\nContent-Length: 2\r\n\r\n00") }), 0, "", "broke off", 0, 200},
		{"500", after(func(c net.Conn) { write(c, "HTTP/1.1 500 s3cret\r\nContent-Length: 6\r\n\r\ns3cret") }), 0, "", "500", 0, 100},
		{"HTTP/1.0", after(func(c net.Conn) { write(c, "HTTP/1.0 200 OK\r\n\r\nthe end") }), 200, "the end", "", 0, 100},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				written.Store(0)
				s := &server{serve: test.serve}
				c := client(t, s)
				got, took, err := post(c, t.Context())
				if test.err != "" {
					require.ErrorIs(t, err, ErrUnanswered)
					assert.ErrorContains(t, err, test.err)
					assert.NotContains(t, err.Error(), "s3cret")
				} else {
					require.NoError(t, err)
				}
				if test.status != 0 {
					assert.Equal(t, test.status, got.Status)
					assert.Equal(t, test.body, string(got.Body))
				}
				assert.LessOrEqual(t, took, test.within)
				assert.LessOrEqual(t, written.Load(), test.most)
				_, dials := s.asked()
				assert.Equal(t, 1, dials, "what was sent is not sent again")
				s.running.Wait()
			})
		})
	}
}

// What is sent: once, with the user and password of the URL, and no more of it in errors.
func TestRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{answer: func(*http.Request, string) (int, http.Header, string) {
			return 302, http.Header{"Location": {"me%20too"}, "Content-Type": {"text/plain; charset=x"}}, "0"
		}}
		got, _, err := post(client(t, s), t.Context())
		require.NoError(t, err)
		assert.Equal(t, Answer{302, "me%20too", "text/plain", []byte("0")}, got)
		r := s.heads[0]
		user, password, _ := r.BasicAuth()
		assert.Equal(t, "operator s3cretpass", user+" "+password)
		assert.Equal(t, "/hook?apikey=s3cretkey", r.RequestURI)
		assert.Equal(t, "asked.example:8000", r.Host)
		assert.Equal(t, "text/x-test", r.Header.Get("Content-Type"))
		assert.Equal(t, "close", strings.ToLower(r.Header.Get("Connection")))
		assert.Equal(t, "the question", s.bodies[0])
		assert.Equal(t, int64(12), r.ContentLength)
	})
}

// A connection that cannot be made is tried once more, since nothing was sent.
func TestRetry(t *testing.T) {
	for refuse, ok := range map[int]bool{1: true, 2: false} {
		synctest.Test(t, func(t *testing.T) {
			s := &server{refuse: refuse, answer: says(200, "0")}
			_, took, err := post(client(t, s), t.Context())
			_, dials := s.asked()
			assert.Equal(t, 2, dials)
			assert.Equal(t, retryPause, took)
			assert.Equal(t, ok, err == nil)
			if !ok {
				assert.ErrorContains(t, err, "connection refused")
				assert.NotContains(t, err.Error(), "s3cret")
			}
		})
	}
}

// A connection that takes too long to be made ends with the question that it is for.
func TestSlowDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended []time.Duration
		began := time.Now()
		c, err := NewClient(ClientConfig{URL: fixed(address), Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			ended = append(ended, time.Since(began))
			return nil, ctx.Err()
		}})
		require.NoError(t, err)
		for range 2 {
			_, took, err := post(c, t.Context())
			assert.ErrorContains(t, err, "in time")
			assert.Equal(t, defaultTimeout, took)
			synctest.Wait()
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errLeft)
		defer cancel()
		_, _, err = post(c, ctx)
		assert.ErrorIs(t, err, errLeft)
		synctest.Wait()
		assert.Equal(t, []time.Duration{3 * time.Second, 6 * time.Second, 7 * time.Second}, ended)
	})
}

// 64 questions are asked at a time. The time that others wait for their turn is none in which the
// server is slow.
func TestConnectionsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{answer: func(*http.Request, string) (int, http.Header, string) {
			time.Sleep(2 * time.Second)
			return 200, nil, "0"
		}}
		c := client(t, s)
		var all sync.WaitGroup
		var bad atomic.Int64
		began := time.Now()
		for range 5 * maxConnections {
			all.Go(func() {
				if _, _, err := post(c, t.Context()); err != nil {
					bad.Add(1)
				}
			})
		}
		all.Wait()
		assert.Zero(t, bad.Load())
		assert.Equal(t, 10*time.Second, time.Since(began))
		assert.Equal(t, maxConnections, s.most)
	})
}

// Who waits for its turn, or for an answer, leaves when its context ends; that is no failure.
func TestClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{serve: func(c net.Conn) { io.Copy(io.Discard, c) }}
		c := client(t, s)
		var all sync.WaitGroup
		for i := range 2 * maxConnections {
			patience := time.Second
			if i >= maxConnections {
				patience /= 2
			}
			synctest.Wait()
			all.Go(func() {
				ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errLeft)
				defer cancel()
				_, took, err := post(c, ctx)
				assert.ErrorIs(t, err, errLeft)
				assert.Equal(t, patience, took)
			})
		}
		all.Wait()
		assert.NoError(t, c.breaker.check(time.Now()))
		s.running.Wait()
		_, dials := s.asked()
		assert.Equal(t, maxConnections, dials)
	})
}

func TestBadURLs(t *testing.T) {
	for _, bad := range []string{
		"", "ftp://u:s3cret@host/", "http://", "http://:80/", "://s3cret", "http://u:s3cret@host\x7f/", "host:80/s3cret", "http://[::1/s3cret",
	} {
		_, err := NewClient(ClientConfig{URL: fixed(bad)})
		require.Error(t, err, bad)
		assert.NotContains(t, err.Error(), "s3cret")
		_, err = New(Config{URL: fixed(bad)})
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "s3cret")
		_, err = JWKSFetch(fixed(bad))
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "s3cret")
	}
}

// A real server with TLS: HTTP/1.1 only, a certificate that is not known is no answer, and no
// proxy of the environment is asked.
func TestRealServer(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	var requests atomic.Int64
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		fmt.Fprintf(w, "%s %s", r.Proto, r.URL.RawQuery)
	}))
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = discardLog
	srv.StartTLS()
	defer srv.Close()
	url := strings.Replace(srv.URL, "https://", "https://u:s3cret@", 1) + "/?q=s3cret"
	c, err := NewClient(ClientConfig{URL: fixed(url)})
	require.NoError(t, err)
	_, _, err = post(c, t.Context())
	require.ErrorIs(t, err, ErrUnanswered)
	assert.ErrorContains(t, err, "certificate")
	assert.NotContains(t, err.Error(), "s3cret")
	assert.Zero(t, requests.Load())

	c, err = NewClient(ClientConfig{URL: fixed(url), TLS: srv.Client().Transport.(*http.Transport).TLSClientConfig})
	require.NoError(t, err)
	defer c.Close()
	for range 3 {
		got, _, err := post(c, t.Context())
		require.NoError(t, err)
		assert.Equal(t, "HTTP/1.1 q=s3cret", string(got.Body))
	}
	assert.Equal(t, int64(3), requests.Load())
}

// A real server that sends 1 GB and one that is not there, by their memory and errors.
func TestRealGigabyte(t *testing.T) {
	var sent atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for piece := bytes.Repeat([]byte("x"), 32<<10); sent.Load() < 1<<30; sent.Add(int64(len(piece))) {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	}))
	c, err := NewClient(ClientConfig{URL: fixed(srv.URL)})
	require.NoError(t, err)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err = post(c, t.Context())
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, ErrUnanswered)
	srv.Close() // waits for the handler
	assert.Less(t, sent.Load(), int64(64<<20), "what fits into the system's buffers")
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(8<<20))
	_, _, err = post(c, t.Context())
	require.ErrorIs(t, err, ErrUnanswered)
	assert.ErrorContains(t, err, "dial tcp 127.0.0.1:")
	assert.False(t, errors.Is(err, ErrLeftAlone))
}
