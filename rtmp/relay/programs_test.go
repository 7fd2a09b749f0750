package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub/relay"
)

// program returns a command that ends with the test. One that is missing leaves the
// test out, and fails it where CI=true.
func program(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		missing(t, err, name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	return cmd
}

// missing leaves the test out, and fails it where CI=true.
func missing(t *testing.T, err error, packages string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("nothing may be left out where CI=true: %v; apt-get install %s", err, packages)
	}
	t.Skipf("left out: %v; apt-get install %s", err, packages)
}

// made returns the tags of a clip of two seconds that FFmpeg makes.
func made(t *testing.T) []flv.Tag {
	t.Helper()
	file := filepath.Join(t.TempDir(), "clip.flv")
	out, err := program(t, "ffmpeg", "-v", "error", "-nostdin",
		"-f", "lavfi", "-i", "testsrc=size=160x120:rate=25", "-f", "lavfi", "-i", "sine=frequency=440", "-t", "2",
		"-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-pix_fmt", "yuv420p", "-c:a", "aac", "-f", "flv", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return tagsOf(t, file)
}

// tagsOf reads a file.
func tagsOf(t *testing.T, file string) []flv.Tag {
	t.Helper()
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	var tags []flv.Tag
	for r := flv.NewReader(f); ; {
		tag, err := r.Next()
		if err != nil {
			return tags
		}
		tag.Data = bytes.Clone(tag.Data)
		tags = append(tags, tag)
	}
}

// bodies returns the bodies of frames of a type, which are equal whatever the clock.
func bodies(tags []flv.Tag, typ flv.Type) [][]byte {
	var all [][]byte
	for _, tag := range frames(tags) {
		if tag.Type == typ {
			all = append(all, tag.Data)
		}
	}
	return all
}

// freePort returns an address that nobody listens on.
func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l.Close()
	return l.Addr().String()
}

// listener starts a program that listens, and returns what open returns once it does.
func listener[T any](t *testing.T, cmd *exec.Cmd, open func() (T, error)) T {
	t.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s said:\n%s", cmd.Path, &said)
		}
	})
	for {
		opened, err := open()
		var f *relay.Failure
		if err != nil && errors.As(err, &f) && f.Cause == relay.CauseConnection && t.Context().Err() == nil {
			time.Sleep(20 * time.Millisecond) // nobody tells when it listens
			continue
		}
		require.NoError(t, err)
		return opened
	}
}

// FFmpeg as a target takes all that is pushed.
func TestPushToFFmpeg(t *testing.T) {
	tags := made(t)
	address, file := freePort(t), filepath.Join(t.TempDir(), "out.flv")
	cmd := program(t, "ffmpeg", "-v", "error", "-nostdin", "-listen", "1", "-i", "rtmp://"+address+"/live/k", "-c", "copy", "-f", "flv", file)
	s := listener(t, cmd, func() (relay.Sink, error) {
		return opener().Send(t.Context(), relay.Sending{URL: push(t, "rtmp://"+address+"/live/k"), Path: []string{"one"}})
	})
	assert.Equal(t, flv.Shape{Form: flv.FormClassic}, s.Shape())
	assert.False(t, s.Takes(flv.CodecAV1))
	require.NoError(t, s.WriteTags(tags))
	require.NoError(t, s.Close())
	require.NoError(t, cmd.Wait())
	got := tagsOf(t, file)
	assert.Equal(t, bodies(tags, flv.TypeVideo), bodies(got, flv.TypeVideo))
	assert.Equal(t, bodies(tags, flv.TypeAudio), bodies(got, flv.TypeAudio))
}

// FFmpeg as a server of one player is pulled from.
func TestPullFromFFmpeg(t *testing.T) {
	tags := made(t)
	file := filepath.Join(t.TempDir(), "in.flv")
	f, err := os.Create(file)
	require.NoError(t, err)
	w := flv.NewWriter(f, true, true)
	for _, tag := range tags {
		require.NoError(t, w.WriteTag(tag))
	}
	require.NoError(t, f.Close())
	address := freePort(t)
	cmd := program(t, "ffmpeg", "-v", "error", "-nostdin", "-re", "-i", file, "-c", "copy", "-f", "flv", "-listen", "1", "rtmp://"+address+"/live/k")
	s := listener(t, cmd, func() (relay.Source, error) {
		return opener().Open(t.Context(), relay.Opening{URL: pull(t, "rtmp://"+address+"/live/k"), Path: []string{"one"}})
	})
	var got []flv.Tag
	for range frames(tags) { // it does not say that it is at the end
		got = append(got, nextFrame(t, s))
	}
	s.Close()
	cmd.Wait() // it complains that we are gone
	assert.Equal(t, bodies(tags, flv.TypeVideo), bodies(got, flv.TypeVideo))
	assert.Equal(t, bodies(tags, flv.TypeAudio), bodies(got, flv.TypeAudio))
	assert.Empty(t, s.Node())
}

