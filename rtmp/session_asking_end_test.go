package rtmp

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv/amf"
	"sluice/rtmp/internal/chunk"
)

// leave is how a client goes away.
var leave = map[string]func(nc *net.TCPConn){
	"close": func(nc *net.TCPConn) { nc.Close() },
	"shut":  func(nc *net.TCPConn) { nc.CloseWrite() },
	"reset": func(nc *net.TCPConn) { nc.SetLinger(0); nc.Close() },
}

// A client that leaves cancels its question, and a late answer does nothing.
func TestLeavingWhileAsking(t *testing.T) {
	for how, leave := range leave {
		var log logBuffer
		h := newAskingRig()
		addr := serve(t, &Server{Handler: h, Logger: slog.New(slog.NewTextHandler(&log, debugLevel))})
		p := connected(t, addr, "live")
		p.command(1, "publish", 0.0, nil, "a")
		q := h.asked(t)
		leave(p.nc.(*net.TCPConn))
		assert.Error(t, q.ended(t))
		q.answer(nil)
		reason, _ := log.endLine(t)
		assert.Contains(t, reason, "by client", how)
		assert.Contains(t, log.String(), `streams="publish live/a (not answered)"`)
		q.answer(nil)
		h.nothingBegan(t)
	}
}

// fill sends more than a session reads before the answer, until nothing more fits in
// the system's buffers.
func (p *peer) fill(id uint32) (sent uint32) {
	p.t.Helper()
	tcp := p.nc.(*net.TCPConn)
	for {
		b := chunk.AppendMessage(nil, p.size, chunk.Message{Type: typeAudio, ChunkStream: 4, StreamID: id, Timestamp: sent, Payload: make([]byte, 10_000)})
		for len(b) > 0 {
			tcp.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
			n, err := tcp.Write(b)
			if b = b[n:]; err == nil {
				continue
			}
			require.ErrorIs(p.t, err, os.ErrDeadlineExceeded)
			tcp.SetWriteDeadline(time.Now().Add(30 * time.Second))
			if len(b) > 0 {
				go func() { tcp.Write(b) }() // goes on with the answer, or ends with the connection
			}
			return sent + 1
		}
		sent++
	}
}

// A session that is asking reads so far and no further, and all of it comes after the
// answer.
func TestAskingReadsToABound(t *testing.T) {
	h := newAskingRig()
	addr := serve(t, &Server{Handler: h})
	p := connected(t, addr, "live")
	p.command(1, "publish", 0.0, nil, "a")
	q := h.asked(t)
	before := q.stream.s.bytesIn.Load()
	sent := p.fill(1)
	assert.EqualValues(t, maxHeld, q.stream.s.bytesIn.Load()-before)
	q.answer(nil)
	p.wantStatus(1, LevelStatus, CodePublishStart)
	for i, tag := range h.publication(t, 0).written(t, int(sent)) {
		require.Equal(t, uint32(i), tag.Timestamp)
	}
}

// Where all sessions that are asking have as many bytes as they may have, nothing more is
// read, and all of it comes after the answer.
func TestAskingReadsToABoundInAll(t *testing.T) {
	for name, serve := range map[string]func(*testing.T, *Server) string{
		"a goroutine": func(t *testing.T, srv *Server) string { return serve(t, srv) },
		"parked":      func(t *testing.T, srv *Server) string { return serveParked(t, srv) },
	} {
		h := newAskingRig()
		srv := &Server{Handler: h}
		addr := serve(t, srv)
		const room = 1000
		srv.held.Add(maxHeldInAll - room)
		p := connected(t, addr, "live")
		p.command(1, "publish", 0.0, nil, "a")
		q := h.asked(t)
		s := q.stream.s
		before := s.bytesIn.Load()
		const sent = 50
		for i := range uint32(sent) {
			p.message(audio(1, i, 1000))
		}
		require.Eventually(t, func() bool { return srv.held.Load() == maxHeldInAll }, 20*time.Second, time.Millisecond, name)
		assert.EqualValues(t, room, s.bytesIn.Load()-before, name)
		q.answer(nil)
		p.wantStatus(1, LevelStatus, CodePublishStart)
		for i, tag := range h.publication(t, 0).written(t, sent) {
			require.Equal(t, uint32(i), tag.Timestamp)
		}
		assert.EqualValues(t, maxHeldInAll-room, srv.held.Load(), name)
		if runtime.GOOS != "linux" {
			continue // a client that leaves is noticed at the deadline
		}

		p = connected(t, addr, "live")
		p.command(1, "publish", 0.0, nil, "b")
		q = h.asked(t)
		p.message(audio(1, 0, 2*room))
		require.Eventually(t, func() bool { return srv.held.Load() == maxHeldInAll }, 20*time.Second, time.Millisecond, name)
		p.nc.Close()
		assert.Error(t, q.ended(t))
		require.Eventually(t, func() bool { return srv.held.Load() == maxHeldInAll-room }, 20*time.Second, time.Millisecond, name)
	}
}

