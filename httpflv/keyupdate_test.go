package httpflv

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// heardOutput collects what a program says.
type heardOutput struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *heardOutput) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *heardOutput) count(s string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Count(o.b.String(), s)
}

// A client may ask for new keys in the middle of a stream (RFC 8446 §4.6.3): it is answered, what follows
// is encrypted with them, and nobody reads what the client says otherwise.
func TestKeyUpdate(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("openssl is missing")
		}
		t.Skip("openssl is missing: apt-get install openssl")
	}
	for name, request := range map[string]string{
		"HTTP":      "GET /live/demo.flv HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"WebSocket": upgradeRequest("/live/demo.flv", ""),
	} {
		for _, deaf := range []bool{false, true} {
			if deaf && name == "HTTP" {
				continue // nobody reads
			}
			t.Run(name, func(t *testing.T) {
				h := newRig(t, pumpedTLS, func(c *configs) { c.deaf = deaf })
				s := h.publish()
				s.send(start)
				client := exec.CommandContext(t.Context(), openssl, "s_client", "-connect", h.server.Listener.Addr().String(), "-msg")
				client.WaitDelay = time.Second
				var said heardOutput
				client.Stdout, client.Stderr = &said, &said
				in, err := client.StdinPipe()
				require.NoError(t, err)
				require.NoError(t, client.Start())
				defer client.Wait()
				defer client.Process.Kill()
				io.WriteString(in, request)
				h.waitViewers(1)
				const answered = "<<< TLS 1.3, Handshake [length 0005], KeyUpdate"
				for n := range 3 {
					io.WriteString(in, "K\n") // at the beginning of what is read at once
					require.Eventually(t, func() bool { return said.count(answered) == n+1 }, 10*time.Second, 5*time.Millisecond)
					mark := strings.Repeat("after", n+1) + "."
					s.send("P:" + mark + "@5080")
					require.Eventually(t, func() bool { return said.count(mark) > 0 }, 10*time.Second, 5*time.Millisecond)
				}
			})
		}
	}
}
