//lint:file-ignore SA1019 the WebSocket library is given, and final at this version.

//go:build linux

package packaging

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"nhooyr.io/websocket"

	"sluice/flv"
	"sluice/hub/tlsconn/tlstest"
	"sluice/rtmp"
)

// The name in the sites, and addresses that clients of these tests come from.
const siteName = "live.example.com"

var (
	viewerIP  = net.IPv4(127, 0, 0, 3)
	spoofedIP = "203.0.113.77"
)

const adminToken = "operators of the tests"

// behind is a Sluice behind a real proxy.
type behind struct {
	t                 *testing.T
	rtmp, http, admin string // where Sluice listens
	pool              *x509.CertPool
	cert, key         string // files
	addresses         front
	log               string // a file in which the proxy logs requests; empty for none
}

// front is where a proxy listens, empty for what it does not.
type front struct{ http, https, rtmp string }

// startBehind runs Sluice as it is set up behind a proxy.
func startBehind(t *testing.T, environ ...string) *behind {
	b := &behind{t: t}
	cmd := exec.Command(sluice(t))
	cmd.Env = append([]string{"SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0", "SLUICE_ADMIN_ADDR=127.0.0.1:0",
		"SLUICE_ADMIN_TOKEN=" + adminToken, "SLUICE_TRUSTED_PROXIES=127.0.0.1", "SLUICE_DEMO=true", "SLUICE_LOG_FORMAT=json"}, environ...)
	said, _ := run(t, cmd)
	var ready map[string]any
	require.NoError(t, json.Unmarshal([]byte(said.find(t, `(?m)^.*"msg":"ready".*$`)[0]), &ready))
	b.rtmp, b.http, b.admin = fmt.Sprint(ready["rtmp_addr"]), fmt.Sprint(ready["http_addr"]), fmt.Sprint(ready["admin_addr"])
	b.certificate()
	return b
}

// certificate makes one for the name of the sites.
func (b *behind) certificate() {
	c := tlstest.Certificate(time.Hour, siteName)
	b.cert, b.key = tlstest.Write(b.t, b.t.TempDir(), "sluice", c)
	b.pool = tlstest.Pool(c)
}

// filled returns a file with what differs in a test: each old in place of its new.
func filled(t *testing.T, path string, pairs ...string) string {
	t.Helper()
	text := read(t, path)
	for i := 0; i < len(pairs); i += 2 {
		require.Contains(t, text, pairs[i])
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

// startNginx runs nginx with the files for it.
func (b *behind) startNginx() {
	t := b.t
	const module = "/usr/lib/nginx/modules/ngx_stream_module.so"
	path := need(t, "nginx", "nginx libnginx-mod-stream", module)
	dir := t.TempDir()
	var files []*os.File
	listen := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		f, err := l.(*net.TCPListener).File()
		require.NoError(t, err)
		t.Cleanup(func() { f.Close() })
		files = append(files, f)
		return l.Addr().String()
	}
	b.addresses = front{http: listen(), https: listen(), rtmp: listen()}
	b.log = filepath.Join(dir, "access.log")
	site := filled(t, "nginx/sluice.conf", "listen 80;", "listen "+b.addresses.http+";", "listen 443 ssl", "listen "+b.addresses.https+" ssl",
		"server 127.0.0.1:8080;", "server "+b.http+";", "/etc/ssl/certs/sluice.pem", b.cert, "/etc/ssl/private/sluice.key", b.key,
		"/var/log/nginx/sluice.log", b.log)
	stream := filled(t, "nginx/sluice-stream.conf", "listen 1935;", "listen "+b.addresses.rtmp+";", "127.0.0.1:1936", b.rtmp)
	user := ""
	if os.Getuid() == 0 {
		user = "user root;\n"
	}
	main := fmt.Sprintf("%sdaemon off;\nworker_processes 1;\npid %s/pid;\nerror_log stderr;\nload_module %s;\nevents {}\nhttp {\n", user, dir, module)
	for _, of := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		main += fmt.Sprintf("%s_temp_path %s;\n", of, filepath.Join(dir, of))
	}
	conf := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(conf, []byte(main+site+"}\n"+stream), 0o600))
	environ := append(os.Environ(), "NGINX=3;4;5;") // it inherits what it listens on
	check := exec.Command(path, "-t", "-q", "-p", dir, "-e", "stderr", "-c", conf)
	check.Env, check.ExtraFiles = environ, files
	out, err := check.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.NotContains(t, string(out), "[warn]")
	cmd := exec.Command(path, "-p", dir, "-e", "stderr", "-c", conf)
	cmd.Env, cmd.ExtraFiles = environ, files
	run(t, cmd)
}

