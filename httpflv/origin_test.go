package httpflv

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/httpflv/answer"
)

// origins reads a list.
func origins(t testing.TB, text string) (list answer.Origins) {
	t.Helper()
	require.NoError(t, list.UnmarshalText([]byte(text)), text)
	return list
}

// cross is the part of an answer that browsers look at.
func cross(header http.Header) map[string]string {
	got := map[string]string{}
	for name, values := range header {
		if strings.HasPrefix(name, "Access-Control-") || name == "Vary" {
			got[name] = strings.Join(values, " | ")
		}
	}
	return got
}

func allowing(t *testing.T, list string) func(*configs) {
	return func(c *configs) { c.origins = origins(t, list) }
}

// With a list, each answer to a page says that this page may have it, and no answer to
// another page does, nor has anything in it.
func TestAllowedOrigins(t *testing.T) {
	h := newRig(t, notWaiting, allowing(t, "https://a.example;null"))
	s := h.publish()
	s.send(start)
	const exposed = "Accept-Ranges, Allow, Content-Disposition, Content-Length, Content-Range, Date, ETag, Retry-After"
	for _, from := range []string{"https://a.example", "HTTPS://a.example:443", "null", h.server.URL} {
		want := map[string]string{
			"Vary": "Origin", "Access-Control-Allow-Origin": from, "Access-Control-Allow-Credentials": "true",
			"Access-Control-Expose-Headers": exposed,
		}
		header := http.Header{"Origin": {from}, "Cookie": {"session=1"}}
		res := h.do(http.MethodGet, "/live/demo.flv", header)
		assert.Equal(t, http.StatusOK, res.StatusCode)
		assert.Equal(t, want, cross(res.Header), from)
		newTape(t, res.Body).expect(started)
		res.Body.Close()
		for method, path := range map[string]string{
			http.MethodHead: "/live/demo.flv", http.MethodGet: "/live/nobody.flv", http.MethodPost: "/live/demo.flv",
		} {
			res = h.do(method, path, header)
			assert.NotEqual(t, http.StatusForbidden, res.StatusCode, method)
			assert.Equal(t, want, cross(res.Header), "%s %s", method, path)
		}
		res = h.do(http.MethodOptions, "/live/demo.flv", http.Header{"Origin": {from}, "Access-Control-Request-Headers": {"x-player"},
			"Access-Control-Request-Private-Network": {"true"}})
		assert.Equal(t, http.StatusNoContent, res.StatusCode)
		want["Access-Control-Allow-Methods"], want["Access-Control-Max-Age"] = "GET, HEAD, OPTIONS", "86400"
		want["Access-Control-Allow-Headers"], want["Access-Control-Allow-Private-Network"] = "x-player", "true"
		assert.Equal(t, want, cross(res.Header), from)
		for name, value := range cross(h.do(http.MethodOptions, "/live/demo.flv", header).Header) {
			assert.NotContains(t, value, "*", "%s: it means nothing with credentials", name)
		}
	}
	for _, from := range []string{"https://b.example", "http://a.example", "https://a.example.evil", "nonsense"} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions} {
			res := h.do(method, "/live/demo.flv", http.Header{"Origin": {from}, "Access-Control-Request-Private-Network": {"true"}})
			assert.Equal(t, http.StatusForbidden, res.StatusCode, method)
			assert.Equal(t, map[string]string{"Vary": "Origin"}, cross(res.Header), method)
			if method != http.MethodHead {
				assert.Equal(t, map[string]string{"error": "denied", "reason": answer.DeniedOrigin}, refusal(t, res))
			}
		}
		res := h.do(http.MethodPost, "/live/demo.flv", http.Header{"Origin": {from}})
		assert.Equal(t, http.StatusMethodNotAllowed, res.StatusCode)
		assert.Equal(t, map[string]string{"Vary": "Origin"}, cross(res.Header))
	}
	res := h.do(http.MethodGet, "/live/demo.flv", http.Header{"Origin": {"https://a.example", "https://a.example"}})
	assert.Equal(t, http.StatusForbidden, res.StatusCode, "no browser sends two")

	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions} {
		res := h.do(method, "/live/demo.flv", http.Header{"Referer": {"https://b.example/"}})
		assert.Less(t, res.StatusCode, 300, "no page of a browser")
		assert.Equal(t, "Origin", res.Header.Get("Vary"))
		assert.Empty(t, res.Header.Get("Access-Control-Allow-Origin"))
		assert.Empty(t, res.Header.Get("Access-Control-Allow-Credentials"))
		res.Body.Close()
	}
	s.Close()
	h.waitViewers(0)
	h.log.wait(t, "session refused", "stream=live/demo", "reason=denied", answer.DeniedOrigin)
	assert.NotContains(t, h.log.String(), "b.example", "what a client says of itself")
}

// A page that may not watch over WebSocket learns it by a close code.
func TestAllowedOriginsOverWebSocket(t *testing.T) {
	h := newRig(t, allowing(t, "https://*.a.example"))
	s := h.publish()
	s.send(start)
	open := func(lines string) *wsClient {
		return openWS(t, h.dial(upgradeRequest("/live/demo.flv", lines)))
	}
	for _, lines := range []string{"", "Origin: https://x.a.example\r\n", "Origin: http://x\r\n", "Origin: https://X\r\n"} { // Host is x
		c := open(lines)
		assert.Equal(t, "Origin", c.response.Header.Get("Vary"))
		newTape(t, c).expect(started)
		c.Close()
	}
	h.waitViewers(0)
	for _, lines := range []string{
		"Origin: https://a.example\r\n", "Origin: null\r\n", "Origin: http://x:8080\r\n", "Origin: ://%%%\r\n",
		"Origin: https://x.a.example\r\nOrigin: https://x.a.example\r\n",
	} {
		c := open(lines)
		assert.Equal(t, map[string]string{"Vary": "Origin"}, cross(c.response.Header), lines)
		c.expectClose(4403, "denied: "+answer.DeniedOrigin)
		assert.Zero(t, c.messages)
	}
	assert.Zero(t, h.hub.Streams()[0].Viewers)

	res, err := http.ReadResponse(bufio.NewReader(h.dial(strings.Replace(
		upgradeRequest("/live/demo.flv", "Origin: https://b.example\r\n"), "Version: 13", "Version: 8", 1))), nil)
	require.NoError(t, err)
	assert.Equal(t, http.StatusUpgradeRequired, res.StatusCode)
	assert.Equal(t, map[string]string{"Vary": "Origin"}, cross(res.Header))
}
