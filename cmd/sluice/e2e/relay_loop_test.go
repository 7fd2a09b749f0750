//lint:file-ignore SA1019 the WebSocket library is given, and final at this version.

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"nhooyr.io/websocket"
)

// Three servers that have each other as origins, in a ring. A stream that nobody publishes is refused
// everywhere and in every way, each server having asked the next one once for a crowd; one that somebody
// does publish goes round to everybody, and is not disturbed.
func TestRelayRing(t *testing.T) {
	t.Parallel()
	var rtmp, http, origins []string
	for range 3 {
		rtmp, http = append(rtmp, quietAddress(t)), append(http, quietAddress(t))
	}
	for i := range 3 {
		next := (i + 1) % 3
		origins = append(origins, fmt.Sprintf("rtmp/* rtmp://%s/rtmp/{name};http/* http://%s/http/{name}.flv;ws/* ws://%s/ws/{name}.flv",
			rtmp[next], http[next], http[next]))
	}
	var ring []*server
	for i := range 3 {
		ring = append(ring, serveAt(t, rtmp[i], http[i], append(endsAtOnce, "SLUICE_ORIGIN="+origins[i])...))
	}
	live := []string{"rtmp/live", "http/live", "ws/live"}
	var viewers []*pull
	for i, key := range live {
		ring[i].publish(key, source{size: "160x90"})
		viewers = append(viewers, ring[(i+1)%3].pull(curl, key)) // which is two hops away
	}

	for _, app := range []string{"rtmp", "http", "ws"} {
		for i, s := range ring {
			key := fmt.Sprintf("%s/none-%d", app, i)
			var crowd []*pull
			for range 5 {
				crowd = append(crowd, s.pull(rtmpdump, key))
			}
			assert.Equal(t, http508, httpStatus(t, s.flvURL("http", key)), key)
			assert.EqualValues(t, 4508, closeCode(t, s.flvURL("ws", key)), key)
			overRTMP := s.pull(puller{"rtmpdump", func(s *server, key, path string) []string {
				return []string{"rtmpdump", "-r", s.rtmpURL(key), "-o", path}
			}}, key)
			assert.NotZero(t, overRTMP.wait())
			assert.Contains(t, overRTMP.said.String(), "NetStream.Play.Failed")
			for _, p := range crowd {
				assert.NotZero(t, p.wait())
			}
		}
	}
	tries := 0
	for i, s := range ring {
		n := s.opened()
		t.Logf("server %d has opened %d connections", i, n)
		tries += n
	}
	// Three streams, at three servers, over three hops, and as often again as a slow machine lets
	// more than a second pass between its viewers; and two hops of each live one.
	assert.Less(t, tries, 3*3*3*4+3*2+1)

	goOn(viewers, 1000)
	for i, p := range viewers {
		p.stop()
		checkFile(t, p.path, both)
		assert.Equal(t, 1, ring[(i+1)%3].connection(live[i]).Tries, live[i])
		assert.Zero(t, ring[(i+1)%3].connection(live[i]).Breaks, live[i])
	}
}

const http508 = 508

// httpStatus returns how a server answers who wants a stream.
func httpStatus(t *testing.T, url string) int {
	t.Helper()
	answer, err := client.Get(url)
	require.NoError(t, err)
	defer answer.Body.Close()
	var refusal struct{ Error string }
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(body, &refusal), "%s", body)
	assert.Equal(t, "loop", refusal.Error)
	return answer.StatusCode
}

// closeCode returns how a server ends a WebSocket.
func closeCode(t *testing.T, url string) websocket.StatusCode {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), url, nil)
	require.NoError(t, err)
	defer conn.CloseNow()
	_, _, err = conn.Read(t.Context())
	return websocket.CloseStatus(err)
}

// opened returns how many connections the server has opened for relays so far.
func (s *server) opened() (n int) {
	s.t.Helper()
	for line := range strings.Lines(string(s.operatorsAnswer(http.MethodGet, "/metrics", "", http.StatusOK))) {
		var value int
		if name, rest, ok := strings.Cut(line, "{"); ok && name == "sluice_relay_tries_total" {
			_, err := fmt.Sscan(rest[strings.Index(rest, "}")+1:], &value)
			require.NoError(s.t, err)
			n += value
		}
	}
	return n
}

// Two servers push to each other, each time under another name: what comes back to where it was is
// ended there, and nothing multiplies. The stream itself and its way to the other one are untouched.
func TestRelayPushesInACircle(t *testing.T) {
	t.Parallel()
	there := freeAddress(t)
	one := serve(t, append(endsAtOnce, "SLUICE_PUSH=one/* rtmp://"+there+"/two/{name};three/* rtmp://"+there+"/four/{name}")...)
	two := serveAt(t, there, freeAddress(t), append(endsAtOnce, "SLUICE_PUSH=two/* "+one.rtmp+"/three/{name};four/* "+one.rtmp+"/five/{name}")...)
	one.publish("one/x", source{size: "160x90"})
	viewer := two.pull(curl, "two/x")
	c := two.relayed("two/x", "refused", func(c relayConnection) bool { return c.State == "refused" })
	t.Logf("%+v", c)
	viewer.reaches(3000)
	viewer.stop()
	checkFile(t, viewer.path, both)
	assert.Less(t, two.opened(), 4)
	assert.Equal(t, 1, one.opened())
	for _, s := range []*server{one, two} {
		for _, st := range s.streams() {
			assert.Contains(t, []string{"one/x", "two/x"}, st.Key)
		}
	}
}
