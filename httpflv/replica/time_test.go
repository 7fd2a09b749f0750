package replica

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub/cluster"
)

// pipes is a listener in memory, whose connections take nothing that is not read at once.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.done:
	case <-ctx.Done():
	}
	return nil, net.ErrClosed
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case nc := <-p.conns:
		return nc, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// inBubble runs a test on the clock of a bubble, with a server of a log.
func inBubble(t *testing.T, l func() *log, f func(t *testing.T, o *Opener, s *Server, l *log)) {
	synctest.Test(t, func(t *testing.T) {
		p, l := newPipes(), l()
		s := NewServer(Config{Streams: l, Secret: secret, Node: boot}, nil)
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(p) }()
		o := opener()
		o.Dial = p.dial
		f(t, o, s, l)
		assert.NoError(t, s.Close())
		<-ended
	})
}

func openIn(t *testing.T, o *Opener) cluster.Source {
	t.Helper()
	s, err := o.Open(t.Context(), cluster.Opening{Address: "h:1", Boot: boot, Key: demo})
	require.NoError(t, err)
	return s
}

// A stream in which nothing happens goes on, since its server says each second that it is there.
func TestPing(t *testing.T) {
	inBubble(t, func() *log { return newLog(packet(at(1), 0, "x")) }, func(t *testing.T, o *Opener, s *Server, l *log) {
		source := openIn(t, o)
		read(t, source, 1)
		began := time.Now()
		time.AfterFunc(100*time.Second+pingInterval/2, func() { l.add(packet(at(2), 40, "y")) })
		for range 100 {
			it, err := source.Next()
			require.NoError(t, err)
			require.Equal(t, cluster.Item{At: at(1)}, it)
		}
		assert.Equal(t, packet(at(2), 40, "y"), read(t, source, 1)[0])
		assert.Equal(t, 100*time.Second+pingInterval/2, time.Since(began))
		source.Close()
		synctest.Wait()
		time.Sleep(pingInterval)
		synctest.Wait()
		assert.Zero(t, s.Figures().Copies, "the next ping finds that nobody is there")
		assert.Zero(t, l.open)
		assert.Less(t, s.Figures().Bytes, uint64(10000))
	})
}

// trickle writes one byte after the other, until stop is called.
func trickle(nc net.Conn, text string, each time.Duration) (stop func()) {
	stopped := make(chan struct{})
	go func() {
		for _, b := range []byte(text) {
			if _, err := nc.Write([]byte{b}); err != nil {
				return
			}
			select {
			case <-time.After(each):
			case <-stopped:
				return
			}
		}
	}()
	return func() { close(stopped) }
}

// A server that says nothing is given up after 3 s, and one whose tag trickles in after 12 s.
func TestSilence(t *testing.T) {
	for _, c := range []struct {
		name string
		each time.Duration // a byte
		want time.Duration
	}{
		{"silent", time.Hour, defaultSilence},
		{"trickles", time.Second, maxTagTime * defaultSilence},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				defer server.Close()
				defer trickle(server, tagOf(flv.TypeVideo, 100, 0, make([]byte, 1000)), c.each)()
				s := stream(client)
				s.nc, s.in.conn, s.in.silence = client, client, defaultSilence
				began := time.Now()
				_, err := s.Next()
				assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
				assert.ErrorContains(t, err, "silent")
				assert.InDelta(t, c.want.Seconds(), time.Since(began).Seconds(), defaultSilence.Seconds()/8)
				s.Close()
			})
		})
	}
}

// A client that takes nothing is given up after 10 s.
func TestClientThatTakesNothing(t *testing.T) {
	inBubble(t, func() *log { return newLog(packet(at(1), 0, "x"), packet(at(2), 40, string(make([]byte, 1<<20)))) },
		func(t *testing.T, o *Opener, s *Server, l *log) {
			source := openIn(t, o)
			read(t, source, 1)
			began := time.Now()
			for s.Figures().Copies > 0 {
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
			}
			assert.InDelta(t, writeTimeout.Seconds(), time.Since(began).Seconds(), writeTimeout.Seconds()/8)
			assert.Error(t, readEnd(source))
		})
}

// One without a proof waits for its refusal, and one without a request is not waited for.
func TestSlowAskers(t *testing.T) {
	inBubble(t, func() *log { return newLog() }, func(t *testing.T, o *Opener, s *Server, l *log) {
		o.Secret = ""
		began := time.Now()
		_, err := o.Open(t.Context(), cluster.Opening{Address: "h:1", Boot: boot, Key: demo})
		assert.ErrorIs(t, err, ErrUnproven)
		assert.Equal(t, defaultUnprovenDelay, time.Since(began))
		for _, each := range []time.Duration{time.Hour, time.Second} {
			nc, err := o.Dial(t.Context(), "", "")
			require.NoError(t, err)
			began := time.Now()
			stop := trickle(nc, requestFor("GET", uri), each)
			_, err = io.ReadAll(nc)
			assert.NoError(t, err)
			assert.Equal(t, readHeaderTimeout, time.Since(began))
			nc.Close()
			stop()
		}
		time.Sleep(time.Hour)
		s.limiter.mu.Lock()
		defer s.limiter.mu.Unlock()
		assert.Zero(t, s.limiter.unproven.Len())
	})
}

// How long it may take until it is known where a stream begins is bounded.
func TestStreamThatDoesNotBegin(t *testing.T) {
	inBubble(t, func() *log { return newLog() }, func(t *testing.T, o *Opener, s *Server, l *log) {
		l.wait = make(chan struct{})
		began := time.Now()
		_, err := o.Open(t.Context(), cluster.Opening{Address: "h:1", Boot: boot, Key: demo})
		assert.ErrorContains(t, err, "in time")
		assert.Equal(t, serveTimeout, time.Since(began))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = o.Open(ctx, cluster.Opening{Address: "h:1", Boot: boot, Key: demo})
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		synctest.Wait()
		assert.Zero(t, s.Figures().Copies, "the server is told that nobody waits any more")
	})
}
