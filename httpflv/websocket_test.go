package httpflv

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// A viewer gets whole tags in binary messages, and an end with code and reason.
func TestWebSocketStream(t *testing.T) {
	h := newRig(t)
	s := h.publish()
	s.send(start)
	c := h.dialWS("/live/demo.flv")
	p := newTape(t, c)
	header, err := p.Header()
	require.NoError(t, err)
	assert.Equal(t, flv.Header{Audio: true, Video: true}, header)
	assert.NotEmpty(t, c.rest, "tags come with the header")
	p.expect(started)
	for i, size := range []int{1, 80, 120, 126, 60_000, 66_000, 300_000} {
		s.send(fmt.Sprintf("P:%s@%d", strings.Repeat("x", size), 5080+i))
		tag, err := p.Next()
		require.NoError(t, err)
		assert.Len(t, tag.Data, 5+size)
	}
	s.Close()
	c.expectClose(1000, "unpublished")
	h.waitViewers(0)
	h.Wait()
	h.log.wait(t, "session ends", "protocol=ws-flv", "reason=unpublished", "stream=live/demo")
}

func TestWebSocketTracks(t *testing.T) {
	for query, want := range map[string]string{
		"?onlyaudio=1": "meta:a@0 ac:aac@0 A:2@0",
		"?onlyvideo=1": "meta:v@0 vc:h264@0 K:1@0 P:3@40",
	} {
		h := newRig(t)
		s := h.publish()
		s.send(start)
		p := newTape(t, h.dialWS("/live/demo.flv"+query))
		p.expect(want)
		header, err := p.Header()
		require.NoError(t, err)
		assert.Equal(t, flv.Header{Audio: query == "?onlyaudio=1", Video: query == "?onlyvideo=1"}, header)
	}
}

func TestWebSocketHandshake(t *testing.T) {
	h := newRig(t)
	s := h.publish()
	s.send(start)
	c := openWS(t, h.dial(upgradeRequest("/live/demo.flv",
		"Origin: https://elsewhere.example\r\nSec-WebSocket-Protocol: flv, chat\r\n"+
			"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-webkit-deflate-frame\r\n")))
	header := c.response.Header
	assert.Equal(t, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", header.Get("Sec-WebSocket-Accept"))
	assert.True(t, strings.EqualFold("websocket", header.Get("Upgrade")))
	assert.True(t, strings.EqualFold("upgrade", header.Get("Connection")))
	assert.Empty(t, header.Values("Sec-WebSocket-Extensions"), "no compression")
	assert.Equal(t, []string{"flv"}, header.Values("Sec-WebSocket-Protocol"))
	newTape(t, c).expect(started)
}

// A handshake that is none is refused in the form of all refusals.
func TestWebSocketHandshakeRefused(t *testing.T) {
	h := newRig(t)
	s := h.publish()
	s.send(start)
	whole := upgradeRequest("/live/demo.flv", "")
	const keyLine = "Sec-WebSocket-Key: " + handshakeKey + "\r\n"
	for _, tt := range []struct {
		old, new string
		status   int
		reason   string
	}{
		{"Version: 13", "Version: 8", http.StatusUpgradeRequired, "version 13"},
		{"Version: 13", "Version: 13, 8", http.StatusUpgradeRequired, "version 13"},
		{"Sec-WebSocket-Version: 13\r\n", "", http.StatusUpgradeRequired, "version 13"},
		{"Connection: keep-alive, Upgrade\r\n", "", http.StatusUpgradeRequired, "Connection: Upgrade"},
		{"keep-alive, Upgrade", "close", http.StatusUpgradeRequired, "Connection: Upgrade"},
		{"HTTP/1.1", "HTTP/1.0", http.StatusUpgradeRequired, "HTTP/1.1"},
		{keyLine, "", http.StatusBadRequest, "one header Sec-WebSocket-Key"},
		{keyLine, keyLine + keyLine, http.StatusBadRequest, "one header Sec-WebSocket-Key"},
		{handshakeKey, "", http.StatusBadRequest, "16 bytes in base64"},
		{handshakeKey, "short", http.StatusBadRequest, "16 bytes in base64"},
		{handshakeKey, strings.Repeat("A", 4096), http.StatusBadRequest, "16 bytes in base64"},
		{handshakeKey, strings.Replace(handshakeKey, "=", "!", 1), http.StatusBadRequest, "16 bytes in base64"},
		{"GET ", "HEAD ", http.StatusMethodNotAllowed, ""},
		{"GET ", "POST ", http.StatusMethodNotAllowed, "GET only"},
	} {
		c := h.dial(strings.Replace(whole, tt.old, tt.new, 1))
		method, _, _ := strings.Cut(tt.new, " ")
		res, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
		require.NoError(t, err)
		assert.Equal(t, tt.status, res.StatusCode, tt.new)
		assert.Equal(t, "*", res.Header.Get("Access-Control-Allow-Origin"))
		if tt.status == http.StatusUpgradeRequired {
			assert.Equal(t, "13", res.Header.Get("Sec-WebSocket-Version"))
			assert.Equal(t, "websocket", res.Header.Get("Upgrade"))
		}
		if tt.status == http.StatusMethodNotAllowed {
			assert.Contains(t, res.Header.Get("Allow"), "GET")
		}
		if method != http.MethodHead {
			said := refusal(t, res)
			assert.Equal(t, "bad request", said["error"], tt.new)
			assert.Contains(t, said["reason"], tt.reason, tt.new)
		}
	}
	assert.Zero(t, h.hub.Streams()[0].Viewers)
}

// What a handshake may have besides means nothing, as does the lack of everything
// that makes one.
func TestOddHandshakes(t *testing.T) {
	h := newRig(t)
	s := h.publish()
	s.send(start)
	for _, lines := range []string{
		"Origin: null\r\n",
		"Origin: ://%%% not a URL\r\nReferer: https://elsewhere.example\r\n",
		"Origin: https://a.example\r\nOrigin: https://b.example\r\n",
		"Sec-WebSocket-Protocol: \xff, ,;=\r\nSec-WebSocket-Extensions: ;;;,=\r\n",
		"Upgrade: h2c, websocket/13\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
		"Content-Length: 0\r\nCookie: " + strings.Repeat("x", 8000) + "\r\n",
	} {
		c := openWS(t, h.dial(upgradeRequest("/live/demo.flv", lines)))
		newTape(t, c).expect(started)
		c.Close()
	}
	for _, lines := range []string{
		"Connection: Upgrade\r\n",
		"Connection: Upgrade\r\nUpgrade: h2c\r\n",
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + handshakeKey + "\r\n",
	} {
		c := h.dial("GET /live/demo.flv HTTP/1.1\r\nHost: x\r\n" + lines + "\r\n")
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, res.StatusCode, "no upgrade is asked for: plain HTTP")
		newTape(t, res.Body).expect(started)
		c.Close()
	}
}

