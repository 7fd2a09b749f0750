package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/httpflv"
	"sluice/hub"
	"sluice/hub/fanout"
	"sluice/rtmp"
	"sluice/rtmp/gateway"
)

// gatewayAt is a gateway in this process.
type gatewayAt struct {
	hub        *hub.Hub
	rtmp, http string // HOST:PORT
}

// startGateway serves on loopback until the test ends.
func startGateway(t *testing.T, cfg hub.Config) *gatewayAt {
	t.Helper()
	h := hub.New(cfg)
	pool := fanout.New(fanout.Config{})
	server := &rtmp.Server{Handler: &gateway.Handler{Hub: h, Pool: pool}}
	viewers := &httpflv.Handler{Hub: h, Pool: pool}
	web := &http.Server{Handler: viewers}
	rtmpAt, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	httpAt, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(rtmpAt) })
	serving.Go(func() { web.Serve(httpAt) })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		assert.NoError(t, h.Shutdown(ctx))
		assert.NoError(t, server.Shutdown(ctx))
		assert.NoError(t, web.Shutdown(ctx))
		pool.Close()
		viewers.Wait()
		serving.Wait()
	})
	return &gatewayAt{hub: h, rtmp: rtmpAt.Addr().String(), http: httpAt.Addr().String()}
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
