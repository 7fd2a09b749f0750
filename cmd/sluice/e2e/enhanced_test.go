package e2e

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A recent ffmpeg publishes what needs Enhanced RTMP, and a recent ffprobe reads all of
// it over every way out. (Version 7 has no other codecs for FLV, and no multitrack.)
func TestEnhancedPublishers(t *testing.T) {
	t.Parallel()
	newer(t, "ffmpeg")
	const seconds = 4
	s := serve(t, longWait, "SLUICE_PUBLISHER_GRACE=0")
	for codec, encoder := range map[string][]string{
		"hevc": {"libx265", "-preset", "ultrafast", "-x265-params", "log-level=error:pools=1"},
		"av1":  {"libaom-av1", "-usage", "realtime", "-cpu-used", "8"},
		"vp9":  {"libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"},
	} {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			s := s.in(t)
			key := "live/" + codec
			socket := s.recordSocket(key)
			probes := map[string]*probe{"RTMP": s.probe(s.rtmpURL(key)), "HTTP-FLV": s.probe(s.flvURL("http", key))}
			s.watched(key, len(probes)+1)
			args := []string{"-nostdin", "-v", "error",
				"-re", "-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=320x180:rate=%d:duration=%d", rate, seconds),
				"-re", "-f", "lavfi", "-i", fmt.Sprintf("sine=sample_rate=44100:duration=%d", seconds),
				"-pix_fmt", "yuv420p", "-g", fmt.Sprint(gop), "-b:v", "300k", "-c:a", "aac", "-c:v"}
			run(t, newer(t, "ffmpeg"), append(append(args, encoder...), "-f", "flv", s.rtmpURL(key))...)
			probes["WebSocket-FLV"] = s.probe(socket.wait())
			for way, p := range probes {
				found := p.result()
				found.monotonic(t)
				pictures := 0
				for _, stream := range found.Streams {
					if stream.Type == "video" {
						assert.Equal(t, []any{codec, 320, 180}, []any{stream.Codec, stream.Width, stream.Height}, way)
					} else {
						assert.Equal(t, []string{"aac", "44100"}, []string{stream.Codec, stream.SampleRate}, way)
					}
					for _, packet := range found.Packets {
						if stream.Type == "video" && packet.Stream == stream.Index {
							pictures++
						}
					}
				}
				assert.Len(t, found.Streams, 2, way)
				assert.Equal(t, seconds*rate, pictures, way)
			}
		})
	}
}
