//go:build unix

package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Real clients watch over everything that is encrypted.
func TestSecureClients(t *testing.T) {
	s := startSecure(t, "SLUICE_DEMO=true")
	for _, c := range []struct {
		name, program, pkg string
		args               []string
		want               string // in what it writes
	}{
		{"HTTP/1.1", "curl", "curl", []string{"-sS", "--http1.1", "-m", "2", "-D", "-", "--cacert", s.file, "https://" + s.https + "/live/demo.flv"},
			"HTTP/1.1 200 OK\r\n"},
		{"HTTP/2", "curl", "curl", []string{"-sS", "--http2", "-m", "2", "-D", "-", "--cacert", s.file, "https://" + s.https + "/live/demo.flv"},
			"HTTP/2 200 \r\n"},
		{"WebSocket", "curl", "curl", []string{"-sS", "--http1.1", "-m", "2", "-D", "-", "--cacert", s.file, "-H", "Connection: Upgrade",
			"-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Version: 13", "-H", "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
			"https://" + s.https + "/live/demo.flv"}, "HTTP/1.1 101 Switching Protocols\r\n"},
		{"ffmpeg, https", "ffmpeg", "ffmpeg", []string{"-hide_banner", "-nostdin", "-loglevel", "error", "-ca_file", s.file, "-tls_verify", "1",
			"-i", "https://" + s.https + "/live/demo.flv", "-t", "1", "-c", "copy", "-f", "flv", "-"}, ""},
		{"ffmpeg, rtmps", "ffmpeg", "ffmpeg", []string{"-hide_banner", "-nostdin", "-loglevel", "error",
			"-i", "rtmps://" + s.rtmps + "/live/demo", "-t", "1", "-c", "copy", "-f", "flv", "-"}, ""},
		{"rtmpdump, rtmps", "rtmpdump", "rtmpdump", []string{"-B", "1", "-r", "rtmps://" + s.rtmps + "/live/demo", "-o", "-"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			stdout, stderr := runs(t, c.program, c.pkg, c.args...)
			require.Greater(t, len(stdout), 20_000, stderr)
			assert.Contains(t, stdout[:1000], "FLV\x01", stderr)
			assert.True(t, strings.Contains(stdout[:1000], c.want), "%.300q", stdout)
		})
	}
}

// The page and its API come over both versions of HTTP, and know that they are encrypted.
func TestSecurePage(t *testing.T) {
	s := startSecure(t, "SLUICE_DEMO=true")
	for _, http2 := range []bool{false, true} {
		client := s.client(t, http2)
		res, err := client.Get("https://" + s.https + "/api/v1/streams")
		require.NoError(t, err)
		var list map[string]any
		require.NoError(t, json.NewDecoder(res.Body).Decode(&list))
		res.Body.Close()
		assert.Equal(t, map[bool]int{false: 1, true: 2}[http2], res.ProtoMajor)
		res, err = client.Get("https://" + s.https + "/?stream=live/demo")
		require.NoError(t, err)
		defer res.Body.Close()
		assert.Equal(t, http.StatusOK, res.StatusCode)
	}
}
