//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const scraperToken = "S3CRETscraper-0123456789"

// fetch asks an address with a token, none if that is empty, and returns status and body.
func fetch(t *testing.T, method, address, path, token string, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+address+path, nil)
	require.NoError(t, err)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

// Who may have what on each address. Profiles are for operators, and nowhere else.
func TestOperatorsAddresses(t *testing.T) {
	log := new(syncBuffer)
	svc, p := permitted(t, log, append(operators, "SLUICE_METRICS_ADDR=127.0.0.1:0", "SLUICE_METRICS_TOKEN="+scraperToken)...)
	admin, scraped := svc.listeners.addr("admin"), svc.listeners.addr("metrics")
	const metrics, pprof, api, gone = "sluice_build_info{", "goroutine profile: total", `"totals":`, `"not found"`
	for _, c := range []struct {
		address, method, path, token string
		code                         int
		want                         string
	}{
		{admin, "GET", "/metrics", scraperToken, 200, metrics},
		{admin, "GET", "/metrics", adminToken, 200, metrics},
		{admin, "HEAD", "/metrics", adminToken, 200, ""},
		{admin, "POST", "/metrics", scraperToken, 405, ""},
		{admin, "GET", "/metrics?x=%zz", scraperToken, 200, metrics},
		{admin, "GET", "/metrics", "", 401, ""},
		{admin, "GET", "/metrics/", scraperToken, 401, ""},
		{admin, "GET", "/metrics/", adminToken, 404, gone},
		{admin, "GET", "/api/v1/info", adminToken, 200, api},
		{admin, "GET", "/api/v1/info", scraperToken, 401, ""},
		{admin, "GET", "/debug/pprof/", adminToken, 200, "goroutine"},
		{admin, "GET", "/debug/pprof/goroutine?debug=1", adminToken, 200, pprof},
		{admin, "GET", "/debug/pprof/cmdline", adminToken, 200, ""},
		{admin, "GET", "/debug/pprof/nothing", adminToken, 404, ""},
		{admin, "GET", "/debug/pprof/goroutine?debug=1", scraperToken, 401, ""},
		{admin, "GET", "/debug/pprof/goroutine?debug=1", "", 401, ""},
		{admin, "POST", "/debug/pprof/symbol", adminToken, 405, ""},
		{admin, "GET", "/debug/pprof/profile?seconds=101", adminToken, 400, "up to 100, since an answer may take no longer than 2m0s"},
		{admin, "GET", "/debug/pprof/trace?seconds=NaN", adminToken, 400, "up to 100"},
		{admin, "GET", "/debug/pprof/heap?seconds=-1", adminToken, 400, "up to 100"},
		{admin, "GET", "/debug/pprof", adminToken, 404, gone},
		{admin, "GET", "/healthz", "", 200, ""},
		{admin, "GET", "/admin", "", 200, "<title>Sluice console</title>"},
		{admin, "HEAD", "/admin", "", 200, ""},
		{admin, "GET", "/admin/console.js", "", 200, "import"},
		{admin, "GET", "/admin/nothing", adminToken, 404, "the console is at /admin"},
		{admin, "GET", "/administrator", adminToken, 404, gone},
		{scraped, "GET", "/metrics", scraperToken, 200, metrics},
		{scraped, "GET", "/metrics", adminToken, 401, ""},
		{scraped, "GET", "/metrics", "", 401, ""},
		{scraped, "GET", "/debug/pprof/", adminToken, 404, gone},
		{scraped, "GET", "/api/v1/info", adminToken, 404, gone},
		{p.http, "GET", "/metrics", adminToken, 404, gone},
		{p.http, "GET", "/debug/pprof/", adminToken, 404, gone},
		{p.http, "GET", "/admin", adminToken, 404, ""},
		{scraped, "GET", "/admin", adminToken, 404, gone},
		{p.http, "GET", "/debug/pprof/goroutine?debug=1", adminToken, 404, gone},
	} {
		code, body := fetch(t, c.method, c.address, c.path, c.token)
		assert.Equal(t, c.code, code, "%s %s: %s", c.method, c.path, body)
		assert.Contains(t, body, c.want, c.path)
		assert.NotContains(t, body, "S3CRET", c.path)
		if c.code >= 400 && c.want != metrics {
			assert.NotContains(t, body, metrics, c.path)
		}
	}
	svc.stop()
	noSecrets(t, "the log", log.bytes())
}

