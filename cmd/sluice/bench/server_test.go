package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/httpflv"
	"sluice/httpflv/vod"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/fanout"
	"sluice/hub/record"
	"sluice/hub/relay"
	"sluice/hub/tlsconn"
	"sluice/rtmp"
	"sluice/rtmp/gateway"
	"sluice/web"
)

// gatewayAt is a gateway in this process.
type gatewayAt struct {
	hub        *hub.Hub
	rtmp, http string // HOST:PORT

	rtmps, https string      // likewise
	encryption   *tls.Config // of both
}

// startGateway serves on loopback until the test ends.
func startGateway(t *testing.T, cfg hub.Config) *gatewayAt {
	t.Helper()
	g, stop, err := newGateway(cfg, "")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, stop()) })
	return g
}

// startRecording is startGateway with a folder of recordings.
func startRecording(t *testing.T, dir string) *gatewayAt {
	t.Helper()
	g, stop, err := newGateway(hub.Config{}, dir)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, stop()) })
	return g
}

// newGateway serves on loopback, and records into a folder unless that is empty, until stop is
// called.
func newGateway(cfg hub.Config, dir string) (g *gatewayAt, stop func() error, err error) {
	quiet := slog.New(slog.DiscardHandler)
	var recordings *archive.Archive
	var recorder *record.Recorder
	if dir != "" {
		if recordings, err = archive.Open(archive.Config{Dir: dir, Logger: quiet}); err != nil {
			return nil, nil, err
		}
		cfg.Observe = func(e hub.Event) { recorder.Observe(e) }
	}
	var relaying *relay.Relay // when ready is closed: it pulls before it is there
	ready := make(chan struct{})
	observe := cfg.Observe
	cfg.Observe = func(e hub.Event) {
		if observe != nil {
			observe(e)
		}
		<-ready
		relaying.Observe(e)
	}
	cfg.Locate = func(key hub.Key) time.Duration {
		<-ready
		return relaying.Locate(key)
	}
	h := hub.New(cfg)
	if relaying, err = relays(h); err != nil {
		return nil, nil, err
	}
	close(ready)
	pool := fanout.New(fanout.Config{})
	viewers := &httpflv.Handler{Hub: h, Pool: pool}
	mux := http.NewServeMux()
	mux.Handle("/", viewers)
	mux.Handle("/api/v1/still", web.Handler(web.Config{Stills: web.StillsConfig{Take: h.Still}, Logger: quiet}))
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		totals := h.StreamTotals()
		fmt.Fprintf(w, "%s %d\n%s %d\n", figureLive, totals.Live, figureLog, totals.LogBytes)
	})
	var files *vod.Handler
	if recordings != nil {
		recorder = record.New(record.Config{Hub: h, Archive: recordings, Logger: quiet})
		files = vod.New(vod.Config{Archive: vod.FromArchive(recordings), Streams: viewers, Logger: quiet})
		mux.Handle("/rec/", files)
	}
	server := &rtmp.Server{Handler: &gateway.Handler{Hub: h, Pool: pool, Archive: recordings}}
	pages := &http.Server{Handler: mux}
	pair, err := selfSigned()
	if err != nil {
		return nil, nil, err
	}
	g = &gatewayAt{hub: h, encryption: &tls.Config{Certificates: []tls.Certificate{pair}}}
	var serving sync.WaitGroup
	for at, serve := range map[*string]func(net.Listener) error{&g.rtmp: server.Serve, &g.rtmps: server.Serve, &g.http: pages.Serve, &g.https: pages.Serve} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		*at = l.Addr().String()
		if at == &g.rtmps || at == &g.https {
			l = tlsconn.Listen(l, tlsconn.Config{TLS: g.encryption, Logger: quiet})
		}
		serving.Go(func() { serve(l) })
	}
	stop = func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		err := errors.Join(relaying.Close(ctx), h.Shutdown(ctx), server.Shutdown(ctx))
		if files != nil {
			files.Close()
		}
		err = errors.Join(err, pages.Shutdown(ctx))
		pool.Close()
		viewers.Wait()
		serving.Wait()
		if recordings != nil {
			err = errors.Join(err, recorder.Close(ctx), recordings.Close())
		}
		return err
	}
	return g, stop, nil
}

