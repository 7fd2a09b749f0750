package splice

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/rtmp"
)

// tape is a publication that keeps its tags.
type tape struct {
	tags []flv.Tag
	done chan struct{}
}

func (p *tape) Publish(*rtmp.ServerStream, *rtmp.Request) (rtmp.Publication, error) { return p, nil }
func (p *tape) Play(*rtmp.ServerStream, *rtmp.Request) (rtmp.Playback, error) {
	return nil, net.ErrClosed
}
func (p *tape) Close(error) { close(p.done) }
func (p *tape) WriteTag(t flv.Tag) error {
	t.Data = bytes.Clone(t.Data)
	p.tags = append(p.tags, t)
	return nil
}

// captured returns what an encoder published.
func captured(t *testing.T, name string) []flv.Tag {
	t.Helper()
	sent, err := os.ReadFile(filepath.Join("../../../testdata/captures", name))
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &tape{done: make(chan struct{})}
	server := &rtmp.Server{Handler: p}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	client, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	require.NoError(t, client.SetDeadline(time.Now().Add(time.Minute)))
	answers := make(chan struct{})
	go func() { defer close(answers); _, _ = io.Copy(io.Discard, client) }()
	_, err = client.Write(sent)
	require.NoError(t, err)
	require.NoError(t, client.(*net.TCPConn).CloseWrite())
	<-p.done
	require.NoError(t, client.Close())
	<-answers
	require.NoError(t, server.Close())
	<-served
	return p.tags
}

func clip(t *testing.T, name string) (tags []flv.Tag) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../../testdata/clips", name))
	require.NoError(t, err)
	for r := flv.NewReader(bytes.NewReader(b)); ; {
		tag, err := r.Next()
		if err == io.EOF {
			return tags
		}
		require.NoError(t, err)
		tags = append(tags, tag)
	}
}

// What real encoders send is joined after breaks at random: nothing is lost, nothing comes twice.
func TestCapturesOfEncoders(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	for _, name := range []string{
		"obs30-h264-aac.c2s", "ffmpeg5-h264-aac.c2s", "ffmpeg7-h264-bframes-aac.c2s", "ffmpeg7-hevc-aac.c2s",
		"ffmpeg7-av1-aac.c2s", "ffmpeg7-audio-mp3.c2s", "h264-bframes-aac.flv", "h264-bframes.flv", "aac.flv",
	} {
		t.Run(name, func(t *testing.T) {
			var tags []flv.Tag
			if filepath.Ext(name) == ".flv" {
				tags = clip(t, name)
			} else {
				tags = captured(t, name)
			}
			var headers []flv.Tag
			var shots []shot
			var cam camera
			r := New(Config{}) // it knows which are headers
			for _, tag := range tags {
				it := r.understand(tag, 0)
				switch {
				case it.kind == header:
					headers = append(headers, tag)
				case it.kind == frame:
					if tag.Type == flv.TypeVideo {
						cam.fps = 1
					}
					shots = append(shots, shot{Tag: tag, at: int(tag.Timestamp), key: it.key})
				}
			}
			for i := 1; i < len(shots); i++ {
				shots[i].at = max(shots[i].at, shots[i-1].at)
			}
			rng := rand.New(rand.NewPCG(seed, 1))
			total := Counts{}
			for range 10 {
				g := &rig{t: t, rng: rng, run: New(Config{}), cam: cam, shots: shots, sends: headers, epoch: time.Unix(1_000_000, 0)}
				at := 0
				for c := (connecting{first: -1}); at < shots[len(shots)-1].at-500; {
					ends := min(max(g.sent, g.now(at))+1+rng.IntN(100), len(shots))
					g.connect(at, c, ends)
					require.NotEqual(t, Joining, g.run.Outcome(), "%d to %d, %+v", at, ends, c)
					at = max(at, shots[ends-1].at) + 1 + rng.IntN(300)
					c = connecting{base: rng.Uint32(), gops: rng.IntN(2), swap: rng.IntN(2) * 40, jitter: rng.IntN(2)}
					for cam.fps > 0 && g.cacheAt(g.now(at), c.gops) >= g.sent {
						c.gops++
					}
					g.run.Begin()
				}
				g.whole(3)
				total.Joined += g.run.Counts().Joined
				total.Known += g.run.Counts().Known
			}
			t.Logf("%+v", total)
		})
	}
}