// rtmpModule is what Debian's nginx needs for its rtmp block.
const rtmpModule = "/usr/lib/nginx/modules/ngx_rtmp_module.so"

// startNginx runs nginx-rtmp with these applications until the test ends, and returns HOST:PORT.
func startNginx(t *testing.T, applications string) string {
	t.Helper()
	path, err := exec.LookPath("nginx")
	if err != nil { // Debian has servers where not everybody looks
		path, err = exec.LookPath("/usr/sbin/nginx")
	}
	if err == nil {
		_, err = os.Stat(rtmpModule)
	}
	if err != nil {
		missing(t, err, "nginx libnginx-mod-rtmp")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	require.NoError(t, err)
	defer file.Close()
	dir := t.TempDir()
	user := ""
	if os.Getuid() == 0 {
		user = "user root;\n"
	}
	conf := fmt.Sprintf("%sdaemon off;\nworker_processes 1;\npid %s/pid;\nerror_log stderr;\nload_module %s;\nevents {}\nrtmp { server { listen %s;\n%s} }\n",
		user, dir, rtmpModule, l.Addr(), applications)
	name := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(name, []byte(conf), 0o600))
	var said bytes.Buffer
	cmd := exec.Command(path, "-p", dir, "-e", "stderr", "-c", name)
	cmd.Env = append(os.Environ(), "NGINX=3;") // it inherits what it listens on
	cmd.ExtraFiles = []*os.File{file}
	cmd.Stdout, cmd.Stderr = &said, &said
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		rude := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
		defer rude.Stop()
		cmd.Wait()
		if t.Failed() {
			t.Logf("nginx said:\n%s", said.String())
		}
	})
	return l.Addr().String()
}

// nginx-rtmp passes on from a Sink to a Source, and its refusals are understood as far as it tells.
func TestNginx(t *testing.T) {
	at := startNginx(t, `
application live { live on; idle_streams off; }
application nopublish { live on; deny publish all; }
application noplay { live on; deny play all; }
`)
	tags := made(t)
	url := "rtmp://" + at + "/live/k"
	sink := send(t, opener(), relay.Sending{URL: push(t, url), Path: []string{"one"}})
	assert.Equal(t, flv.Shape{Form: flv.FormClassic}, sink.Shape())
	require.NoError(t, sink.WriteTags(tags[:3]))
	source := open(t, opener(), relay.Opening{URL: pull(t, url), Path: []string{"one"}})
	got := make(chan []flv.Tag, 1)
	go func() {
		var all []flv.Tag
		defer func() { got <- all }()
		for {
			tag, err := source.ReadTag()
			if err != nil {
				return
			}
			tag.Data = bytes.Clone(tag.Data)
			all = append(all, tag)
		}
	}()
	_, err := opener().Send(t.Context(), relay.Sending{URL: push(t, url)})
	failed(t, err, relay.CauseBusy, "BadName")
	require.NoError(t, sink.WriteTags(tags[3:]))
	require.NoError(t, sink.Close())
	all := <-got // it tells that the stream is over, or closes
	assert.Equal(t, bodies(tags, flv.TypeVideo), bodies(all, flv.TypeVideo))
	assert.Equal(t, bodies(tags, flv.TypeAudio), bodies(all, flv.TypeAudio))

	for _, app := range []string{"nopublish", "nowhere"} {
		s, err := opener().Send(t.Context(), relay.Sending{URL: push(t, "rtmp://"+at+"/"+app+"/k")})
		if err == nil { // it agrees, and then closes
			t.Cleanup(s.Abort)
			<-s.Ended()
			err = s.Err()
		}
		failed(t, err, relay.CauseConnection, "broke off")
	}
	for _, app := range []string{"noplay", "nowhere"} {
		s, err := opener().Open(t.Context(), relay.Opening{URL: pull(t, "rtmp://"+at+"/"+app+"/k")})
		if err == nil {
			t.Cleanup(func() { s.Close() })
			_, err = s.ReadTag()
		}
		failed(t, err, relay.CauseConnection, "broke off")
	}
}
