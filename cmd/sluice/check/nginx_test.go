//go:build unix

package check

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatalf("nothing may be left out where CI=true: %v; apt-get install nginx libnginx-mod-rtmp", err)
	} else if err != nil {
		t.Skipf("left out: %v; apt-get install nginx libnginx-mod-rtmp", err)
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

// Another server than Sluice: it works, though it keeps no GOP, and what it does not permit is named.
func TestNginx(t *testing.T) {
	t.Parallel()
	at := startNginx(t, `
application live { live on; }
application keys { live on; wait_key on; wait_video on; }
application nopublish { live on; deny publish all; }
application noplay { live on; deny play all; }
`)
	for app, want := range map[string]string{
		"live": "", "keys": "", "nopublish": "denied-publish", "noplay": "denied-watch", "nowhere": "closed",
	} {
		t.Run(app, func(t *testing.T) {
			r := runTest(t, nil, "-app", app, "rtmp://"+at)
			table, _ := r.texts(t)
			var words []string
			for _, row := range append(append([]*row{}, r.Publish...), r.Outputs...) {
				if row.Fault != nil {
					words = append(words, row.Fault.Word)
				}
			}
			if want == "" {
				assert.True(t, r.OK, table)
				assert.Empty(t, words)
			} else {
				assert.Equal(t, []string{want}, words, table)
			}
		})
	}
}

// Two tests at a time do not take each other's streams.
func TestAtTheSameTime(t *testing.T) {
	t.Parallel()
	at := startNginx(t, "application live { live on; }")
	var testing sync.WaitGroup
	for range 3 {
		testing.Go(func() {
			o, err := parseFlags([]string{"rtmp://" + at})
			assert.NoError(t, err)
			o.times = testTimes
			r, err := test(t.Context(), o)
			assert.NoError(t, err)
			assert.True(t, r.OK)
		})
	}
	testing.Wait()
}
