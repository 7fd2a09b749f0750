package rtmp

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/rtmp/internal/chunk"
)

// inBubble runs a server on pipes with a fake clock.
func inBubble(t *testing.T, srv *Server, test func(t *testing.T, l *pipeListener)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		done := make(chan error, 1)
		go func() { done <- srv.Serve(l) }()
		test(t, l)
		srv.Close()
		assert.ErrorIs(t, <-done, ErrServerClosed)
	})
}

// drainUntilClosed reads and drops until the far end closes, and returns how long
// that took.
func drainUntilClosed(nc net.Conn) time.Duration {
	began := time.Now()
	io.Copy(io.Discard, nc)
	return time.Since(began)
}

func TestSilentClientIsClosed(t *testing.T) {
	inBubble(t, &Server{Handler: &rig{}}, func(t *testing.T, l *pipeListener) {
		assert.Equal(t, defaultHandshakeTimeout, drainUntilClosed(l.dial(t)))
	})
}

// A handshake byte by byte does not buy time: the limit is for the whole.
func TestSlowHandshakeIsClosed(t *testing.T) {
	inBubble(t, &Server{Handler: &rig{}}, func(t *testing.T, l *pipeListener) {
		nc := l.dial(t)
		began := time.Now()
		var err error
		for b := []byte{3}; err == nil; b[0] = 0 {
			_, err = nc.Write(b)
			time.Sleep(500 * time.Millisecond)
		}
		assert.InDelta(t, defaultHandshakeTimeout, time.Since(began), float64(time.Second))
	})
}

func TestClientThatNeverConnectsIsClosed(t *testing.T) {
	inBubble(t, &Server{Handler: &rig{}}, func(t *testing.T, l *pipeListener) {
		p := newPeer(t, l.dial(t))
		assert.Equal(t, defaultConnectTimeout, drainUntilClosed(p.nc))
	})
}

func TestClientThatDoesNothingIsClosed(t *testing.T) {
	inBubble(t, &Server{Handler: &rig{}}, func(t *testing.T, l *pipeListener) {
		p := newPeer(t, l.dial(t))
		p.connect("live")
		p.createStream()
		assert.Equal(t, defaultCommandTimeout, drainUntilClosed(p.nc))
	})
}

func TestSilentPublisherIsClosed(t *testing.T) {
	h := &rig{}
	inBubble(t, &Server{Handler: h}, func(t *testing.T, l *pipeListener) {
		p := newPeer(t, l.dial(t))
		p.connect("live")
		id := p.publish("a")
		for range 10 { // any bytes keep it alive
			time.Sleep(defaultPublishIdleTimeout - time.Second)
			p.message(chunk.Message{Type: typeAudio, StreamID: id, Payload: []byte{1}})
		}
		synctest.Wait()
		assert.Empty(t, h.publications[0].ends())
		assert.Equal(t, defaultPublishIdleTimeout, drainUntilClosed(p.nc))
		synctest.Wait()
		require.Len(t, h.publications[0].ends(), 1)
		assert.ErrorIs(t, h.publications[0].ends()[0], ErrPublishIdle)
		assert.ErrorIs(t, h.publications[0].ends()[0], os.ErrDeadlineExceeded)
	})
}

// An unpublished connection has the time of a new one.
func TestUnpublishedClientIsClosedLater(t *testing.T) {
	inBubble(t, &Server{Handler: &rig{}}, func(t *testing.T, l *pipeListener) {
		p := newPeer(t, l.dial(t))
		p.connect("live")
		p.publish("a")
		time.Sleep(20 * time.Second)
		p.command(0, "FCUnpublish", 0.0, nil, "a")
		assert.Equal(t, defaultCommandTimeout, drainUntilClosed(p.nc))
	})
}

func TestPlayerMayBeSilentForEver(t *testing.T) {
	h := &rig{}
	inBubble(t, &Server{Handler: h}, func(t *testing.T, l *pipeListener) {
		p := newPeer(t, l.dial(t))
		p.connect("live")
		id := p.play("a")
		p.command(id, "pause", 0.0, nil, true, 0.0)
		p.wantStatus(id, LevelStatus, CodePauseNotify)
		began := time.Now()
		for i := range 24 * 60 {
			m := p.read() // never answered
			require.Equal(t, uint8(typeUserControl), m.Type)
			require.Equal(t, []byte{0, eventPingRequest}, m.Payload[:2])
			require.Equal(t, time.Duration(i+1)*defaultPingInterval, time.Since(began))
		}
		assert.Zero(t, h.playbacks[0].now().closed)
		p.command(id, "pause", 0.0, nil, false, 0.0)
		p.wantStatus(id, LevelStatus, CodeUnpauseNotify)
	})
}