// A client that leaves is noticed although it is not read.
func TestLeavingWhileAskingUnread(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("noticed at the deadline on this system")
	}
	for how, leave := range leave {
		var log logBuffer
		h := newAskingRig()
		addr := serve(t, &Server{Handler: h, Logger: slog.New(slog.NewTextHandler(&log, debugLevel)), AuthorizeTimeout: time.Hour})
		p := connected(t, addr, "live")
		p.command(1, "publish", 0.0, nil, "a")
		q := h.asked(t)
		for i := range uint32(maxHeld/1000 + 10) { // the rest fits in the system's buffers
			p.message(audio(1, i, 1000))
		}
		assert.NoError(t, q.ctx.Err())
		leave(p.nc.(*net.TCPConn))
		assert.Error(t, q.ended(t))
		q.answer(nil)
		reason, _ := log.endLine(t)
		assert.Contains(t, reason, "by client", how)
		h.nothingBegan(t)
	}
}

// Shutdown and Close end a session that is asking.
func TestEndWhileAsking(t *testing.T) {
	for _, full := range []bool{false, true} {
		for how, end := range map[string]func(srv *Server, q *askedQuestion) error{
			"shutdown": func(srv *Server, _ *askedQuestion) error { return srv.Shutdown(context.Background()) },
			"close":    func(srv *Server, _ *askedQuestion) error { return srv.Close() },
			"handler": func(srv *Server, q *askedQuestion) error {
				q.stream.CloseConn(ErrServerClosed)
				q.ended(t)
				return srv.Close()
			},
			"under it": func(srv *Server, q *askedQuestion) error {
				q.stream.NetConn().Close()
				q.ended(t)
				return srv.Close()
			},
		} {
			h := newAskingRig()
			srv := &Server{Handler: h, AuthorizeTimeout: time.Hour, LingerTimeout: 10 * time.Millisecond}
			p := connected(t, serve(t, srv), "live")
			p.command(1, "publish", 0.0, nil, "a")
			q := h.asked(t)
			if full {
				p.fill(1)
			}
			assert.NoError(t, end(srv, q), how)
			if assert.Error(t, q.ctx.Err(), how) && how != "under it" {
				assert.ErrorIs(t, context.Cause(q.ctx), ErrServerClosed, how)
			}
			q.answer(nil)
			h.nothingBegan(t)
		}
	}
}