// startCaddy runs Caddy with the file for it.
func (b *behind) startCaddy() {
	t := b.t
	path := need(t, "caddy", "caddy")
	dir := t.TempDir()
	site := filled(t, "caddy/Caddyfile", siteName+" {\n", fmt.Sprintf("https://%s:%d {\n\tbind 127.0.0.1\n\ttls %s %s\n", siteName, 0, b.cert, b.key), "127.0.0.1:8080", b.http)
	conf := filepath.Join(dir, "Caddyfile")
	require.NoError(t, os.WriteFile(conf, []byte("{\n\tadmin off\n\tauto_https disable_redirects\n}\n"+site), 0o600))
	environ := append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	check := exec.Command(path, "validate", "--adapter", "caddyfile", "--config", conf)
	check.Env = environ
	out, err := check.CombinedOutput()
	require.NoError(t, err, "%s", out)
	cmd := exec.Command(path, "run", "--adapter", "caddyfile", "--config", conf)
	cmd.Env = environ
	said, _ := run(t, cmd)
	said.find(t, "serving initial configuration")
	b.addresses.https = listensOn(t, cmd.Process.Pid)
}

// listensOn returns the one address on which a process listens.
func listensOn(t *testing.T, pid int) string {
	t.Helper()
	own := map[string]bool{}
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	require.NoError(t, err)
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil {
			own[to] = true
		}
	}
	for line := range strings.Lines(read(t, fmt.Sprintf("/proc/%d/net/tcp", pid))) {
		f := strings.Fields(line)
		if len(f) > 9 && f[3] == "0A" && own["socket:["+f[9]+"]"] {
			var port int
			_, err := fmt.Sscanf(f[1][strings.Index(f[1], ":")+1:], "%X", &port)
			require.NoError(t, err)
			return fmt.Sprintf("127.0.0.1:%d", port)
		}
	}
	t.Fatal("it listens on nothing")
	return ""
}

// client returns one that comes from the viewer's address, for requests to the name of the sites.
func (b *behind) client(h2 bool) *http.Client {
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: b.pool}, ForceAttemptHTTP2: h2,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			to := b.addresses.https
			if strings.HasSuffix(address, ":80") {
				to = b.addresses.http
			}
			return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: viewerIP}}).DialContext(ctx, network, to)
		},
	}
	b.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// get asks for something, with an address of somebody else in X-Forwarded-For.
func (b *behind) get(c *http.Client, url string) *http.Response {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, url, nil)
	require.NoError(b.t, err)
	r.Header.Set("X-Forwarded-For", spoofedIP)
	res, err := c.Do(r)
	require.NoError(b.t, err)
	b.t.Cleanup(func() { res.Body.Close() })
	return res
}

// page asks for the page, over HTTP/1.1 and HTTP/2.
func (b *behind) page() {
	for protocol, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		res := b.get(b.client(h2), "https://"+siteName+"/?stream=live/demo")
		body, err := io.ReadAll(res.Body)
		require.NoError(b.t, err)
		assert.Equal(b.t, http.StatusOK, res.StatusCode)
		assert.Equal(b.t, protocol, res.Proto)
		assert.Contains(b.t, string(body), "https://"+siteName+"/", "what the page says of itself: X-Forwarded-Proto and Host")
	}
}

// publish publishes a stream of sound to an address, as somebody at the viewer's address.
func (b *behind) publish(address string) *rtmp.Publisher {
	c := &rtmp.Client{OpenTimeout: patience, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: viewerIP}}).DialContext(ctx, network, address)
	}}
	p, err := c.Publish(b.t.Context(), "rtmp://"+address+"/live/cam")
	require.NoError(b.t, err)
	b.t.Cleanup(func() { p.Close() })
	require.NoError(b.t, p.WriteTag(flv.Tag{Type: flv.TypeAudio, Data: []byte("\xaf\x00\x12\x10")}))
	require.NoError(b.t, p.WriteTag(flv.Tag{Type: flv.TypeAudio, Data: []byte("\xaf\x01first")}))
	return p
}

