package main

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"sluice/cmd/sluice/certificate/acmetest"
)

// asMain makes the test binary be the program, so that signals and exit codes
// are those of a real process.
const asMain = "GO_TEST_AS_SLUICE"

// TestMain is the program, or runs the tests and fails the package if goroutines are
// left when they have ended.
func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(acmetest.Leaks))
}

func command(t testing.TB, environ ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(environ, asMain+"=1", "SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0")
	return cmd
}

func TestProcessEndsOnSignal(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			cmd := command(t)
			stdout, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			defer cmd.Process.Kill()
			lines := bufio.NewScanner(stdout)
			var all strings.Builder
			for lines.Scan() {
				all.WriteString(lines.Text() + "\n")
				if strings.HasPrefix(lines.Text(), "  Watch ") {
					require.NoError(t, cmd.Process.Signal(sig))
				}
			}
			assert.NoError(t, cmd.Wait(), "exit code 0")
			assert.Contains(t, all.String(), `reason="signal: `+sig.String()+`"`)
			assert.Contains(t, all.String(), "msg=stopped")
		})
	}
}

func TestProcessExitCodes(t *testing.T) {
	var exit *exec.ExitError
	_, err := command(t, "SLUICE_TYPO=1").Output()
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, exitUsage, exit.ExitCode())
	assert.Contains(t, string(exit.Stderr), "SLUICE_TYPO")
}

func TestProcessExitsAtOnceOnTheSecondSignal(t *testing.T) {
	cmd := command(t)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer cmd.Process.Kill()
	stuck := regexp.MustCompile(`http://(\S+)/ in a browser`)
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if m := stuck.FindStringSubmatch(lines.Text()); m != nil {
			conn, err := net.Dial("tcp", m[1])
			require.NoError(t, err)
			defer conn.Close()
			// who asks on and on and reads no answer holds up the drain; the
			// server is stuck when it takes no more questions
			questions := []byte(strings.Repeat("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1000))
			rest := questions
			for refused := 0; refused < 4; { // a busy one takes some meanwhile
				require.NoError(t, conn.SetWriteDeadline(time.Now().Add(300*time.Millisecond)))
				n, err := conn.Write(rest)
				if err != nil {
					require.ErrorIs(t, err, os.ErrDeadlineExceeded)
				}
				if refused++; n > 0 {
					refused = 0
				}
				if rest = rest[n:]; len(rest) == 0 {
					rest = questions
				}
			}
			require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
		}
		if strings.Contains(lines.Text(), "shutting down") {
			require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		}
		assert.NotContains(t, lines.Text(), "msg=stopped")
	}
	var exit *exec.ExitError
	require.ErrorAs(t, cmd.Wait(), &exit)
	assert.Equal(t, exitFailure, exit.ExitCode())
}