// A client that waits for an answer is told when the server shuts down, and what else
// happens on its connection goes on until that ends.
func TestShutdownAnswersWhatIsAsked(t *testing.T) {
	for command, code := range map[string]string{"publish": CodePublishRejected, "play": CodePlayFailed} {
		for _, busy := range []bool{false, true} {
			h := newAskingRig()
			srv := &Server{Handler: h, AuthorizeTimeout: time.Hour}
			p := connected(t, serve(t, srv), "live")
			if busy {
				p.command(1, "publish", 0.0, nil, "a")
				h.asked(t).answer(nil)
				p.wantStatus(1, LevelStatus, CodePublishStart)
			}
			p.command(2, command, 0.0, nil, "b")
			q := h.asked(t)
			down := make(chan error, 1)
			go func() { down <- srv.Shutdown(context.Background()) }()
			p.wantStatus(2, LevelError, code)
			assert.ErrorIs(t, q.ended(t), ErrServerClosed)
			q.answer(nil)
			if busy {
				h.publication(t, 0).stream.Fail(ErrServerClosed)
				p.wantStatus(1, LevelError, CodePublishRejected)
			}
			p.wantEOF()
			p.nc.Close()
			assert.NoError(t, <-down)
		}
	}
}

// Close ends a session that is asking and reads nothing at once, also where the system
// does not tell that a connection is closed.
func TestCloseWhileAskingUnread(t *testing.T) {
	h := newAskingRig()
	srv := &Server{Handler: h, AuthorizeTimeout: time.Hour}
	inBubble(t, srv, func(t *testing.T, l *pipeListener) {
		p := newPeer(t, l.dial(t))
		p.connect("live")
		p.command(1, "publish", 0.0, nil, "a")
		q := h.asked(t)
		go p.nc.Write(chunk.AppendMessage(nil, p.size, audio(1, 0, 2*maxHeld)))
		synctest.Wait()
		began := time.Now()
		assert.NoError(t, srv.Close())
		assert.Zero(t, time.Since(began))
		assert.ErrorIs(t, q.ended(t), ErrServerClosed)
	})
}

// A session that is asking owns no goroutine where something waits for it, except for
// the moments in which it looks whether its client is there.
func TestAskingOwnsNoGoroutine(t *testing.T) {
	h := newAskingRig()
	addr := serveParked(t, &Server{Handler: h})
	before := runtime.NumGoroutine()
	const n = 50
	var questions []*askedQuestion
	for i := range n {
		p := connected(t, addr, "live")
		p.command(1, "play", 0.0, nil, "a")
		if i%2 == 0 {
			for i := range uint32(maxHeld/1000 + 10) {
				p.message(audio(1, i, 1000))
			}
		}
		questions = append(questions, h.asked(t))
	}
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 }, 20*time.Second, time.Millisecond)
	for _, q := range questions {
		q.answer(nil)
	}
	h.wait(t, "playbacks", func() bool { return len(h.playbacks) == n })
}

// An answer that does not come in time is a refusal that says so.
func TestAuthorizeTimeout(t *testing.T) {
	for _, full := range []bool{false, true} {
		for command, code := range map[string]string{"publish": CodePublishRejected, "play": CodePlayFailed} {
			var log logBuffer
			h := newAskingRig()
			srv := &Server{Handler: h, CommandTimeout: time.Second, Logger: slog.New(slog.NewTextHandler(&log, debugLevel))}
			inBubble(t, srv, func(t *testing.T, l *pipeListener) {
				p := newPeer(t, l.dial(t))
				p.connect("live")
				began := time.Now()
				p.command(1, command, 0.0, nil, "a")
				if full {
					go p.nc.Write(chunk.AppendMessage(nil, p.size, audio(1, 0, 2*maxHeld)))
				}
				q := h.asked(t)
				_, v := p.values()
				assert.Equal(t, defaultAuthorizeTimeout, time.Since(began))
				o := objectOf(v)
				assert.Equal(t, code, o.str("code"))
				assert.Equal(t, "permission was not given in time", o.str("description"))
				synctest.Wait()
				assert.ErrorIs(t, context.Cause(q.ctx), ErrAuthorizeTimeout)
				assert.ErrorIs(t, context.Cause(q.ctx), os.ErrDeadlineExceeded)
				q.answer(nil)
				p.nc.Close()
				h.nothingBegan(t)
			})
			assert.Contains(t, log.String(), `streams="`+command+` live/a (refused)"`)
		}
	}
}

// objectOf returns the information object of a status.
func objectOf(v []any) props {
	c := command{args: v[2:]}
	return c.objectArg(1)
}

