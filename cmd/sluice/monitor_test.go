//go:build unix

package main

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// Operators are told of the disk and of figures; where there are none, nobody is measured.
func TestMonitor(t *testing.T) {
	for name, admin := range map[string]string{"with operators": "127.0.0.1:0", "without": ""} {
		t.Run(name, func(t *testing.T) {
			environ := []string{"SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0", "SLUICE_RECORD_DIR=" + t.TempDir()}
			if admin != "" {
				environ = append(environ, "SLUICE_ADMIN_ADDR="+admin, "SLUICE_ADMIN_TOKEN="+adminToken)
			}
			cfg, err := loadConfig(environ)
			require.NoError(t, err)
			require.NoError(t, cfg.open(newLogger(io.Discard, "text", 0)))
			svc, _ := startConfigured(t, floodTimeout, io.Discard, cfg)
			if admin == "" {
				assert.Nil(t, svc.monitor)
				return
			}
			ask := func(path string) (int, map[string]any) {
				return operator{t, svc.listeners.addr("admin")}.do(http.MethodGet, path, "")
			}
			code, info := ask("/api/v1/info")
			require.Equal(t, http.StatusOK, code)
			if disk, ok := info["parts"].(map[string]any)["disk"].(map[string]any); ok {
				assert.Greater(t, disk["total"], disk["free"])
				assert.Greater(t, disk["free"], 0.)
			}
			code, series := ask("/api/v1/series")
			assert.Equal(t, http.StatusOK, code)
			assert.Len(t, series["points"], 7)

			p, err := svc.hub.Publish(svc.hub.NewSession(hub.RolePublish, hub.Key{App: "live", Name: "me"}, hub.Client{Protocol: "test"}), hub.PublishOptions{})
			require.NoError(t, err)
			defer p.Close()
			until(t, "it is measured", func() bool {
				code, series = ask("/api/v1/series?stream=live/me")
				return code == http.StatusOK
			})
			assert.Len(t, series["points"], 5)
		})
	}
}

// Publishers are looked at where nobody but a Prometheus is told of it.
func TestMonitorForMetricsAlone(t *testing.T) {
	cfg, err := loadConfig([]string{"SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0", "SLUICE_METRICS_ADDR=127.0.0.1:0"})
	require.NoError(t, err)
	require.NoError(t, cfg.open(newLogger(io.Discard, "text", 0)))
	svc, _ := startConfigured(t, floodTimeout, io.Discard, cfg)
	assert.Nil(t, svc.notifier)
	_, said := fetch(t, "GET", svc.listeners.addr("metrics"), "/metrics", "")
	assert.Contains(t, said, "\nsluice_unwell_publishers 0\n")
}

// The process has used some time, and memory.
func TestProcessUsage(t *testing.T) {
	began := time.Now()
	before, _ := processUsage()
	for time.Since(began) < 20*time.Millisecond { // of work
	}
	cpu, memory := processUsage()
	assert.Greater(t, memory, int64(1<<20))
	if cpu >= 0 {
		assert.Greater(t, cpu, before)
	}
	assert.Positive(t, runtimeMemory())
}
