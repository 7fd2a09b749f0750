//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/cmd/sluice/demo"
)

// checked is what sluice check reports as JSON.
type checked struct {
	OK      bool
	Stream  string
	Outputs []struct {
		Protocol, URL string
		OK            bool
		Fault         struct{ Word, Sentence string }
	}
	Notes []string
}

// runCheck runs sluice check -json.
func runCheck(t *testing.T, environ []string, args ...string) (code int, c checked, out string) {
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), append([]string{"check", "-json"}, args...), environ, &stdout, &stderr)
	assert.Empty(t, stderr.String())
	assert.NoError(t, json.Unmarshal(stdout.Bytes(), &c))
	return code, c, stdout.String()
}

// A self-test of a service with all that watches streams: it works, its stream leaves no traces, and a
// recording is looked at.
func TestCheck(t *testing.T) {
	t.Parallel()
	recs := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(recs, "live", "old"), 0o750))
	require.NoError(t, os.WriteFile(filepath.Join(recs, "live", "old", "20261128T170500.123Z.flv"), demo.Clip(), 0o600))
	var told bytes.Buffer
	var mu sync.Mutex
	endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		io.Copy(&told, r.Body)
	}))
	t.Cleanup(endpoint.Close)
	cert := certificateFile(t)
	open, stopOpen := start(t, "SLUICE_RTMPS_ADDR=127.0.0.1:0", "SLUICE_HTTPS_ADDR=127.0.0.1:0", "SLUICE_TLS_CERT="+cert, "SLUICE_TLS_KEY="+cert,
		"SLUICE_RECORD_DIR="+recs, "SLUICE_RECORD_MIN_FREE=0", "SLUICE_EVENT_URL="+endpoint.URL)
	secrets := []string{"SLUICE_PUBLISH_SECRETS=live/** S3CRETpublish", "SLUICE_WATCH_SECRETS=live/** S3CRETwatch"}
	guarded, stopGuarded := start(t, append(secrets,
		"SLUICE_PUBLISH_AUTH=key;sign", "SLUICE_PUBLISH_KEYS=live/** S3CRETkey", "SLUICE_WATCH_AUTH=sign")...)
	urls := func(out *output) []string {
		return []string{out.find(t, `(rtmp://127\.0\.0\.1:\d+)/live/NAME\n`)[1], out.find(t, `(http://127\.0\.0\.1:\d+)/ in a browser`)[1]}
	}
	var checking sync.WaitGroup
	checking.Go(func() {
		args := append([]string{"-ca", cert}, urls(open)...)
		args = append(args, open.find(t, `(rtmps://127\.0\.0\.1:\d+)/live/NAME\n`)[1], open.find(t, `(https://127\.0\.0\.1:\d+)/`)[1])
		code, c, out := runCheck(t, nil, args...)
		assert.Equal(t, exitOK, code, out)
		var protocols []string
		for _, o := range c.Outputs {
			protocols = append(protocols, o.Protocol)
		}
		assert.Equal(t, []string{"rtmp", "http", "ws", "rtmps", "https", "wss", "recording", "recording"}, protocols)
		assert.NotContains(t, open.String(), "level=WARN msg=session")
	})
	checking.Go(func() {
		code, _, out := runCheck(t, secrets, append([]string{"-key", "S3CRETkey"}, urls(guarded)...)...)
		assert.Equal(t, exitOK, code, out)
		assert.NotContains(t, out, "S3CRET")
		code, c, out := runCheck(t, nil, append([]string{"-key", "S3CRETkey"}, urls(guarded)...)...)
		assert.Equal(t, exitFailure, code)
		assert.Len(t, c.Outputs, 3)
		for _, o := range c.Outputs {
			assert.Equal(t, "denied-watch", o.Fault.Word, "%s: %s", o.Protocol, o.Fault.Sentence)
		}
		assert.NotContains(t, out, "S3CRET")
	})
	checking.Wait()
	assert.Equal(t, exitOK, stopOpen())
	assert.Equal(t, exitOK, stopGuarded())
	assert.NotContains(t, guarded.String(), "S3CRET")
	assert.Contains(t, open.String(), "sluice-check-", "the log has its sessions")
	mu.Lock()
	assert.Contains(t, told.String(), "server.started", "the endpoint is told")
	assert.NotContains(t, told.String(), "sluice-check-", "but not of a self-test")
	mu.Unlock()
	require.NoError(t, filepath.WalkDir(recs, func(path string, _ fs.DirEntry, err error) error {
		assert.False(t, strings.Contains(path, "sluice-check-"), path)
		return err
	}))
}
