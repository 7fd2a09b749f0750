//lint:file-ignore SA1019 the WebSocket library is given, and final at this version.

package e2e

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
)

// serveAt starts a Sluice at addresses that it has had before, or is to have again.
func serveAt(t *testing.T, rtmp, http string, variables ...string) *server {
	t.Helper()
	return serve(t, append(variables, "SLUICE_RTMP_ADDR="+rtmp, "SLUICE_HTTP_ADDR="+http)...)
}

// Three servers in a row, of which the one in the middle is killed and comes back, once, or five times
// with SLUICE_TEST_LONG: viewers at the end, over RTMP and over HTTP all the way, stay, and miss nothing that
// the first one still has.
func TestRelayChain(t *testing.T) {
	t.Parallel()
	first := serve(t, append(endsAtOnce, longWait, "SLUICE_LOG_DURATION=2m")...)
	rtmp, http := freeAddress(t), freeAddress(t)
	begin := func() *server {
		s := serveAt(t, rtmp, http, append(endsAtOnce, "SLUICE_LOG_DURATION=2m",
			"SLUICE_ORIGIN=rtmp/* "+first.rtmp+"/live/{name};http/* http://"+first.http+"/live/{name}.flv")...)
		s.mayEnd = true
		return s
	}
	middle := begin()
	last := serve(t, append(endsAtOnce, "SLUICE_PULL_HOLD=5m", "SLUICE_ORIGIN=rtmp/* rtmp://"+rtmp+"/rtmp/{name};http/* http://"+http+"/http/{name}.flv")...)
	want := first.pull(curl, "live/x")
	publisher := first.publish("live/x", both)
	viewers := []*pull{last.pull(curl, "rtmp/x"), last.pull(rtmpdumpLive, "http/x")}
	for _, p := range viewers {
		p.reaches(2000)
	}
	kills := 1
	if os.Getenv("SLUICE_TEST_LONG") != "" {
		kills = 5
	}
	for range kills {
		middle.kill()
		until(t, "the last one has noticed", func() bool {
			return last.connection("rtmp/x").State != "live" && last.connection("http/x").State != "live"
		})
		goOn([]*pull{want}, 2*gop*1000/rate) // and not only the newest GOP is missing
		middle = begin()
		goOn(viewers, 2000)
	}
	publisher.signal(os.Interrupt)
	want.done()
	for _, p := range viewers {
		p.done()
		t.Logf("%s: %d frames", p.what, isEndOf(t, p.path, want.path, 6000, 0))
	}
	for _, key := range []string{"rtmp/x", "http/x"} {
		assert.Zero(t, last.connection(key).Cuts, key)
	}
}
