package tlsconn_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub/tlsconn"
)

// A peer that asks for new keys (RFC 8446 §4.6.3) is answered by whoever reads, long after the last write,
// whose deadline has passed by then. That breaks nothing.
func TestKeyUpdateAfterDeadline(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("openssl is missing")
		}
		t.Skip("openssl is missing: apt-get install openssl")
	}
	l := listen(t, tlsconn.Config{})
	client := exec.CommandContext(t.Context(), openssl, "s_client", "-connect", l.Addr().String(), "-msg")
	client.WaitDelay = time.Second
	in, err := client.StdinPipe()
	require.NoError(t, err)
	out, err := client.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, client.Start())
	defer client.Wait()
	defer client.Process.Kill()
	server, err := l.Accept()
	require.NoError(t, err)
	defer server.Close()
	require.NoError(t, server.SetReadDeadline(time.Now().Add(10*time.Second)))
	require.NoError(t, server.SetWriteDeadline(time.Now().Add(-time.Second)))

	asked := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(server, make([]byte, len("said\n"))) // which the key update does not end
		asked <- err
		if err != nil {
			server.Close() // ends what follows
		}
	}()
	io.WriteString(in, "K\n") // at the beginning of what is read at once
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "<<< TLS 1.3, Handshake [length 0005], KeyUpdate") {
			io.WriteString(in, "said\n")
			break
		}
	}
	require.NoError(t, <-asked, "the client was not answered")

	require.NoError(t, server.SetWriteDeadline(time.Now().Add(10*time.Second)))
	_, err = server.Write([]byte("x"))
	require.NoError(t, err)
	require.NoError(t, server.SetWriteDeadline(time.Now().Add(-time.Second)))
	_, err = server.Write([]byte("x"))
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded, "a writer has its own deadline")
}
