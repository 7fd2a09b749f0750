//go:build unix

package e2e

import (
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"strings"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What one node records is in the lists of all, at that one only, and whoever asks another node for it gets it there: curl and
// ffprobe follow, rtmpdump is told the address. The last node records nothing itself.
func clusterRecordings(c *nodes) {
	t, key := c.t, "live/recorded"
	source := c.all[0].publish(key, both)
	viewer := c.all[1].pull(curl, key) // so that there is a copy, which is not recorded
	viewer.reaches(2000)
	var first recorded
	for i, s := range c.all {
		until(t, "its list has the recording", func() bool {
			all := s.recordings(key)
			if len(all) > 0 {
				first = all[0]
			}
			return len(all) == 1 && first.Bytes > 80_000
		})
		assert.Equal(t, c.names[0], first.Node)
		if i > 0 {
			assert.NotContains(t, string(run(t, "curl", "-sS", "http://"+s.http+"/api/v1/recordings")), "unreached")
			assert.True(t, strings.HasPrefix(first.URL, "http://"+c.all[0].http+"/rec/"+key+"/"), first.URL)
		}
	}
	at := func(s *server, id string) string { return "http://" + s.http + "/rec/" + key + "/" + id + ".flv?x=y" }
	part := func(s *server, id string, options ...string) []byte { // behind the head, which changes while it grows
		return run(t, "curl", append(options, "-sSf", "-r", "66000-75899", at(s, id))...)
	}
	own := part(c.all[0], first.ID)
	assert.Len(t, own, 9900)
	for _, id := range []string{first.ID, "latest"} {
		assert.Equal(t, own, part(c.all[1], id, "-L"))
	}
	var probed struct{ Streams []struct{} }
	require.NoError(t, json.Unmarshal(run(t, newer(t, "ffprobe"), "-v", "warning", "-show_streams", "-of", "json", at(c.all[2], first.ID)), &probed))
	assert.Len(t, probed.Streams, 2)
	for _, s := range c.all[1:] {
		said, err := exec.Command(need(t, "rtmpdump"), "--verbose", "-r", s.rtmpURL("rec/"+key+"/"+url.PathEscape(first.ID)), "-o", os.DevNull).CombinedOutput()
		assert.Error(t, err)
		assert.Contains(t, string(said), "NetStream.Play.StreamNotFound")
		assert.Contains(t, string(said), c.all[0].rtmpURL("rec/"+key+"/"+first.ID))
	}
	source.signal(os.Interrupt)
	viewer.kill()
}
