package httpflv

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/fanout"
)

// A viewer gets the beginning, what follows, and a proper end.
func TestStream(t *testing.T) {
	h := newRig(t)
	s := h.publish()
	s.send(start)
	res := h.get("/live/demo.flv")
	assert.Equal(t, []string{"chunked"}, res.TransferEncoding)
	p := newTape(t, res.Body)
	p.expect(started)
	for i := range 100 {
		s.send(fmt.Sprintf("P:%d@%d", i, 5080+i*40))
		p.expect(fmt.Sprintf("P:%d@%d", i, 80+i*40))
	}
	s.Close()
	p.expectEnd(io.EOF)
	h.waitViewers(0)
	h.Wait()
	line := h.log.wait(t, "session ends", "stream=live/demo", "reason=unpublished", "protocol=http-flv")
	assert.Regexp(t, `bytes=[1-9]`, line)
	h.log.wait(t, "session begins", "protocol=http-flv")
}

// The forms of the body, as they are on the wire.
func TestTransfer(t *testing.T) {
	h := newRig(t)
	for _, tt := range []struct {
		request string
		chunked bool
	}{
		{"GET /live/demo.flv HTTP/1.1\r\nHost: x\r\n\r\n", true},
		{"GET /live/demo.flv HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n", true},
		{"GET /live/demo.flv?chunked=1 HTTP/1.1\r\nHost: x\r\n\r\n", true},
		{"GET /live/demo.flv?chunked=0 HTTP/1.1\r\nHost: x\r\n\r\n", false},
		{"GET /live/demo.flv HTTP/1.0\r\n\r\n", false},
		{"GET /live/demo.flv HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n", false},
	} {
		s := h.publish()
		s.send(start)
		c := h.dial(tt.request)
		h.waitViewers(1)
		s.send("K:"+strings.Repeat("x", 50_000), "A:9")
		s.Close()
		answer, err := io.ReadAll(c) // the end of the stream closes the connection
		require.NoError(t, err)
		head, body, ok := bytes.Cut(answer, []byte("\r\n\r\n"))
		require.True(t, ok)
		assert.True(t, bytes.HasPrefix(head, []byte("HTTP/1.1 200 OK\r\n")), tt.request)
		assert.Contains(t, string(head), "\r\nConnection: close")
		assert.Contains(t, string(head), "\r\nDate: ")
		assert.NotContains(t, string(head), "Content-Length")
		assert.Equal(t, tt.chunked, strings.Contains(string(head), "\r\nTransfer-Encoding: chunked"), tt.request)
		if tt.chunked {
			body = unchunk(t, body)
		}
		checkFile(t, body, 8)
	}
}

// unchunk takes a body out of its chunks, which must be complete (RFC 9112 §7.1).
func unchunk(t *testing.T, b []byte) (body []byte) {
	t.Helper()
	for {
		line, rest, ok := bytes.Cut(b, []byte("\r\n"))
		require.True(t, ok)
		var size int
		_, err := fmt.Sscanf(string(line), "%x", &size)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("%x", size), string(line))
		require.GreaterOrEqual(t, len(rest), size+2)
		require.Equal(t, "\r\n", string(rest[size:size+2]))
		if size == 0 {
			assert.Len(t, rest, 2, "nothing follows the last chunk")
			return body
		}
		body, b = append(body, rest[:size]...), rest[size+2:]
	}
}

// checkFile fails unless b is a file of n tags that begins at 0, and a valid one
// wherever it is cut between tags.
func checkFile(t *testing.T, b []byte, n int) {
	t.Helper()
	at := flv.HeaderSize
	for i := 0; ; i++ {
		r := flv.NewReader(bytes.NewReader(b[:at]))
		tags := 0
		for {
			tag, err := r.Next()
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			if tags < 4 { // metadata, headers, first frame
				require.Zero(t, tag.Timestamp)
			}
			tags++
		}
		require.Equal(t, i, tags)
		if i > 0 && at == len(b) {
			assert.Equal(t, n, tags)
			return
		}
		require.Greater(t, len(b), at+11)
		at += 11 + int(b[at+1])<<16 + int(b[at+2])<<8 + int(b[at+3]) + 4
		require.LessOrEqual(t, at, len(b), "a cut tag")
	}
}

