package httpflv

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub/tlsconn"
	"sluice/hub/tlsconn/tlstest"
)

// Servers whose connections cannot be written to directly, or not be taken over, and one whose are
// encrypted by the pumps.

func overTLS(c *configs) { c.server = (*httptest.Server).StartTLS }

func pumpedTLS(c *configs) {
	c.server = func(s *httptest.Server) {
		s.Listener = tlsconn.Listen(s.Listener, tlsconn.Config{TLS: tlstest.Server()})
		s.Start()
		s.URL = "https" + strings.TrimPrefix(s.URL, "http")
		s.Client().Transport = &http.Transport{TLSClientConfig: tlstest.Client(), DialContext: tlstest.Dial}
	}
}

func overHTTP2(c *configs) {
	c.server = func(s *httptest.Server) {
		s.EnableHTTP2 = true
		s.StartTLS()
	}
}

// onlyWriter hides what a ResponseWriter can do beside flushing, as some
// middleware does.
type onlyWriter struct{ http.ResponseWriter }

func (w onlyWriter) Flush() { w.ResponseWriter.(http.Flusher).Flush() }

func hidden(c *configs) {
	c.wrap = func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(onlyWriter{w}, r) })
	}
}

var servers = map[string]func(*configs){"TLS": overTLS, "pumped TLS": pumpedTLS, "HTTP/2": overHTTP2, "no hijacking": hidden}

func TestGenericStream(t *testing.T) {
	for name, server := range servers {
		t.Run(name, func(t *testing.T) {
			h := newRig(t, server, notWaiting)
			s := h.publish()
			s.send(start)
			res := h.get("/live/demo.flv")
			assert.Equal(t, http.StatusOK, res.StatusCode)
			assert.Equal(t, name == "HTTP/2", res.ProtoMajor == 2)
			assert.Equal(t, "video/x-flv", res.Header.Get("Content-Type"))
			assert.Equal(t, "no", res.Header.Get("X-Accel-Buffering"))
			assert.Equal(t, "*", res.Header.Get("Access-Control-Allow-Origin"))
			p := newTape(t, res.Body)
			p.expect(started)
			big := strings.Repeat("x", 300_000)
			for range 5 {
				s.send("P:" + big + "@5080")
			}
			p.expect(strings.TrimSpace(strings.Repeat("P:300000@80 ", 5)))
			s.Close()
			p.expectEnd(io.EOF)
			h.log.wait(t, "session ends", "reason=unpublished")
			assert.Equal(t, http.StatusNotFound, h.get("/live/demo.flv").StatusCode)
		})
	}
}

// Waiting, and giving up, do not depend on the protocol.
func TestGenericWaiting(t *testing.T) {
	for name, server := range servers {
		t.Run(name, func(t *testing.T) {
			h := newRig(t, server)
			answer := make(chan *http.Response)
			go func() { answer <- h.get("/live/demo.flv") }()
			h.waitViewers(1)
			s := h.publish()
			s.send(start)
			newTape(t, (<-answer).Body).expect(started)
		})
	}
}

// A client that leaves is noticed, even if the stream sends nothing, where the
// server tells.
func TestGenericClientLeaves(t *testing.T) {
	for name, server := range servers {
		for _, quiet := range []bool{false, true} {
			if quiet && strings.HasSuffix(name, "TLS") && !(name == "pumped TLS" && runtime.GOOS == "linux") {
				continue // writing tells
			}
			t.Run(name, func(t *testing.T) {
				h := newRig(t, server)
				s := h.publish()
				s.send(start)
				res := h.get("/live/demo.flv")
				newTape(t, res.Body).expect(started)
				res.Body.Close()
				require.Eventually(t, func() bool {
					if !quiet {
						s.send("P:4@5080")
					}
					return h.hub.Streams()[0].Viewers == 0
				}, 10*time.Second, time.Millisecond)
				h.log.wait(t, "session ends", `reason="client left"`)
			})
		}
	}
}

// Who takes nothing is broken off, in the middle of a Write.
func TestGenericStalledViewer(t *testing.T) {
	for name, server := range servers {
		if name == "no hijacking" {
			continue // nor deadlines: its middleware is to blame
		}
		t.Run(name, func(t *testing.T) {
			h := newRig(t, server, func(c *configs) { c.pool.WriteTimeout = 50 * time.Millisecond })
			s := h.publish()
			s.send("meta:v vc:h264 K:" + strings.Repeat("x", 12<<20))
			res := h.get("/live/demo.flv")
			h.log.wait(t, "session ends", "reason=stalled")
			_, err := io.ReadAll(res.Body)
			assert.Error(t, err, "the body must not end properly")
		})
	}
}

// A stream that sends nothing for longer than a viewer has for what it is sent, loses none.
func TestGenericSilence(t *testing.T) {
	const timeout = 500 * time.Millisecond
	for name, server := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newRig(t, server, func(c *configs) { c.pool.WriteTimeout = timeout })
			s := h.publish()
			s.send(start)
			p := newTape(t, h.get("/live/demo.flv").Body)
			p.expect(started)
			time.Sleep(timeout * 3 / 2) // a clock of the server's has to run down
			s.send("P:4@5080")
			p.expect("P:4@80")
			s.Close()
			p.expectEnd(io.EOF)
		})
	}
}

// Closing the pool breaks off, and no Write outlives its handler.
func TestGenericBreakOff(t *testing.T) {
	for name, server := range servers {
		for _, size := range []int{10, 12 << 20} { // all is sent, or a Write is under way
			if name == "no hijacking" && size > 10 {
				continue // without deadlines
			}
			t.Run(name, func(t *testing.T) {
				h := newRig(t, server)
				s := h.publish()
				s.send("meta:v vc:h264 K:" + strings.Repeat("x", size))
				res := h.get("/live/demo.flv")
				_, err := io.ReadFull(res.Body, make([]byte, 100))
				require.NoError(t, err)
				h.Pool.Close()
				h.Wait()
				_, err = io.ReadAll(res.Body)
				assert.Error(t, err, "the body must not end properly")
				h.log.wait(t, "session ends", `reason="shutting down"`)
			})
		}
	}
}

// tcpOf returns the connection itself.
func tcpOf(c net.Conn) *net.TCPConn {
	for {
		outer, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c.(*net.TCPConn)
		}
		c = outer.NetConn()
	}
}