func TestWebSocketWhereNothingCanBeTakenOver(t *testing.T) {
	h := newRig(t, hidden)
	res, err := http.ReadResponse(bufio.NewReader(h.dial(upgradeRequest("/live/demo.flv", ""))), nil)
	require.NoError(t, err)
	assert.Equal(t, http.StatusNotImplemented, res.StatusCode)
	assert.Contains(t, refusal(t, res)["reason"], "not possible over this connection")
}

// Whatever is wrong, a script must learn of it: by a close code, after a 101.
func TestWebSocketRefusals(t *testing.T) {
	long := strings.Repeat("ü", 200)
	h := newRig(t, notWaiting, func(c *configs) {
		c.hub.Authorize = func(_ context.Context, s *hub.Session) (hub.Grant, error) {
			switch s.Key().Name {
			case "secret":
				return hub.Grant{}, errors.New("not for you")
			case "full":
				return hub.Grant{}, &hub.Refusal{Reason: hub.ReasonTooMany}
			case "long":
				return hub.Grant{}, errors.New(long)
			}
			return hub.Grant{}, nil
		}
	})
	s := h.publish()
	s.send("meta:v vc K:1")
	for path, want := range map[string]struct {
		code   int
		reason string
	}{
		"/live/nobody.flv":                       {4404, "not found: no publisher for live/nobody within 0s"},
		"/live/demo.flv?onlyaudio=1":             {4404, "not found: live/demo has no audio"},
		"/live/demo":                             {4404, "not found: streams are at /APP/NAME.flv"},
		"/demo.flv":                              {4400, "bad request: stream name needs an app and a name, APP/NAME"},
		"/live/a%00b.flv":                        {4400, "bad request: stream name has a character that is not allowed: '\\x00'"},
		"/live/demo.flv?onlyaudio=1&onlyvideo=1": {4400, "bad request: onlyaudio and onlyvideo leave nothing"},
		"/live/demo.flv?track=x":                 {4400, "bad request: track is a number up to 255, or all"},
		"/live/secret.flv":                       {4403, "denied: not for you"},
		"/live/full.flv":                         {1013, "too many"},
		"/live/long.flv":                         {4403, "denied: " + long[:114]},
	} {
		c := h.dialWS(path)
		c.expectClose(want.code, want.reason)
		assert.True(t, utf8.ValidString(c.reason))
		assert.Zero(t, c.messages)
	}
	h.Wait()
	h.waitViewers(0)
}

