package bench

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A client that asks over HTTP gets the head of an answer first, any other just bytes.
func TestNullServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan int)
	go func() {
		ended <- Run(ctx, []string{"-null", "-interval", "20ms", "-bitrate", "800k"}, in, io.Discard)
	}()
	line := make([]byte, 64)
	n, err := out.Read(line)
	require.NoError(t, err)
	address := strings.TrimSpace(string(line[:n]))

	for name, request := range map[string]string{"HTTP": "GET /x.flv HTTP/1.1\r\nHost: x\r\n\r\n", "nothing": ""} {
		conn, err := net.Dial("tcp", address)
		require.NoError(t, err)
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		_, err = io.WriteString(conn, request)
		require.NoError(t, err)
		head := ""
		if request != "" {
			head = nullHead
		}
		got := make([]byte, len(head)+3*2000)
		_, err = io.ReadFull(conn, got)
		require.NoError(t, err, name)
		assert.Equal(t, head+strings.Repeat("\x00", 3*2000), string(got))
		if request == "" {
			defer conn.Close()
		} else {
			conn.Close() // the others go on getting theirs
		}
	}
	// An encrypted one gets as much on the wire.
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	wire := &timedConn{Conn: conn}
	secret := tls.Client(wire, new(clientTLS).config("127.0.0.1"))
	_, err = io.WriteString(secret, "GET /x.flv HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	const each = 2000 - recordOverhead
	got := make([]byte, len(nullHead)+3*each)
	_, err = io.ReadFull(secret, got)
	require.NoError(t, err)
	assert.Equal(t, nullHead+strings.Repeat("\x00", 3*each), string(got))
	before := wire.received.Load()
	_, err = io.ReadFull(secret, got[:each])
	require.NoError(t, err)
	assert.Zero(t, (wire.received.Load()-before)%2000)
	cancel()
	assert.Equal(t, exitOK, <-ended)
}

func TestNullServerBounds(t *testing.T) {
	for _, rate := range []string{"10", "1G"} {
		var stderr strings.Builder
		code := Run(t.Context(), []string{"-null", "-interval", "100ms", "-bitrate", rate}, io.Discard, &stderr)
		assert.Equal(t, exitFailure, code)
		assert.Contains(t, stderr.String(), "bytes: must be from 1 to")
	}
}
