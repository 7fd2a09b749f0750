package e2e

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Programs that have not announced that they can reconnect are served through the delay, and ended
// properly afterwards, though there is a server to which others would be sent. Those who come to the
// second server meanwhile are its own.
func TestDrainOfThoseWhoStay(t *testing.T) {
	t.Parallel()
	other := serve(t)
	s := serve(t, "SLUICE_DRAIN_DELAY=2s", "SLUICE_DRAIN_URL="+other.rtmp)
	publisher := s.publish("live/x", both)
	var pulls []*pull
	for _, by := range everyPuller {
		pulls = append(pulls, s.pull(by, "live/x"))
	}
	for _, p := range pulls {
		p.reaches(1000)
	}
	s.stop()
	until(t, "it says that it is not ready", func() bool {
		answer, err := client.Get("http://" + s.http + "/readyz")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		return answer.StatusCode == http.StatusServiceUnavailable
	})
	late := s.pull(curl, "live/x") // during the delay
	late.reaches(500)
	assert.Zero(t, s.wait())
	for _, p := range append(pulls, late) {
		p.done()
		checkRecording(t, p.path, both)
	}
	publisher.wait()
	assert.NotContains(t, s.said.String(), "clients were asked", "ffmpeg and rtmpdump have not announced it")
	assert.Empty(t, other.streams())
}
