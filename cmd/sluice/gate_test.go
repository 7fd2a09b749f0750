package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/rtmp"
)

// conns is a listener with connections that wait, and an error after them.
type conns struct {
	net.Listener
	waiting []net.Conn
}

func never() bool { return false }

var errNoMore = errors.New("no more connections")

func (l *conns) Accept() (net.Conn, error) {
	if len(l.waiting) == 0 {
		return nil, errNoMore
	}
	c := l.waiting[0]
	l.waiting = l.waiting[1:]
	return c, nil
}

// The gate waits for a yield that comes back at once, in vain for so long only.
func TestGateWaitsForAQuietMoment(t *testing.T) {
	for _, c := range []struct {
		name       string
		busy       []time.Duration // what yields take before they come back at once
		overloaded bool
		want       time.Duration // when the connection is accepted
	}{
		{"quiet", nil, false, 0},
		{"yields as they are", []time.Duration{20 * time.Microsecond}, false, 20 * time.Microsecond},
		{"busy for a while", []time.Duration{300 * time.Microsecond, 2 * time.Millisecond}, false, 2300 * time.Microsecond},
		{"busy all the time", []time.Duration{2 * time.Millisecond, 2 * time.Millisecond, 2 * time.Millisecond, time.Hour}, false, 6 * time.Millisecond},
		{"one long wait", []time.Duration{40 * time.Millisecond, time.Hour}, false, 40 * time.Millisecond},
		{"overloaded", []time.Duration{300 * time.Microsecond, 300 * time.Microsecond, time.Hour}, true, 600 * time.Microsecond},
		{"overloaded and quiet", nil, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := &net.TCPConn{}
				g := &gate{&conns{waiting: []net.Conn{conn}}, func() bool { return c.overloaded }, func() {
					if len(c.busy) > 0 {
						time.Sleep(c.busy[0])
						c.busy = c.busy[1:]
					}
				}}
				began := time.Now()
				got, err := g.Accept()
				require.NoError(t, err)
				assert.Same(t, conn, got, "as the listener has it, for raw writes")
				assert.Equal(t, c.want, time.Since(began))
				_, err = g.Accept()
				assert.ErrorIs(t, err, errNoMore)
			})
		})
	}
}

// Connections come in the order in which they were made.
func TestGateKeepsOrder(t *testing.T) {
	l, err := listenOn(t.Context(), kindHTTP, "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	l = newGate(l, never)
	var dialled []net.Conn
	for range 100 {
		c, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		defer c.Close()
		dialled = append(dialled, c)
	}
	for _, c := range dialled {
		accepted, err := l.Accept()
		require.NoError(t, err)
		assert.Equal(t, c.LocalAddr().String(), accepted.RemoteAddr().String())
		accepted.Close()
	}
}

// Close ends an Accept, whether it waits for a connection or for a quiet moment.
func TestGateCloses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	yielding, closed := make(chan struct{}), make(chan struct{})
	busy := true
	g := &gate{l, never, func() {
		if busy {
			busy = false
			close(yielding)
			<-closed
		}
	}}
	ended := make(chan error, 1)
	go func() {
		_, err := g.Accept()
		ended <- err
	}()
	<-yielding
	require.NoError(t, g.Close())
	close(closed)
	assert.ErrorIs(t, <-ended, net.ErrClosed)

	l, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g = &gate{l, never, func() {}}
	go func() {
		_, err := g.Accept()
		ended <- err
	}()
	require.NoError(t, g.Close())
	assert.ErrorIs(t, <-ended, net.ErrClosed)
}

// Clients that connect and say nothing keep nobody from coming in.
func TestSilentClientsDoNotStopAccepting(t *testing.T) {
	out, _ := start(t, "SLUICE_LOG_LEVEL=warn")
	rtmpHost := out.find(t, `rtmp://(127\.0\.0\.1:\d+)/live/NAME\n`)[1]
	httpHost := out.find(t, `http://(127\.0\.0\.1:\d+)/ in a browser`)[1]
	for _, host := range []string{rtmpHost, httpHost} {
		for range 300 {
			c, err := net.Dial("tcp", host)
			require.NoError(t, err)
			defer c.Close()
		}
	}
	client := &http.Client{Timeout: 20 * time.Second}
	defer client.CloseIdleConnections()
	res, err := client.Get(fmt.Sprintf("http://%s/api/v1/streams", httpHost))
	require.NoError(t, err)
	res.Body.Close()
	assert.Equal(t, http.StatusOK, res.StatusCode)
	c := rtmp.Client{OpenTimeout: 20 * time.Second}
	p, err := c.Publish(t.Context(), "rtmp://"+rtmpHost+"/live/heard")
	require.NoError(t, err)
	p.Close()
}
