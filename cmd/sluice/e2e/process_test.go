package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// debian says which package of Debian has a program, where the names differ.
var debian = map[string]string{"ffprobe": "ffmpeg"}

// need returns the path of the first of the programs that is there. Without any
// of them the test is left out.
func need(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	from := names[0]
	if pkg := debian[from]; pkg != "" {
		from = pkg
	}
	leaveOut(t, "%s is missing; apt-get install %s", names[0], from)
	return ""
}

// leaveOut ends a test that this machine lacks something for.
func leaveOut(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("nothing may be left out where CI=true: "+format, args...)
	}
	t.Skipf("left out: "+format, args...)
}

// process is a program that the test has started and ends at the latest when it
// ends itself.
type process struct {
	t     *testing.T
	what  string // the command, for messages
	cmd   *exec.Cmd
	said  output // on both outputs
	ended chan struct{}
	err   error // of Wait, once ended
}

// start runs a program in the background.
func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	return begin(t, exec.Command(need(t, name), args...))
}

func begin(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, what: strings.Join(cmd.Args, " "), cmd: cmd, ended: make(chan struct{})}
	if cmd.Env == nil {
		cmd.Env = environment()
	}
	cmd.Stdout, cmd.Stderr = &p.said, &p.said
	require.NoError(t, cmd.Start(), p.what)
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("%s\nended: %v, and said:\n%s", p.what, p.err, p.said.String())
		}
	})
	return p
}

// environment is that of the test without what would confuse the programs: settings of
// another Sluice, and proxies, which do not serve the loopback interface.
func environment() []string {
	env := []string{"NO_PROXY=*", "no_proxy=*", "LC_ALL=C"}
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(strings.ToUpper(v), "=")
		if !strings.HasPrefix(name, "SLUICE_") && !strings.HasSuffix(name, "_PROXY") && name != "LC_ALL" {
			env = append(env, v)
		}
	}
	return env
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// signal sends a signal to a process that runs.
func (p *process) signal(sig os.Signal) {
	p.t.Helper()
	require.True(p.t, p.running(), "%s has ended: %v\n%s", p.what, p.err, p.said.String())
	require.NoError(p.t, p.cmd.Process.Signal(sig))
}

// kill ends a process without giving it a chance to clean up.
func (p *process) kill() {
	p.t.Helper()
	p.signal(os.Kill)
	<-p.ended
}

// wait waits for a process to end by itself and returns its exit code.
func (p *process) wait() int {
	p.t.Helper()
	until(p.t, p.what+" ends", func() bool { return !p.running() })
	return p.cmd.ProcessState.ExitCode()
}

// done waits for a process to end by itself, with exit code 0 and without a complaint.
func (p *process) done() {
	p.t.Helper()
	assert.Zero(p.t, p.wait(), "exit code of %s", p.what)
	assert.Empty(p.t, p.said.String(), "complaints of %s", p.what)
}

// run runs a program to its end and returns its standard output. It must succeed
// and say nothing on standard error.
func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, need(t, name), args...)
	cmd.Env = environment()
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	what := fmt.Sprintf("%s %s", name, strings.Join(args, " "))
	require.NoError(t, err, "%s: %s", what, complaints.String())
	require.Empty(t, complaints.String(), "complaints of %s", what)
	return out
}

// output keeps what a program says, and can be read meanwhile.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
