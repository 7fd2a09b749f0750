//go:build unix

// Package packaging checks the files with which Sluice is installed, as far as that needs
// no container engine: what the Dockerfile runs is run, its last stage is put together as a
// folder and started in it, nginx and Caddy are started with the sites for them, and systemd
// reads its units. It holds nothing but tests.
//
// A program that is missing on this machine leaves its tests out, with a line that says how
// to get it; where CI=true is set that is a failure.
package packaging

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// patience is how long a test waits for what must happen sooner or later.
const patience = 90 * time.Second

// repository is the root of the repository.
const repository = "../../.."

// madeIn is the folder in which the image is made, to be removed in the end.
var madeIn string

// TestMain fails the package if goroutines are left when its tests have ended.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if madeIn != "" {
			os.RemoveAll(madeIn)
		}
		os.Exit(code)
	}))
}

// made is the image, made when the first test asks for it.
var made = sync.OnceValues(func() (*image, error) {
	dir, err := os.MkdirTemp("", "sluice-package-")
	if err != nil {
		return nil, err
	}
	madeIn = dir
	return makeImage(dir)
})

// theImage returns the image of the Dockerfile.
func theImage(t *testing.T) *image {
	t.Helper()
	if testing.Short() {
		t.Skip("left out: it builds the program; run without -short")
	}
	need(t, "go", "golang")
	i, err := made()
	require.NoError(t, err)
	return i
}

// sluice returns the path of the program of the image.
func sluice(t *testing.T) string {
	return filepath.Join(theImage(t).root, "sluice")
}

// need returns the path of a program, of a package of Debian. Without it the test is left out.
func need(t *testing.T, name, pkg string, files ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil { // Debian has servers where not everybody looks
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	for _, file := range files {
		if err == nil {
			_, err = os.Stat(file)
		}
	}
	if err != nil {
		leaveOut(t, fmt.Sprintf("%v; apt-get install %s", err, pkg))
	}
	return path
}

// leaveOut ends a test that this machine lacks something for.
func leaveOut(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("nothing may be left out where CI=true: %s", why)
	}
	t.Skipf("left out: %s", why)
}

// read returns a file.
func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// until waits until ok says yes.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// output is what a program says.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write keeps what is said.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// find waits until the program has said something, and returns the groups of the expression.
func (o *output) find(t *testing.T, expression string) (groups []string) {
	t.Helper()
	re := regexp.MustCompile(expression)
	until(t, "it says "+expression, func() bool {
		groups = re.FindStringSubmatch(o.String())
		return groups != nil
	})
	return groups
}

// run runs a program until the test ends, and returns what it says. It gets SIGTERM then; ended
// has its error when it has ended.
func run(t *testing.T, cmd *exec.Cmd) (said *output, ended <-chan error) {
	t.Helper()
	said = new(output)
	cmd.Stdout, cmd.Stderr = said, said
	require.NoError(t, cmd.Start())
	done, over := make(chan error, 1), make(chan struct{})
	go func() {
		done <- cmd.Wait()
		close(over)
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(terminate)
		rude := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		defer rude.Stop()
		<-over
		if t.Failed() {
			t.Logf("%s said:\n%s", cmd, said)
		}
	})
	return said, done
}
