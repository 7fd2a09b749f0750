//go:build unix

package packaging

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// composition is what is looked at of the compose file.
type composition struct {
	Services map[string]struct {
		Image           string
		Build           struct{ Context, Dockerfile string }
		Restart         string
		ReadOnly        bool     `yaml:"read_only"`
		CapDrop         []string `yaml:"cap_drop"`
		SecurityOpt     []string `yaml:"security_opt"`
		Ulimits         struct{ Nofile int }
		StopGracePeriod time.Duration `yaml:"stop_grace_period"`
		Networks        []string
		Ports           []string
		Environment     map[string]string
		Secrets         []string
		Volumes         []string
		DependsOn       []string `yaml:"depends_on"`
	}
	Name     string
	Networks map[string]*struct{ Internal bool }
	Volumes  map[string]*struct{}
	Secrets  map[string]struct{ File string }
}

// readComposition returns the compose file. It has nothing that these tests do not know.
func readComposition(t *testing.T) (c composition) {
	t.Helper()
	d := yaml.NewDecoder(strings.NewReader(read(t, "compose/compose.yaml")))
	d.KnownFields(true)
	require.NoError(t, d.Decode(&c))
	return c
}

// What the compose file names is there: files, networks, volumes, secrets, ports.
func TestComposeIsWhole(t *testing.T) {
	c := readComposition(t)
	assert.Len(t, c.Services, 3)
	for name, s := range c.Services {
		for _, n := range s.Networks {
			assert.Contains(t, c.Networks, n, name)
		}
		for _, secret := range s.Secrets {
			assert.Contains(t, c.Secrets, secret, name)
		}
		for _, d := range s.DependsOn {
			assert.Contains(t, c.Services, d, name)
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if strings.HasPrefix(from, ".") {
				assert.FileExists(t, filepath.Join("compose", from), name)
				assert.True(t, strings.HasSuffix(v, ":ro"), v)
			} else {
				assert.Contains(t, c.Volumes, from, name)
			}
		}
		assert.Equal(t, []string{"ALL"}, s.CapDrop, name)
		assert.Equal(t, []string{"no-new-privileges:true"}, s.SecurityOpt, name)
		if s.Build.Context == "" {
			assert.Regexp(t, `:v?\d+\.\d+\.\d+$`, s.Image, "%s is of a version", name)
		}
		assert.NotRegexp(t, `(?i)password=|token=`, fmt.Sprint(s.Environment), name)
		for variable, value := range s.Environment {
			if file, ok := strings.CutPrefix(value, "/run/secrets/"); ok {
				assert.Contains(t, s.Secrets, file, "%s: %s", name, variable)
				assert.True(t, strings.HasSuffix(variable, "_FILE"), variable)
			} else {
				assert.NotRegexp(t, `(?i)PASSWORD|TOKEN`, variable, "%s has it in clear", name)
			}
		}
	}
	for name, secret := range c.Secrets {
		assert.Equal(t, "secrets/"+name, secret.File)
	}
}

// Sluice is built from the Dockerfile, publishes ports that the image has, and has time to end. Nothing
// but streams is on more than the loopback interface.
func TestComposeSluice(t *testing.T) {
	c := readComposition(t)
	s := c.Services["sluice"]
	root, err := filepath.Abs(filepath.Join("compose", s.Build.Context))
	require.NoError(t, err)
	assert.FileExists(t, filepath.Join(root, "go.mod"))
	assert.FileExists(t, filepath.Join(root, s.Build.Dockerfile))
	assert.True(t, s.ReadOnly)
	assert.GreaterOrEqual(t, s.Ulimits.Nofile, 100000)
	assert.Greater(t, s.StopGracePeriod, drainBound)
	i := theImage(t)
	for _, p := range s.Ports {
		assert.Contains(t, i.ports, p[strings.LastIndex(p, ":")+1:])
	}
	for _, v := range i.volumes {
		assert.True(t, slices.ContainsFunc(s.Volumes, func(m string) bool { return strings.HasSuffix(m, ":"+v) }), v)
	}
	for name, s := range c.Services {
		for _, p := range s.Ports {
			if p != "1935:1935" && p != "8080:8080" {
				assert.True(t, strings.HasPrefix(p, "127.0.0.1:"), "%s: %s", name, p)
			}
		}
	}
}

