package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestArguments(t *testing.T) {
	for _, c := range []struct {
		args       []string
		code       int
		out, error string // what must be in it; "" = it is empty
	}{
		{[]string{"-h"}, exitOK, "SLUICE_RTMP_ADDR (default :1935)", ""},
		{[]string{"-help"}, exitOK, "Usage:", ""},
		{[]string{"--help"}, exitOK, "Usage:", ""},
		{[]string{"-version"}, exitOK, "sluice ", ""},
		{[]string{"--version"}, exitOK, "sluice ", ""},
		{[]string{"bench", "-h"}, exitOK, "Usage: sluice bench", ""},
		{[]string{"sign", "-h"}, exitOK, "Usage: sluice sign", ""},
		{[]string{"check", "-h"}, exitOK, "Usage: sluice check", ""},
		{[]string{"help", "check"}, exitOK, "Usage: sluice check", ""},
		{[]string{"check"}, exitUsage, "", "sluice check: it needs URLs"},
		{[]string{"sign"}, exitUsage, "", "sluice sign: it needs the URL"},
		{[]string{"bench"}, exitUsage, "", "sluice bench: nothing to do"},
		{[]string{"help"}, exitOK, "Usage:", ""},
		{[]string{"-v"}, exitOK, "sluice ", ""},
		{[]string{"version"}, exitOK, "sluice ", ""},
		{[]string{"help", "bench"}, exitOK, "Usage: sluice bench", ""},
		{[]string{"help", "sign"}, exitOK, "Usage: sluice sign", ""},
		{[]string{"help", "serve"}, exitUsage, "", `help takes nothing behind it, "serve" is too much`},
		{[]string{"-v", "sign"}, exitUsage, "", `-v takes nothing behind it, "sign" is too much`},
		{[]string{"-port", "1"}, exitUsage, "", `unknown argument "-port"`},
		{[]string{"--port=1"}, exitUsage, "", `unknown argument "--port"; there are bench, check, sign, help and version`},
		{[]string{"serve"}, exitUsage, "", `unknown argument "serve"`},
		{[]string{"SLUICE_DEMO=true"}, exitUsage, "", `variables stand in front of the command: SLUICE_DEMO=… sluice`},
		{[]string{""}, exitUsage, "", `unknown argument ""`},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			// a mistake in the environment must not keep anyone from the help
			code := run(t.Context(), c.args, []string{"SLUICE_X=1"}, &stdout, &stderr)
			assert.Equal(t, c.code, code)
			for got, want := range map[*bytes.Buffer]string{&stdout: c.out, &stderr: c.error} {
				if want == "" {
					assert.Empty(t, got.String())
				} else {
					assert.Contains(t, got.String(), want)
				}
			}
			assert.LessOrEqual(t, strings.Count(stderr.String(), "\n"), 1)
			assert.NotContains(t, stderr.String(), "true")
		})
	}
}

func TestBadConfigurationIsExit2(t *testing.T) {
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), nil, []string{"SLUICE_MAX_LAG=never", "SLUICE_DEMO=maybe", "SLUICE_TYPO=1"}, &stdout, &stderr)
	assert.Equal(t, exitUsage, code)
	assert.Empty(t, stdout.String())
	for _, name := range []string{"SLUICE_MAX_LAG", "SLUICE_DEMO", "SLUICE_TYPO"} {
		assert.Regexp(t, `(?m)^  `+name, stderr.String())
	}
}

func TestPortInUseIsOneLine(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer busy.Close()
	addr := busy.Addr().String()
	for _, c := range []struct{ rtmp, http, want string }{
		{addr, "127.0.0.1:0", "sluice: RTMP cannot listen on " + addr + ": the port is in use (SLUICE_RTMP_ADDR sets another)\n"},
		{"127.0.0.1:0", addr, "sluice: HTTP cannot listen on " + addr + ": the port is in use (SLUICE_HTTP_ADDR sets another)\n"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), nil, []string{"SLUICE_RTMP_ADDR=" + c.rtmp, "SLUICE_HTTP_ADDR=" + c.http}, &stdout, &stderr)
		assert.Equal(t, exitFailure, code)
		assert.Equal(t, c.want, stderr.String())
		assert.Empty(t, stdout.String())
	}
}