// The flags of the file's header tell the truth.
func TestTracks(t *testing.T) {
	for _, tt := range []struct {
		name, sent, query, got string
		want                   flv.Header
	}{
		{"both", start, "", started, flv.Header{Audio: true, Video: true}},
		{"no metadata", "vc:h264 ac:aac K:1@7 A:2@9", "", "meta:av@0 vc:h264@0 ac:aac@0 K:1@0 A:2@2", flv.Header{Audio: true, Video: true}},
		{"only audio", "meta:a ac:aac A:1@100 A:2@120", "", "meta:a@0 ac:aac@0 A:1@0 A:2@20", flv.Header{Audio: true}},
		{"MP3 alone", "meta:a M:1@100 M:2@120", "", "meta:a@0 M:1@0 M:2@20", flv.Header{Audio: true}},
		{"only video", "meta:v vc:h264 K:1@100 P:2@140", "", "meta:v@0 vc:h264@0 K:1@0 P:2@40", flv.Header{Video: true}},
		{"onlyaudio", start, "?onlyaudio=1", "meta:a@0 ac:aac@0 A:2@0", flv.Header{Audio: true}},
		{"onlyvideo", start, "?onlyvideo=true", "meta:v@0 vc:h264@0 K:1@0 P:3@40", flv.Header{Video: true}},
		{"neither is asked for", start, "?onlyaudio=0&onlyvideo=", started, flv.Header{Audio: true, Video: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newRig(t)
			s := h.publish()
			s.send(tt.sent)
			p := newTape(t, h.get("/live/demo.flv"+tt.query).Body)
			header, err := p.Header()
			require.NoError(t, err)
			assert.Equal(t, tt.want, header)
			p.expect(tt.got)
		})
	}
}

// Who asks for everything as it was sent gets the script data that stands in the flow,
// where it stands, over both protocols. Who does not gets none: ffmpeg takes it for a
// stream of its own.
func TestScriptData(t *testing.T) {
	const script = "onTextData:one@5080 onCuePoint:two@5080 onFI:three@5080 whatever:four@5080"
	for query, gotScript := range map[string]bool{
		"?track=all": true, "?track=all&onlyvideo=1": true, "?track=all&hevc=enhanced": true,
		"": false, "?track=0": false, "?start=live": false, "?onlyvideo=1": false,
	} {
		h := newRig(t)
		s := h.publish()
		s.send(start)
		tapes := []*tape{newTape(t, h.get("/live/demo.flv"+query).Body), newTape(t, h.dialWS("/live/demo.flv"+query))}
		for _, p := range tapes {
			p.read(1) // they have begun
		}
		s.send("onTextData:early@5050", "P:4@5080", script, "meta:av P:5@5120 A:6@5130 onTextData:late@5140 P:7@5160")
		s.Close()
		for _, p := range tapes {
			var all, texts []string
			for {
				tag, err := p.Next()
				if err == io.EOF {
					break
				}
				require.NoError(t, err)
				kind, text, _ := strings.Cut(word(tag), ":")
				text, _, _ = strings.Cut(text, "@")
				all = append(all, kind+":"+text)
				if tag.Type == flv.TypeScript && kind != "meta" {
					texts = append(texts, text)
				}
			}
			got := strings.Join(all, " ")
			if gotScript {
				assert.Equal(t, []string{"early", "one", "two", "three", "four", "late"}, texts, query)
				assert.Contains(t, got, "onTextData:early P:4 onTextData:one onCuePoint:two onFI:three whatever:four P:5", query)
			} else {
				assert.Empty(t, texts, query)
				assert.Contains(t, got, "P:4 P:5", query)
			}
		}
	}
}

// Without metadata, a single track shows after a short look.
func TestSingleTrackWithoutMetadata(t *testing.T) {
	h := newRig(t)
	s := h.publish()
	s.send("vc:h264 K:1@5000")
	began := time.Now()
	p := newTape(t, h.get("/live/demo.flv").Body)
	header, err := p.Header()
	require.NoError(t, err)
	assert.Equal(t, flv.Header{Video: true}, header)
	assert.Less(t, time.Since(began), 3*time.Second)
}

// A change of codec is an end for HTTP viewers: they open the stream anew.
func TestCodecChange(t *testing.T) {
	h := newRig(t)
	s := h.publish()
	s.send("meta:v vc:h264 K:1@0")
	p := newTape(t, h.get("/live/demo.flv").Body)
	p.expect("meta:v@0 vc:h264@0 K:1@0")
	s.send("hc:hevc HK:2@40")
	p.expectEnd(io.EOF)
	h.log.wait(t, "session ends", `reason="codec changed"`)
	p = newTape(t, h.get("/live/demo.flv").Body)
	p.expect("meta:v@0 hc:hevc@0 HK:2@0")
}

// A viewer that takes nothing is broken off, which a player can tell from an end.
func TestStalledViewer(t *testing.T) {
	h := newRig(t, func(c *configs) { c.pool = fanout.Config{WriteTimeout: 50 * time.Millisecond} })
	s := h.publish()
	s.send("meta:v vc:h264 K:" + strings.Repeat("x", 12<<20))
	c := h.dial("GET /live/demo.flv HTTP/1.1\r\nHost: x\r\n\r\n")
	h.log.wait(t, "session ends", "reason=stalled")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	_, err = io.ReadAll(res.Body)
	assert.Error(t, err, "the body must not end properly")
	assert.NotErrorIs(t, err, io.EOF)
}

// When the pool is closed, bodies are broken off; when the hub is shut down, they
// end.
func TestShutdownEndsBodies(t *testing.T) {
	h := newRig(t)
	s := h.publish()
	s.send(start)
	gentle := newTape(t, h.get("/live/demo.flv").Body)
	gentle.expect(started)
	require.NoError(t, h.hub.Shutdown(t.Context()))
	gentle.expectEnd(io.EOF)
	h.Wait()

	h = newRig(t)
	s = h.publish()
	s.send(start)
	hard := newTape(t, h.get("/live/demo.flv").Body)
	hard.expect(started)
	h.Pool.Close()
	h.Wait()
	hard.expectEnd(io.ErrUnexpectedEOF)
}

