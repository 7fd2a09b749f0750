package flvfile

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
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

// captured returns what an encoder published, as a stream's reader gives it out.
func captured(t *testing.T, name string) (packets []Packet) {
	t.Helper()
	sent, err := os.ReadFile(filepath.Join("../../../testdata/captures", name+".c2s"))
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
	video := false
	for _, tag := range p.tags {
		video = video || tag.Type == flv.TypeVideo
	}
	for _, tag := range p.tags {
		said := Packet{Tag: tag, Time: int64(tag.Timestamp)}
		said.classify()
		said.Key = said.Key || !video && tag.Type == flv.TypeAudio && !said.Header
		packets = append(packets, said)
	}
	return packets
}

// What encoders send is recorded as it is, and its length is right within a frame.
func TestCapturesOfEncoders(t *testing.T) {
	for _, tt := range []struct {
		name         string
		video, audio flv.Codec
		ffprobe      bool // the one that is installed knows the codecs in FLV
	}{
		{"obs30-h264-aac", flv.CodecH264, flv.CodecAAC, true},
		{"ffmpeg5-h264-aac", flv.CodecH264, flv.CodecAAC, true},
		{"ffmpeg7-h264-bframes-aac", flv.CodecH264, flv.CodecAAC, true},
		{"ffmpeg7-hevc-aac", flv.CodecHEVC, flv.CodecAAC, false},
		{"ffmpeg7-av1-aac", flv.CodecAV1, flv.CodecAAC, false},
		{"ffmpeg7-audio-mp3", 0, flv.CodecMP3, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			packets := captured(t, tt.name)
			require.True(t, packets[0].Header)
			fsys, dir := folder(t)
			info := writeFile(t, fsys, "a", nil, packets)
			assert.Equal(t, tt.video, info.Video)
			assert.Equal(t, tt.audio, info.Audio)
			if tt.video != 0 {
				assert.Contains(t, []int{320, 640}, info.Width)
			}
			b, err := os.ReadFile(filepath.Join(dir, "a.flv"))
			require.NoError(t, err)
			tags := readTags(t, b)
			require.Len(t, tags, len(packets))
			last := int64(0)
			for i, p := range packets[1:] {
				require.Equal(t, p.Tag, tags[1+i])
				last = max(last, p.Time)
			}
			assert.Greater(t, info.Duration.Milliseconds(), last)
			assert.LessOrEqual(t, info.Duration.Milliseconds(), last+67)
			f, err := Open(fsys, "a")
			require.NoError(t, err)
			defer f.Close()
			c := f.Cursor()
			for ms := int64(0); ms <= info.Duration.Milliseconds(); ms += 250 {
				at, err := c.SeekTo(ms)
				require.NoError(t, err)
				want := int64(-1)
				for _, p := range packets {
					if p.Key && (p.Time <= ms || want < 0) {
						want = p.Time
					}
				}
				require.Equal(t, want, at, "seek to %d", ms)
			}
			if tt.ffprobe {
				probe(t, filepath.Join(dir, "a.flv"), info.Duration)
			}
			// Recovered, it is the same.
			w, err := Append(fsys, "a")
			require.NoError(t, err)
			require.NoError(t, w.Close())
			recovered, err := Recover(fsys, "a")
			require.NoError(t, err)
			assert.Equal(t, info, recovered)
			again, err := os.ReadFile(filepath.Join(dir, "a.flv"))
			require.NoError(t, err)
			assert.True(t, bytes.Equal(b, again))
		})
	}
}
