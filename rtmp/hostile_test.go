package rtmp

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/rtmp/internal/chunk"
)

// endLine waits for the last line of the only session and returns its reason and the
// number of messages that were passed over.
func (l *logBuffer) endLine(t testing.TB) (reason, skipped string) {
	t.Helper()
	pattern := regexp.MustCompile(`msg="rtmp connection ends" .* reason=("[^"]*"|\S+)(?: skipped=(\d+))?`)
	var found []string
	require.Eventually(t, func() bool {
		found = pattern.FindStringSubmatch(l.String())
		return found != nil
	}, 20*time.Second, time.Millisecond, "the session did not end")
	return found[1], found[2]
}

// repeated writes the same bytes until the server has enough of them, reading what
// it answers.
func (p *peer) repeated(b []byte, times int) {
	answers := make(chan struct{})
	go func() {
		defer close(answers)
		io.Copy(io.Discard, p.nc)
	}()
	for range times {
		if _, err := p.nc.Write(b); err != nil {
			break
		}
	}
	<-answers
}

// commands are several command messages on one message stream.
func commands(msid uint32, all ...[]any) []byte {
	var b []byte
	for _, values := range all {
		b = appendCommand(b, protocolChunkSize, msid, values...)
	}
	return b
}

// nested is an array in an array, and so on.
func nested(depth int) []byte {
	var b []byte
	for range depth {
		b = append(b, 0x0A, 0, 0, 0, 1)
	}
	return append(b, 0x05)
}

