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
