package rtmp

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/rtmp/internal/chunk"
	"sluice/rtmp/internal/handshake"
)

// serverPeer shakes hands as a server and returns the reader of what follows, nil
// if that fails.
func serverPeer(rw io.ReadWriter) *chunk.Reader {
	if _, err := handshake.Server(rw); err != nil {
		return nil
	}
	return chunk.NewReader(rw, chunk.Limits{})
}

// captures are recorded sessions of real clients, see the README there.
const captures = "../testdata/captures"

// replay runs a session on what a client sent, and returns what its handler saw
// and how it ended.
func replay(input []byte, piece int) (*rig, *tape) {
	h := &rig{}
	nc := &tape{input: input, piece: piece}
	newSession(&Server{Handler: h}, nc, 1).run()
	return h, nc
}

// checkEnded fails unless everything that began has ended exactly once.
func checkEnded(t testing.TB, h *rig, nc *tape) {
	t.Helper()
	if !nc.closed {
		t.Fatal("connection was not closed")
	}
	for _, p := range h.publications {
		if len(p.closes) != 1 {
			t.Fatalf("publication %s closed %d times", p.req.Key(), len(p.closes))
		}
		if err := p.closes[0]; err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("publication %s ended with %v", p.req.Key(), err)
		}
	}
	for _, b := range h.playbacks {
		if b.closed != 1 {
			t.Fatalf("playback %s closed %d times", b.req.Key(), b.closed)
		}
	}
}

func TestCapturedSessions(t *testing.T) {
	for _, tt := range []struct {
		file  string
		key   string
		token string
		first []byte // of the first video or, without one, audio body
		audio int    // at least
		video int
		clean bool // ended by FCUnpublish
	}{
		{"obs30-h264-aac", "live/obs", "abc", []byte{0x17, 0}, 400, 300, false},
		{"ffmpeg5-h264-aac", "live/ff5", "abc", []byte{0x17, 0}, 250, 90, true},
		{"ffmpeg7-h264-bframes-aac", "live/bf", "", []byte{0x17, 0}, 250, 90, true},
		{"ffmpeg7-hevc-aac", "live/hevc", "", []byte{0x90, 'h', 'v', 'c', '1'}, 250, 90, true},
		{"ffmpeg7-av1-aac", "live/av1", "", []byte{0x90, 'a', 'v', '0', '1'}, 250, 90, true},
		{"ffmpeg7-audio-mp3", "live/mp3", "", nil, 200, 0, true},
	} {
		t.Run(tt.file, func(t *testing.T) {
			input, err := os.ReadFile(filepath.Join(captures, tt.file+".c2s"))
			require.NoError(t, err)
			h, nc := replay(input, 1<<20)
			checkEnded(t, h, nc)
			require.Len(t, h.publications, 1)
			p := h.publications[0]
			assert.Equal(t, tt.key, p.req.Key())
			assert.Equal(t, tt.token, p.req.Query.Get("token"))
			assert.Contains(t, p.req.FlashVer, "FMLE/3.0")
			assert.Equal(t, tt.clean, p.closes[0] == nil, p.closes[0])
			assert.Equal(t, flv.TypeScript, p.tags[0].Type)
			assert.True(t, bytes.HasPrefix(p.tags[0].Data, metaDataPrefix))
			count := map[flv.Type]int{}
			for _, tag := range p.tags {
				if tag.Type == flv.TypeVideo && count[tag.Type] == 0 {
					assert.True(t, bytes.HasPrefix(tag.Data, tt.first), "% x", tag.Data[:8])
				}
				count[tag.Type]++
			}
			assert.GreaterOrEqual(t, count[flv.TypeAudio], tt.audio)
			assert.GreaterOrEqual(t, count[flv.TypeVideo], tt.video)

			bytewise, nc2 := replay(input, 1)
			checkEnded(t, bytewise, nc2)
			require.Len(t, bytewise.publications, 1)
			equalTags(t, p.tags, bytewise.publications[0].tags)

			// Cut everywhere in the commands, and at many places of the media.
			step := 1
			for n := 0; n < len(input); n += step {
				if n > 6000 {
					step = 1 + len(input)/150
				}
				cut, nc := replay(input[:n], 4096)
				checkEnded(t, cut, nc)
				if len(cut.publications) > 0 {
					got := cut.publications[0]
					equalTags(t, p.tags[:len(got.tags)], got.tags)
				}
			}
		})
	}
}

func TestCapturedPlayers(t *testing.T) {
	for _, file := range []string{"play-ffmpeg5", "play-rtmpdump", "play-vlc"} {
		t.Run(file, func(t *testing.T) {
			input, err := os.ReadFile(filepath.Join(captures, file+".c2s"))
			require.NoError(t, err)
			for _, piece := range []int{1 << 20, 1} {
				h, nc := replay(input, piece)
				checkEnded(t, h, nc)
				require.Len(t, h.playbacks, 1)
				assert.Contains(t, h.playbacks[0].req.Key(), "live/")
				assert.Contains(t, nc.output.String(), CodePlayStart)
			}
			for n := range len(input) {
				h, nc := replay(input[:n], 4096)
				checkEnded(t, h, nc)
			}
		})
	}
}

// BenchmarkIngest is the way of a publisher's bytes to its Publication.
func BenchmarkIngest(b *testing.B) {
	input, err := os.ReadFile(filepath.Join(captures, "obs30-h264-aac.c2s"))
	require.NoError(b, err)
	b.SetBytes(int64(len(input)))
	b.ReportAllocs()
	for b.Loop() {
		newSession(&Server{Handler: &nothing{}}, &tape{input: input, piece: 64 << 10}, 1).run()
	}
}