// No page of a browser may read what is answered at the addresses of operators, a refusal included,
// and none may take it for a script.
func TestOperatorsAnswersAreForNoPage(t *testing.T) {
	svc, _ := permitted(t, io.Discard, append(operators, "SLUICE_METRICS_ADDR=127.0.0.1:0")...)
	admin, scraped := svc.listeners.addr("admin"), svc.listeners.addr("metrics")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	for _, c := range []struct {
		method, url, token string
		code               int
	}{
		{"GET", scraped + "/metrics", "", 200}, {"POST", scraped + "/metrics", "", 405}, {"GET", scraped + "/x", "", 404},
		{"OPTIONS", scraped + "/metrics", "", 405}, {"OPTIONS", admin + "/api/v1/info", "", 401},
		{"GET", admin + "/metrics", "", 401}, {"GET", admin + "/metrics", adminToken, 200}, {"PUT", admin + "/metrics", adminToken, 405},
		{"GET", admin + "/api/v1/info", adminToken, 200}, {"GET", admin + "/api/v1/nothing", adminToken, 404},
		{"GET", admin + "/debug/pprof/heap?seconds=-1", adminToken, 400}, {"POST", admin + "/debug/pprof/", adminToken, 405},
		{"GET", admin + "/debug/pprof/goroutine?debug=1", adminToken, 200},
	} {
		r, err := http.NewRequest(c.method, "http://"+c.url, nil)
		require.NoError(t, err)
		r.Header.Set("Origin", "https://evil.example")
		if c.token != "" {
			r.Header.Set("Authorization", "Bearer "+c.token)
		}
		resp, err := client.Do(r)
		require.NoError(t, err)
		resp.Body.Close()
		assert.Equal(t, c.code, resp.StatusCode, "%s %s", c.method, c.url)
		assert.Equal(t, "no-store", resp.Header.Get("Cache-Control"), "%s %s", c.method, c.url)
		assert.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"), "%s %s", c.method, c.url)
		for name := range resp.Header {
			assert.NotContains(t, name, "Access-Control", "%s %s", c.method, c.url)
		}
	}
}

// Strangers who ask for what needs no token, and do not take it, give way to operators.
func TestStrangersKeepNoOperatorOut(t *testing.T) {
	t.Parallel()
	svc, _ := permitted(t, io.Discard, operators...)
	admin := svc.listeners.addr("admin")
	for range maxAdminConnections {
		c, err := net.Dial("tcp", admin)
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, c.(*net.TCPConn).SetReadBuffer(2<<10))
		go io.WriteString(c, strings.Repeat("GET /admin/console.css HTTP/1.1\r\nHost: x\r\n\r\n", 1000)) // ends with c
	}
	until(t, "all are there", func() bool { return svc.operators.Figures().Admitted == maxAdminConnections })
	for asked := range 20 { // whose connections the server may still be closing
		f := svc.operators.Figures()
		assert.LessOrEqual(t, f.Open-f.Pending, asked, "none has shown a token but the operator")
		code, _ := fetch(t, "GET", admin, "/api/v1/info", adminToken)
		assert.Equal(t, 200, code)
	}
}

// On loopback metrics need no token where none is set, but no page of a browser has them under a name
// of its own.
func TestMetricsWithoutToken(t *testing.T) {
	svc, _ := permitted(t, io.Discard, "SLUICE_METRICS_ADDR=127.0.0.1:0")
	address := svc.listeners.addr("metrics")
	assert.Nil(t, svc.admin)
	for host, want := range map[string]int{
		"127.0.0.1": 200, "127.0.0.1:9": 200, "localhost": 200, "LOCALHOST:1": 200, "[::1]": 200, "[::1]:80": 200, "10.0.0.1:1": 200,
		"evil.example": 403, "evil.example:80": 403, "127.0.0.1.evil.example": 403, "localhost.evil.example": 403, "127.1": 403, "[": 403,
	} {
		code, body := fetch(t, "GET", address, "/metrics", "", "Host", host)
		assert.Equal(t, want, code, "%s: %s", host, body)
		assert.Equal(t, want == 200, strings.Contains(body, "sluice_ready 1"), host)
	}
}

// Nothing is measured where nobody can ask.
func TestMetricsOff(t *testing.T) {
	svc, _ := permitted(t, io.Discard, "SLUICE_WATCH_AUTH=key", "SLUICE_WATCH_KEYS=** "+watchKey)
	assert.Nil(t, svc.metrics)
	assert.Nil(t, svc.operators)
	assert.Nil(t, svc.permission.metrics.Load())
}

// Wrong tokens of an address count together, wherever they are shown.
func TestWrongTokensCountTogether(t *testing.T) {
	svc, _ := permitted(t, io.Discard, append(operators, "SLUICE_METRICS_ADDR=127.0.0.1:0", "SLUICE_METRICS_TOKEN="+scraperToken)...)
	admin, scraped := svc.listeners.addr("admin"), svc.listeners.addr("metrics")
	_, said := fetch(t, "GET", scraped, "/metrics", scraperToken)
	assert.Contains(t, said, "sluice_operator_wrong_tokens_total 0\n")
	for n, at := range []struct{ address, path string }{
		{admin, "/metrics"}, {scraped, "/metrics"}, {admin, "/debug/pprof/"}, {admin, "/api/v1/info"}, {scraped, "/metrics"},
		{admin, "/metrics"}, {scraped, "/metrics"}, {admin, "/debug/pprof/"}, {admin, "/api/v1/info"}, {scraped, "/metrics"},
	} {
		code, _ := fetch(t, "GET", at.address, at.path, fmt.Sprint("a wrong token of many characters, ", n))
		assert.Equal(t, 401, code, n)
	}
	for _, at := range []struct{ address, path, token string }{
		{admin, "/metrics", scraperToken}, {scraped, "/metrics", scraperToken}, {admin, "/api/v1/info", adminToken}, {admin, "/debug/pprof/", adminToken},
	} {
		code, _ := fetch(t, "GET", at.address, at.path, at.token)
		assert.Equal(t, 429, code, at.path)
	}
}

