package mp4_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/mp4"
	"sluice/rtmp"
)

// captures are recorded sessions of real encoders, see the README there.
const captures = "../../testdata/captures"

// patience is how long a test waits for another program.
const patience = time.Minute

// publication keeps what a publisher sends.
type publication struct {
	tags []flv.Tag
	over chan struct{}
}

func (p *publication) Publish(*rtmp.ServerStream, *rtmp.Request) (rtmp.Publication, error) {
	return p, nil
}

func (p *publication) Play(*rtmp.ServerStream, *rtmp.Request) (rtmp.Playback, error) {
	return nil, fmt.Errorf("nothing to play")
}

func (p *publication) WriteTag(t flv.Tag) error {
	t.Data = bytes.Clone(t.Data)
	p.tags = append(p.tags, t)
	return nil
}

func (p *publication) Close(error) { close(p.over) }

// captured returns the tags that an encoder sent.
func captured(t testing.TB, name string) []flv.Tag {
	t.Helper()
	sent, err := os.ReadFile(filepath.Join(captures, name+".c2s"))
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &publication{over: make(chan struct{})}
	s := &rtmp.Server{Handler: p}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	conn.SetDeadline(time.Now().Add(patience))
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		io.Copy(io.Discard, conn)
	}()
	_, err = conn.Write(sent)
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	<-heard
	<-p.over
	conn.Close()
	s.Close()
	<-served
	return p.tags
}

// file returns an FLV file of tags.
func file(tags ...flv.Tag) []byte {
	b := flv.AppendHeader(nil, true, true)
	for _, t := range tags {
		b = flv.AppendTag(b, t)
	}
	return b
}

// scan makes the index of a file that can be shown.
func scan(t testing.TB, b []byte) *mp4.Index {
	t.Helper()
	x, err := mp4.Scan(context.Background(), bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	return x
}

// whole returns the bytes of the MP4.
func whole(t testing.TB, b []byte) []byte {
	t.Helper()
	return append(scan(t, b).Head(), b...)
}

// keep writes a file for other programs, and returns its path.
func keep(t testing.TB, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, b, 0o600))
	return path
}

// leaveOut ends a test that this machine lacks something for, which CI may not.
func leaveOut(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal("nothing may be left out where CI=true: " + what)
	}
	t.Skip("left out: " + what)
}

// newer returns the path of ffmpeg or ffprobe in the version that .ci/newer-ffmpeg unpacks,
// which reads Enhanced RTMP in FLV.
func newer(t testing.TB, name string) string {
	t.Helper()
	folder := os.Getenv("NEWER_FFMPEG")
	if folder == "" {
		cache, err := os.UserCacheDir()
		require.NoError(t, err)
		folder = filepath.Join(cache, "newer-ffmpeg")
	}
	path := filepath.Join(folder, "bin", name)
	if _, err := os.Stat(path); err != nil {
		leaveOut(t, name+" is missing in a recent version; .ci/newer-ffmpeg unpacks it on Debian 12")
	}
	return path
}

// run runs a program that has nothing to complain of, and returns what it prints.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		leaveOut(t, name+" is missing")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	var out, complaints strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err = cmd.Run()
	require.NoError(t, err, "%s %s: %s", name, args, complaints.String())
	require.Empty(t, complaints.String(), "%s %s", name, args)
	return out.String()
}
