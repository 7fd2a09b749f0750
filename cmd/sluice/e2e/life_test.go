package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
)

// How long the server waits in tests where somebody is to come in time: as long as
// a busy machine may need.
const (
	longWait  = "SLUICE_VIEWER_WAIT=2m"
	longGrace = "SLUICE_PUBLISHER_GRACE=2m"
)

// A publisher is cut off and comes back: viewers go on by themselves, and have one file
// in the end.
func TestPublisherRestarts(t *testing.T) {
	t.Parallel()
	s := serve(t, longGrace)
	for key, src := range map[string]source{"live/both": both, "live/sound": soundOnly} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			s := s.in(t)
			publisher := s.publish(key, src)
			var pulls []*pull
			for _, by := range everyPuller {
				pulls = append(pulls, s.pull(by, key))
			}
			for _, p := range pulls {
				p.reaches(3000)
			}
			for range 2 {
				publisher.kill()
				s.state(key, "grace")
				publisher = s.publish(key, src)
				s.watched(key, len(pulls))
				goOn(pulls, 3000)
			}
			for _, p := range pulls {
				p.stop()
			}
			for _, p := range pulls {
				checkRecording(t, p.path, src)
			}
		})
	}
}

// A publisher leaves and does not come back: when the grace time is over,
// everybody ends by itself.
func TestPublisherLeaves(t *testing.T) {
	t.Parallel()
	s := serve(t, "SLUICE_PUBLISHER_GRACE=1s")
	for key, leave := range map[string]os.Signal{"live/good-bye": os.Interrupt, "live/cut-off": os.Kill} {
		publisher := s.publish(key, both)
		var pulls []*pull
		for _, by := range everyPuller {
			pulls = append(pulls, s.pull(by, key))
		}
		for _, p := range pulls {
			p.reaches(2000)
		}
		publisher.signal(leave)
		for _, p := range pulls {
			p.done()
			checkRecording(t, p.path, both)
		}
		s.state(key, "")
	}
}

// The viewers are there first.
func TestViewersWait(t *testing.T) {
	t.Parallel()
	s := serve(t, longWait)
	var pulls []*pull
	for _, by := range everyPuller {
		pulls = append(pulls, s.pull(by, "live/x"))
	}
	s.watched("live/x", len(pulls))
	assert.Equal(t, "waiting", s.stream("live/x").State)
	s.publish("live/x", both)
	for _, p := range pulls {
		p.reaches(2000)
		p.stop()
		checkRecording(t, p.path, both)
	}
}

// Nobody publishes: every client is told so in its own way.
func TestNobodyPublishes(t *testing.T) {
	t.Parallel()
	s := serve(t, "SLUICE_VIEWER_WAIT=1s")
	http404 := s.pull(curl, "live/x")
	assert.Equal(t, 22, http404.wait(), "curl --fail")
	assert.Contains(t, http404.said.String(), "404")
	overHTTP := s.pull(ffmpegHTTP, "live/x")
	assert.NotZero(t, overHTTP.wait())
	assert.Contains(t, overHTTP.said.String(), "404")
	overRTMP := s.pull(ffmpegRTMP, "live/x")
	assert.NotZero(t, overRTMP.wait())
	assert.Contains(t, overRTMP.said.String(), "no publisher for live/x")
	assert.NotZero(t, s.pull(rtmpdump, "live/x").wait())

	answer, err := client.Get(s.flvURL("http", "live/x"))
	require.NoError(t, err)
	defer answer.Body.Close()
	assert.Equal(t, http.StatusNotFound, answer.StatusCode)
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	var refusal struct{ Error, Reason string }
	require.NoError(t, json.Unmarshal(body, &refusal))
	assert.Equal(t, "not found", refusal.Error)
	assert.Contains(t, refusal.Reason, "live/x")
}

