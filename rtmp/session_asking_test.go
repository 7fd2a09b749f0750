package rtmp

import (
	"bytes"
	"context"
	"errors"
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

// askingRig is a rig that is an Authorizer: the test answers its questions.
type askingRig struct {
	rig
	questions chan *askedQuestion
}

type askedQuestion struct {
	ctx     context.Context
	stream  *ServerStream
	req     *Request
	publish bool
	answer  func(error)
}

func newAskingRig() *askingRig { return &askingRig{questions: make(chan *askedQuestion, 100)} }

func (h *askingRig) Authorize(ctx context.Context, s *ServerStream, r *Request, publish bool, answer func(error)) {
	h.questions <- &askedQuestion{ctx, s, r, publish, answer}
}

// asked waits for the next question.
func (h *askingRig) asked(t testing.TB) *askedQuestion {
	t.Helper()
	select {
	case q := <-h.questions:
		return q
	case <-time.After(20 * time.Second):
		require.Fail(t, "nothing was asked")
		return nil
	}
}

// ended waits until the question is cancelled, and returns the cause.
func (q *askedQuestion) ended(t testing.TB) error {
	t.Helper()
	select {
	case <-q.ctx.Done():
	case <-time.After(20 * time.Second):
		require.Fail(t, "the question goes on")
	}
	return context.Cause(q.ctx)
}

// nothingBegan fails if anything was published or played.
func (h *askingRig) nothingBegan(t testing.TB) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	assert.Empty(t, h.publications)
	assert.Empty(t, h.playbacks)
}

// silent fails if the server sends anything within a moment.
func (p *peer) silent() {
	p.t.Helper()
	p.nc.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	_, err := p.nc.Read(make([]byte, 1))
	assert.ErrorIs(p.t, err, os.ErrDeadlineExceeded)
	p.nc.SetReadDeadline(time.Now().Add(30 * time.Second))
}

// audio is a message of an encoder that does not wait for the answer to its publish.
func audio(id uint32, ts uint32, size int) chunk.Message {
	return chunk.Message{Type: typeAudio, StreamID: id, Timestamp: ts, Payload: bytes.Repeat([]byte{byte(ts)}, size)}
}

// What comes behind a publish is kept in order, and the client hears nothing before
// the answer.
func TestAskingThenPublishing(t *testing.T) {
	h := newAskingRig()
	addr := serve(t, &Server{Handler: h})
	p := connected(t, addr, "live")
	id := p.createStream()
	p.command(id, "publish", 0.0, nil, "a", "live")
	q := h.asked(t)
	assert.True(t, q.publish)
	assert.Equal(t, "live/a", q.req.Key())
	deadline, ok := q.ctx.Deadline()
	assert.True(t, ok)
	assert.WithinDuration(t, time.Now().Add(defaultAuthorizeTimeout), deadline, 9*time.Second)
	for i := range uint32(100) {
		p.message(audio(id, i, 500))
	}
	p.command(0, "createStream", 9.0, nil)
	p.silent()
	h.nothingBegan(t)

	q.answer(nil)
	p.wantStatus(id, LevelStatus, CodePublishStart)
	p.result(9)
	got := h.publication(t, 0)
	assert.Same(t, q.req, got.req)
	assert.Same(t, q.stream, got.stream)
	for i, tag := range got.written(t, 100) {
		require.Equal(t, uint32(i), tag.Timestamp)
		require.Len(t, tag.Data, 500)
	}
	assert.ErrorIs(t, q.ended(t), context.Canceled)
	q.answer(errors.New("once more")) // does nothing
	p.message(audio(id, 100, 1))
	got.written(t, 101)
	assert.Empty(t, got.ends())
}

// A play over one that is there ends that before the question.
func TestAskingThenPlaying(t *testing.T) {
	h := newAskingRig()
	addr := serve(t, &Server{Handler: h})
	p := connected(t, addr, "live")
	id := p.createStream()
	for i := range 2 {
		p.command(id, "play", 0.0, nil, "a", -2000.0)
		p.message(chunk.Message{Type: typeUserControl, ChunkStream: 2, Payload: []byte{0, eventSetBufferLength, 0, 0, 0, 1, 0, 0, 0x0B, 0xB8}})
		q := h.asked(t)
		assert.False(t, q.publish)
		if i > 0 {
			assert.Equal(t, 1, h.playback(t, 0).now().closed)
		}
		p.silent()
		go q.answer(nil)
		p.wantStatus(id, LevelStatus, CodePlayReset)
		p.wantStatus(id, LevelStatus, CodePlayStart)
		for p.read().Type != typeData { // |RtmpSampleAccess, the end of what is sent
		}
	}
	assert.Zero(t, h.playback(t, 1).now().closed)
}

