package httpflv

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/fanout"
)

// get makes the request of a client for a target, as it stands on the wire, or nil
// where net/http refuses it.
func get(target, lines string) *http.Request {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: x\r\n" + lines + "\r\n")))
	if err != nil {
		return nil
	}
	return r
}

// FuzzParseRequest: whatever a target holds, there is a refusal in words that can be
// shown to anybody, or a stream and what is asked of it, each value one that is listed; and
// what is not listed makes no difference.
func FuzzParseRequest(f *testing.F) {
	for _, target := range []string{
		"/live/demo.flv", "/live/demo.flv?onlyaudio=1", "/a/b/c.flv?start=live&track=3&hevc=legacy&token=x",
		"/live/demo.flv?back=2.5&chunked=0", "http://elsewhere/live/demo.flv?track=all", "*", "x:1",
		"//live//%C3%BCn%C3%AF.flv?a=%zz;b", "/live/..%2fx.flv", "/live/%00.flv", "/live/a%5cb.flv?onlyvideo=true&onlyaudio=TRUE",
		"/live/%252e%252e.flv", "/live/x.flv/", "/live/x.flv?back=NaN", "/live/x.flv?back=1e-9&back=&start=gop",
	} {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, target string) {
		r := get(target, "")
		if r == nil {
			return
		}
		q, err := parseRequest(r)
		ws := get(target, "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n")
		require.NotNil(t, ws)
		again, wsErr := parseRequest(ws)
		require.Equal(t, q, again, "over WebSocket")
		require.Equal(t, err, wsErr, "over WebSocket")
		if err != nil {
			refusal, ok := errors.AsType[*hub.Refusal](err)
			require.True(t, ok)
			require.Contains(t, []hub.Reason{hub.ReasonBadRequest, hub.ReasonNotFound}, refusal.Reason)
			require.NotEmpty(t, refusal.Detail)
			require.True(t, utf8.ValidString(refusal.Detail))
			require.Equal(t, -1, strings.IndexFunc(refusal.Detail, unicode.IsControl), refusal.Detail)
			return
		}
		require.True(t, strings.HasSuffix(r.URL.Path, Suffix))
		checkKey(t, q.key)
		checkOptions(t, q.opts)

		query, known := r.URL.Query(), url.Values{}
		for _, name := range []string{"onlyaudio", "onlyvideo", "start", "back", "track", "hevc", "chunked"} {
			if query.Has(name) {
				known.Set(name, query.Get(name))
			}
		}
		bare, err := parseRequest(get((&url.URL{Path: "/" + q.key.String() + Suffix, RawQuery: known.Encode()}).RequestURI(), ""))
		if len(known.Encode()) <= maxQuery {
			require.NoError(t, err)
			require.Equal(t, q, bare, "without what it does not know")
		}
	})
}

func checkKey(t *testing.T, key hub.Key) {
	t.Helper()
	require.LessOrEqual(t, len(key.String()), hub.MaxKeyLength)
	require.NotContains(t, key.Name, "/")
	for segment := range strings.SplitSeq(key.String(), "/") {
		require.NotContains(t, []string{"", ".", ".."}, segment)
		for _, r := range segment {
			require.True(t, unicode.In(r, unicode.L, unicode.N, unicode.M) || strings.ContainsRune(" -_.~+=@,:!()&", r), "%q", r)
		}
	}
}

func checkOptions(t *testing.T, o hub.WatchOptions) {
	t.Helper()
	require.False(t, o.NoAudio && o.NoVideo)
	require.Contains(t, []hub.Start{hub.StartGOP, hub.StartLive}, o.Start)
	require.Contains(t, []flv.Form{flv.FormBrowser, flv.FormAsSent}, o.Shape.Form)
	require.Contains(t, []flv.HEVC{flv.HEVCAsSent, flv.HEVCLegacy, flv.HEVCEnhanced}, o.Shape.HEVC)
	require.True(t, 0 <= o.Back && o.Back <= time.Hour, o.Back)
	require.True(t, o.FixedCodecs)
}

