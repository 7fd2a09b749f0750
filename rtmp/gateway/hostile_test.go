package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/rtmp"
	"sluice/rtmp/internal/chunk"
	"sluice/rtmp/internal/handshake"
)

// message sends media, or what looks like it.
func (p *peer) message(stream uint32, typ flv.Type, body string) {
	p.t.Helper()
	p.write(chunk.AppendMessage(nil, 128, chunk.Message{
		Type: uint8(typ), StreamID: stream, ChunkStream: 4, Payload: []byte(body),
	}))
}

// meddling is everything a client can say of a stream that another publishes as
// live/demo, on message stream 1 of its connection.
var meddling = map[string]func(p *peer, stream uint32){
	"releaseStream": func(p *peer, _ uint32) { p.command(0, "releaseStream", 2.0, nil, "demo") },
	"FCPublish":     func(p *peer, _ uint32) { p.command(0, "FCPublish", 2.0, nil, "demo") },
	"FCUnpublish": func(p *peer, _ uint32) {
		for _, name := range []any{"demo", "live/demo", "/demo", "mp4:demo", "demo.flv", "demo?x=1", "%64emo", nil, 1.0, true} {
			p.command(0, "FCUnpublish", 2.0, nil, name)
			p.command(1, "FCUnpublish", 2.0, nil, name)
		}
	},
	"deleteStream": func(p *peer, _ uint32) {
		for _, id := range []any{0.0, 1.0, 1.5, -1.0, 1e300, "1", nil} {
			p.command(0, "deleteStream", 2.0, nil, id)
			p.command(1, "deleteStream", 2.0, nil, id)
		}
	},
	"closeStream": func(p *peer, _ uint32) {
		p.command(0, "closeStream", 2.0, nil)
		p.command(1, "closeStream", 2.0, nil)
	},
	"publish false": func(p *peer, _ uint32) { p.command(1, "publish", 2.0, nil, false) },
	"publish":       func(p *peer, stream uint32) { p.command(stream, "publish", 2.0, nil, "demo", "live") },
	"append":        func(p *peer, stream uint32) { p.command(stream, "publish", 2.0, nil, "demo", "append") },
	"other cut":     func(p *peer, stream uint32) { p.command(stream, "publish", 2.0, nil, "//demo?x=1") },
	"play2": func(p *peer, stream uint32) {
		p.command(stream, "play2", 2.0, nil, amf.Object{
			{Name: "oldStreamName", Value: "demo"}, {Name: "streamName", Value: "other"}, {Name: "transition", Value: "stop"}})
	},
	"player's commands": func(p *peer, _ uint32) {
		for _, name := range []string{"pause", "pauseRaw", "receiveAudio", "receiveVideo", "seek"} {
			p.command(1, name, 2.0, nil, true, 0.0)
		}
	},
	"status": func(p *peer, _ uint32) {
		p.command(1, "onStatus", 0.0, nil, amf.Object{{Name: "code", Value: rtmp.CodeUnpublishSuccess}, {Name: "level", Value: "error"}})
		p.command(0, "_error", 5.0, nil, nil)
	},
	"media": func(p *peer, _ uint32) {
		for _, stream := range []uint32{0, 1, 2, 77} {
			p.message(stream, flv.TypeVideo, "\x17\x01\x00\x00\x00stolen")
			p.message(stream, flv.TypeAudio, "\xaf\x01stolen")
			p.message(stream, flv.TypeScript, string(amf.AppendAMF0(nil, "@clearDataFrame", "onMetaData")))
			p.message(stream, 22, string(flv.AppendTag(nil, tag("K:stolen@1"))))
		}
	},
	"control": func(p *peer, _ uint32) {
		for typ := flv.Type(2); typ <= 6; typ++ {
			p.message(1, typ, "\x00\x00\x00\x04\x00\x00")
		}
		for event := range byte(34) { // StreamEOF and all others
			p.message(0, typeUserControl, "\x00"+string(event)+"\x00\x00\x00\x01")
		}
	},
}