// What a client may do to itself: the connection ends with a reason, or goes on as if
// nothing had been.
func TestAttacks(t *testing.T) {
	const goesOn = ""
	const lots = 100_000
	flooded := ErrFlood.Error()
	raw := func(wire ...byte) func(*peer) {
		return func(p *peer) { p.write(wire) }
	}
	message := func(m chunk.Message) func(*peer) {
		return func(p *peer) { p.message(m) }
	}
	over := func(b []byte) func(*peer) {
		return func(p *peer) { p.repeated(b, lots) }
	}
	for name, tt := range map[string]struct {
		do      func(p *peer) // connected, with message stream 1
		reason  string        // a part of it
		skipped string
	}{
		"chunk size 0":       {message(chunk.Message{Type: typeSetChunkSize, Payload: make([]byte, 4)}), "chunk size 0", ""},
		"chunk size 2^31":    {message(chunk.Message{Type: typeSetChunkSize, Payload: []byte{0x80, 0, 0, 0}}), "chunk size 2147483648", ""},
		"chunk size of 3 B":  {message(chunk.Message{Type: typeSetChunkSize, Payload: make([]byte, 3)}), "message of type 1 with 3 bytes", ""},
		"largest chunk size": {message(chunk.Message{Type: typeSetChunkSize, Payload: []byte{0x7F, 0xFF, 0xFF, 0xFF}}), goesOn, ""},
		"empty abort":        {message(chunk.Message{Type: typeAbort}), "message of type 2 with 0 bytes", ""},
		"abort of everything": {func(p *peer) {
			for id := range uint32(70_000) {
				p.write(appendControl(nil, typeAbort, id))
			}
		}, goesOn, ""},
		"empty messages of every type": {func(p *peer) {
			for typ := range 256 {
				if typ != typeSetChunkSize && typ != typeAbort {
					p.message(chunk.Message{Type: uint8(typ), StreamID: 1})
				}
			}
		}, goesOn, "249"}, // all but control, and an aggregate of nothing
		"header inside a message": {func(p *peer) {
			header := []byte{4, 0, 0, 0, 0, 0, 200, typeAudio, 1, 0, 0, 0}
			p.write(append(append(header, make([]byte, protocolChunkSize)...), header...))
		}, "header of form 0 inside a message", ""},
		"many chunk streams": {func(p *peer) {
			for id := range uint32(70) {
				p.nc.Write(chunk.AppendMessage(nil, 128, chunk.Message{Type: typeAudio, ChunkStream: 100 + id}))
			}
		}, "over the limit: 65 chunk streams", "63"},
		"a command of 64 KiB":      {raw(0x03, 0, 0, 0, 1, 0, 1, typeCommand, 0, 0, 0, 0), "over the limit: message of type 20 with 65537 bytes", ""},
		"media before publish":     {message(chunk.Message{Type: typeVideo, StreamID: 1, Payload: make([]byte, 1000)}), goesOn, "1"},
		"a key frame of a player":  {raw(0x03, 0, 0, 0, 1, 0, 1, typeVideo, 1, 0, 0, 0), "over the limit: message of type 9 with 65537 bytes", ""},
		"control of 1 KiB":         {raw(0x02, 0, 0, 0, 0, 4, 1, typeAck, 0, 0, 0, 0), "over the limit: message of type 3 with 1025 bytes", ""},
		"short control":            {message(chunk.Message{Type: typeWindowAckSize, Payload: []byte{0, 0}}), goesOn, ""},
		"deep AMF":                 {message(chunk.Message{Type: typeCommand, Payload: nested(10_000)}), goesOn, "1"},
		"deep AMF behind a name":   {message(chunk.Message{Type: typeCommand, Payload: append(script("x", 0.0), nested(10_000)...)}), goesOn, ""},
		"array of 2^32 values":     {message(chunk.Message{Type: typeCommand, Payload: []byte{0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 5}}), goesOn, "1"},
		"ECMA array of 2^32":       {message(chunk.Message{Type: typeCommand, Payload: append(script("x", 0.0), 0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 9)}), goesOn, ""},
		"string of 2^32 bytes":     {message(chunk.Message{Type: typeCommand, Payload: []byte{0x0C, 0xFF, 0xFF, 0xFF, 0xFF, 'a'}}), goesOn, "1"},
		"many values":              {message(chunk.Message{Type: typeCommand, Payload: append(script("x", 0.0), bytes.Repeat([]byte{5}, 60_000)...)}), goesOn, ""},
		"references to themselves": {message(chunk.Message{Type: typeCommand, Payload: []byte{0x0A, 0, 0, 0, 1, 0x07, 0, 0}}), goesOn, "1"},
		"stream ids":               {over(commands(0, []any{"deleteStream", 0.0, nil, 1e300}, []any{"deleteStream", 0.0, nil, -1.0})), flooded, ""},
		"commands":                 {over(commands(0, []any{"x", 1.0, nil})), flooded, ""},
		"createStream":             {over(commands(0, []any{"createStream", 1.0, nil})), flooded, ""},
		"publish and delete":       {over(commands(1, []any{"publish", 0.0, nil, "a"}, []any{"deleteStream", 0.0, nil, 1.0})), flooded, ""},
		"play":                     {over(commands(1, []any{"play", 0.0, nil, "a"})), flooded, ""},
		"play on many streams": {func(p *peer) {
			for id := range uint32(100) {
				p.command(id, "play", 0.0, nil, "a")
			}
			p.repeated(commands(1, []any{"play", 0.0, nil, "a"}), lots)
		}, flooded, ""},
		"pause":          {over(commands(1, []any{"pause", 0.0, nil, true, 0.0})), flooded, ""},
		"pings":          {over(appendUserControl(nil, eventPingRequest, 0)), flooded, ""},
		"peer bandwidth": {over(appendControl(appendControl(nil, typeSetPeerBW, 1), typeSetPeerBW, 2)), flooded, ""},
		"connect":        {over(commands(0, []any{"connect", 1.0, amf.Object{{Name: "app", Value: "live"}}})), flooded, ""},
		"empty aggregate parts": {func(p *peer) {
			p.write(commands(1, []any{"publish", 0.0, nil, "a"}))
			p.message(chunk.Message{Type: typeAggregate, StreamID: 1, Payload: aggregate(make([]flv.Tag, maxAggregated+1)...)})
		}, "aggregate message of more than 4096 parts", "4096"},
		"media on other streams": {func(p *peer) {
			p.publish("a") // message stream 2
			for _, id := range []uint32{0, 1, 3, 1 << 31} {
				for _, typ := range []uint8{typeAudio, typeVideo, typeData, typeDataAMF3} {
					p.message(chunk.Message{Type: typ, StreamID: id, Payload: script("x")})
				}
			}
			p.command(0, "deleteStream", 0.0, nil, 2.0)
			p.message(chunk.Message{Type: typeVideo, StreamID: 2, Payload: []byte{0x17}})
		}, goesOn, "17"},
		"media of a player": {func(p *peer) {
			id := p.play("a")
			p.message(chunk.Message{Type: typeVideo, StreamID: id, Payload: []byte{0x17}})
			p.message(chunk.Message{Type: typeAudio, StreamID: id, Payload: []byte{0xAF}})
		}, goesOn, "2"},
	} {
		t.Run(name, func(t *testing.T) {
			var log logBuffer
			h := &rig{}
			addr := serve(t, &Server{Handler: h, LingerTimeout: time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, debugLevel))})
			p := connected(t, addr, "live")
			require.EqualValues(t, 1, p.createStream())
			tt.do(p)
			if tt.reason == goesOn {
				p.sync()
				p.nc.Close()
			}
			reason, skipped := log.endLine(t)
			assert.Contains(t, reason, tt.reason)
			assert.Equal(t, tt.skipped, skipped)
			h.mu.Lock()
			defer h.mu.Unlock()
			for _, pub := range h.publications {
				assert.Len(t, pub.closes, 1)
				for _, tag := range pub.tags {
					assert.Empty(t, tag.Data, "media that was not published")
				}
			}
		})
	}
}