// serveOwn is the server that a comparison starts, as far as it needs one. It returns an exit
// code.
func serveOwn() int {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	g, stop, err := newGateway(hub.Config{}, os.Getenv("SLUICE_RECORD_DIR"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailure
	}
	slog.New(slog.NewJSONHandler(os.Stdout, nil)).Info("ready", "rtmp_addr", g.rtmp, "http_addr", g.http, "rtmps_addr", g.rtmps, "https_addr", g.https,
		"metrics_addr", g.http)
	<-asked
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailure
	}
	return exitOK
}

// publish returns the flags that publish to the gateway, one stream for each of n.
func (g *gatewayAt) publish(t *testing.T, n string) []string {
	return []string{"-publish", "rtmp://" + g.rtmp + "/live/s%d?key=secret", "-publishers", n, "-file", shortGOPs(t)}
}

// shortGOPs returns the name of a file with the built-in clip in which every tenth
// frame says that it is a key frame, so that tests need not wait for one.
func shortGOPs(t *testing.T) string {
	t.Helper()
	l := builtIn(t)
	b := flv.AppendHeader(nil, true, true)
	for _, tag := range l.header {
		b = flv.AppendTag(b, tag)
	}
	for _, f := range l.frames {
		if f.track == videoTrack {
			f.Data = bytes.Clone(f.Data)
			f.Data[0] = 0x27
			if f.order%10 == 0 {
				f.Data[0] = 0x17
			}
		}
		b = flv.AppendTag(b, f.Tag)
	}
	name := filepath.Join(t.TempDir(), "short.flv")
	require.NoError(t, os.WriteFile(name, b, 0o600))
	return name
}

// watch returns the flags that watch over all protocols.
func (g *gatewayAt) watch() []string {
	return []string{
		"-watch", "http://" + g.http + "/live/s%d.flv?key=secret",
		"-watch", "ws://" + g.http + "/live/s%d.flv?key=secret",
		"-watch", "rtmp://" + g.rtmp + "/live/s%d?key=secret",
	}
}

// watchTLS returns the flags that watch over all encrypted protocols.
func (g *gatewayAt) watchTLS() []string {
	return []string{
		"-watch", "https://" + g.https + "/live/s%d.flv?key=secret",
		"-watch", "wss://" + g.https + "/live/s%d.flv?key=secret",
		"-watch", "rtmps://" + g.rtmps + "/live/s%d?key=secret",
	}
}

// quick are flags for a short run.
var quick = []string{"-duration", "1s", "-warmup", "200ms", "-json"}

// benched runs sluice bench and returns its exit code and report.
func benched(t *testing.T, ctx context.Context, args ...[]string) (int, *report) {
	t.Helper()
	var all []string
	for _, a := range args {
		all = append(all, a...)
	}
	var stdout, stderr bytes.Buffer
	code := Run(ctx, all, &stdout, &stderr)
	assert.NotContains(t, stdout.String()+stderr.String(), "secret")
	r := &report{}
	require.NoError(t, json.Unmarshal(stdout.Bytes(), r), "%s\n%s", stdout.String(), stderr.String())
	if t.Failed() {
		t.Logf("%s", stdout.String())
	}
	return code, r
}

// benchedAsFast is benched, again where rates are not as they should be: of what a busy machine sends late, much falls beyond the
// ends of a short window, now and then; what is counted wrongly is wrong each time.
func benchedAsFast(t *testing.T, same func(*report) bool, args ...[]string) (code int, r *report) {
	t.Helper()
	for range 10 {
		if code, r = benched(t, t.Context(), args...); code != exitOK || same(r) {
			return code, r
		}
	}
	said, err := json.Marshal(r)
	require.NoError(t, err)
	assert.Fail(t, "other rates, each time", "%s", said)
	return code, r
}

// within reports whether a figure is what it should be, which is more than 0, give or take a share of that.
func within(share, want, is float64) bool { return want > 0 && math.Abs(is-want) <= share*want }