func TestAddressOfAnotherMachine(t *testing.T) {
	var stderr bytes.Buffer
	// 192.0.2.0/24 is for documentation: nobody has it (RFC 5737), but a sandbox
	// may; the last address of the block for benchmarks (RFC 2544) serves as well
	code := run(t.Context(), nil, []string{"SLUICE_RTMP_ADDR=198.19.255.254:0", "SLUICE_HTTP_ADDR=127.0.0.1:0"}, io.Discard, &stderr)
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, stderr.String(), "this machine has no such address")
}

// output collects what run writes, and may be read meanwhile.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // has one element after a write
}

func newOutput() *output { return &output{more: make(chan struct{}, 1)} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.more <- struct{}{}:
	default:
	}
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// find waits for a match of pattern and returns its submatches.
func (o *output) find(t testing.TB, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.After(10 * time.Second)
	for {
		if m := re.FindStringSubmatch(o.String()); m != nil {
			return m
		}
		select {
		case <-o.more:
		case <-deadline:
			t.Fatalf("no %q in:\n%s", pattern, o)
		}
	}
}

// start runs the program on free ports until the test ends it by stop, which
// returns the exit code.
func start(t *testing.T, environ ...string) (out *output, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	out = newOutput()
	done := make(chan int, 1)
	environ = append([]string{"SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0"}, environ...)
	go func() { done <- run(ctx, nil, environ, out, out) }()
	stop = sync.OnceValue(func() int {
		cancel(errors.New("signal: test"))
		return <-done
	})
	t.Cleanup(func() { stop() })
	return out, stop
}

func TestAnnouncesURLsAndDrains(t *testing.T) {
	out, stop := start(t, "SLUICE_LOG_LEVEL=error")
	rtmp := out.find(t, `rtmp://(127\.0\.0\.1:\d+)/live/NAME\n`)[1]
	page := out.find(t, `(http://127\.0\.0\.1:\d+)/ in a browser`)[1]
	flv := out.find(t, `(http://127\.0\.0\.1:\d+)/live/NAME\.flv\n`)[1]
	out.find(t, `ws://127\.0\.0\.1:\d+/live/NAME\.flv\n`)
	assert.Equal(t, page, flv)
	assert.NotContains(t, out.String(), "Demo")

	conn, err := net.Dial("tcp", rtmp)
	require.NoError(t, err)
	defer conn.Close()

	res, err := http.Get(page + "/nowhere")
	require.NoError(t, err)
	defer res.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	assert.Equal(t, http.StatusNotFound, res.StatusCode)
	assert.Equal(t, "application/json", res.Header.Get("Content-Type"))
	assert.Equal(t, "*", res.Header.Get("Access-Control-Allow-Origin"))
	var body map[string]string
	require.NoError(t, json.NewDecoder(res.Body).Decode(&body))
	assert.Equal(t, "not found", body["error"])

	assert.Equal(t, exitOK, stop())
	_, err = net.Dial("tcp", rtmp)
	assert.Error(t, err, "the port is still open")
}

// Each of several addresses is told, and serves; what is off is neither.
func TestAnnouncesSeveralAddresses(t *testing.T) {
	out, _ := start(t, "SLUICE_RTMP_ADDR=off", "SLUICE_HTTP_ADDR=127.0.0.1:0;localhost:0", "SLUICE_METRICS_ADDR=127.0.0.1:0;127.0.0.1:0")
	out.find(t, `is ready\.\n\n(  .+\n)+\n`)
	first := out.find(t, `  Watch     (http://127\.0\.0\.1:\d+)/ in a browser\n`)[1]
	second := out.find(t, `\n            (http://localhost:\d+)/\n`)[1]
	for _, base := range []string{first, second} {
		ws := strings.Replace(base, "http", "ws", 1)
		out.find(t, `\n            `+regexp.QuoteMeta(base)+`/live/NAME\.flv\n`)
		out.find(t, `\n            `+regexp.QuoteMeta(ws)+`/live/NAME\.flv\n`)
		res, err := http.Get(base + "/readyz")
		require.NoError(t, err)
		res.Body.Close()
		assert.Equal(t, http.StatusOK, res.StatusCode)
	}
	http.DefaultClient.CloseIdleConnections()
	for _, metrics := range regexp.MustCompile(`  Metrics   http://(.+)/metrics`).FindAllStringSubmatch(out.String(), -1) {
		_, said := fetch(t, "GET", metrics[1], "/metrics", "")
		assert.True(t, strings.Contains(said, `sluice_connections_admitted_total{protocol="http"} 2`), "both count")
	}
	assert.NotContains(t, out.String(), "rtmp")
	assert.NotContains(t, out.String(), "Publish")
	assert.NotContains(t, out.String(), "anybody")
}