// Whatever another connection says, a stream goes on.
func TestNobodyTouchesAnothersStream(t *testing.T) {
	for name, meddle := range meddling {
		t.Run(name, func(t *testing.T) {
			h := newRig(t)
			owner := h.publish("demo")
			owner.send(start)
			h.waitLive("demo", 6)
			viewer := h.play("demo")
			viewer.expect(started)
			intruder := h.dial("live")
			meddle(intruder, 1)
			intruder.command(0, "sync", 99.0, nil)
			for intruder.rd != nil { // until the answer, or the end of a connection that was refused
				m, err := intruder.read()
				if err != nil {
					assert.ErrorIs(t, err, io.EOF)
					break
				}
				values, _ := amf.DecodeAll(m.Payload, amf.Limits{})
				if m.Type == typeCommand && values[1] == 99.0 {
					break
				}
			}
			owner.send("K:4@6000 A:5@6010")
			viewer.expect("K:4@1000 A:5@1010")
			streams := h.hub.Streams()
			require.NotEmpty(t, streams)
			assert.Equal(t, "live/demo", streams[0].App+"/"+streams[0].Name)
		})
	}
}

// On the same connection, what is said of one message stream is for that one only.
func TestNobodyTouchesAnotherMessageStream(t *testing.T) {
	for name, meddle := range meddling {
		if name == "player's commands" || name == "control" || name == "status" {
			continue // the same as from another connection
		}
		t.Run(name, func(t *testing.T) {
			h := newRig(t)
			p := h.dial("live")
			for range 3 {
				p.stream()
			}
			p.command(3, "publish", 5.0, nil, "demo")
			p.expectStatus(rtmp.CodePublishStart)
			p.command(2, "publish", 5.0, nil, "other")
			p.expectStatus(rtmp.CodePublishStart)
			for _, word := range []string{"meta:av", "vc:h264", "ac:aac", "K:1", "A:2"} {
				p.message(3, tag(word).Type, string(tag(word).Data))
			}
			h.waitLive("demo", 5)
			viewer := h.play("demo")
			if name == "FCUnpublish" {
				p.command(0, "FCUnpublish", 2.0, nil, "other") // the name says which
			} else {
				meddle(p, 1)
			}
			p.sync()
			p.message(3, flv.TypeAudio, "\xaf\x01two")
			viewer.expect("meta@0 vc:h264@0 ac:aac@0 K:1@0 A:2@0 A:two@0")
		})
	}
}

// What is passed over is counted in the session's last line.
func TestIgnoredMediaIsCounted(t *testing.T) {
	h := newRig(t)
	h.publish("demo").send(start)
	h.waitLive("demo", 6)
	p := h.dial("live")
	stream := p.stream()
	p.command(stream, "play", 5.0, nil, "demo", 0.0)
	p.tags(stream, 5)
	for _, id := range []uint32{0, stream, stream + 1} {
		p.message(id, flv.TypeVideo, "\x17\x01\x00\x00\x00stolen")
	}
	p.sync()
	p.Close()
	h.log.wait(t, "connection ends", "skipped=3", `streams="play live/demo"`)
}

// secretive is a rig whose log has everything, in a form of choice.
func secretive(t *testing.T, handler func(io.Writer, *slog.HandlerOptions) slog.Handler) *rig {
	return newRig(t, func(c *configs) {
		c.hub.ViewerWait = time.Millisecond
		c.handler = handler
	})
}

func textHandler(w io.Writer, o *slog.HandlerOptions) slog.Handler { return slog.NewTextHandler(w, o) }
func jsonHandler(w io.Writer, o *slog.HandlerOptions) slog.Handler { return slog.NewJSONHandler(w, o) }

