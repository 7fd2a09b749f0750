package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// captures are recorded sessions of real encoders, see the README there.
const captures = "../../../testdata/captures"

// capture is what is in such a session, as its encoder was told to make it.
type capture struct {
	file, key     string
	video         string // codec as ffprobe calls it, empty for none
	width, height int
	frames        int // of video
	audio         string
	sampleRate    string
	packets       int    // of audio
	mime          string // of the video, as browsers call it
}

var everyCapture = []capture{
	{"obs30-h264-aac", "live/obs", "h264", 640, 360, 501, "aac", "48000", 780, `video/mp4; codecs="avc1.64001e"`},
	{"ffmpeg5-h264-aac", "live/ff5", "h264", 320, 180, 90, "aac", "44100", 260, `video/mp4; codecs="avc1.64001e"`},
	{"ffmpeg7-h264-bframes-aac", "live/bf", "h264", 320, 180, 90, "aac", "44100", 260, `video/mp4; codecs="avc1.64001e"`},
	{"ffmpeg7-hevc-aac", "live/hevc", "hevc", 320, 180, 90, "aac", "44100", 260, `video/mp4; codecs="hvc1.1.6.L60.90"`},
	{"ffmpeg7-av1-aac", "live/av1", "av1", 320, 180, 90, "aac", "44100", 259, `video/mp4; codecs="av01.0.00M.08"`},
	{"ffmpeg7-audio-mp3", "live/mp3", "", 0, 0, 0, "mp3", "44100", 231, ""},
}

// replay publishes a capture as its encoder did, byte for byte, and in far less time.
// It sends the last of it when seen returns, which waits until every viewer has begun.
func (s *server) replay(file string, seen func()) {
	s.t.Helper()
	const pieces, pause = 40, 50 * time.Millisecond
	sent, err := os.ReadFile(filepath.Join(captures, file+".c2s"))
	require.NoError(s.t, err)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.rtmp, "rtmp://"))
	require.NoError(s.t, err)
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		io.Copy(io.Discard, conn)
	}()
	for i := range pieces {
		if i == pieces-1 {
			seen()
		}
		conn.SetWriteDeadline(time.Now().Add(patience))
		_, err := conn.Write(sent[len(sent)*i/pieces : len(sent)*(i+1)/pieces])
		require.NoError(s.t, err, "%s goes on", file)
		time.Sleep(pause)
	}
	require.NoError(s.t, conn.(*net.TCPConn).CloseWrite())
	<-heard
	conn.Close()
}

// probe is an ffprobe that reads a stream until it ends.
type probe struct {
	*process
	out string
}

// probe starts a recent ffprobe on a URL or a file.
func (s *server) probe(input string) *probe {
	s.t.Helper()
	out := filepath.Join(s.t.TempDir(), "probe.json")
	return &probe{start(s.t, newer(s.t, "ffprobe"), "-v", "warning", "-show_streams", "-show_packets",
		"-of", "json", "-o", out, input), out}
}

// result waits for the end, which must be a quiet one.
func (p *probe) result() (found probed) {
	p.t.Helper()
	p.done()
	out, err := os.ReadFile(p.out)
	require.NoError(p.t, err)
	require.NoError(p.t, json.Unmarshal(out, &found), p.what)
	return found
}

// check compares what ffprobe read over one way with what is in the capture.
func (c capture) check(t *testing.T, way string, p probed) {
	t.Helper()
	p.monotonic(t)
	counted := map[int]int{}
	for _, packet := range p.Packets {
		counted[packet.Stream]++
	}
	found := capture{file: c.file, key: c.key, mime: c.mime}
	for _, stream := range p.Streams {
		switch stream.Type {
		case "video":
			found.video, found.width, found.height = stream.Codec, stream.Width, stream.Height
			found.frames = counted[stream.Index]
		case "audio":
			found.audio, found.sampleRate, found.packets = stream.Codec, stream.SampleRate, counted[stream.Index]
		default:
			t.Errorf("%s: a stream of type %q", way, stream.Type)
		}
	}
	assert.Equal(t, c, found, way)
}

// Every session that a real encoder was recorded in publishes, and a recent ffprobe
// reads all of it over every way out.
func TestCapturesProbed(t *testing.T) {
	t.Parallel()
	newer(t, "ffprobe")
	s := serve(t, longWait, "SLUICE_PUBLISHER_GRACE=0")
	for _, c := range everyCapture {
		t.Run(c.file, func(t *testing.T) {
			t.Parallel()
			s := s.in(t)
			socket := s.recordSocket(c.key)
			probes := map[string]*probe{"RTMP": s.probe(s.rtmpURL(c.key)), "HTTP-FLV": s.probe(s.flvURL("http", c.key))}
			s.watched(c.key, len(probes)+1)
			s.replay(c.file, func() { s.watched(c.key, len(probes)+1) })
			probes["WebSocket-FLV"] = s.probe(socket.wait())
			for way, p := range probes {
				c.check(t, way, p.result())
			}
		})
	}
}

// playsWhole waits until a player has shown a capture up to its end. The browser counts
// no picture that it had no time to decode before the next one was due, so on a busy
// machine it may have to play the capture more than once to show them all. There mpegts.js may
// also append its last bytes after it has ended the source, which opens it again: then the browser
// never says that it has ended, although it has nothing more to play.
func (p *players) playsWhole(name string, c capture) {
	p.t.Helper()
	before := 0
	until(p.t, name+" shows every picture", func() bool {
		p.wait(name, "p.complete && (p.ended || p.time >= p.end) && p.time > 5")
		seen := p.look(name)
		assert.Equal(p.t, c.width, seen.Width, name)
		if seen.Frames-before >= c.frames*9/10 {
			return true
		}
		p.t.Logf("%s has shown %d pictures of %d", name, seen.Frames-before, c.frames)
		before = seen.Frames
		eval[bool](p.browser, fmt.Sprintf("again(%q), true", name))
		return false
	})
}

// The same in Chromium with mpegts.js, over both ways that it has: every picture that
// the browser can decode is shown, up to a proper end. HEVC is what Chromium may have
// or not.
func TestCapturesInBrowser(t *testing.T) {
	t.Parallel()
	s := serve(t, longWait, "SLUICE_PUBLISHER_GRACE=0")
	p := openPlayers(t)
	players := map[string][]string{} // their names, by what they play
	for _, c := range everyCapture {
		if c.mime != "" && !eval[bool](p.browser, fmt.Sprintf("MediaSource.isTypeSupported(%q)", c.mime)) {
			require.Equal(t, "hevc", c.video, "a codec that every Chromium has")
			t.Logf("%s left out: this browser does not play %s", c.file, c.mime)
			continue
		}
		for _, scheme := range []string{"http", "ws"} {
			players[c.key] = append(players[c.key], p.play(s, "mpegts", scheme, c.key))
		}
		s.watched(c.key, 2)
	}
	for _, c := range everyCapture { // one after the other: the players would not wait until it is their turn in parallel
		s.replay(c.file, func() {
			for _, name := range players[c.key] {
				p.wait(name, "p.end > 0")
			}
		})
	}
	for _, c := range everyCapture {
		for _, name := range players[c.key] {
			p.playsWhole(name, c)
		}
	}
}
