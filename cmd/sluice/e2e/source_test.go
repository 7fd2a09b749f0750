package e2e

import (
	"fmt"
	"strings"
)

// source is what a test publishes: small and cheap pictures and tones, at the pace
// of real time.
type source struct {
	size   string // of the picture, empty for sound only
	codec  string // of the picture: libx264 or flv1, the former without saying
	silent bool
	sound  string // codec: aac or libmp3lame, the former without saying
	offset string // of the encoder's clock, in seconds: where its timestamps start
	by     string // which ffmpeg publishes, the one in the path without saying
}

// rate is pictures in a second; gop is how many of them lie between key frames.
const (
	rate = 25
	gop  = 2 * rate
)

var (
	both      = source{size: "320x180"}
	soundOnly = source{}
	videoOnly = source{size: "320x180", silent: true}
)

// publish makes ffmpeg publish the source, and waits until the stream is live with
// all of its tracks. H.264 has B-frames.
func (s *server) publish(key string, src source) *process {
	s.t.Helper()
	p := s.tryPublish(key, src)
	s.until(key, "live with its tracks", func(st stream) bool {
		return !p.running() || st.State == "live" && (st.Video != nil) == (src.size != "") && (st.Audio != nil) != src.silent
	})
	if !p.running() {
		s.t.Fatalf("ffmpeg cannot publish: %s", p.said.String())
	}
	return p
}

// tryPublish is publish without waiting.
func (s *server) tryPublish(key string, src source) *process {
	s.t.Helper()
	args := []string{"-hide_banner", "-nostdin", "-loglevel", "warning"}
	var codecs []string
	if src.size != "" {
		args = append(args, "-re", "-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=%s:rate=%d", src.size, rate))
		codecs = append(codecs, "-pix_fmt", "yuv420p", "-g", fmt.Sprint(gop))
		if src.codec == "" {
			codecs = append(codecs, "-c:v", "libx264", "-preset", "ultrafast", "-bf", "2",
				"-x264-params", "b-adapt=0:scenecut=0", "-threads:v", "1")
		} else {
			codecs = append(codecs, "-c:v", src.codec)
		}
	}
	if !src.silent {
		args = append(args, "-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100")
		sound := src.sound
		if sound == "" {
			sound = "aac"
		}
		codecs = append(codecs, "-c:a", sound, "-b:a", "64k")
	}
	args = append(args, codecs...)
	if src.offset != "" {
		args = append(args, "-output_ts_offset", src.offset)
	}
	url, query, _ := strings.Cut(key, "?")
	if query != "" {
		query = "?" + query
	}
	by := src.by
	if by == "" {
		by = "ffmpeg"
	}
	return start(s.t, by, append(args, "-f", "flv", s.rtmpURL(url)+query)...)
}
