//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
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
	operators := svc.listeners.addr("admin")
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

// The end of a viewer that takes nothing, and is cut off when the time is over, is told, and so is
// what else has happened by then.
func TestShutdownTellsTheEndsOfThoseWhoAreCutOff(t *testing.T) {
	var mu sync.Mutex
	told := make(map[string]int) // by type and reason
	endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var e struct{ Type, Reason string }
		assert.NoError(t, json.NewDecoder(r.Body).Decode(&e))
		mu.Lock()
		defer mu.Unlock()
		told[strings.TrimSpace(e.Type+" "+e.Reason)]++
	}))
	defer endpoint.Close()
	cfg, err := loadConfig([]string{"SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0", "SLUICE_EVENT_URL=" + endpoint.URL})
	require.NoError(t, err)
	log := newLogger(io.Discard, "text", 0)
	require.NoError(t, cfg.open(log))
	open, err := listen(t.Context(), cfg)
	require.NoError(t, err)
	svc := mustService(cfg, open, log)
	failed := svc.Start()
	session := svc.hub.NewSession(hub.RolePublish, hub.Key{App: "live", Name: "x"}, hub.Client{Protocol: "test"})
	publisher, err := svc.hub.Publish(session, hub.PublishOptions{End: func(*hub.Refusal) {}})
	require.NoError(t, err)
	for _, tag := range append(madeHeader(), stream2M.frames(time.Second)...) {
		require.NoError(t, publisher.Write(tag))
	}
	viewer, err := net.Dial("tcp", open.addr("http"))
	require.NoError(t, err)
	defer viewer.Close()
	viewer.(*net.TCPConn).SetReadBuffer(4096)
	_, err = io.WriteString(viewer, "GET /live/x.flv HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	until(t, "it is served", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return told["play"] == 1
	})
	for _, tag := range stream2M.frames(20 * time.Second) { // more than the system keeps for it
		tag.Timestamp += 1000
		require.NoError(t, publisher.Write(tag))
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	require.ErrorIs(t, svc.Shutdown(ctx), context.DeadlineExceeded, "it was cut off")
	assert.Empty(t, failed)
	mu.Lock()
	defer mu.Unlock()
	assert.Equal(t, map[string]int{
		"server.started": 1, "publish": 1, "tracks": 1, "play": 1, "draining": 1, "unpublish shutting down": 1, "stop shutting down": 1,
	}, told)
}
