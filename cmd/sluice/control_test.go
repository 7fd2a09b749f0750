//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// Who finds the operators' address and only connects keeps no operator out, and costs no more
// than a few connections.
func TestOperatorsAmongStrangers(t *testing.T) {
	cfg, err := loadConfig([]string{
		"SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0", "SLUICE_ADMIN_ADDR=127.0.0.1:0", "SLUICE_ADMIN_TOKEN=" + adminToken,
	})
	require.NoError(t, err)
	require.NoError(t, cfg.open(newLogger(io.Discard, "text", 0)))
	svc, _ := startConfigured(t, floodTimeout, io.Discard, cfg)
	address := svc.listeners.addr("admin")
	for range 3 * maxAdminConnections {
		c, err := net.Dial("tcp", address)
		require.NoError(t, err)
		defer c.Close()
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	for _, path := range []string{"/healthz", "/readyz"} {
		resp, err := client.Get("http://" + address + path)
		require.NoError(t, err)
		resp.Body.Close()
		assert.Equal(t, http.StatusOK, resp.StatusCode)
	}
	code, _ := operator{t, address}.do(http.MethodGet, "/api/v1/info", "")
	assert.Equal(t, http.StatusOK, code)
	assert.LessOrEqual(t, svc.operators.Figures().Open, maxAdminConnections)
}

// Ten thousand who are refused make neither as many lines nor as many events, whatever they
// show, and how many were left out is told.
func TestRefusalsInAFlood(t *testing.T) {
	t.Parallel()
	const joins, workers = 4000, 8
	log := new(syncBuffer)
	began := time.Now()
	svc, p := permitted(t, log, "SLUICE_LOG_LEVEL=info", "SLUICE_WATCH_AUTH=key", "SLUICE_WATCH_KEYS=** "+watchKey,
		"SLUICE_ADMIN_ADDR=127.0.0.1:0", "SLUICE_ADMIN_TOKEN="+adminToken)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
	defer client.CloseIdleConnections()
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			for n := range joins / workers {
				query := "" // nothing, or a wrong key
				if worker%2 == 0 {
					query = fmt.Sprintf("?key=S3CRET%d", n)
				}
				resp, err := client.Get(fmt.Sprintf("http://%s/live/%d.flv%s", p.http, n, query))
				if !assert.NoError(t, err) {
					return
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				// From so many wrong keys on nobody is asked about this address.
				assert.Contains(t, []int{http.StatusForbidden, http.StatusServiceUnavailable}, resp.StatusCode)
			}
		})
	}
	all.Wait()
	until(t, "all are told", func() bool {
		refused := uint64(0)
		for _, sums := range svc.hub.Totals() {
			refused += sums.Refused[hub.ReasonDenied] + sums.Refused[hub.ReasonTooMany]
		}
		return refused == joins
	})
	events, _, missed := svc.notifier.Ring().Since(0, 0)
	svc.stop()
	seconds := int(time.Since(began).Seconds()) + 1
	refusals := bytes.Count(log.bytes(), []byte(`msg="session refused"`))
	t.Logf("%d lines, %d events of %d refusals in %d s", refusals, len(events), joins, seconds)
	assert.LessOrEqual(t, refusals, logBurst+logRate*seconds)
	assert.LessOrEqual(t, bytes.Count(log.bytes(), []byte("\n")), refusals+seconds+20, "besides them there is next to nothing")
	assert.Zero(t, missed)
	assert.LessOrEqual(t, len(events), 1+seconds+1, "server started, and one a second of an address")
	assert.Contains(t, string(bytes.Join(rawEvents(events), nil)), `"type":"denied"`)
	noSecrets(t, "the log", log.bytes())
}

// rawEvents returns events as bytes.
func rawEvents(events []json.RawMessage) (raw [][]byte) {
	for _, e := range events {
		raw = append(raw, e)
	}
	return raw
}
