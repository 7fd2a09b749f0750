package rtmp

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
		addr := serve(t, &Server{Handler: h, Logger: slog.New(slog.NewTextHandler(&log, debugLevel))})
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
