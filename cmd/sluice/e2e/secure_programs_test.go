package e2e

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// What both versions of ffmpeg publish over rtmps, everybody records over https, HTTP/2 and rtmps to the
// proper end: every frame that a viewer is promised. ffmpeg and curl trust only the server's certificate.
func TestProgramsOverTLS(t *testing.T) {
	t.Parallel()
	i := newIdentity(t)
	secure := i.serve(t)
	s := *secure.server
	s.rtmp = secure.rtmps
	https := "https://" + secure.https
	pullers := []puller{
		{"rtmpdump over rtmps", rtmpdump.command},
		{"curl over https", func(_ *server, key, path string) []string {
			return []string{"curl", "-sS", "-f", "-N", "--http1.1", "--cacert", i.file, "-o", path, https + "/" + key + ".flv"}
		}},
		{"curl over HTTP2", func(_ *server, key, path string) []string {
			return []string{"curl", "-sS", "-f", "-N", "--http2", "--cacert", i.file, "-o", path, https + "/" + key + ".flv"}
		}},
	}
	programs := []string{"ffmpeg", newer(t, "ffmpeg")}
	for n, program := range programs {
		name := []string{"old", "new"}[n]
		pullers = append(pullers, puller{name + " ffmpeg over rtmps", func(s *server, key, path string) []string {
			return append([]string{program}, ffmpegPull(s.rtmpURL(key), path)[1:]...)
		}}, puller{name + " ffmpeg over https", func(_ *server, key, path string) []string {
			return append([]string{program, "-ca_file", i.file, "-tls_verify", "1"}, ffmpegPull(https+"/"+key+".flv", path)[1:]...)
		}})
	}
	var pulls []*pull
	for n, program := range programs {
		key := []string{"live/old", "live/new"}[n]
		src := both
		src.by = program
		s.publish(key, src)
		for _, by := range pullers {
			pulls = append(pulls, s.pull(by, key))
		}
	}
	for _, p := range pulls {
		p.reaches(2000)
	}
	viewers, _ := secure.connections("rtmp")
	assert.Equal(t, 6, viewers)
	s.stop()
	for _, p := range pulls {
		p.done()
		checkRecording(t, p.path, both)
	}
}