func TestAnnouncesInJSON(t *testing.T) {
	out, stop := start(t, "SLUICE_LOG_FORMAT=json", "SLUICE_LOG_LEVEL=debug")
	out.find(t, `"msg":"ready"`)
	assert.Equal(t, exitOK, stop())
	ready := false
	for line := range strings.Lines(out.String()) {
		var record map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &record), line)
		if record["msg"] == "ready" {
			ready = true
			assert.Regexp(t, `^rtmp://127\.0\.0\.1:\d+/live/NAME$`, record["publish"])
			assert.Regexp(t, `^http://127\.0\.0\.1:\d+/$`, record["page"])
			assert.Regexp(t, `^127\.0\.0\.1:\d+$`, record["http_addr"])
			assert.Empty(t, record["https_addr"])
		}
		if record["msg"] == "shutting down" {
			assert.Equal(t, "signal: test", record["reason"])
		}
	}
	assert.True(t, ready)
}

func TestEndpointURLs(t *testing.T) {
	for _, c := range []struct {
		e            endpoint
		scheme, want string
	}{
		{endpoint{host: "localhost", port: 1935}, "rtmp", "rtmp://localhost/x"},
		{endpoint{host: "localhost", port: 1936}, "rtmp", "rtmp://localhost:1936/x"},
		{endpoint{host: "localhost", port: 80}, "http", "http://localhost/x"},
		{endpoint{host: "localhost", port: 80}, "ws", "ws://localhost/x"},
		{endpoint{host: "localhost", port: 1935}, "http", "http://localhost:1935/x"},
		{endpoint{host: "::1", port: 80}, "http", "http://[::1]/x"},
		{endpoint{host: "::1", port: 8080}, "ws", "ws://[::1]:8080/x"},
	} {
		assert.Equal(t, c.want, c.e.url(c.scheme, "/x"))
	}
}

func TestEndpointOf(t *testing.T) {
	for _, c := range []struct {
		ip, addr string
		want     endpoint
	}{
		{"::", ":1935", endpoint{"localhost", 7, true}},
		{"0.0.0.0", "0.0.0.0:0", endpoint{"localhost", 7, true}},
		{"127.0.0.1", "localhost:0", endpoint{"localhost", 7, false}},
		{"203.0.113.9", "media.example.org:0", endpoint{"media.example.org", 7, false}},
		{"::1", "[::1]:0", endpoint{"::1", 7, false}},
	} {
		l := fakeListener{addr: &net.TCPAddr{IP: net.ParseIP(c.ip), Port: 7}}
		assert.Equal(t, c.want, endpointOf(l, c.addr), c.addr)
	}
}

type fakeListener struct {
	net.Listener
	addr net.Addr
}

func (l fakeListener) Addr() net.Addr { return l.addr }

// fakeServer takes drain to end everybody, or is cut off before; moving takes move of it.
type fakeServer struct {
	failed      chan error
	drain       time.Duration
	delay, move time.Duration
	handOver    time.Duration
}

func (f fakeServer) BeginDrain() time.Duration { return f.delay }

func (f fakeServer) Move(ctx context.Context) {
	select {
	case <-time.After(f.move):
	case <-ctx.Done():
	}
}

func (f fakeServer) HandOver(ctx context.Context) {
	select {
	case <-time.After(f.handOver):
	case <-ctx.Done():
	}
}