// A second publisher is refused and ends; the first one and its viewers notice
// nothing.
func TestSecondPublisher(t *testing.T) {
	t.Parallel()
	s := serve(t)
	first := s.publish("live/x", both)
	viewer := s.pull(ffmpegRTMP, "live/x")
	viewer.reaches(2000)
	second := s.tryPublish("live/x", both)
	assert.NotZero(t, second.wait(), "exit code of the second publisher")
	assert.Contains(t, second.said.String(), "live/x")
	goOn([]*pull{viewer}, 2000)
	assert.True(t, first.running())
	assert.Empty(t, first.said.String())
	viewer.stop()
	checkRecording(t, viewer.path, both)
}

// The publisher comes back with a larger picture. HTTP viewers end properly, so that a
// player opens the stream anew; RTMP viewers go on, with the new header before the first
// such picture.
func TestPublisherRestartsWithAnotherSize(t *testing.T) {
	t.Parallel()
	s := serve(t, longGrace)
	publisher := s.publish("live/x", both)
	overHTTP := []*pull{s.pull(ffmpegHTTP, "live/x"), s.pull(curl, "live/x")}
	overRTMP := []*pull{s.pull(ffmpegRTMP, "live/x"), s.pull(rtmpdump, "live/x")}
	for _, p := range append(overHTTP, overRTMP...) {
		p.reaches(2000)
	}
	publisher.kill()
	s.state("live/x", "grace")
	s.publish("live/x", source{size: "480x270"})
	s.until("live/x", "larger", func(st stream) bool { return st.Video != nil && st.Video.Width == 480 })
	for _, p := range overHTTP {
		p.done()
		checkRecording(t, p.path, both)
	}
	goOn(overRTMP, 2000)
	for _, p := range overRTMP {
		p.stop()
	}
	again := s.pull(curl, "live/x")
	again.reaches(2000)
	again.stop()
	checkRecording(t, again.path, both)
	assert.Equal(t, []int{480}, widths(t, again.path))
	assert.Equal(t, []int{320, 480}, widths(t, overRTMP[1].path)) // ffmpeg copies the first header only
	checkFile(t, overRTMP[1].path, both)                          // decoded, the last small pictures may overlap with the first large ones
}

// widths returns the widths of the pictures in a file, by its codec headers.
func widths(t *testing.T, path string) (widths []int) {
	t.Helper()
	for _, tag := range read(t, path).tags {
		if packet, err := tag.Packet(); err == nil && tag.Type == flv.TypeVideo && packet.Kind == flv.KindConfig {
			format, err := flv.ParseVideoConfig(packet)
			require.NoError(t, err)
			widths = append(widths, format.Width)
		}
	}
	return widths
}

// The publisher comes back with other codecs. HTTP viewers end properly, so that a
// player opens the stream anew; RTMP viewers go on.
func TestPublisherRestartsWithOtherCodecs(t *testing.T) {
	t.Parallel()
	s := serve(t, longGrace)
	publisher := s.publish("live/x", both)
	overHTTP := []*pull{s.pull(ffmpegHTTP, "live/x"), s.pull(curl, "live/x"), s.pull(curlPlain, "live/x")}
	overRTMP := s.pull(rtmpdump, "live/x")
	for _, p := range append(overHTTP, overRTMP) {
		p.reaches(2000)
	}
	publisher.kill()
	s.state("live/x", "grace")
	s.publish("live/x", source{size: "320x180", codec: "flv1", sound: "libmp3lame"})
	for _, p := range overHTTP {
		p.done()
		checkRecording(t, p.path, both)
	}
	goOn([]*pull{overRTMP}, 3000)
	overRTMP.stop()
	assert.ElementsMatch(t, []string{"H.264", "AAC", "H.263", "MP3"}, read(t, overRTMP.path).codecs())

	again := s.pull(curl, "live/x")
	again.reaches(2000)
	again.stop()
	r := read(t, again.path)
	assert.ElementsMatch(t, []string{"H.263", "MP3"}, r.codecs())
	assert.Zero(t, r.frames()[0].Timestamp)
	run(t, "ffmpeg", "-nostdin", "-v", "warning", "-i", again.path, "-f", "null", "-")
}