// The 101 does not wait for a publisher.
func TestWebSocketWaits(t *testing.T) {
	h := newRig(t)
	c := h.dialWS("/live/demo.flv")
	h.waitViewers(1)
	c.send(opPing, "there?")
	opcode, payload, err := c.frame()
	require.NoError(t, err)
	assert.EqualValues(t, opPong, opcode)
	assert.Equal(t, "there?", string(payload))
	s := h.publish()
	s.send(start)
	newTape(t, c).expect(started)
}

func TestWebSocketWaitExpires(t *testing.T) {
	h := newRig(t, func(c *configs) { c.hub.ViewerWait = 30 * time.Millisecond })
	h.dialWS("/live/demo.flv").expectClose(4404, "not found: no publisher for live/demo within 30ms")
	h.Wait()
	h.log.wait(t, "session refused", "protocol=ws-flv", "no publisher")
}

// Clients that go while they wait, with and without a word.
func TestWebSocketClientLeavesWhileWaiting(t *testing.T) {
	h := newRig(t)
	polite, rude := h.dialWS("/live/demo.flv"), h.dialWS("/live/demo.flv")
	h.waitViewers(2)
	polite.send(opClose, closePayload(1001, "going"))
	polite.expectClose(1001, "going")
	rude.Close()
	h.Wait()
	h.waitViewers(0)
	assert.Empty(t, h.hub.Streams())
}

// Pings are answered while media flows, and no frame stands in another, however
// slowly the client reads.
func TestWebSocketPings(t *testing.T) {
	h := newRig(t, func(c *configs) { c.hub.MaxLag = time.Hour })
	s := h.publish()
	s.send(start)
	c := h.dialWS("/live/demo.flv")
	p := newTape(t, c)
	p.expect(started)
	const rounds = 300
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range rounds {
			c.send(opPing, fmt.Sprintf("%d %s", i, strings.Repeat("p", i%120)))
			if i%50 == 0 {
				c.send(opPing, "")
			}
		}
	}()
	for i := range rounds {
		s.send(fmt.Sprintf("P:%s@%d", strings.Repeat("x", 1+i*211%40_000), 5080+i))
	}
	for i := range rounds {
		tag, err := p.Next()
		require.NoError(t, err)
		require.Len(t, tag.Data, 6+i*211%40_000)
		require.EqualValues(t, 80+i, tag.Timestamp)
	}
	<-sent
	s.Close()
	c.expectClose(1000, "unpublished")
	assert.NotEmpty(t, c.pongs)
	last := -1
	for _, pong := range c.pongs {
		n := last
		fmt.Sscan(pong, &n)
		require.GreaterOrEqual(t, n, last)
		last = n
	}
}

// What a client says means nothing, as long as it is short.
func TestWebSocketJunk(t *testing.T) {
	h := newRig(t)
	s := h.publish()
	s.send(start)
	c := h.dialWS("/live/demo.flv")
	p := newTape(t, c)
	p.expect(started)
	c.send(opText, "hello")
	c.send(opText, "")
	c.send(opBinary, strings.Repeat("\x00", maxClientMessage))
	c.send(opText, "\xff not UTF-8")
	c.send(opPong, "unasked")
	var fragments []byte
	fragments = appendFrame(fragments, opText, true, "one ")
	fragments = appendFrame(fragments, 0x80|opPing, true, "in between")
	fragments = appendFrame(fragments, 0x80|opContinuation, true, "message")
	_, err := c.Write(fragments)
	require.NoError(t, err)
	for len(c.pongs) == 0 {
		s.send("P:4@5080")
		p.expect("P:4@80")
	}
	assert.Equal(t, []string{"in between"}, c.pongs)
	s.Close()
	c.expectClose(1000, "unpublished")
}

// The same over TLS, where a goroutine writes.
func TestWebSocketOverTLS(t *testing.T) {
	h := newRig(t, overTLS)
	s := h.publish()
	s.send(start)
	for _, clientCloses := range []bool{true, false} {
		plain := h.dial("")
		conn := tls.Client(plain, &tls.Config{InsecureSkipVerify: true})
		_, err := io.WriteString(conn, upgradeRequest("/live/demo.flv", ""))
		require.NoError(t, err)
		c := openWS(t, conn)
		newTape(t, c).expect(started)
		if clientCloses {
			c.send(opClose, closePayload(4001, "enough"))
			c.expectClose(4001, "enough")
			continue
		}
		s.Close()
		c.expectClose(1000, "unpublished")
	}
	h.Wait()
}
