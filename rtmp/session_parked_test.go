package rtmp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/rtmp/internal/chunk"
)

// Sessions that are parked behave as those with a goroutine.
func TestParked(t *testing.T) {
	parked = true
	defer func() { parked = false }()
	for _, test := range []func(*testing.T){
		TestConnectIsAnsweredInOneBatch, TestConnectTakesCapabilities, TestConnectRefusals,
		TestCommandsBeforeConnect, TestCommandsAreAnswered, TestPlayCommands,
		TestStreamsOfOneConnection, TestFCUnpublishOfAnotherConnectionDoesNothing,
		TestPublishWithoutCreateStream, TestRefusalEndsTheConnection,
		TestWriteTagErrorEndsTheConnection, TestFailAndCloseConn, TestEndSaysNothing,
		TestDataMessages, TestAggregatesAreTakenApart, TestPeerWithChunkSizeOne, TestSessionLog,
		TestPublishArrivesWhole, TestPublishInBatches, TestPublishToPlayers, TestPlayerSteers,
		TestClientIsRefused, TestClientIsToldWhyItWasEnded, TestPublisherBounds,
		TestAttacks, TestTinyWindow, TestClosedInsideAMessage, TestBytesInFlight,
		TestSetOutputTakesEverything, TestOutputIsFlushedAtTheEnd, TestFailingOutputEndsTheSession,
		TestAskingThenPublishing, TestAskingThenPlaying, TestAskingThenRefusing, TestAnswerAtOnce,
		TestAskingOnSeveralStreams, TestLeavingWhileAsking, TestAskingReadsToABound,
		TestLeavingWhileAskingUnread, TestEndWhileAsking,
		TestFileIsSteered, TestSetBufferLength, TestPlayQueue, TestPlay2KeepsThePosition, TestStreamLength,
		TestStreamLengthIsBounded, TestPlayerSeeks,
	} {
		name := runtime.FuncForPC(reflect.ValueOf(test).Pointer()).Name()
		t.Run(strings.TrimPrefix(name, "sluice/rtmp."), test)
	}
}

// serveParked is serve with a pool, where there is one.
func serveParked(t *testing.T, srv *Server) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("sessions have a goroutine on this system")
	}
	poll(t, srv)
	return serve(t, srv)
}

// The limits on silence hold.
func TestParkedSessionsAreClosedInTime(t *testing.T) {
	h := &rig{}
	addr := serveParked(t, &Server{Handler: h,
		ConnectTimeout: 30 * time.Millisecond, CommandTimeout: 30 * time.Millisecond, PublishIdleTimeout: 50 * time.Millisecond})
	began := time.Now()
	dialPeer(t, addr).wantEOF()
	assert.GreaterOrEqual(t, time.Since(began), 30*time.Millisecond)
	began = time.Now()
	p := connected(t, addr, "live")
	p.wantEOF()
	assert.GreaterOrEqual(t, time.Since(began), 30*time.Millisecond)
	p = connected(t, addr, "live")
	p.publish("a")
	assert.ErrorIs(t, h.publication(t, 0).ended(t), ErrPublishIdle)
	p.wantEOF()
}

// Pings go out on time.
func TestParkedPlayersArePinged(t *testing.T) {
	const every = 20 * time.Millisecond
	addr := serveParked(t, &Server{Handler: &rig{}, PingInterval: every})
	p := connected(t, addr, "live")
	began := time.Now()
	p.play("a")
	for n := 1; n <= 5; {
		if m := p.read(); m.Type == typeUserControl && m.Payload[1] == eventPingRequest {
			assert.GreaterOrEqual(t, time.Since(began), time.Duration(n)*every)
			n++
		}
	}
}