// http.Server.Shutdown has nothing to wait for: connections were taken over.
func TestServerShutdown(t *testing.T) {
	h := newRig(t)
	s := h.publish()
	s.send(start)
	p := newTape(t, h.get("/live/demo.flv").Body)
	p.expect(started)
	require.NoError(t, h.server.Config.Shutdown(t.Context()))
	s.send("P:4@5080")
	p.expect("P:4@80")
	s.Close()
	p.expectEnd(io.EOF)
}

// A client that goes is noticed at the next packets, and what it says on the way
// means nothing.
func TestClientLeaves(t *testing.T) {
	h := newRig(t)
	s := h.publish()
	s.send(start)
	c := h.dial("GET /live/demo.flv HTTP/1.1\r\nHost: x\r\n\r\nGET /other HTTP/1.1\r\n\r\n\x00\xffjunk")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	newTape(t, res.Body).expect(started)
	_, err = c.Write(make([]byte, 5000))
	require.NoError(t, err)
	s.send("P:4@5080")
	c.Close()
	require.Eventually(t, func() bool {
		s.send("P:5@5120")
		return h.hub.Streams()[0].Viewers == 0
	}, 10*time.Second, time.Millisecond)
	h.log.wait(t, "session ends", `reason="client left"`)
}

// One that goes while nothing is sent is noticed too.
func TestClientLeavesQuietStream(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds: the pool looks at quiet connections now and then")
	}
	t.Parallel()
	h := newRig(t)
	s := h.publish()
	s.send(start)
	c := h.dial("GET /live/demo.flv HTTP/1.1\r\nHost: x\r\n\r\n")
	_, err := io.ReadFull(c, make([]byte, 300))
	require.NoError(t, err)
	c.Close()
	require.Eventually(t, func() bool { return h.hub.Streams()[0].Viewers == 0 }, 20*time.Second, 10*time.Millisecond)
}

// onceListener hands out one connection.
type onceListener struct {
	conn chan net.Conn
	addr net.Addr
}

func (l onceListener) Accept() (net.Conn, error) {
	c, ok := <-l.conn
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (l onceListener) Close() error   { return nil }
func (l onceListener) Addr() net.Addr { return l.addr }

// Connections that cannot be written to directly do as well.
func TestOverPipe(t *testing.T) {
	h := newRig(t)
	near, far := net.Pipe()
	l := onceListener{make(chan net.Conn, 1), near.LocalAddr()}
	l.conn <- near
	srv := &http.Server{Handler: h.Handler}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	s := h.publish()
	s.send(start)
	_, err := io.WriteString(far, "GET /live/demo.flv HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	res, err := http.ReadResponse(bufio.NewReader(far), nil)
	require.NoError(t, err)
	p := newTape(t, res.Body)
	p.expect(started)
	s.Close()
	p.expectEnd(io.EOF)
	close(l.conn)
	<-served
}

// slowWriter is an http.ResponseWriter as HTTP/2 has it, whose Write takes a time.
type slowWriter struct {
	header http.Header
	takes  time.Duration
	wrote  chan struct{}
}

func (w *slowWriter) Header() http.Header              { return w.header }
func (w *slowWriter) WriteHeader(int)                  {}
func (w *slowWriter) Flush()                           {}
func (w *slowWriter) SetWriteDeadline(time.Time) error { return nil }
func (w *slowWriter) Write(p []byte) (n int, err error) {
	time.Sleep(w.takes)
	w.wrote <- struct{}{}
	return len(p), nil
}

// Over HTTP/2, who takes something in the last moment may be reset all the same. It has not left.
func TestResetInTheLastMoment(t *testing.T) {
	for _, tt := range []struct {
		takes  time.Duration
		reason string
	}{
		{time.Second, `reason="client left"`},
		{9990 * time.Millisecond, "reason=stalled"},
	} {
		synctest.Test(t, func(t *testing.T) {
			log := newLines()
			h := &Handler{Hub: hub.New(hub.Config{Logger: log.logger(), PublisherGrace: -1}), Pool: fanout.New(fanout.Config{WriteTimeout: 10 * time.Second})}
			s := (&rig{t: t, hub: h.Hub, Handler: h}).publish()
			s.send(start)
			ctx, reset := context.WithCancel(t.Context())
			w := &slowWriter{http.Header{}, tt.takes, make(chan struct{})}
			r := httptest.NewRequestWithContext(ctx, "GET", "/live/demo.flv", nil)
			served := make(chan any)
			go func() {
				defer func() { served <- recover() }()
				h.ServeHTTP(w, r)
			}()
			<-w.wrote
			time.Sleep(20 * time.Millisecond)
			reset()
			assert.Equal(t, http.ErrAbortHandler, <-served)
			assert.Contains(t, log.String(), tt.reason)
			s.Close()
			h.Pool.Close()
			h.Wait()
		})
	}
}
