package web

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A throttle is a line to a server which is as slow as a test wants it: a proxy for TCP, whose
// connections share a rate towards the browser.
type throttle struct {
	address string // HOST:PORT

	mu    sync.Mutex
	rate  int // bytes/s towards the browser; 0: no bound, less: nothing gets through, but what waits is kept
	due   time.Time
	conns map[net.Conn]bool
	news  chan struct{} // closed when the rate changes
}

const (
	stopped = -1
	piece   = 2 << 10 // bytes that are passed on at a time
	pieces  = 8 << 10 // so many wait on the way at the most
)

// newThrottle begins to pass on what comes for a server.
func newThrottle(t *testing.T, server string) *throttle {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	th := &throttle{address: l.Addr().String(), conns: map[net.Conn]bool{}, news: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { th.pass(ctx, conn, server) })
		}
	})
	t.Cleanup(func() {
		cancel()
		l.Close()
		th.cut()
		wg.Wait()
	})
	return th
}

// set changes the rate, bytes/s.
func (th *throttle) set(rate int) {
	th.mu.Lock()
	defer th.mu.Unlock()
	th.rate = rate
	th.due = time.Now()
	close(th.news)
	th.news = make(chan struct{})
}

// cut breaks all connections.
func (th *throttle) cut() {
	th.mu.Lock()
	defer th.mu.Unlock()
	for conn := range th.conns {
		conn.Close()
	}
}

func (th *throttle) keep(conn net.Conn, here bool) {
	th.mu.Lock()
	defer th.mu.Unlock()
	if here {
		th.conns[conn] = true
	} else {
		delete(th.conns, conn)
	}
}

func (th *throttle) pass(ctx context.Context, client net.Conn, address string) {
	defer client.Close()
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	for _, conn := range []net.Conn{client, server} {
		th.keep(conn, true)
		defer th.keep(conn, false)
	}
	if ctx.Err() != nil {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		io.Copy(server, client)
		server.Close()
	})
	// What is read waits here, and not in the server's kernel, which would ask ever more rarely
	// whether there is room again.
	waiting := make(chan []byte, pieces)
	wg.Go(func() {
		defer close(waiting)
		for {
			b := make([]byte, piece)
			n, err := server.Read(b)
			if err != nil {
				return
			}
			select {
			case waiting <- b[:n]:
			case <-ctx.Done():
				return
			}
		}
	})
	for b := range waiting {
		if !th.wait(ctx, len(b)) {
			break
		}
		if _, err := client.Write(b); err != nil {
			break
		}
	}
	client.Close()
	server.Close()
	for range waiting { // so that the reader is not held up by what nobody wants any more
	}
	wg.Wait()
}

// wait returns when n bytes may go on, or false when none may any more.
func (th *throttle) wait(ctx context.Context, n int) bool {
	for {
		th.mu.Lock()
		news, now := th.news, time.Now()
		if th.rate == 0 {
			th.mu.Unlock()
			return ctx.Err() == nil
		}
		var pause time.Duration
		if th.rate > 0 {
			// What a busy machine was late with is made up for, up to a point.
			if least := now.Add(-100 * time.Millisecond); th.due.Before(least) {
				th.due = least
			}
			pause = th.due.Sub(now)
			if pause <= 0 {
				th.due = th.due.Add(time.Duration(n) * time.Second / time.Duration(th.rate))
				th.mu.Unlock()
				return ctx.Err() == nil
			}
		} else {
			pause = time.Hour
		}
		th.mu.Unlock()
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-news:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return false
		}
	}
}
