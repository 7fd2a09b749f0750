package gateway

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/fanout"
	"sluice/rtmp"
)

// lateHandler passes grants on when it is too late: when their context has ended.
type lateHandler struct {
	*Handler
	granted chan struct{}
}

func (h *lateHandler) Authorize(
	ctx context.Context, s *rtmp.ServerStream, r *rtmp.Request, publish bool, answer func(error),
) {
	h.Handler.Authorize(ctx, s, r, publish, func(err error) {
		h.granted <- struct{}{}
		go func() {
			<-ctx.Done()
			answer(err)
		}()
	})
}

// A session that was granted at the moment at which its client left, or the server shut
// down, is told to be refused, once: a policy that counts those it granted loses none.
func TestGrantsThatComeTooLate(t *testing.T) {
	for name, test := range map[string]struct {
		end    func(srv *rtmp.Server, nc net.Conn)
		reason hub.Reason
	}{
		"left": {func(_ *rtmp.Server, nc net.Conn) { nc.Close() }, hub.ReasonClientLeft},
		"shut": {func(srv *rtmp.Server, _ net.Conn) { srv.Close() }, hub.ReasonShuttingDown},
	} {
		for _, publish := range []bool{true, false} {
			events := make(chan hub.Event, 10)
			pool := fanout.New(fanout.Config{})
			h := hub.New(hub.Config{Observe: func(e hub.Event) { events <- e }})
			late := &lateHandler{&Handler{Hub: h, Pool: pool}, make(chan struct{}, 1)}
			srv := &rtmp.Server{Handler: late, LingerTimeout: 10 * time.Millisecond}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			served := make(chan error, 1)
			go func() { served <- srv.Serve(l) }()

			var nc net.Conn
			c := rtmp.Client{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				var err error
				nc, err = new(net.Dialer).DialContext(ctx, network, address)
				return nc, err
			}}
			opened := make(chan error, 1)
			go func() {
				var err error
				if url := "rtmp://" + l.Addr().String() + "/live/late"; publish {
					_, err = c.Publish(t.Context(), url)
				} else {
					_, err = c.Play(t.Context(), url)
				}
				opened <- err
			}()
			<-late.granted
			test.end(srv, nc)
			e := <-events
			assert.Equal(t, hub.EventRefused, e.Kind, name)
			assert.Equal(t, test.reason, e.Reason, name)
			assert.Error(t, <-opened)
			srv.Close()
			<-served
			pool.Close()
			require.NoError(t, h.Shutdown(t.Context()))
			assert.Empty(t, events, name)
		}
	}
}