// Nothing of time runs against a client that waits for an answer, and it is not pinged.
func TestAskingTakesItsTime(t *testing.T) {
	h := newAskingRig()
	inBubble(t, &Server{Handler: h, AuthorizeTimeout: time.Hour}, func(t *testing.T, l *pipeListener) {
		p := newPeer(t, l.dial(t))
		p.connect("live")
		p.command(1, "publish", 0.0, nil, "a")
		time.Sleep(30 * time.Minute)
		h.asked(t).answer(nil)
		p.wantStatus(1, LevelStatus, CodePublishStart)
		p.command(2, "play", 0.0, nil, "b")
		q := h.asked(t)
		time.Sleep(30 * time.Minute)
		q.answer(nil)
		p.wantStatus(2, LevelStatus, CodePlayReset)
		p.wantStatus(2, LevelStatus, CodePlayStart)
		p.read() // |RtmpSampleAccess, the end of what is sent
		time.Sleep(defaultPublishIdleTimeout - time.Second)
		p.message(audio(1, 1, 1))
		synctest.Wait()
		assert.Empty(t, h.publications[0].ends())
	})
}

// An answer wakes a session that reads nothing, at once.
func TestAnswerWakesAtOnce(t *testing.T) {
	h := newAskingRig()
	inBubble(t, &Server{Handler: h}, func(t *testing.T, l *pipeListener) {
		p := newPeer(t, l.dial(t))
		p.connect("live")
		for i := range 3 {
			p.command(1, "publish", 0.0, nil, "a")
			done := make(chan struct{})
			go func() {
				defer close(done)
				p.nc.Write(chunk.AppendMessage(nil, p.size, audio(1, 0, 2*maxHeld)))
			}()
			q := h.asked(t)
			time.Sleep(1500 * time.Millisecond)
			began := time.Now()
			q.answer(nil)
			p.wantStatus(1, LevelStatus, CodePublishStart)
			assert.Zero(t, time.Since(began))
			<-done
			h.publication(t, i).written(t, 1)
			p.command(0, "FCUnpublish", 0.0, nil, "a")
		}
	})
}

// countedPool is a pool of one connection on which, after what a client says first,
// bytes come without an end. It counts what it is asked for.
type countedPool struct {
	endless
	first []byte
	reads atomic.Int32
}

func (c *countedPool) TryRead(p []byte) (int, error) {
	c.reads.Add(1)
	if len(c.first) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.endless.TryRead(p)
}
func (*countedPool) Wake() {}

// A session that must not read does not spin on what there is to read, and the answer
// wakes it at once.
func TestAskingDoesNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newAskingRig()
		pool := &countedPool{first: commands(0, []any{"connect", 1.0, amf.Object{{Name: "app", Value: "live"}}})}
		pool.first = append(pool.first, commands(1, []any{"publish", 0.0, nil, "a"})...)
		pool.piece = chunk.AppendMessage(nil, protocolChunkSize, audio(1, 0, 1000))
		pool.waits = make(chan time.Time, 1)
		var run func()
		srv := &Server{Handler: h, AuthorizeTimeout: time.Minute, Poll: func(_ net.Conn, r func()) (Polled, error) {
			run = r
			return pool, nil
		}}
		srv.start(&tape{input: bytes.Clone(hello), piece: 1 << 20})
		q := h.asked(t)
		synctest.Wait()
		reads := pool.reads.Load()
		time.Sleep(30*time.Second + hangupInterval/2)
		synctest.Wait()
		assert.Equal(t, reads, pool.reads.Load())
		assert.Empty(t, pool.waits)
		began := time.Now()
		q.answer(nil)
		<-pool.waits // after a turn with all it can read
		assert.Zero(t, time.Since(began))
		assert.Greater(t, pool.reads.Load(), reads)
		h.publication(t, 0).written(t, maxHeld/1100)
		pool.over = true
		for run(); len(pool.waits) > 0; run() { // what is read already
			<-pool.waits
		}
		srv.work.Wait()
	})
}
