package e2e

import (
	"context"
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// openSocketJS opens a WebSocket, with subprotocols if there are any, and tells what
// became of it: the beginning of its first message, or the code of its end.
const openSocketJS = `(url, ...protocols) => new Promise((done) => {
  const socket = new WebSocket(url, ...protocols);
  socket.binaryType = "arraybuffer";
  let first = "";
  socket.onmessage = ({ data }) => {
    first = String.fromCharCode(...new Uint8Array(data, 0, 3));
    socket.close();
  };
  socket.onclose = ({ code, reason }) => done({ first, protocol: socket.protocol, code, reason });
})`

// socketSeen is what openSocketJS tells.
type socketSeen struct {
	First, Protocol string
	Code            int
	Reason          string
}

// await returns what the promise yields that a JavaScript expression is.
func await[T any](b *browser, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	require.NoError(b.t, err, expression)
	return v
}

// A page that offers a subprotocol, as pages made for other servers do, gets its
// stream: the browser fails a connection whose offer is not answered, and one to
// whom nothing was offered and something answered.
func TestBrowserOffersSubprotocol(t *testing.T) {
	t.Parallel()
	s := serve(t)
	b := browse(t)
	b.open("http://" + s.http + "/")
	s.publish("live/x", both)
	for offer, want := range map[string]string{
		"":                      "",
		", []":                  "",
		`, "flv"`:               "flv",
		`, ["chat", "flv"]`:     "chat",
		`, ["v1.flv!#$%&'*+-"]`: "v1.flv!#$%&'*+-",
	} {
		got := await[socketSeen](b, fmt.Sprintf("(%s)(%q%s)", openSocketJS, s.flvURL("ws", "live/x"), offer))
		assert.Equal(t, "FLV", got.First, "offer %q", offer)
		assert.Equal(t, want, got.Protocol, "offer %q", offer)
		assert.Equal(t, 1005, got.Code, "offer %q", offer) // of a close frame without a code
	}
}