// A window of one byte does not make us acknowledge acknowledgements.
func TestTinyWindow(t *testing.T) {
	addr := serve(t, &Server{Handler: &rig{}})
	p := connected(t, addr, "live")
	p.write(appendControl(nil, typeWindowAckSize, 1))
	const size = 1 << 20
	go func() {
		p.nc.Write(bytes.Repeat(appendTag(nil, protocolChunkSize, 0, flv.Tag{Type: flv.TypeAudio, Data: make([]byte, 100)}), size/112))
		p.nc.Write(commands(0, []any{"sync", 99.0, nil}))
	}()
	acks := 0
	for {
		m := p.read()
		if m.Type == typeCommand {
			break
		}
		acks++
	}
	assert.LessOrEqual(t, acks, size/(minAckWindow/2)+1)
}

// What speaks another protocol is closed, with a line that says so.
func TestOtherProtocols(t *testing.T) {
	for hello, want := range map[string]string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n": "version 71, an HTTP request it seems",
		"POST /open/1 HTTP/1.1\r\n\r\n":     "version 80, an HTTP request it seems",
		"\x16\x03\x01\x02\x00\x01":          "version 22, TLS it seems",
		"\x06" + strings.Repeat("x", 1536):  "the peer wants RTMPE",
		"SSH-2.0-x\r\n":                     "the peer does not speak RTMP",
		"\x00\x00\x00":                      "version 0",
	} {
		var log logBuffer
		addr := serve(t, &Server{Handler: &rig{}, Logger: slog.New(slog.NewTextHandler(&log, debugLevel))})
		nc, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(20 * time.Second))
		nc.Write([]byte(hello))
		n, _ := io.Copy(io.Discard, nc)
		assert.Zero(t, n, "nothing is answered")
		reason, _ := log.endLine(t)
		assert.Contains(t, reason, want)
		assert.Equal(t, 1, strings.Count(log.String(), "\n"))
	}
}

// One byte a second ends no later than silence where a limit is on the whole; a
// publisher or player is as alive as its bytes.
func TestSlowLoris(t *testing.T) {
	hello := append([]byte{3}, make([]byte, 2*1536)...)
	connect := commands(0, []any{"connect", 1.0, amf.Object{{Name: "app", Value: "live"}}})
	trickle := func(nc net.Conn, b []byte) time.Duration {
		began := time.Now()
		for _, c := range b {
			if _, err := nc.Write([]byte{c}); err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		return time.Since(began)
	}
	for name, tt := range map[string]struct {
		before func(p *peer)
		slow   []byte
		want   time.Duration
	}{
		"connect": {func(*peer) {}, connect, defaultConnectTimeout},
		"createStream": {func(p *peer) { p.connect("live") },
			bytes.Repeat(commands(0, []any{"createStream", 0.0, nil}), 10), defaultCommandTimeout},
		"message": {func(p *peer) { p.connect("live") },
			appendTag(nil, protocolChunkSize, 1, flv.Tag{Type: flv.TypeVideo, Data: make([]byte, 1000)}), defaultCommandTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, &Server{Handler: &rig{}}, func(t *testing.T, l *pipeListener) {
				p := newPeer(t, l.dial(t))
				tt.before(p)
				go io.Copy(io.Discard, p.nc)
				assert.InDelta(t, tt.want, trickle(p.nc, tt.slow), float64(2*time.Second))
			})
		})
	}
	t.Run("handshake", func(t *testing.T) {
		inBubble(t, &Server{Handler: &rig{}}, func(t *testing.T, l *pipeListener) {
			assert.InDelta(t, defaultHandshakeTimeout, trickle(l.dial(t), hello), float64(2*time.Second))
		})
	})
	t.Run("publisher", func(t *testing.T) {
		h := &rig{}
		inBubble(t, &Server{Handler: h}, func(t *testing.T, l *pipeListener) {
			p := newPeer(t, l.dial(t))
			p.connect("live")
			id := p.publish("a")
			go io.Copy(io.Discard, p.nc)
			trickle(p.nc, appendTag(nil, protocolChunkSize, id, flv.Tag{Type: flv.TypeVideo, Data: make([]byte, 1000)}))
			assert.Len(t, h.publications[0].written(t, 1), 1, "it came in the end")
			p.nc.Close()
			synctest.Wait()
			assert.ErrorIs(t, h.publications[0].ends()[0], io.EOF)
		})
	})
}

// A client that vanishes inside a message is said to have done so.
func TestClosedInsideAMessage(t *testing.T) {
	var log logBuffer
	h := &rig{}
	addr := serve(t, &Server{Handler: h, Logger: slog.New(slog.NewTextHandler(&log, debugLevel))})
	p := connected(t, addr, "live")
	p.publish("a")
	whole := appendTag(nil, protocolChunkSize, 1, flv.Tag{Type: flv.TypeVideo, Data: make([]byte, 1000)})
	p.write(whole[:len(whole)/2])
	p.nc.Close()
	reason, _ := log.endLine(t)
	assert.Equal(t, `"closed by client inside a message"`, reason)
	assert.ErrorIs(t, h.publication(t, 0).ended(t), io.ErrUnexpectedEOF)
	assert.Empty(t, h.publications[0].tags)
}