// A refusal by answer is one by Publish or Play.
func TestAskingThenRefusing(t *testing.T) {
	for _, command := range []string{"publish", "play"} {
		var log logBuffer
		h := newAskingRig()
		addr := serve(t, &Server{Handler: h, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		p := connected(t, addr, "live")
		p.command(1, command, 0.0, nil, "a")
		h.asked(t).answer(&StatusError{Code: CodePublishDenied, Description: "no"})
		p.wantStatus(1, LevelError, CodePublishDenied)
		p.wantEOF()
		p.nc.Close()
		h.nothingBegan(t)
		log.endLine(t)
		assert.Contains(t, log.String(), `streams="`+command+` live/a (refused)"`)
	}
}

// syncRig is a rig whose Authorize answers before it returns.
type syncRig struct {
	rig
	answered error
	ctx      context.Context
}

func (h *syncRig) Authorize(ctx context.Context, _ *ServerStream, _ *Request, _ bool, answer func(error)) {
	h.ctx = ctx
	answer(h.answered)
	answer(errors.New("once more"))
}

// An answer at once is as if nothing had been asked.
func TestAnswerAtOnce(t *testing.T) {
	h := &syncRig{}
	addr := serve(t, &Server{Handler: h})
	p := connected(t, addr, "live")
	p.publish("a")
	assert.Error(t, h.ctx.Err())
	p.play("a")
	p.sync()
	h = &syncRig{answered: errors.New("no")}
	p = connected(t, serve(t, &Server{Handler: h}), "live")
	p.command(1, "publish", 0.0, nil, "a")
	p.wantStatus(1, LevelError, CodePublishRejected)
	p.wantEOF()
}

// Questions of one connection are asked one after the other, and one refused leaves the
// others alone.
func TestAskingOnSeveralStreams(t *testing.T) {
	h := newAskingRig()
	addr := serve(t, &Server{Handler: h})
	p := connected(t, addr, "live")
	for id := range uint32(3) {
		p.command(id+1, "publish", 0.0, nil, string(rune('a'+id)))
		p.message(audio(id+1, id, 10))
	}
	q := h.asked(t)
	assert.Equal(t, "live/a", q.req.Key())
	p.silent()
	assert.Empty(t, h.questions)
	q.answer(nil)
	p.wantStatus(1, LevelStatus, CodePublishStart)
	q = h.asked(t)
	assert.Equal(t, "live/b", q.req.Key())
	assert.Empty(t, h.questions)
	q.answer(errors.New("no"))
	p.wantStatus(2, LevelError, CodePublishRejected)
	q = h.asked(t)
	assert.Equal(t, "live/c", q.req.Key())
	// Another stream of the connection may end meanwhile.
	h.publication(t, 0).written(t, 1)
	h.publication(t, 0).stream.Fail(&StatusError{Description: "enough"})
	p.wantStatus(1, LevelError, CodePublishRejected)
	assert.ErrorContains(t, h.publication(t, 0).ended(t), "enough")
	q.answer(nil)
	p.wantStatus(3, LevelStatus, CodePublishStart)
	h.publication(t, 1).written(t, 1)
}

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
		addr := serve(t, &Server{Handler: h, Logger: slog.New(slog.NewTextHandler(&log, nil))})
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

// A client that leaves is noticed although it is not read.
func TestLeavingWhileAskingUnread(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("noticed at the deadline on this system")
	}
	for how, leave := range leave {
		var log logBuffer
		h := newAskingRig()
		addr := serve(t, &Server{Handler: h, Logger: slog.New(slog.NewTextHandler(&log, nil)), AuthorizeTimeout: time.Hour})
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
			srv := &Server{Handler: h, CommandTimeout: time.Second, Logger: slog.New(slog.NewTextHandler(&log, nil))}
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

// lateWitness is a witness and the connection of its client: its questions are answered
// when there is nothing else to read.
type lateWitness struct {
	witness
	tape
	answer func(error)
}

func (w *lateWitness) Authorize(_ context.Context, _ *ServerStream, _ *Request, _ bool, answer func(error)) {
	w.answer = answer
}

func (w *lateWitness) Read(p []byte) (int, error) {
	if answer := w.answer; answer != nil && len(w.input) == 0 {
		w.answer = nil
		answer(nil)
		return 0, os.ErrDeadlineExceeded
	}
	return w.tape.Read(p)
}

// A client's bytes mean the same whether its questions are answered at once or when
// everything that it sent is there.
func TestLateAnswersChangeNothing(t *testing.T) {
	captured(t, 12_000, func(sent []byte) {
		for n := len(sent); n > 0; n -= 1 + n/7 {
			input := append(bytes.Clone(hello), sent[:n]...)
			for _, piece := range []int{1 + n%300, 1 << 20} {
				atOnce := &witness{}
				nc := &tape{input: input, piece: piece}
				newSession(&Server{Handler: atOnce}, nc, 1).run()
				late := &lateWitness{tape: tape{input: input, piece: piece}}
				newSession(&Server{Handler: late}, late, 1).run()
				require.Equal(t, atOnce.seen, late.seen)
				require.Equal(t, answered(t, nc.output.Bytes()), answered(t, late.output.Bytes()))
			}
		}
	})
}
