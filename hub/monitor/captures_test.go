package monitor

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
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

// captured returns what an encoder published.
func captured(t *testing.T, file string) []flv.Tag {
	t.Helper()
	said, err := os.ReadFile(file)
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
	_, err = client.Write(said)
	require.NoError(t, err)
	require.NoError(t, client.(*net.TCPConn).CloseWrite())
	<-p.done
	require.NoError(t, client.Close())
	<-answers
	require.NoError(t, server.Close())
	<-served
	return p.tags
}

// Of what real encoders have sent there is nothing to say, once or again and again, but that many browsers do
// not play HEVC.
func TestCapturesAreGood(t *testing.T) {
	files, err := filepath.Glob("../../testdata/captures/*.c2s")
	require.NoError(t, err)
	encoders := 0
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".c2s")
		if strings.HasPrefix(name, "play-") {
			continue
		}
		encoders++
		tags := captured(t, file)
		t.Run(name, func(t *testing.T) {
			watch(t, func(r *rig) {
				p := r.publish(me)
				began, length := time.Now(), time.Duration(0)
				for range 10 {
					from := length
					for _, tag := range tags {
						at := from + time.Duration(tag.Timestamp)*time.Millisecond
						time.Sleep(at - time.Since(began))
						tag.Timestamp = uint32(at.Milliseconds())
						require.NoError(t, p.Write(tag))
						length = max(length, at+30*time.Millisecond)
					}
				}
				p.Close()
				want := []string{}
				if strings.Contains(name, "hevc") {
					want = []string{"browser_codec"}
				}
				assert.Greater(t, length, 50*time.Second)
				assert.Equal(t, want, r.words())
			})
		})
	}
	assert.Equal(t, 6, encoders)
}