// The token for metrics is read again where it stands in a file.
func TestMetricsTokenIsReloaded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(scraperToken+"\n"), 0o600))
	environ := []string{"SLUICE_METRICS_ADDR=127.0.0.1:0", "SLUICE_METRICS_TOKEN_FILE=" + file}
	svc, _ := permitted(t, io.Discard, environ...)
	address := svc.listeners.addr("metrics")
	code, _ := fetch(t, "GET", address, "/metrics", scraperToken)
	assert.Equal(t, 200, code)
	require.NoError(t, os.WriteFile(file, []byte("another-token-0123456789"), 0o600))
	svc.reload(environ)
	code, _ = fetch(t, "GET", address, "/metrics", scraperToken)
	assert.Equal(t, 401, code)
	code, _ = fetch(t, "GET", address, "/metrics", "another-token-0123456789")
	assert.Equal(t, 200, code)
}

// Profiles are bounded in number, and end with who asked for them.
func TestProfilesAreBounded(t *testing.T) {
	svc, _ := permitted(t, io.Discard, operators...)
	admin := svc.listeners.addr("admin")
	ctx, leave := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range maxProfiles {
		all.Go(func() {
			for ctx.Err() == nil { // what looks below is in the way as well
				r, _ := http.NewRequestWithContext(ctx, "GET", "http://"+admin+"/debug/pprof/mutex?seconds=100", nil)
				r.Header.Set("Authorization", "Bearer "+adminToken)
				if resp, err := http.DefaultClient.Do(r); err == nil {
					resp.Body.Close()
				}
			}
		})
	}
	defer http.DefaultClient.CloseIdleConnections()
	for busy := 0; busy < 3; { // one after the other
		code, body := fetch(t, "GET", admin, "/debug/pprof/goroutine?debug=1", adminToken)
		if busy++; code != http.StatusServiceUnavailable || !strings.Contains(body, "2 profiles are being made") {
			busy = 0
		}
	}
	leave()
	all.Wait()
	until(t, "there is room", func() bool {
		code, _ := fetch(t, "GET", admin, "/debug/pprof/profile?seconds=1", adminToken)
		return code == http.StatusOK
	})
}

// What clients do is in the figures: who publishes and watches, and who was not permitted.
func TestMetricsOfService(t *testing.T) {
	svc, p := permitted(t, io.Discard, append(operators, "SLUICE_DEMO=true", "SLUICE_WATCH_AUTH=key", "SLUICE_WATCH_KEYS=** "+watchKey,
		"SLUICE_METRICS_STREAMS=1")...)
	admin := svc.listeners.addr("admin")
	code, _ := fetch(t, "GET", p.http, "/live/demo.flv?key=S3CRETwrong", "")
	require.Equal(t, http.StatusForbidden, code)
	client := &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://" + p.http + "/live/demo.flv?key=" + watchKey)
	require.NoError(t, err)
	defer resp.Body.Close()
	_, err = io.ReadFull(resp.Body, make([]byte, 1000))
	require.NoError(t, err)
	for _, want := range []string{
		`sluice_sessions{protocol="demo",role="publish"} 1`,
		`sluice_sessions{protocol="http-flv",role="watch"} 1`,
		`sluice_sessions_refused_total{reason="denied",role="watch"} 1`,
		`sluice_permission_decisions_total{method="key",result="wrong",role="watch"} 1`,
		`sluice_permission_decisions_total{method="key",result="granted",role="watch"} 1`,
		`sluice_permission_seconds_count{role="watch"} 2`,
		`sluice_first_frame_seconds_count{protocol="http-flv"} 1`,
		`sluice_streams{state="live"} 1`,
		`sluice_unwell_publishers 0`,
		`sluice_stream_viewers{stream="live/demo"} 1`,
		`sluice_connections{protocol="http",state="active"} 1`,
		`sluice_connections{protocol="admin",state="active"} 1`,
	} {
		until(t, want, func() bool {
			_, said := fetch(t, "GET", admin, "/metrics", adminToken)
			assert.NotContains(t, said, "S3CRET")
			return strings.Contains(said, "\n"+want+"\n")
		})
	}
}
