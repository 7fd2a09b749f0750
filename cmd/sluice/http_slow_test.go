package main

import (
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/httpflv"
	"sluice/httpflv/answer"
	"sluice/hub"
	"sluice/hub/fanout"
	"sluice/web"
)

// pipes is a listener for connections in memory, which take nothing unless somebody
// reads.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// inMemory runs a test with a client of the HTTP server, where time does not pass by
// itself. Nothing may be left at its end.
func inMemory(t *testing.T, test func(t *testing.T, c net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		h := hub.New(hub.Config{ViewerWait: 2 * answerTimeout})
		pool := fanout.New(fanout.Config{})
		streams := &httpflv.Handler{Hub: h, Pool: pool}
		key, err := hub.NewKey("live", "demo")
		require.NoError(t, err)
		p, err := h.Publish(h.NewSession(hub.RolePublish, key, hub.Client{}), hub.PublishOptions{})
		require.NoError(t, err)
		for i := range 20 {
			require.NoError(t, p.Write(numbered(uint32(i))))
		}
		page := web.Handler(web.Config{Logger: slog.New(slog.DiscardHandler)})
		srv := newHTTPServer(site{page: page, streams: streams}, slog.New(slog.DiscardHandler))
		l := make(pipes)
		served := make(chan error, 1)
		go func() { served <- srv.Serve(l) }()
		near, far := net.Pipe()
		l <- near
		test(t, far)
		far.Close()
		require.NoError(t, h.Shutdown(t.Context()))
		pool.Close()
		streams.Wait()
		close(l)
		<-served
	})
}

// Nobody waits for a client that is slow in asking, or asks for nothing.
func TestSlowRequests(t *testing.T) {
	const head = " HTTP/1.1\r\nHost: x\r\n"
	byByte := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			for i := range len(text) {
				if _, err := io.WriteString(c, text[i:i+1]); err != nil {
					return
				}
				time.Sleep(1100 * time.Millisecond) // never just when time is over
			}
		}
	}
	atOnce := func(text string) func(net.Conn) { return func(c net.Conn) { io.WriteString(c, text) } }
	then := func(a, b func(net.Conn)) func(net.Conn) { return func(c net.Conn) { a(c); b(c) } }
	const keep = "GET /api/v1/streams" + head + "\r\n"
	for name, tt := range map[string]struct {
		send   func(net.Conn)
		answer string // how it begins; "" for none
		closed time.Duration
	}{
		"nothing":                  {atOnce(""), "", readHeaderTimeout},
		"a few bytes":              {atOnce("GE"), "HTTP/1.1 400", readHeaderTimeout},
		"a byte a second":          {byByte("GET /live/demo.flv" + head), "HTTP/1.1 400", readHeaderTimeout},
		"a header line a second":   {func(c net.Conn) { atOnce("GET /" + head)(c); byByte(strings.Repeat("a:b\r\n", 100))(c) }, "", readHeaderTimeout},
		"a name without end":       {byByte("GET /" + strings.Repeat("x", 100)), "HTTP/1.1 400", readHeaderTimeout},
		"a kept connection":        {atOnce(keep), "HTTP/1.1 200", idleTimeout},
		"a slow second request":    {then(atOnce(keep), byByte(keep)), "HTTP/1.1 200", 3*time.Second + readHeaderTimeout},
		"no body, page":            {atOnce("POST /" + head + "Content-Length: 10\r\n\r\n"), "HTTP/1.1 405", answer.BodyTimeout},
		"no body, API":             {atOnce("GET /api/v1/streams" + head + "Content-Length: 10\r\n\r\n"), "HTTP/1.1 200", answer.BodyTimeout},
		"no body, stream":          {atOnce("POST /live/demo.flv" + head + "Content-Length: 10\r\n\r\n"), "HTTP/1.1 405", answer.BodyTimeout},
		"no body, no stream":       {atOnce("GET /.flv" + head + "Content-Length: 10\r\n\r\n"), "HTTP/1.1 400", answer.BodyTimeout},
		"no body, preflight":       {atOnce("OPTIONS /live/demo.flv" + head + "Content-Length: 10\r\n\r\n"), "HTTP/1.1 204", answer.BodyTimeout},
		"no body, OPTIONS *":       {atOnce("OPTIONS *" + head + "Content-Length: 10\r\n\r\n"), "HTTP/1.1 404", answer.BodyTimeout},
		"no body, unknown method":  {atOnce("BREW /" + head + "Content-Length: 10\r\n\r\n"), "HTTP/1.1 405", answer.BodyTimeout},
		"no body, WebSocket":       {atOnce("GET /live/demo.flv" + head + "Upgrade: websocket\r\nContent-Length: 10\r\n\r\n"), "HTTP/1.1 426", answer.BodyTimeout},
		"a slow body":              {then(atOnce("POST /"+head+"Content-Length: 100\r\n\r\n"), byByte(strings.Repeat("x", 100))), "HTTP/1.1 405", answer.BodyTimeout},
		"chunks without end":       {then(atOnce("POST /live/demo.flv"+head+"Transfer-Encoding: chunked\r\n\r\n"), byByte(strings.Repeat("1\r\nx\r\n", 100))), "HTTP/1.1 405", answer.BodyTimeout},
		"expects 100-continue":     {atOnce("POST /live/demo.flv" + head + "Content-Length: 10\r\nExpect: 100-continue\r\n\r\n"), "HTTP/1.1 405", answer.BodyTimeout},
		"a body nobody waits for":  {atOnce("POST /" + head + "Content-Length: 1073741824\r\n\r\n"), "HTTP/1.1 405", 500 * time.Millisecond},
		"waits in vain":            {atOnce("GET /live/later.flv" + head + "Connection: close\r\n\r\n"), "HTTP/1.1 404", 2 * answerTimeout},
		"waits in vain, no body":   {atOnce("GET /live/later.flv" + head + "Content-Length: 10\r\n\r\n"), "HTTP/1.1 404", 2*answerTimeout + answer.BodyTimeout},
		"a request that is no one": {atOnce("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), "HTTP/1.1 400", readHeaderTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, func(t *testing.T, c net.Conn) {
				began := time.Now()
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					tt.send(c)
				}()
				answer, err := io.ReadAll(c)
				assert.NoError(t, err)
				took := time.Since(began)
				assert.True(t, strings.HasPrefix(string(answer), tt.answer), "%q", answer)
				assert.Equal(t, tt.answer == "", len(answer) == 0, "%q", answer)
				assert.InDelta(t, tt.closed.Seconds(), took.Seconds(), 1)
				c.Close()
				<-sent
			})
		})
	}
}

