package nats

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// childNode has the settings of a node that runs in a process of its own, which can be killed.
const childNode = "SLUICE_TEST_NATS_NODE"

// runChild is the whole of such a process: a node until its standard input ends.
func runChild(settings string) error {
	var cfg Config
	if err := json.Unmarshal([]byte(settings), &cfg); err != nil {
		return err
	}
	d, err := New(cfg)
	if err != nil {
		return err
	}
	if _, err := os.Stdout.WriteString("up\n"); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return d.Close(context.Background())
}

// child starts a node in a process of its own. kill ends it as the kernel does.
func child(t *testing.T, cfg Config) (kill func()) {
	t.Helper()
	settings, err := json.Marshal(cfg)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childNode+"="+string(settings))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe() // it ends when this process does
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	killed := false
	kill = func() {
		if !killed {
			killed = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			_ = in.Close()
		}
	}
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "up\n", line)
	return kill
}
