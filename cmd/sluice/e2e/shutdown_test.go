package e2e

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// The server is told to stop: it ends everybody properly, and so everybody has a
// whole file.
func TestShutdown(t *testing.T) {
	t.Parallel()
	s := serve(t)
	publisher := s.publish("live/x", both)
	var pulls []*pull
	for _, by := range everyPuller {
		pulls = append(pulls, s.pull(by, "live/x"))
	}
	for _, p := range pulls {
		p.reaches(2000)
	}
	waits := s.pull(ffmpegHTTP, "live/nobody")
	s.watched("live/nobody", 1)
	s.stop()
	assert.Zero(t, s.wait())
	for _, p := range pulls {
		p.done()
		checkRecording(t, p.path, both)
	}
	publisher.wait()
	assert.NotZero(t, waits.wait())
	assert.Contains(t, waits.said.String(), "503")
}
