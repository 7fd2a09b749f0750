//go:build unix

package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/rtmp"
)

// A viewer who waits for a publisher is ended by the shutdown as well.
func TestShutdownEndsThoseWhoWait(t *testing.T) {
	svc, p := startService(t, floodTimeout, io.Discard, "SLUICE_VIEWER_WAIT=10m")
	client := &http.Client{}
	defer client.CloseIdleConnections()

	status := make(chan int, 1)
	go func() {
		res, err := client.Get("http://" + p.http + "/live/later.flv")
		if err != nil {
			status <- -1
			return
		}
		res.Body.Close()
		status <- res.StatusCode
	}()
	played := make(chan error, 1)
	go func() {
		c := rtmp.Client{OpenTimeout: time.Minute}
		p, err := c.Play(t.Context(), "rtmp://"+p.rtmp+"/live/later")
		if err == nil {
			_, err = p.ReadTag()
			p.Close()
		}
		played <- err
	}()
	waiting := func() bool {
		streams := svc.hub.Streams() // the public is not told
		return len(streams) == 1 && streams[0].Viewers == 2
	}
	require.Eventually(t, waiting, 10*time.Second, 20*time.Millisecond)

	began := time.Now()
	svc.stop()
	assert.Less(t, time.Since(began), drainTimeout)
	assert.Equal(t, http.StatusServiceUnavailable, <-status)
	err := <-played
	require.Error(t, err)
	assert.False(t, errors.Is(err, context.DeadlineExceeded), err)
}

// As long as the server drains, /readyz says so on both addresses, to whoever asks anew, and
// /healthz that it is well; nobody is made to wait for events.
func TestReadyWhileDraining(t *testing.T) {
	cfg, err := loadConfig([]string{
		"SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0",
		"SLUICE_ADMIN_ADDR=127.0.0.1:0", "SLUICE_ADMIN_TOKEN=" + adminToken,
	})
	require.NoError(t, err)
	require.NoError(t, cfg.open(newLogger(io.Discard, "text", 0)))
	asked, drained := make(chan struct{}), make(chan struct{})
	cfg.authorize = func(context.Context, *hub.Session) (hub.Grant, error) {
		close(asked)
		<-drained // the hub waits for a policy that does not return
		return hub.Grant{}, nil
	}
	svc, p := startConfigured(t, floodTimeout, io.Discard, cfg)
	defer close(drained)
	operators := svc.listeners.admin.Addr().String()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	status := func(address, path string) int {
		resp, err := client.Get("http://" + address + path)
		if err != nil {
			return 0
		}
		defer resp.Body.Close()
		io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	for _, address := range []string{p.http, operators} {
		assert.Equal(t, http.StatusOK, status(address, "/readyz"))
	}
	waited := make(chan int, 1)
	go func() {
		code, _ := operator{t, operators}.do(http.MethodGet, "/api/v1/events?after=1&wait=30s", "")
		waited <- code
	}()
	viewer := askers[2].ask(t, p, nil, "x")
	defer viewer.Close()
	<-asked

	ended := make(chan struct{})
	go func() {
		defer close(ended)
		svc.stop()
	}()
	<-svc.hub.Closing()
	assert.Equal(t, http.StatusOK, <-waited)
	code, answer := operator{t, operators}.do(http.MethodGet, "/api/v1/info", "")
	assert.Equal(t, http.StatusOK, code)
	assert.Equal(t, "the server is shutting down", answer["reason"])
	for _, address := range []string{p.http, operators} {
		assert.Equal(t, http.StatusServiceUnavailable, status(address, "/readyz"))
		assert.Equal(t, http.StatusOK, status(address, "/healthz"))
	}
	assert.Equal(t, http.StatusServiceUnavailable, status(p.http, "/live/cam.flv"), "nobody comes in")
	drained <- struct{}{}
	<-ended
	for _, address := range []string{p.http, operators} {
		assert.Zero(t, status(address, "/readyz"), "nobody listens any more")
	}
}