// A player that does not read is found out by the write deadline.
func TestStalledPlayerIsClosed(t *testing.T) {
	h := &rig{}
	inBubble(t, &Server{Handler: h}, func(t *testing.T, l *pipeListener) {
		p := newPeer(t, l.dial(t))
		p.connect("live")
		p.play("a")
		p.read() // |RtmpSampleAccess, the end of what was sent
		time.Sleep(defaultPingInterval + defaultWriteTimeout + time.Second)
		synctest.Wait()
		assert.Equal(t, 1, h.playbacks[0].now().closed)
	})
}

func TestFloodIsClosed(t *testing.T) {
	const rate = 10
	inBubble(t, &Server{Handler: &rig{}, MaxCommands: rate, CommandTimeout: time.Hour}, func(t *testing.T, l *pipeListener) {
		p := newPeer(t, l.dial(t))
		p.connect("live")
		for range 50 { // at the rate
			for range rate {
				p.sync()
			}
			time.Sleep(time.Second)
		}
		go io.Copy(io.Discard, p.nc)
		ping := chunk.AppendMessage(nil, p.size, chunk.Message{Type: typeUserControl, ChunkStream: 2, Payload: []byte{0, eventPingRequest, 0, 0, 0, 0}})
		sent := 0
		for ; sent < 1000; sent++ {
			if _, err := p.nc.Write(ping); err != nil {
				break
			}
		}
		assert.InDelta(t, 2*rate, sent, rate)
	})
}

// A refused client that does not close is closed.
func TestRefusedClientIsClosed(t *testing.T) {
	inBubble(t, &Server{Handler: &rig{refusePublish: errors.New("no")}}, func(t *testing.T, l *pipeListener) {
		p := newPeer(t, l.dial(t))
		p.connect("live")
		p.command(1, "publish", 0.0, nil, "a")
		p.wantStatus(1, LevelError, CodePublishRejected)
		assert.Equal(t, defaultLingerTimeout, drainUntilClosed(p.nc))
	})
}

func TestShutdown(t *testing.T) {
	h := &rig{}
	inBubble(t, &Server{Handler: h}, func(t *testing.T, l *pipeListener) {})
	srv := &Server{Handler: h}
	inBubble(t, srv, func(t *testing.T, l *pipeListener) {
		handshaking, connecting, idling := l.dial(t), newPeer(t, l.dial(t)), newPeer(t, l.dial(t))
		idling.connect("live")
		publisher, player, leaver := newPeer(t, l.dial(t)), newPeer(t, l.dial(t)), newPeer(t, l.dial(t))
		for _, p := range []*peer{publisher, player, leaver} {
			p.connect("live")
		}
		publisher.publish("a")
		player.play("a")
		player.read()
		leaver.publish("b")

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		down := make(chan error)
		began := time.Now()
		go func() { down <- srv.Shutdown(ctx) }()
		assert.Zero(t, drainUntilClosed(handshaking), "handshaking")
		assert.Zero(t, drainUntilClosed(connecting.nc), "connecting")
		assert.Zero(t, drainUntilClosed(idling.nc), "idle")

		// Active sessions go on, and no new ones come in.
		publisher.message(chunk.Message{Type: typeAudio, StreamID: 1, Payload: []byte{1}})
		assert.Equal(t, uint8(typeAudio), player.read().Type)
		more := publisher.createStream()
		publisher.command(more, "publish", 0.0, nil, "c")
		publisher.wantStatus(more, LevelError, CodePublishRejected)
		publisher.command(more, "play", 0.0, nil, "a")
		publisher.wantStatus(more, LevelError, CodePlayFailed)
		leaver.command(0, "FCUnpublish", 0.0, nil, "b")
		assert.Zero(t, drainUntilClosed(leaver.nc), "unpublished")
		h.publications[0].stream.Fail(&StatusError{Description: "shutdown"})
		publisher.wantStatus(1, LevelError, CodePublishRejected)
		publisher.nc.Close()
		h.playbacks[0].stream.CloseConn(ErrServerClosed)
		go io.Copy(io.Discard, player.nc)
		assert.NoError(t, <-down)
		assert.Equal(t, defaultLingerTimeout, time.Since(began))
		assert.ErrorIs(t, srv.Serve(newPipeListener()), ErrServerClosed)
		assert.ErrorIs(t, srv.Serve(newPipeListener()), net.ErrClosed)
	})
}