// Nobody keeps a connection by not taking the answer, whichever it is.
func TestSlowReaders(t *testing.T) {
	const head = " HTTP/1.1\r\nHost: x\r\n"
	for name, tt := range map[string]struct {
		request string
		bound   time.Duration
	}{
		"page":             {"GET /" + head + "\r\n", answerTimeout},
		"script":           {"GET /assets/player.js" + head + "\r\n", answerTimeout},
		"API":              {"GET /api/v1/streams" + head + "\r\n", answerTimeout},
		"not found":        {"GET /nothing" + head + "\r\n", answerTimeout},
		"wrong method":     {"POST /" + head + "Content-Length: 1\r\n\r\nx", answerTimeout},
		"malformed":        {"GET / HTTP/1.1\r\nHost: x\r\nno header\r\n\r\n", answerTimeout},
		"too large":        {"GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 40<<10), answerTimeout},
		"refusal":          {"GET /.flv" + head + "\r\n", answerTimeout},
		"preflight":        {"OPTIONS /live/demo.flv" + head + "\r\n", answerTimeout},
		"HEAD of a stream": {"HEAD /live/demo.flv" + head + "\r\n", answerTimeout},
		"stream":           {"GET /live/demo.flv" + head + "\r\n", 30 * time.Second}, // SLUICE_STALL_TIMEOUT
		"late refusal":     {"GET /live/later.flv" + head + "\r\n", 3 * answerTimeout},
		"questions":        {strings.Repeat("GET /.flv"+head+"\r\n", 100), answerTimeout},
		"socket, refused":  {"GET /live/demo.flv" + head + "Upgrade: websocket\r\n\r\n", answerTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, func(t *testing.T, c net.Conn) {
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					io.WriteString(c, tt.request)
				}()
				time.Sleep(tt.bound + 5*time.Second) // a stream has a look at its tracks before it begins
				answer, err := io.ReadAll(c)         // a pipe holds nothing: what was not taken is lost
				assert.NoError(t, err)
				assert.Empty(t, answer)
				c.Close()
				<-sent
			})
		})
	}
}

// An answer has to be taken as a whole in time; a byte now and then does not do.
func TestSlowReaderByTheByte(t *testing.T) {
	inMemory(t, func(t *testing.T, c net.Conn) {
		_, err := io.WriteString(c, "GET /assets/player.js HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		began, got := time.Now(), 0
		for b := make([]byte, 1); ; got++ {
			if _, err = c.Read(b); err != nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		assert.ErrorIs(t, err, io.EOF)
		assert.InDelta(t, answerTimeout.Seconds(), time.Since(began).Seconds(), 1)
		assert.Less(t, got, 3100)
	})
}
