package e2e

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// What is published is pushed to ffmpeg and to nginx, which has viewers at another Sluice: one
// that pulls from nginx, and that nginx pushes to. All have what a viewer at the first one has.
func TestRelayPrograms(t *testing.T) {
	t.Parallel()
	toFFmpeg, listening := ffmpegListens(t, "ffmpeg")
	pulled := serve(t, append(endsAtOnce, longWait, "SLUICE_LOG_LEVEL=debug")...)
	nginx := startNginx(t, "application live { live on; publish_notify on; }\n"+
		"application on { live on; push "+pulled.rtmp+"/pushed; }")
	s := serve(t, append(endsAtOnce, longWait, "SLUICE_PUSH=live/* "+toFFmpeg+";live/* "+nginx+"/{app}/{name};live/* "+nginx+"/on/{name}")...)
	pulled.operate("POST", "/api/v1/relays", `{"kind": "origin", "pattern": "pulled/*", "url": "`+nginx+`/live/{name}"}`, 201, nil)

	want := s.pull(curl, "live/x")
	pushed := pulled.pull(curl, "pushed/x")
	publisher := s.publish("live/x", both)
	want.reaches(500)
	viewer := pulled.pull(curl, "pulled/x")
	for _, p := range []*pull{listening, pushed, viewer} {
		p.reaches(4000)
	}
	publisher.signal(os.Interrupt)
	want.done()
	pushed.done()
	viewer.done()
	assert.Zero(t, listening.wait(), listening.said.String())
	for _, p := range []*pull{listening, pushed, viewer} {
		t.Logf("%s: %d frames", p.path, isEndOf(t, p.path, want.path, 4000, 0))
	}
	checkRecording(t, viewer.path, both)
}

// What is published comes to another Sluice over each protocol, with every byte of each frame.
func TestRelayProtocols(t *testing.T) {
	t.Parallel()
	i := newIdentity(t)
	trust := "SSL_CERT_FILE=" + i.file
	s := i.serve(t, append(endsAtOnce, longWait, trust)...)
	want := s.pull(curl, "live/x")
	publisher := s.publish("live/x", both)
	var rules []string
	for scheme, at := range map[string]string{
		"rtmp": s.rtmp + "/live/x", "http": s.flvURL("http", "live/x"), "ws": s.flvURL("ws", "live/x"),
		"rtmps": s.rtmps + "/live/x", "https": "https://" + s.https + "/live/x.flv", "wss": "wss://" + s.https + "/live/x.flv",
	} {
		rules = append(rules, "from/"+scheme+" "+at)
	}
	to := i.serve(t, append(endsAtOnce, longWait, trust, "SLUICE_PULL="+strings.Join(rules, ";"))...)
	s.pushes("live/x", to.rtmp+"/to/rtmp")
	s.pushes("live/x", to.rtmps+"/to/rtmps")
	var viewers []*pull
	for _, key := range []string{"from/rtmp", "from/http", "from/ws", "from/rtmps", "from/https", "from/wss", "to/rtmp", "to/rtmps"} {
		viewers = append(viewers, to.pull(curl, key))
	}
	for _, p := range viewers {
		p.reaches(3000)
	}
	publisher.signal(os.Interrupt)
	want.done()
	for _, p := range viewers {
		p.done()
		t.Logf("%s: %d frames", p.what, isEndOf(t, p.path, want.path, 3000, 0))
	}
}
