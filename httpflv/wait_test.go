package httpflv

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/fanout"
)

// A request counts from its beginning, before there is a viewer, and whoever comes while
// Wait waits is refused, with a status over both protocols.
func TestWaitCountsRequests(t *testing.T) {
	const body = "GET /live/demo.flv HTTP/1.1\r\nHost: x\r\n\r\n"
	socket := upgradeRequest("/live/demo.flv", "")
	for name, first := range map[string]string{"HTTP": body, "WebSocket": socket} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked, answer := make(chan struct{}), make(chan error)
				h := &Handler{Pool: fanout.New(fanout.Config{})}
				h.Hub = hub.New(hub.Config{Authorize: func(context.Context, *hub.Session) (hub.Grant, error) {
					close(asked)
					return hub.Grant{}, <-answer
				}})
				l := onceListener{conn: make(chan net.Conn)}
				srv := &http.Server{Handler: h}
				served := make(chan error, 1)
				go func() { served <- srv.Serve(l) }()
				dial := func(request string) (net.Conn, *http.Response) {
					near, far := net.Pipe()
					l.conn <- near
					_, err := io.WriteString(far, request)
					require.NoError(t, err)
					res, err := http.ReadResponse(bufio.NewReader(far), nil)
					require.NoError(t, err)
					return far, res
				}
				refused := make(chan struct{})
				go func() {
					defer close(refused)
					c, res := dial(first)
					if name == "HTTP" {
						assert.Equal(t, http.StatusForbidden, res.StatusCode)
					} else {
						assert.Equal(t, http.StatusSwitchingProtocols, res.StatusCode)
						(&wsClient{t: t, Conn: c, r: bufio.NewReader(c)}).expectClose(4403, "denied: not you")
					}
					c.Close()
				}()
				<-asked
				waited := make(chan struct{})
				go func() {
					defer close(waited)
					h.Wait()
				}()
				synctest.Wait()
				for _, request := range []string{body, socket} {
					c, res := dial(request)
					assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
					assert.Equal(t, "*", res.Header.Get("Access-Control-Allow-Origin"))
					assert.Equal(t, "shutting down", refusal(t, res)["error"])
					c.Close()
				}
				select {
				case <-waited:
					assert.Fail(t, "Wait did not wait")
				default:
				}
				answer <- errors.New("not you")
				<-waited
				<-refused
				h.Pool.Close()
				close(l.conn)
				<-served
			})
		})
	}
}

// Clients come and come while everything ends: each is served and ended properly, or
// refused, and when Wait has returned nobody is left.
func TestClientsComeDuringShutdown(t *testing.T) {
	for _, change := range []func(*configs){func(*configs) {}, withoutIntake, overTLS} {
		for range 3 {
			h := newRig(t, change, notWaiting)
			s := h.publish()
			s.send(start)
			client := h.server.Client()
			client.Transport.(*http.Transport).DisableKeepAlives = true
			request := func(how string) (status int) {
				r, err := http.NewRequest(http.MethodGet, h.server.URL+"/live/demo.flv", nil)
				require.NoError(t, err)
				if how == "ws" {
					r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
						"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {handshakeKey}}
				}
				res, err := client.Do(r)
				if err != nil {
					return 0 // broken off
				}
				defer res.Body.Close()
				io.CopyN(io.Discard, res.Body, 4) // of a file, or of a close frame
				return res.StatusCode
			}
			var clients sync.WaitGroup
			came, stop := make(chan int, 1000), make(chan struct{})
			for i := range 6 {
				clients.Go(func() {
					for {
						select {
						case <-stop:
							return
						case came <- request([]string{"http", "ws"}[i%2]):
						}
					}
				})
			}
			for range 30 {
				assert.Contains(t, []int{http.StatusOK, http.StatusSwitchingProtocols}, <-came)
			}
			assert.NoError(t, h.hub.Shutdown(t.Context()))
			h.Pool.Close()
			h.Wait()
			assert.Zero(t, waiters())
			begun, ended := strings.Count(h.log.String(), "session begins"), strings.Count(h.log.String(), "session ends")
			assert.Equal(t, begun, ended)
			for _, how := range []string{"http", "ws"} {
				assert.Equal(t, http.StatusServiceUnavailable, request(how))
			}
			close(stop)
			clients.Wait()
		}
	}
}

// What closes late is waited for: the connection is closed when Wait returns.
func TestWaitWaitsForConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, ws := range []bool{false, true} {
			h := &Handler{Hub: hub.New(hub.Config{}), Pool: fanout.New(fanout.Config{})}
			s := (&rig{t: t, hub: h.Hub, Handler: h}).publish()
			s.send(start)
			near, far := net.Pipe()
			late := &lateConn{Conn: near}
			l := onceListener{conn: make(chan net.Conn, 1)}
			l.conn <- late
			srv := &http.Server{Handler: h}
			served := make(chan error, 1)
			go func() { served <- srv.Serve(l) }()
			request := "GET /live/demo.flv HTTP/1.1\r\nHost: x\r\n\r\n"
			if ws {
				request = upgradeRequest("/live/demo.flv", "")
			}
			_, err := io.WriteString(far, request)
			require.NoError(t, err)
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				io.Copy(io.Discard, far)
			}()
			synctest.Wait()
			began := time.Now()
			s.Close()
			h.Wait()
			assert.True(t, late.closed)
			assert.GreaterOrEqual(t, time.Since(began), lateClose)
			<-gone
			h.Pool.Close()
			close(l.conn)
			<-served
		}
	})
}

const lateClose = 5 * time.Second

// lateConn takes a while to close.
type lateConn struct {
	net.Conn
	closed bool
}

func (c *lateConn) Close() error {
	time.Sleep(lateClose)
	c.closed = true
	return c.Conn.Close()
}
