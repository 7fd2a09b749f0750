//go:build linux

package packaging

import (
	"bufio"
	"fmt"
	"maps"
	"net"
	"net/http"
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

	"sluice/flv"
	"sluice/rtmp"
)

// node is what is looked at of a node in the compose file of a cluster.
type node struct {
	Build           struct{ Context, Dockerfile string }
	ReadOnly        bool          `yaml:"read_only"`
	CapDrop         []string      `yaml:"cap_drop"`
	StopGracePeriod time.Duration `yaml:"stop_grace_period"`
	Ports           []string
	Environment     map[string]string
	Secrets         []string
	Volumes         []string
}

// clusterComposition is the same of the whole file.
type clusterComposition struct {
	Services struct {
		N1, N2, N3 node
		Balancer   struct {
			Image    string
			Ports    []string
			Volumes  []string
			Networks map[string]struct {
				Address string `yaml:"ipv4_address"`
			}
		}
	}
	Volumes map[string]*struct{}
	Secrets map[string]struct{ File string }
}

func readCluster(t *testing.T) (c clusterComposition) {
	t.Helper()
	require.NoError(t, yaml.Unmarshal([]byte(read(t, "cluster/compose.yaml")), &c))
	return c
}

// nodes are those of the file, by name.
func (c *clusterComposition) nodes() map[string]node {
	return map[string]node{"n1": c.Services.N1, "n2": c.Services.N2, "n3": c.Services.N3}
}

// The nodes differ in nothing but their own names; each has the secrets and volumes that it names, and is reached through
// the balancer alone, whose address it trusts.
func TestClusterComposeIsWhole(t *testing.T) {
	c := readCluster(t)
	list := strings.Split(c.Services.N1.Environment["SLUICE_CLUSTER"], ",")
	require.Len(t, list, 3)
	root, err := filepath.Abs(filepath.Join("cluster", c.Services.N1.Build.Context))
	require.NoError(t, err)
	assert.FileExists(t, filepath.Join(root, c.Services.N1.Build.Dockerfile))
	volumes := map[string]bool{}
	for name, n := range c.nodes() {
		own := n.Environment["SLUICE_CLUSTER_NODE"]
		assert.Contains(t, list, own)
		assert.True(t, strings.HasPrefix(own, name+":"), own)
		assert.Equal(t, c.Services.Balancer.Networks["cluster"].Address, n.Environment["SLUICE_TRUSTED_PROXIES"])
		assert.True(t, n.ReadOnly)
		assert.Equal(t, []string{"ALL"}, n.CapDrop)
		delay, err := time.ParseDuration(n.Environment["SLUICE_DRAIN_DELAY"])
		require.NoError(t, err)
		assert.Greater(t, n.StopGracePeriod, delay+drainBound)
		var files []string
		for variable, value := range n.Environment {
			if file, ok := strings.CutPrefix(value, "/run/secrets/"); ok {
				files = append(files, file)
				assert.Equal(t, "secrets/"+file, c.Secrets[file].File, variable)
			}
		}
		assert.ElementsMatch(t, files, n.Secrets)
		for _, v := range n.Volumes {
			from, _, _ := strings.Cut(v, ":")
			assert.Contains(t, c.Volumes, from)
			assert.False(t, volumes[from], "%s is one node's", from)
			volumes[from] = true
		}
		for _, p := range n.Ports {
			assert.True(t, strings.HasPrefix(p, "127.0.0.1:"), p)
		}
	}
	assert.Len(t, volumes, len(c.Volumes))
	assert.Regexp(t, `^haproxy:\d+\.\d+\.\d+$`, c.Services.Balancer.Image)
	for _, p := range c.Services.Balancer.Ports {
		_, inside, _ := strings.Cut(p, ":")
		assert.Contains(t, read(t, "cluster/haproxy.cfg"), "bind :"+inside+"\n")
	}
}