func TestShutdownClosesWhatIsLeft(t *testing.T) {
	h := &rig{}
	srv := &Server{Handler: h}
	inBubble(t, srv, func(t *testing.T, l *pipeListener) {
		p := newPeer(t, l.dial(t))
		p.connect("live")
		p.publish("a")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.ErrorIs(t, srv.Shutdown(ctx), context.DeadlineExceeded)
		require.Len(t, h.publications[0].ends(), 1)
		assert.ErrorIs(t, h.publications[0].ends()[0], ErrServerClosed)
	})
}

// A client waits for media as long as it is told to.
func TestPlayerReadTimeout(t *testing.T) {
	inBubble(t, &Server{Handler: &rig{}, PingInterval: time.Hour}, func(t *testing.T, l *pipeListener) {
		c := Client{Dial: func(context.Context, string, string) (net.Conn, error) { return l.dial(t), nil }}
		p, err := c.Play(t.Context(), "rtmp://pipe/live/a")
		require.NoError(t, err)
		began := time.Now()
		_, err = p.ReadTag()
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Equal(t, defaultReadTimeout, time.Since(began))
		p.Close()

		c.ReadTimeout = -1
		p, err = c.Play(t.Context(), "rtmp://pipe/live/a")
		require.NoError(t, err)
		time.AfterFunc(24*time.Hour, func() { p.Close() })
		_, err = p.ReadTag()
		assert.ErrorIs(t, err, net.ErrClosed)
	})
}

// scripted answers a client with what a test says, and not as our Server does.
func scripted(t *testing.T, after []byte) *Client {
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		p := serverPeer(far)
		if p == nil {
			return
		}
		for {
			m, err := p.Read()
			if err != nil {
				return
			}
			c, err := parseCommand(m)
			if m.Type != typeCommand || err != nil {
				continue
			}
			var b []byte
			switch c.name {
			case "connect":
				b = appendCommand(nil, protocolChunkSize, 0, "_result", 1.0, nil, nil)
			case "createStream":
				b = appendCommand(nil, protocolChunkSize, 0, "_result", c.txn, nil, 1.0)
			case "play":
				b = after
			}
			if _, err := far.Write(b); err != nil || c.name == "play" {
				return
			}
		}
	}()
	t.Cleanup(func() { near.Close() })
	return &Client{Dial: func(context.Context, string, string) (net.Conn, error) { return near, nil }}
}

func TestPlayerTakesWhatServersSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = protocolChunkSize
		b := appendUserControl(nil, eventStreamBegin, 1)
		b = appendStatus(b, size, 1, LevelStatus, CodePlayReset, "")
		// Media before Play.Start, in an aggregate.
		b = chunk.AppendMessage(b, size, chunk.Message{Type: typeAggregate, ChunkStream: 4, StreamID: 1, Timestamp: 10, Payload: aggregate(
			flv.Tag{Type: flv.TypeVideo, Timestamp: 5, Data: []byte{0x17}}, flv.Tag{Type: flv.TypeAudio, Timestamp: 6, Data: []byte{0xAF}})})
		b = appendData(b, size, 1, rtmpSampleAccess, true, true)
		b = appendData(b, size, 1, "onStatus", amf.Object{{Name: "code", Value: "NetStream.Data.Start"}})
		b = appendData(b, size, 1, setDataFrame, onMetaData, amf.ECMAArray{})
		b = appendData(b, size, 1, 5.0)
		b = appendData(b, size, 1, onPlayStatus, amf.Object{{Name: "level", Value: "status"}, {Name: "code", Value: CodePlayComplete}})
		p, err := scripted(t, b).Play(t.Context(), "rtmp://h/live/a")
		require.NoError(t, err)
		defer p.Close()
		for _, want := range []flv.Tag{
			{Type: flv.TypeVideo, Timestamp: 10, Data: []byte{0x17}},
			{Type: flv.TypeAudio, Timestamp: 11, Data: []byte{0xAF}},
			{Type: flv.TypeScript, Data: script(onMetaData, amf.ECMAArray{})},
		} {
			got, err := p.ReadTag()
			require.NoError(t, err)
			equalTags(t, []flv.Tag{want}, []flv.Tag{got})
		}
		_, err = p.ReadTag()
		assert.Equal(t, io.EOF, err)

		// A server that just goes.
		b = appendStatus(nil, size, 1, LevelStatus, CodePlayStart, "")
		p, err = scripted(t, b).Play(t.Context(), "rtmp://h/live/a")
		require.NoError(t, err)
		defer p.Close()
		_, err = p.ReadTag()
		assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
	})
}