// unconnected is a peer that has shaken hands.
func (h *rig) unconnected() *peer {
	nc, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(h.url, "rtmp://"), "/live/"))
	require.NoError(h.t, err)
	h.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	nc = h.wrap(nc)
	require.NoError(h.t, handshake.Client(nc))
	return &peer{Conn: nc, t: h.t, rd: chunk.NewReader(nc, chunk.Limits{})}
}

// whole sends connect with these texts, then publish and play, and waits for the end.
func (h *rig) whole(app, text, name string) {
	p := h.unconnected()
	var b []byte
	say := func(stream uint32, values ...any) {
		b = chunk.AppendMessage(b, 128, chunk.Message{
			Type: typeCommand, StreamID: stream, ChunkStream: 3, Payload: amf.AppendAMF0(nil, values...)})
	}
	say(0, "connect", 1.0, amf.Object{
		{Name: "app", Value: app}, {Name: "flashVer", Value: "FMLE" + text}, {Name: "tcUrl", Value: "rtmp://h/" + text},
		{Name: "swfUrl", Value: "http://h/x.swf" + text}, {Name: "pageUrl", Value: "http://h/" + text},
		{Name: "fourCcList", Value: amf.StrictArray{"*", text}},
	})
	say(0, "unheard"+text, 9.0, nil, text)
	for _, name := range []string{"releaseStream", "FCPublish", "FCSubscribe", "getStreamLength"} {
		say(0, name, 2.0, nil, name+text)
	}
	say(1, "publish", 3.0, nil, name, "live"+text)
	b = chunk.AppendMessage(b, 128, chunk.Message{Type: 18, StreamID: 1, ChunkStream: 4,
		Payload: amf.AppendAMF0(nil, "@setDataFrame", "onMetaData", amf.ECMAArray{{Name: "encoder" + text, Value: text}})})
	b = chunk.AppendMessage(b, 128, chunk.Message{Type: 18, StreamID: 7, ChunkStream: 4, Payload: amf.AppendAMF0(nil, text)})
	say(2, "publish", 3.0, nil, name, "live") // busy
	say(0, "FCUnpublish", 6.0, nil, name)
	say(2, "play", 4.0, nil, name, -2000.0) // not found
	p.Write(b)
	io.Copy(io.Discard, p)
	p.Close()
}

// No secret reaches the log, whatever a client puts it into and however it is refused,
// not even at debug level.
func TestSecretsAreNotLogged(t *testing.T) {
	const token = "hunter2"
	query := "?token=" + token
	h := secretive(t, textHandler)
	for _, app := range []string{"live" + query, "live/../x" + query, query, "", "li\nve" + query, strings.Repeat("x", 10_000) + query} {
		for _, name := range []string{
			"demo" + query, "", query, "a\x00b" + query, "%zz" + query, "..", "a/../" + query, "demo%3Ftoken=" + token,
			"mp4:demo" + query, "demo" + query + "&start=" + token, "demo" + query + "&back=" + token,
			"demo" + query + "&track=" + token, "demo" + query + "&hevc=" + token,
		} {
			h.whole(app, query, name)
		}
	}
	for _, name := range []string{"demo" + query, "demo?start=" + token, "demo?hevc=" + token} {
		_, err := h.client.Play(t.Context(), h.url+name)
		require.Error(t, err)
		assert.NotContains(t, err.Error(), token)
	}
	for _, hello := range []string{"GET /" + query + " HTTP/1.1\r\nAuthorization: " + token + "\r\n\r\n", "\x06" + token} {
		nc, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(h.url, "rtmp://"), "/live/"))
		require.NoError(t, err)
		io.WriteString(nc, hello)
		io.Copy(io.Discard, nc)
		nc.Close()
	}
	h.server.Close()
	log := h.log.String()
	assert.Contains(t, log, "level=DEBUG")
	assert.Contains(t, log, "publish live/demo")
	assert.NotContains(t, log, token)
}