// A player that takes nothing blocks its session in a write, and no other.
func TestBlockedSessionHoldsUpNobody(t *testing.T) {
	h := &rig{}
	addr := serveParked(t, &Server{Handler: h, MaxCommands: 1 << 30, WriteTimeout: 300 * time.Millisecond})
	const deaf = 4
	for i := range deaf {
		p := connected(t, addr, "live")
		p.play("a")
		p.nc.(*net.TCPConn).SetReadBuffer(4 << 10)
		h.playback(t, i).stream.s.nc.(*net.TCPConn).SetWriteBuffer(4 << 10)
		go func() { // asks on and on, and hears nothing of the answers
			b := chunk.AppendMessage(nil, 128, chunk.Message{Type: typeCommand, ChunkStream: 3, Payload: script("sync", 99.0, nil)})
			for range 12 {
				b = append(b, b...)
			}
			for {
				if _, err := p.nc.Write(b); err != nil {
					return
				}
			}
		}()
	}
	p := connected(t, addr, "live")
	for {
		p.sync()
		h.mu.Lock()
		ended := 0
		for _, b := range h.playbacks {
			ended += b.closed
		}
		h.mu.Unlock()
		if ended == deaf {
			break
		}
		time.Sleep(time.Millisecond)
	}
	p.sync()
}

// Shutdown and Close reach parked sessions in every state.
func TestEndOfParkedSessions(t *testing.T) {
	for _, how := range []string{"shutdown", "close"} {
		t.Run(how, func(t *testing.T) {
			h := &rig{}
			srv := &Server{Handler: h, LingerTimeout: 10 * time.Millisecond}
			addr := serveParked(t, srv)
			connecting, idling := dialPeer(t, addr), connected(t, addr, "live")
			publisher, player := connected(t, addr, "live"), connected(t, addr, "live")
			publisher.publish("a")
			player.play("b")
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if how == "close" {
				require.NoError(t, srv.Close())
			} else {
				done := make(chan error)
				go func() { done <- srv.Shutdown(ctx) }()
				_, err := io.Copy(io.Discard, connecting.nc) // what it sent last may be unread, which is a reset
				assert.NotErrorIs(t, err, os.ErrDeadlineExceeded)
				idling.wantEOF()
				assert.ErrorIs(t, <-done, context.DeadlineExceeded)
			}
			assert.ErrorIs(t, h.publication(t, 0).ended(t), ErrServerClosed)
			assert.Equal(t, 1, h.playback(t, 0).now().closed)
			for _, p := range []*peer{connecting, idling, publisher, player} {
				_, err := io.Copy(io.Discard, p.nc)
				assert.NotErrorIs(t, err, os.ErrDeadlineExceeded)
			}
		})
	}
}

// A Handler that writes to the connection itself may close it, which ends the
// session.
func TestClosedUnderAParkedSession(t *testing.T) {
	h := &rig{}
	addr := serveParked(t, &Server{Handler: h})
	p := connected(t, addr, "live")
	p.play("a")
	h.playback(t, 0).stream.NetConn().Close()
	h.wait(t, "end", func() bool { return h.playbacks[0].closed == 1 })
	p.wantEOF()
}

// A parked session owns no goroutine.
func TestParkedSessionsOwnNoGoroutine(t *testing.T) {
	h := &rig{}
	addr := serveParked(t, &Server{Handler: h, Logger: slog.New(slog.DiscardHandler)})
	before := runtime.NumGoroutine()
	const n = 100
	var peers []*peer
	for range n {
		p := connected(t, addr, "live")
		p.play("a")
		peers = append(peers, p)
	}
	publisher := connected(t, addr, "live")
	id := publisher.publish("b")
	for range 100 {
		publisher.message(chunk.Message{Type: typeVideo, StreamID: id, Payload: make([]byte, 10_000)})
	}
	h.publication(t, 0).written(t, 100)
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 }, 20*time.Second, time.Millisecond)
	for _, p := range peers {
		p.sync() // they are there
	}
}

// An error of Poll is no reason to refuse anybody.
func TestPollFails(t *testing.T) {
	for _, reason := range []error{errors.ErrUnsupported, errors.New("no more")} {
		h := &rig{}
		addr := serve(t, &Server{Handler: h, Poll: func(net.Conn, func()) (Polled, error) { return nil, reason }})
		p := connected(t, addr, "live")
		p.publish("a")
		p.sync()
	}
}

