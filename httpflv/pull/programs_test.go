package pull

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub/relay"
)

// program starts a program, which must succeed before the test ends. One that is missing leaves the test out,
// and fails it where CI=true.
func program(t *testing.T, name string, args ...string) (wait func()) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("nothing may be left out where CI=true: %s is missing", name)
		}
		t.Skipf("left out: %s is missing; apt-get install %s", name, name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay, cmd.Stdout, cmd.Stderr = time.Second, &out, &out
	require.NoError(t, cmd.Start())
	return func() {
		t.Helper()
		require.NoError(t, cmd.Wait(), "%s: %s", cmd, &out)
	}
}

// An ffmpeg that listens is a server, too: what it sends is what it writes to a file.
func TestPullFromFFmpeg(t *testing.T) {
	const clip = "../../testdata/clips/h264-bframes-aac.flv"
	saved := filepath.Join(t.TempDir(), "clip.flv")
	program(t, "ffmpeg", "-v", "error", "-nostdin", "-i", clip, "-c", "copy", "-f", "flv", saved)()
	f, err := os.Open(saved)
	require.NoError(t, err)
	defer f.Close()
	var want []flv.Tag
	for r := flv.NewReader(f); ; {
		tag, err := r.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		if tag.Type != flv.TypeScript { // which knows the file's size
			want = append(want, tag)
		}
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	l.Close()
	wait := program(t, "ffmpeg", "-v", "error", "-nostdin", "-i", clip, "-c", "copy", "-f", "flv", "-listen", "1", "http://"+address+"/live/demo.flv")
	opening := relay.Opening{URL: at(t, "http://"+address, "http", "/live/demo.flv"), Path: []string{"me"}}
	var s relay.Source
	require.Eventually(t, func() bool { // when it listens
		s, err = opener().Open(context.Background(), opening)
		return err == nil
	}, 30*time.Second, 20*time.Millisecond)
	defer s.Close()
	assert.Equal(t, want, read(t, s, len(want)))
	assert.Equal(t, io.EOF, readEnd(s))
	assert.Empty(t, s.Node())
	wait()
}
