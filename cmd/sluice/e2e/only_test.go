package e2e

import "testing"

// One track of two, as the viewer asks for it.
func TestOneTrackOnly(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.publish("live/x", both)
	for query, want := range map[string]source{"?onlyaudio=1": soundOnly, "?onlyvideo=1&chunked=0": videoOnly} {
		p := s.pull(curlPull("curl", query), "live/x")
		p.reaches(3000)
		p.stop()
		checkRecording(t, p.path, want)
	}
}
