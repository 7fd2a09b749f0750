package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
)

// puller is a way to record a stream.
type puller struct {
	name    string
	command func(s *server, key, path string) []string
}

var (
	ffmpegRTMP = puller{"ffmpeg over RTMP", func(s *server, key, path string) []string {
		return ffmpegPull(s.rtmpURL(key), path)
	}}
	ffmpegHTTP = puller{"ffmpeg over HTTP", func(s *server, key, path string) []string {
		return ffmpegPull(s.flvURL("http", key), path)
	}}
	rtmpdump = puller{"rtmpdump", func(s *server, key, path string) []string {
		return []string{"rtmpdump", "-q", "-r", s.rtmpURL(key), "-o", path}
	}}
	rtmpdumpLive = puller{"rtmpdump live", func(s *server, key, path string) []string {
		return []string{"rtmpdump", "-q", "-v", "-r", s.rtmpURL(key), "-o", path}
	}}
	curl      = curlPull("curl", "")
	curlPlain = curlPull("curl unchunked", "?chunked=0")
	curlOld   = curlPull("curl HTTP 1.0", "", "--http1.0")

	everyPuller = []puller{ffmpegRTMP, ffmpegHTTP, rtmpdump, rtmpdumpLive, curl, curlPlain, curlOld}
)

// ffmpegPull keeps timestamps as they come.
func ffmpegPull(url, path string) []string {
	return []string{"ffmpeg", "-hide_banner", "-nostdin", "-loglevel", "warning", "-copyts", "-i", url,
		"-c", "copy", "-flush_packets", "1", "-f", "flv", path}
}

func curlPull(name, query string, options ...string) puller {
	return puller{name, func(s *server, key, path string) []string {
		return append([]string{"curl", "-sS", "-f", "-N", "-o", path, s.flvURL("http", key) + query}, options...)
	}}
}

// pull is a recording under way.
type pull struct {
	*process
	path string
}

// pull starts to record a stream.
func (s *server) pull(by puller, key string) *pull {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), strings.ReplaceAll(by.name, " ", "-")+".flv")
	args := by.command(s, key, path)
	return &pull{start(s.t, args[0], args[1:]...), path}
}

// reaches waits until the recording is so long, in ms.
func (p *pull) reaches(length int) {
	p.t.Helper()
	until(p.t, p.what+" has recorded enough", func() bool {
		if !p.running() {
			p.t.Fatalf("%s has ended: %v\n%s", p.what, p.err, p.said.String())
		}
		return read(p.t, p.path).length() >= length
	})
}

// goOn waits until each recording is so much longer than now, in ms.
func goOn(pulls []*pull, length int) {
	had := map[*pull]int{}
	for _, p := range pulls {
		had[p] = read(p.t, p.path).length()
	}
	for _, p := range pulls {
		p.t.Helper()
		p.reaches(had[p] + length)
	}
}

// stop breaks the recording off.
func (p *pull) stop() {
	p.t.Helper()
	sig := os.Signal(syscall.SIGTERM)
	if !strings.HasPrefix(filepath.Base(p.cmd.Path), "curl") {
		sig = os.Interrupt // makes these finish their file
	}
	p.signal(sig)
	p.wait()
	assert.NotContains(p.t, strings.ToLower(p.said.String()), "error", p.what)
	trim(p.t, p.path)
}

// Every client records what every viewer is promised, from a stream that has been
// live for a while.
func TestPull(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for name, src := range map[string]source{"both": both, "sound only": soundOnly, "video only": videoOnly} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := s.in(t)
			key := "live/" + strings.ReplaceAll(name, " ", "-")
			publisher := s.publish(key, src)
			var pulls []*pull
			for _, by := range everyPuller {
				pulls = append(pulls, s.pull(by, key))
			}
			for _, p := range pulls {
				p.reaches(4000)
				p.stop()
				checkRecording(t, p.path, src)
			}
			publisher.kill()
		})
	}
}