// The program takes the environment of the compose file as it is, but for ports and the folder of secrets.
func TestComposeEnvironment(t *testing.T) {
	c, dir := readComposition(t), t.TempDir()
	for name := range c.Secrets {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("0123456789abcdef"+name), 0o600))
	}
	cmd := exec.Command(sluice(t))
	cmd.Env = []string{"SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0", "SLUICE_STATE_DIR=" + t.TempDir()}
	for name, value := range c.Services["sluice"].Environment {
		value = strings.Replace(value, "/run/secrets", dir, 1)
		if strings.HasSuffix(name, "_ADDR") {
			value = "127.0.0.1:0"
		}
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	said, ended := run(t, cmd)
	line := said.find(t, `(?m)^.*"msg":"ready".*$`)[0]
	require.NoError(t, cmd.Process.Signal(terminate))
	assert.NoError(t, <-ended)
	var ready map[string]any
	require.NoError(t, json.Unmarshal([]byte(line), &ready))
	for _, addr := range []string{"admin_addr", "metrics_addr"} {
		assert.NotEmpty(t, ready[addr], addr)
	}
}

// Prometheus takes its file and the rules, and scrapes Sluice where that has its metrics, with the token
// that it is given.
func TestComposePrometheus(t *testing.T) {
	promtool := need(t, "promtool", "prometheus")
	c := readComposition(t)
	var config struct {
		Global        map[string]string
		RuleFiles     []string `yaml:"rule_files"`
		ScrapeConfigs []struct {
			JobName       string `yaml:"job_name"`
			Authorization struct {
				File string `yaml:"credentials_file"`
			}
			StaticConfigs []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	text := read(t, "compose/prometheus.yml")
	require.NoError(t, yaml.Unmarshal([]byte(text), &config))
	require.Len(t, config.ScrapeConfigs, 1)
	job := config.ScrapeConfigs[0]
	assert.Equal(t, "sluice", job.JobName, "as the rules and the board have it")
	secret, found := strings.CutPrefix(job.Authorization.File, "/run/secrets/")
	assert.True(t, found)
	assert.Contains(t, c.Services["prometheus"].Secrets, secret)
	host, port, err := net.SplitHostPort(job.StaticConfigs[0].Targets[0])
	require.NoError(t, err)
	require.Contains(t, c.Services, host)
	assert.Equal(t, ":"+port, c.Services[host].Environment["SLUICE_METRICS_ADDR"])
	assert.True(t, slices.ContainsFunc(c.Services[host].Networks, func(n string) bool {
		return slices.Contains(c.Services["prometheus"].Networks, n)
	}), "they share a network")

	dir := t.TempDir()
	token := filepath.Join(dir, secret)
	require.NoError(t, os.WriteFile(token, []byte("x"), 0o600))
	text = strings.ReplaceAll(text, job.Authorization.File, token)
	for _, m := range c.Services["prometheus"].Volumes {
		from, rest, _ := strings.Cut(m, ":")
		inside, _, _ := strings.Cut(rest, ":")
		if path, err := filepath.Abs(filepath.Join("compose", from)); err == nil && strings.HasPrefix(from, ".") {
			text = strings.ReplaceAll(text, inside, path)
		}
	}
	name := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	out, err := exec.Command(promtool, "check", "config", name).CombinedOutput()
	assert.NoError(t, err, "%s", out)
	assert.Regexp(t, `SUCCESS: \d\d rules found`, string(out))
}

// Grafana finds the board where it is told to look, and Prometheus where it listens.
func TestComposeGrafana(t *testing.T) {
	s := readComposition(t).Services["grafana"]
	inside := map[string]string{}
	for _, m := range s.Volumes {
		from, to, _ := strings.Cut(m, ":")
		inside[strings.TrimSuffix(to, ":ro")] = from
	}
	assert.Equal(t, "./grafana-datasource.yml", inside["/etc/grafana/provisioning/datasources/sluice.yml"])
	assert.Equal(t, "./grafana-boards.yml", inside["/etc/grafana/provisioning/dashboards/sluice.yml"])
	var sources struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct {
			Name, Type, URL string
			IsDefault       bool `yaml:"isDefault"`
		}
	}
	require.NoError(t, yaml.Unmarshal([]byte(read(t, "compose/grafana-datasource.yml")), &sources))
	require.Len(t, sources.Datasources, 1)
	assert.Equal(t, "prometheus", sources.Datasources[0].Type, "as the board asks for")
	assert.Equal(t, "http://prometheus:9090", sources.Datasources[0].URL)
	assert.True(t, sources.Datasources[0].IsDefault)
	folder := regexp.MustCompile(`(?m)^\s+path: (\S+)$`).FindStringSubmatch(read(t, "compose/grafana-boards.yml"))[1]
	assert.Contains(t, inside, folder+"/sluice.json")
	assert.Equal(t, folder+"/sluice.json", s.Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
}