// FuzzClientFrames: whatever a WebSocket client says, it is answered the same however
// its bytes are cut, within bounds, and its connection goes on or ends.
func FuzzClientFrames(f *testing.F) {
	seeds := [][]byte{
		nil,
		appendFrame(nil, 0x80|opPing, true, "there?"),
		appendFrame(nil, 0x80|opText, true, "hello"),
		slices.Concat(appendFrame(nil, opBinary, true, "one"), appendFrame(nil, 0x80|opPing, true, "between"),
			appendFrame(nil, 0x80|opContinuation, true, "two"), appendFrame(nil, 0x80|opClose, true, closePayload(1000, "bye"))),
		appendFrame(nil, 0x80|opClose, true, closePayload(1001, "\xff")),
		appendFrame(nil, 0x80|opPing, true, "cut")[:7],
		appendHead64(nil, 0x80|opBinary, 1<<63),
		append(appendHead64(nil, 0x80|opBinary, 1<<40), "giant"...),
		appendFrame(nil, 0x80|opText, false, "unmasked"),
	}
	for i, seed := range seeds {
		f.Add(seed, uint16(i), uint8(i))
	}
	f.Fuzz(func(t *testing.T, said []byte, slice uint16, early uint8) {
		whole := listen(t, said, len(said)+1, 0)
		require.Equal(t, whole, listen(t, said, 1+int(slice), int(early)))
		if len(said) < 2000 {
			require.Equal(t, whole, listen(t, said, 1, 0))
		}
	})
}

// Where somebody who says too much is cut off does not depend on slices either.
func TestFloodsAreCutTheSame(t *testing.T) {
	for _, flood := range [][]byte{
		slices.Repeat(appendFrame(nil, 0x80|opPing, true, ""), 2*clientBurst/frameCost),
		slices.Repeat(appendFrame(nil, 0x80|opPing, true, strings.Repeat("p", 125)), clientBurst/frameCost),
		slices.Repeat(appendFrame(nil, 0x80|opText, true, strings.Repeat("x", maxClientMessage)), 20),
		appendFrame(nil, 0x80|opBinary, true, strings.Repeat("x", maxClientMessage+1)),
	} {
		whole := listen(t, flood, len(flood), 0)
		assert.False(t, whole.goesOn)
		for _, slice := range []int{1, 7, 4096} {
			assert.Equal(t, whole, listen(t, flood, slice, 13*slice))
		}
	}
}

// heardOf is what a client got for what it said.
type heardOf struct {
	frames string // opcodes and payloads
	goesOn bool
}

// listen has a socket hear what a client says, in slices, the first bytes of it with
// its handshake; and sees to it that everything ends.
func listen(t *testing.T, words []byte, slice, ahead int) (heard heardOf) {
	synctest.Test(t, func(t *testing.T) {
		pool := fanout.New(fanout.Config{Workers: 1})
		near, far := net.Pipe()
		ahead = min(ahead, len(words))
		s := &socket{Conn: near, ahead: bytes.Clone(words[:ahead])}
		if ahead == 0 {
			s.ahead = nil
		}
		s.outlet = pool.NewOutlet((*output)(s))
		ended, written := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			s.read()
		}()
		go func() {
			defer close(written)
			for part := range slices.Chunk(words[ahead:], slice) {
				if _, err := far.Write(part); err != nil {
					return
				}
			}
		}()
		answers := make(chan string)
		go func() {
			c := &wsClient{t: t, Conn: far, r: bufio.NewReader(far)}
			var all strings.Builder
			for {
				opcode, payload, err := c.frame()
				if err != nil {
					assert.ErrorIs(t, err, io.EOF, "cut in a frame")
					answers <- all.String()
					return
				}
				assert.Contains(t, []byte{opPong, opClose}, opcode)
				fmt.Fprintf(&all, "%x %q\n", opcode, payload)
			}
		}()
		<-written
		time.Sleep(frameTimeout + closeWait + slowCloseWait + echoWait + time.Second)
		select {
		case <-ended:
		default:
			heard.goesOn = true
			near.Close() // the client reads on
			<-ended
		}
		heard.frames = <-answers
		far.Close()
		pool.Close()
	})
	return heard
}