func (f fakeServer) Start() <-chan error { return f.failed }

func (f fakeServer) Shutdown(ctx context.Context) error {
	select {
	case <-time.After(f.drain):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errBroken = errors.New("broken listener")

func TestServeDrainsWithinABound(t *testing.T) {
	for _, c := range []struct {
		name     string
		svc      fakeServer
		fail     error
		failAt   time.Duration // after the signal
		code     int
		took     time.Duration
		lastLine string
	}{
		{"in time", fakeServer{drain: 3 * time.Second}, nil, 0, exitOK, 3 * time.Second, "msg=stopped after=3s"},
		{"cut off", fakeServer{drain: time.Hour}, nil, 0, exitOK, drainTimeout, "not everybody ended in time"},
		{"a part fails", fakeServer{drain: time.Second}, errBroken, -time.Minute, exitFailure, time.Second, "msg=stopped after=1s"},
		{"who can move has", fakeServer{drain: time.Second, move: 2 * time.Second}, nil, 0, exitOK, 3 * time.Second, "msg=stopped after=3s"},
		{"nobody moves", fakeServer{drain: time.Second, move: time.Hour}, nil, 0, exitOK, moveTimeout + time.Second, "msg=stopped after=6s"},
		{"publishers have gone before", fakeServer{drain: time.Second, handOver: 2 * time.Second, move: time.Hour}, nil, 0, exitOK, 2*time.Second + moveTimeout + time.Second, "msg=stopped after=8s"},
		{"publishers stay", fakeServer{drain: time.Second, handOver: time.Hour, move: time.Second}, nil, 0, exitOK, handOverTimeout + 2*time.Second, "msg=stopped after=6s"},
		{"publishers and viewers stay", fakeServer{drain: time.Second, handOver: time.Hour, move: time.Hour}, nil, 0, exitOK, movedTimeout + time.Second, "msg=stopped after=8s"},
		{"nobody does anything", fakeServer{drain: time.Hour, move: time.Hour}, nil, 0, exitOK, drainTimeout, "not everybody ended in time"},
		{"after a delay", fakeServer{drain: time.Second, delay: time.Minute}, nil, 0, exitOK, 61 * time.Second, "msg=stopped after=1s"},
		{"a part fails meanwhile", fakeServer{drain: time.Second, delay: time.Minute}, errBroken, 10 * time.Second, exitFailure, 11 * time.Second, "msg=stopped after=1s"},
		{"a part fails, a delay", fakeServer{drain: time.Second, delay: time.Minute}, errBroken, -time.Minute, exitFailure, time.Second, "msg=stopped after=1s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				svc := c.svc
				svc.failed = make(chan error, 1)
				began := time.Now()
				if c.fail != nil {
					time.AfterFunc(time.Minute+c.failAt, func() { svc.failed <- c.fail })
				}
				time.AfterFunc(time.Minute, func() { cancel(errors.New("signal: terminated")) })
				code := serve(ctx, svc, newLogger(&out, "text", slog.LevelInfo))
				took := time.Since(began)
				if c.failAt >= 0 {
					took -= time.Minute
					assert.Contains(t, out.String(), "signal: terminated")
				}
				if c.fail != nil {
					assert.Contains(t, out.String(), c.fail.Error())
				}
				assert.Equal(t, c.code, code)
				assert.Equal(t, c.took, took)
				assert.Contains(t, out.String(), c.lastLine)
			})
		})
	}
}

// Durations are written for people, in every form of the log.
func TestDurationsInTheLog(t *testing.T) {
	for form, want := range map[logFormat]string{
		"text": "after=1.5s for=250ms",
		"json": `"after":"1.5s","for":"250ms"`,
	} {
		var out bytes.Buffer
		newLogger(&out, form, slog.LevelInfo).With("after", 1500*time.Millisecond).
			Info("stopped", slog.Duration("for", 250*time.Millisecond))
		assert.Contains(t, out.String(), want)
		out.Reset()
		newLogger(&out, form, slog.LevelInfo).Info("stopped", slog.Group("client", "for", time.Minute))
		assert.Contains(t, out.String(), "1m0s")
	}
}