// What comes between two turns, or in the middle of one, is not lost.
func TestPostsReachParkedSessions(t *testing.T) {
	h := &rig{}
	addr := serveParked(t, &Server{Handler: h, LingerTimeout: 10 * time.Millisecond})
	var clients sync.WaitGroup
	for range 20 {
		p := connected(t, addr, "live")
		id := p.publish(p.nc.LocalAddr().String())
		clients.Go(func() {
			audio := chunk.AppendMessage(nil, p.size, chunk.Message{Type: typeAudio, ChunkStream: 4, StreamID: id, Payload: []byte{1}})
			for {
				if _, err := p.nc.Write(audio); err != nil {
					return
				}
				time.Sleep(100 * time.Microsecond)
			}
		})
		clients.Go(func() { io.Copy(io.Discard, p.nc) })
	}
	for i := range 20 {
		p := h.publication(t, i)
		p.written(t, 50)
		p.stream.Fail(&StatusError{Description: "enough"})
	}
	for i := range 20 {
		assert.ErrorContains(t, h.publication(t, i).ended(t), "enough")
	}
	clients.Wait()
}

// tagCounter takes tags and does nothing else.
type tagCounter struct {
	nothing
	tags chan struct{}
}

func (c *tagCounter) Publish(*ServerStream, *Request) (Publication, error) { return c, nil }
func (c *tagCounter) Close(error)                                          {}
func (c *tagCounter) WriteTag(flv.Tag) error {
	c.tags <- struct{}{}
	return nil
}

// A publisher's messages leave no garbage.
func TestParkedPublisherMakesNoGarbage(t *testing.T) {
	c := &tagCounter{tags: make(chan struct{})}
	addr := serveParked(t, &Server{Handler: c})
	p := connected(t, addr, "live")
	id := p.publish("a")
	audio := chunk.AppendMessage(nil, p.size, chunk.Message{Type: typeAudio, ChunkStream: 4, StreamID: id, Payload: make([]byte, 100)})
	turn := func() {
		p.nc.Write(audio)
		<-c.tags
	}
	turn()
	// The race detector makes pools forget some of what is put back.
	assert.Less(t, testing.AllocsPerRun(300, turn), 4.0)
}

// endless is a pool of one connection on which the same bytes come without an end.
type endless struct {
	piece []byte
	pos   int // in piece
	read  int // bytes in this turn
	woken int
	waits chan time.Time
	over  bool
	drops bool // one byte at a time
}

func (e *endless) TryRead(p []byte) (int, error) {
	if e.over {
		return 0, io.EOF
	}
	if e.drops {
		p = p[:1]
	}
	n := 0
	for n < len(p) {
		copied := copy(p[n:], e.piece[e.pos:])
		n, e.pos = n+copied, (e.pos+copied)%len(e.piece)
	}
	e.read += n
	return n, nil
}

func (e *endless) Wait(deadline time.Time) { e.waits <- deadline }
func (e *endless) Wake()                   { e.woken++ }
func (e *endless) Close()                  {}

// A peer that sends faster than it can be read gives its turn back, and has the next
// one at once.
func TestTurnsAreBounded(t *testing.T) {
	for name, tt := range map[string]struct {
		message chunk.Message
		most    int  // bytes of a turn
		drops   bool // a byte at a time, as TLS may bring them at the cost of many records
	}{
		"large": {chunk.Message{Type: typeVideo, Payload: make([]byte, 60_000)}, turnBytes + 32<<10, false},
		"empty": {chunk.Message{Type: typeVideo}, turnMessages*12 + 64<<10, false},
		"drops": {chunk.Message{Type: typeVideo, Payload: make([]byte, 60_000)}, turnBytes / minRead, true},
	} {
		t.Run(name, func(t *testing.T) {
			tt.message.ChunkStream = 4
			e := &endless{drops: tt.drops, piece: chunk.AppendMessage(nil, protocolChunkSize, tt.message), waits: make(chan time.Time, 1)}
			var run func()
			srv := &Server{Handler: &rig{}, Poll: func(_ net.Conn, r func()) (Polled, error) {
				run = r
				return e, nil
			}}
			srv.start(&tape{input: append([]byte{3}, make([]byte, 2*1536)...), piece: 1 << 20})
			<-e.waits
			for turn := range 10 {
				assert.Equal(t, turn+1, e.woken)
				assert.LessOrEqual(t, e.read, tt.most)
				e.read = 0
				run()
				<-e.waits
			}
			e.over = true
			for run(); len(e.waits) > 0; run() { // what is read already
				<-e.waits
			}
			srv.work.Wait()
		})
	}
}
