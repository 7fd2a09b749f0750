package main

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sendRaw sends bytes to a port, the first of them alone, and returns all that comes back until
// the server closes the connection.
func sendRaw(t *testing.T, addr string, b []byte) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(8*time.Second))) // before ReadHeaderTimeout
	for _, part := range [][]byte{b[:1], b[1:]} {
		if _, err := conn.Write(part); err != nil {
			break // it is closed already
		}
	}
	got, err := io.ReadAll(conn)
	if nerr, ok := err.(net.Error); ok {
		require.False(t, nerr.Timeout(), "it is not closed")
	}
	return string(got)
}

// Who sends RTMP or TLS to a port of HTTP is answered at once, and the log says what it was.
func TestOtherProtocolsOnHTTPPorts(t *testing.T) {
	const token = "0123456789abcdef-token"
	out, _ := start(t, "SLUICE_ADMIN_ADDR=127.0.0.1:0", "SLUICE_ADMIN_TOKEN="+token)
	rtmp := out.find(t, `rtmp://127\.0\.0\.1:(\d+)/live/NAME\n`)[1]
	pages := out.find(t, `http://(127\.0\.0\.1:\d+)/ in a browser`)[1]
	operators := out.find(t, `http://(127\.0\.0\.1:\d+)/admin`)[1]
	hello := append([]byte{3}, make([]byte, 1536)...) // without a line end
	tls := []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
	for _, addr := range []string{pages, operators} {
		sendRaw(t, addr, hello)
		out.find(t, `level=INFO msg="RTMP was sent to a port of HTTP" remote=127\.0\.0\.1:\d+ port=`+addr+
			` hint="RTMP is taken on port `+rtmp+`"\n`)
		sendRaw(t, addr, tls)
		out.find(t, `level=INFO msg="TLS was sent to a port of HTTP" remote=127\.0\.0\.1:\d+ port=`+addr+` hint="http:// `)
		assert.Contains(t, sendRaw(t, addr, tls[:1]), "HTTP/1.1 400 ", "no byte is left that would reset the connection")
	}

	// HTTP is not touched, nor is what is neither.
	before := strings.Count(out.String(), "was sent to")
	assert.Contains(t, sendRaw(t, pages, []byte("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")), "200 OK")
	assert.Contains(t, sendRaw(t, pages, []byte("\x00\x01 nonsense\r\n\r\n")), "400 ")
	res, err := http.Get("http://" + pages + "/api/v1/streams")
	require.NoError(t, err)
	res.Body.Close()
	assert.Equal(t, http.StatusOK, res.StatusCode)
	assert.Equal(t, before, strings.Count(out.String(), "was sent to"))

	// And the other way round.
	_, httpPort, _ := net.SplitHostPort(pages)
	sendRaw(t, "127.0.0.1:"+rtmp, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	out.find(t, `level=INFO msg="HTTP was sent to a port of RTMP" remote=127\.0\.0\.1:\d+ port=127\.0\.0\.1:`+rtmp+` hint="HTTP is taken on port `+httpPort+`"\n`)
	sendRaw(t, "127.0.0.1:"+rtmp, tls)
	out.find(t, `level=INFO msg="TLS was sent to a port of RTMP" .*hint="rtmp:// in place of rtmps://`)
}