// makeCluster runs the commands for the secrets, with other hosts, and returns the folder.
func makeCluster(t *testing.T, hosts ...string) string {
	t.Helper()
	commands := regexp.MustCompile(`(?s)\./certificates secrets n1 n2 n3\n.*?chmod 644 secrets/\*\n`).FindString(read(t, "README.md"))
	require.NotEmpty(t, commands)
	head := regexp.MustCompile(`(?m)^#   (.*?)(?:  # .*)?$`).ReplaceAllString(read(t, "cluster/compose.yaml"), "$1")
	assert.Contains(t, head, commands)
	program, err := filepath.Abs("cluster/certificates")
	require.NoError(t, err)
	cmd := exec.Command("sh", "-ec", strings.NewReplacer("./certificates", program, "n1 n2 n3", strings.Join(hosts, " ")).Replace(commands))
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	folder := filepath.Join(cmd.Dir, "secrets")
	info, err := os.Stat(folder)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	return folder
}

// What is there already stays where the commands are run again: a node is added by one certificate.
func TestClusterCertificatesStay(t *testing.T) {
	need(t, "openssl", "openssl")
	folder := makeCluster(t, "n1", "n2", "n3")
	var names []string
	before := map[string]string{}
	for name := range readCluster(t).Secrets {
		names = append(names, name)
		before[name] = read(t, filepath.Join(folder, name))
	}
	slices.Sort(names)
	out, err := exec.Command("cluster/certificates", folder, "n1", "n4", "10.0.0.5", "fd00::5").CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, name := range names {
		assert.Equal(t, before[name], read(t, filepath.Join(folder, name)), name)
	}
	for host, alternative := range map[string]string{"n4": "DNS:n4", "10.0.0.5": "IP Address:10.0.0.5", "fd00::5": "IP Address:FD00:0:0:0:0:0:0:5"} {
		out, err := exec.Command("openssl", "x509", "-in", filepath.Join(folder, host+".pem"), "-noout", "-ext", "subjectAltName").CombinedOutput()
		require.NoError(t, err, "%s", out)
		assert.Contains(t, string(out), alternative)
	}
}

// environment returns the variables of a file as systemd reads it.
func environment(t *testing.T, path string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for lines := bufio.NewScanner(strings.NewReader(read(t, path))); lines.Scan(); {
		if line := lines.Text(); line != "" && line[0] != '#' {
			name, value, found := strings.Cut(line, "=")
			require.True(t, found, line)
			all[name] = value
		}
	}
	return all
}

