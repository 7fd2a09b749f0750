//go:build unix

package main

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
	address := svc.listeners.admin.Addr().String()
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
