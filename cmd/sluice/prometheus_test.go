//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A real Prometheus with the documented configuration scrapes a server with a token, has its figures,
// takes the rules, and understands all that the board asks.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	path := needServer(t, "prometheus", "prometheus")
	svc, p := permitted(t, io.Discard, append(operators, "SLUICE_DEMO=true", "SLUICE_METRICS_TOKEN="+scraperToken, "SLUICE_METRICS_STREAMS=5")...)
	resp, err := http.Get("http://" + p.http + "/live/demo.flv")
	require.NoError(t, err)
	defer resp.Body.Close()
	go io.Copy(io.Discard, resp.Body)

	db := startPrometheus(t, path, svc.listeners.addr("admin"))
	for query, want := range map[string]string{
		`up{job="sluice"}`: "1",
		`sum(sluice_sessions{role="watch", protocol="http-flv"})`: "1",
		`sluice_streams{state="live"}`:                            "1",
		`sluice_stream_viewers{stream="live/demo"}`:               "1",
		`count(sluice_build_info)`:                                "1",
	} {
		until(t, query, func() bool {
			values, err := db.query(query)
			require.NoError(t, err)
			return len(values) == 1 && values[0] == want
		})
	}
	raw, err := os.ReadFile("metrics/grafana.json")
	require.NoError(t, err)
	var board struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	require.NoError(t, json.Unmarshal(raw, &board))
	asked := 0
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			asked++
			_, err := db.query(strings.NewReplacer("$job", "sluice", "$instance", ".*", "$__rate_interval", "1m").Replace(target.Expr))
			assert.NoError(t, err)
		}
	}
	assert.Greater(t, asked, 40)
	var rules struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
	}
	until(t, "the rules were looked at", func() bool {
		require.NoError(t, db.get("/api/v1/rules", &rules))
		if len(rules.Data.Groups) != 1 || len(rules.Data.Groups[0].Rules) < 15 {
			return false
		}
		for _, rule := range rules.Data.Groups[0].Rules {
			require.NotEqual(t, "err", rule.Health, "%s: %s", rule.Name, rule.LastError)
			if rule.Health != "ok" {
				return false
			}
		}
		return true
	})
}

// prometheus is a running one.
type prometheus struct{ address string }

// startPrometheus runs one with the documented configuration until the test ends.
func startPrometheus(t *testing.T, path, target string) prometheus {
	t.Helper()
	readme, err := os.ReadFile("metrics/README.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(readme), "```yaml\n# /etc/prometheus/prometheus.yml\n")
	require.True(t, found)
	conf, _, _ := strings.Cut(rest, "```")
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	require.NoError(t, os.WriteFile(token, []byte(scraperToken+"\n"), 0o600))
	alerts, err := filepath.Abs("metrics/alerts.yml")
	require.NoError(t, err)
	conf = filled(t, conf, "127.0.0.1:8081", target, "/etc/prometheus/sluice-token", token,
		"/etc/prometheus/sluice-alerts.yml", alerts, "scrape_interval: 15s", "scrape_interval: 1s")
	name := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(name, []byte("global: {evaluation_interval: 1s}\n"+conf), 0o600))
	cmd := exec.Command(path, "--config.file="+name, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0")
	said := newOutput()
	cmd.Stdout, cmd.Stderr = said, said
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		rude := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		defer rude.Stop()
		cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus said:\n%s", said.String())
		}
	})
	p := prometheus{said.find(t, `msg="?Listening on"? address=(127\.0\.0\.1:\d+)`)[1]}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	until(t, "prometheus is ready", func() bool { return p.get("/api/v1/status/runtimeinfo", new(any)) == nil })
	return p
}

// get asks its HTTP API.
func (p prometheus) get(path string, answer any) error {
	resp, err := http.Get("http://" + p.address + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", path, resp.Status, body)
	}
	return json.Unmarshal(body, answer)
}

// query returns the values of a query.
func (p prometheus) query(query string) (values []string, err error) {
	var answer struct {
		Data struct {
			Result []struct{ Value [2]json.RawMessage }
		}
	}
	if err := p.get("/api/v1/query?query="+url.QueryEscape(query), &answer); err != nil {
		return nil, err
	}
	for _, one := range answer.Data.Result {
		values = append(values, strings.Trim(string(one.Value[1]), `"`))
	}
	return values, nil
}

// The scrape configuration of the first README is a part of the one that is tried.
func TestScrapeConfigsAgree(t *testing.T) {
	lines := func(path string) map[string]bool {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		block := regexp.MustCompile("(?s)```yaml\n# /etc/prometheus/prometheus.yml\n(.*?)```").FindSubmatch(text)
		require.NotNil(t, block, path)
		all := make(map[string]bool)
		for line := range strings.Lines(string(block[1])) {
			all[line] = true
		}
		return all
	}
	tried := lines("metrics/README.md")
	for line := range lines("../../README.md") {
		assert.True(t, tried[line], line)
	}
}