// watched has a client watch over HTTP/1.1, HTTP/2 and a WebSocket, and asks Sluice who that is. Each frame
// of the stream is so small that a proxy which gathers what it passes on would keep it.
func (b *behind) watched(p *rtmp.Publisher) {
	t := b.t
	one := b.get(b.client(false), "https://"+siteName+"/live/cam.flv")
	two := b.get(b.client(true), "https://"+siteName+"/live/cam.flv")
	assert.Equal(t, 2, two.ProtoMajor)
	streams := map[string]*flv.Reader{}
	for what, res := range map[string]*http.Response{"HTTP/1.1": one, "HTTP/2": two} {
		require.Equal(t, http.StatusOK, res.StatusCode)
		assert.Equal(t, "video/x-flv", res.Header.Get("Content-Type"))
		streams[what] = flv.NewReader(res.Body)
	}
	socket, _, err := websocket.Dial(t.Context(), "wss://"+siteName+"/live/cam.flv", &websocket.DialOptions{HTTPClient: b.client(false)})
	require.NoError(t, err)
	defer socket.CloseNow()
	streams["WebSocket"] = flv.NewReader(websocket.NetConn(t.Context(), socket, websocket.MessageBinary))
	for i, text := range []string{"first", "second", "third"} {
		if i > 0 {
			require.NoError(t, p.WriteTag(flv.Tag{Type: flv.TypeAudio, Timestamp: uint32(23 * i), Data: []byte("\xaf\x01" + text)}))
		}
		for what, r := range streams {
			for {
				tag, err := r.Next()
				require.NoError(t, err, what)
				if bytes.Contains(tag.Data, []byte(text)) {
					break
				}
			}
		}
	}
	protocols := map[string]int{}
	for _, s := range b.sessions() {
		if s.Stream != "live/cam" {
			continue
		}
		protocols[s.Role+" "+s.Protocol]++
		assert.Equal(t, viewerIP.String(), s.Address, s.Protocol)
		assert.Equal(t, s.Role == "watch", s.Secure, s.Protocol)
	}
	assert.Equal(t, map[string]int{"publish rtmp": 1, "watch http-flv": 2, "watch ws-flv": 1}, protocols)
	one.Body.Close()
	two.Body.Close()
	socket.CloseNow()
	at := uint32(100)
	until(t, "who has left is gone, as soon as something is sent", func() bool {
		at += 23
		require.NoError(t, p.WriteTag(flv.Tag{Type: flv.TypeAudio, Timestamp: at, Data: []byte("\xaf\x01frame")}))
		return len(b.sessions()) == 2
	})
}

// session is what the operators' API tells of one.
type session struct {
	Role, Protocol, Address, Stream string
	Secure                          bool
}

func (b *behind) sessions() []session {
	r, err := http.NewRequest(http.MethodGet, "http://"+b.admin+"/api/v1/sessions", nil)
	require.NoError(b.t, err)
	r.Header.Set("Authorization", "Bearer "+adminToken)
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	require.NoError(b.t, err)
	defer res.Body.Close()
	var answer struct{ Sessions []session }
	require.NoError(b.t, json.NewDecoder(res.Body).Decode(&answer))
	return answer.Sessions
}

// A real nginx with the files for it serves the page and streams over TLS, HTTP/2 included, and passes RTMP
// on; Sluice knows whose connections they are.
func TestNginx(t *testing.T) {
	b := startBehind(t, "SLUICE_PROXY_PROTOCOL=rtmp")
	b.startNginx()
	b.page()
	b.watched(b.publish(b.addresses.rtmp))
	res := b.get(b.client(false), "http://"+siteName+"/api/v1/streams?token=secret")
	assert.Equal(t, http.StatusOK, res.StatusCode, "without TLS, too")
	until(t, "it is logged", func() bool { return strings.Contains(read(t, b.log), "GET /api/v1/streams ") })
	assert.NotContains(t, read(t, b.log), "secret")
}

// A real Caddy with the file for it does the same for HTTP.
func TestCaddy(t *testing.T) {
	b := startBehind(t)
	b.startCaddy()
	b.page()
	b.watched(b.publish(b.rtmp))
}
