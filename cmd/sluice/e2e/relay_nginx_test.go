package e2e

import (
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
)

// calls are what nginx asks an HTTP server whether it may.
type calls struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string // CALL APP/NAME TOKEN
}

// answersNginx allows everything.
func answersNginx(t *testing.T) *calls {
	c := new(calls)
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		assert.NoError(t, r.ParseForm())
		c.mu.Lock()
		defer c.mu.Unlock()
		c.seen = append(c.seen, r.Form.Get("call")+" "+r.Form.Get("app")+"/"+r.Form.Get("name")+" "+r.Form.Get("token"))
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *calls) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.seen)
}

// To nginx a publisher that leaves and comes back in time is one session. What a viewer of an origin shows
// gets there; a name that somebody has is refused, and a stream of sound only comes through whole.
func TestRelayNginx(t *testing.T) {
	t.Parallel()
	asked := answersNginx(t)
	nginx := startNginx(t, "notify_method get; application live { live on; publish_notify on; on_publish "+asked.URL+"/x; on_play "+asked.URL+"/x; }")
	s := serve(t, longGrace, "SLUICE_PUSH=live/* "+nginx+"/live/{name}")
	to := serve(t, append(endsAtOnce, longWait, "SLUICE_ORIGIN=live/* "+nginx+"/live/{name}?{query}")...)

	taken := to.in(t)
	taken.rtmp = nginx
	taken.tryPublish("live/taken", source{size: "160x90"})
	until(t, "nginx has a publisher", func() bool { return len(asked.all()) == 1 })
	s.publish("live/taken", source{size: "160x90"})
	c := s.relayed("live/taken", "refused", func(c relayConnection) bool { return c.State == "refused" })
	assert.Contains(t, c.Detail, "BadName")

	publisher := s.publish("live/sound", soundOnly)
	want := s.pull(curl, "live/sound")
	want.reaches(100)
	s.relayed("live/sound", "live", func(c relayConnection) bool { return c.State == "live" })
	viewer := to.pull(puller{"curl", func(s *server, key, path string) []string {
		return []string{"curl", "-sS", "-f", "-N", "-o", path, s.flvURL("http", key) + "?token=shown&start=gop"}
	}}, "live/sound")
	viewer.reaches(2000)
	publisher.kill()
	s.relayed("live/sound", "held", func(c relayConnection) bool { return c.State == "held" })
	publisher = s.publish("live/sound", soundOnly)
	goOn([]*pull{viewer}, 2000)
	publisher.signal(os.Interrupt)
	viewer.stop()
	want.stop()
	checkRecording(t, viewer.path, soundOnly)
	assert.Equal(t, []string{"publish live/taken ", "publish live/taken ", "publish live/sound ", "play live/sound shown"}, asked.all())
}

// HEVC comes through to a Sluice as it was sent; nginx, which does not know it, is sent none of it.
func TestRelayHEVC(t *testing.T) {
	t.Parallel()
	encoder := newer(t, "ffmpeg")
	nginx := startNginx(t, "application live { live on; }")
	to := serve(t, append(endsAtOnce, longWait)...)
	s := serve(t, append(endsAtOnce, longWait, "SLUICE_PUSH=classic/* "+nginx+"/live/{name};enhanced/* "+to.rtmp+"/live/{name}")...)
	asSent := puller{"curl", func(s *server, key, path string) []string {
		return []string{"curl", "-sS", "-f", "-N", "-o", path, s.flvURL("http", key) + "?track=all"}
	}}
	publish := func(key string) *process {
		return start(t, encoder, "-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=10:duration=4",
			"-re", "-f", "lavfi", "-i", "sine=sample_rate=44100:duration=4", "-pix_fmt", "yuv420p", "-g", "10", "-c:a", "aac",
			"-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error:pools=1", "-f", "flv", s.rtmpURL(key))
	}
	want, got := s.pull(asSent, "enhanced/x"), to.pull(asSent, "live/x")
	publish("enhanced/x").done()
	want.done()
	got.done()
	isEndOf(t, got.path, want.path, 3000, 0)
	assert.Equal(t, []string{"AAC", "HEVC"}, slices.Sorted(slices.Values(read(t, got.path).codecs())))

	publisher := publish("classic/x")
	c := s.relayed("classic/x", "refused", func(c relayConnection) bool { return c.State == "refused" })
	assert.Equal(t, "codec: HEVC", c.Detail)
	assert.Zero(t, c.Bytes)
	publisher.kill()
}