// Two nodes as the compose file has them and one with the environment file for systemd are one cluster, on loopback
// addresses with TLS among them, behind a haproxy with the file for it: a stream that is published through that is
// watched at each of them, and through it.
func TestClusterRuns(t *testing.T) {
	haproxy := need(t, "haproxy", "haproxy")
	need(t, "openssl", "openssl")
	program, hosts := sluice(t), []string{"127.0.1.1", "127.0.1.2", "127.0.1.3"}
	secrets := makeCluster(t, hosts...)
	c := readCluster(t)
	environs := []map[string]string{c.Services.N1.Environment, c.Services.N2.Environment, environment(t, "cluster/env")}
	environs[2]["SLUICE_ADMIN_ADDR"] = ":0"
	environs[2]["SLUICE_ADMIN_TOKEN_FILE"] = filepath.Join(secrets, "admin-token")
	environs[2]["SLUICE_TRUSTED_PROXIES"], environs[2]["SLUICE_PROXY_PROTOCOL"] = "127.0.0.1", "rtmp" // as its comment has it

	free := func(host string) (string, net.Listener) {
		l, err := net.Listen("tcp", host+":0")
		require.NoError(t, err)
		return l.Addr().String(), l
	}
	var list, rtmpAddr, httpAddr []string
	var held []net.Listener
	for _, host := range hosts {
		for _, into := range []*[]string{&list, &rtmpAddr, &httpAddr} {
			address, l := free(host)
			*into, held = append(*into, address), append(held, l)
		}
	}
	for _, l := range held {
		l.Close()
	}
	for i, environ := range environs {
		own := "n" + fmt.Sprint(i+1)
		replace := strings.NewReplacer("/run/secrets/"+own+".", secrets+"/"+hosts[i]+".", "/run/secrets", secrets,
			"/etc/sluice/cluster/n1.example.com.", secrets+"/"+hosts[i]+".", "/etc/sluice/cluster", secrets,
			c.Services.Balancer.Networks["cluster"].Address, "127.0.0.1", ":7000", hosts[i]+":0", ":8081", hosts[i]+":0")
		environ = maps.Clone(environ)
		environ["SLUICE_CLUSTER"], environ["SLUICE_CLUSTER_NODE"] = strings.Join(list, ","), list[i]
		environ["SLUICE_RTMP_ADDR"], environ["SLUICE_HTTP_ADDR"], environ["SLUICE_STATE_DIR"] = rtmpAddr[i], httpAddr[i], t.TempDir()
		environ["SLUICE_DRAIN_DELAY"], environ["SLUICE_LOG_FORMAT"] = "0s", "json"
		if i == 2 {
			environ["SLUICE_ADMIN_ADDR"], environ["SLUICE_ADMIN_PLAINTEXT"] = hosts[i]+":0", "true"
		}
		cmd := exec.Command(program)
		for name, value := range environ {
			cmd.Env = append(cmd.Env, name+"="+replace.Replace(value))
		}
		said, _ := run(t, cmd)
		if i == 2 {
			said.find(t, `"cluster: records can be written"`)
			said.find(t, `"cluster: this node has all records"`)
		}
	}

	pairs := []string{"maxconn 40000", "maxconn 100", "init-addr last,libc,none", "init-addr last,libc", " resolvers dns", ""}
	front := map[string]string{}
	for _, of := range []string{"1935", "8080"} {
		address, l := free("127.0.0.1")
		l.Close()
		front[of] = address
		pairs = append(pairs, "bind :"+of, "bind "+address)
	}
	for i := range hosts {
		_, port, _ := net.SplitHostPort(httpAddr[i])
		name := fmt.Sprintf("n%d n%[1]d:", i+1)
		pairs = append(pairs, name+"1935 send-proxy-v2 port 8080", fmt.Sprintf("n%d %s send-proxy-v2 port %s", i+1, rtmpAddr[i], port),
			name+"8080", fmt.Sprintf("n%d %s", i+1, httpAddr[i]))
	}
	conf := filepath.Join(t.TempDir(), "haproxy.cfg")
	require.NoError(t, os.WriteFile(conf, []byte(filled(t, "cluster/haproxy.cfg", pairs...)), 0o600))
	out, err := exec.Command(haproxy, "-c", "-f", conf).CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.NotContains(t, string(out), "[WARNING]")
	run(t, exec.Command(haproxy, "-db", "-f", conf))

	client := &rtmp.Client{OpenTimeout: patience}
	var p *rtmp.Publisher
	until(t, "a publisher is let in through the balancer", func() bool {
		p, err = client.Publish(t.Context(), "rtmp://"+front["1935"]+"/live/cam")
		return err == nil
	})
	defer p.Close()
	require.NoError(t, p.WriteTag(flv.Tag{Type: flv.TypeAudio, Data: []byte("\xaf\x00\x12\x10")}))
	require.NoError(t, p.WriteTag(flv.Tag{Type: flv.TypeAudio, Data: []byte("\xaf\x01frame")}))
	transport := &http.Transport{DisableKeepAlives: true}
	for _, address := range append(httpAddr, front["8080"]) {
		res, err := (&http.Client{Transport: transport, Timeout: patience}).Get("http://" + address + "/live/cam.flv")
		require.NoError(t, err, address)
		require.Equal(t, http.StatusOK, res.StatusCode, address)
		for r := flv.NewReader(res.Body); ; {
			tag, err := r.Next()
			require.NoError(t, err, address)
			if strings.HasSuffix(string(tag.Data), "frame") {
				break
			}
		}
		res.Body.Close()
	}
}