// What clients say stands in a line of the log as a value and nowhere else.
func TestLogLinesAreLines(t *testing.T) {
	const text = "x\r\ntime=2000-01-01 level=ERROR msg=\"forged\"\x1b[2J\u202e\x00\xff\u2028"
	check := map[string]struct {
		handler func(io.Writer, *slog.HandlerOptions) slog.Handler
		line    func(line string) error
	}{
		"text": {textHandler, func(line string) error {
			if !strings.HasPrefix(line, "time="+fmt.Sprint(time.Now().Year())) || strings.ContainsFunc(line, unicode.IsControl) {
				return errors.New("forged")
			}
			return nil
		}},
		"json": {jsonHandler, func(line string) error {
			if strings.ContainsFunc(line, unicode.IsControl) {
				return errors.New("control character")
			}
			var v struct{ Level string }
			err := json.Unmarshal([]byte(line), &v)
			if err == nil && v.Level == "ERROR" {
				err = errors.New("forged")
			}
			return err
		}},
	}
	for name, tt := range check {
		t.Run(name, func(t *testing.T) {
			h := secretive(t, tt.handler)
			for _, app := range []string{"live", text} {
				for _, name := range []string{"demo", text, "demo\n", "\u202edemo", "a" + text} {
					h.whole(app, text, name)
				}
			}
			h.server.Close()
			lines := bytes.Split(bytes.TrimSpace([]byte(h.log.String())), []byte("\n"))
			assert.Greater(t, len(lines), 20)
			for _, line := range lines {
				require.NoError(t, tt.line(string(line)), "%q", line)
			}
		})
	}
}

// Names are an allow-list, after decoding: none of these becomes a stream.
func TestHostileNames(t *testing.T) {
	h := newRig(t, func(c *configs) { c.hub.ViewerWait = time.Millisecond })
	for _, name := range []string{
		"a\r\nb", "a\nb", "a\x00", "a\x7f", "a\x1b[2J", "..", ".", "../etc/passwd", "a/../b", "a\\b", "\\\\host\\share",
		"%2e%2e", "%2e%2e%2fx", "..%2f..%2fetc", "a%00", "a%0d%0ab", "a%5cb",
		"%252e%252e", "a%2500", "%25", "%", "%zz", "%e0%80%af", "\xc0\xaf", "\xc0\xae\xc0\xae", "\xed\xa0\x80", "\xff",
		"a\u202eb", "a\u200fb", "a\u2028b", "\ufeffa", "a\u200bb", "mp4:../x", "mp4:", "mp4:..", "/", "//", "",
		"a?", "<script>", "a\"b", "a'b", "a;b", "a|b", "a*b", "a`b", "a$b", "a#b",
		strings.Repeat("a", 256), strings.Repeat("a/", 200) + "b", strings.Repeat("é", 128),
	} {
		p := h.dial("live")
		stream := p.stream()
		p.command(stream, "publish", 3.0, nil, name)
		if name == "a?" { // a query that says nothing
			p.expectStatus(rtmp.CodePublishStart)
			p.Close()
			continue
		}
		p.expectStatus(rtmp.CodePublishBadName)
		p.expectEOF()
	}
	require.Eventually(t, func() bool { return len(h.hub.Streams()) == 0 }, 10*time.Second, time.Millisecond)
	for name, want := range map[string]string{
		"/etc/passwd": "live/etc/passwd", "mp4:movie": "live/movie", "flv:a.flv": "live/a", "%41": "live/A",
		"a%20b": "live/a b", "שידור": "live/שידור", "a//b": "live/a/b", "C:": "live/C:",
	} {
		p := h.dial("live")
		p.command(p.stream(), "publish", 3.0, nil, name)
		p.expectStatus(rtmp.CodePublishStart)
		streams := h.hub.Streams()
		require.Len(t, streams, 1, name)
		assert.Equal(t, want, streams[0].App+"/"+streams[0].Name)
		p.Close()
		require.Eventually(t, func() bool { return len(h.hub.Streams()) == 0 }, 10*time.Second, time.Millisecond)
	}
}
