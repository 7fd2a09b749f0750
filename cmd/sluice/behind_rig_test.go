//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub/tlsconn/tlstest"
	"sluice/rtmp"
)

// front is a real proxy in front of a service, HOST:PORT of each.
type front struct {
	process        // where its clients go
	https   string // empty for none
}

// fronts are the proxies as proxied/README.md and the files in package set them up.
var fronts = []struct {
	name     string
	protocol string // SLUICE_PROXY_PROTOCOL
	format   string // of the server that is asked for permission
	start    func(*testing.T, *process) *front
	checks   bool // it checks the health of the server
}{
	{"nginx", "rtmp", "nginx", startNginx, false},
	{"haproxy", "rtmp http", "srs", func(t *testing.T, p *process) *front {
		return startHaproxy(t, p, documented(t, "# at the end of /etc/haproxy/haproxy.cfg"), false)
	}, true},
	{"haproxy with TLS", "rtmp", "json", func(t *testing.T, p *process) *front {
		rtmp, _, _ := strings.Cut(documented(t, "# at the end of /etc/haproxy/haproxy.cfg"), "listen sluice-http\n")
		return startHaproxy(t, p, rtmp+documented(t, "# in place of sluice-http"), true)
	}, true},
}

// documented returns the configuration in proxied/README.md that begins with a line.
func documented(t *testing.T, first string) string {
	t.Helper()
	text, err := os.ReadFile("proxied/README.md")
	require.NoError(t, err)
	found := regexp.MustCompile("(?s)```[a-z]+\n(" + regexp.QuoteMeta(first) + ".*?)```").FindSubmatch(text)
	require.NotNil(t, found, "no configuration begins with %q", first)
	return string(found[1])
}

// packaged returns a file of those with which Sluice is installed.
func packaged(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("package", path))
	require.NoError(t, err)
	return string(text)
}

// filled returns a configuration with what differs in a test: each old in place of its new.
func filled(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		require.Contains(t, text, pairs[i])
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

// needServer returns the path of a program of a server. Without it the test is left out, which
// is a failure where CI=true; as without a file that it needs beside it.
func needServer(t *testing.T, name, pkg string, files ...string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("left out: tests with real programs; run without -short")
	}
	path, err := exec.LookPath(name)
	if err != nil { // Debian has servers where not everybody looks
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	for _, file := range files {
		if err == nil {
			_, err = os.Stat(file)
		}
	}
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatalf("nothing may be left out where CI=true: %v; apt-get install %s", err, pkg)
	} else if err != nil {
		t.Skipf("left out: %v; apt-get install %s", err, pkg)
	}
	return path
}

// listenForProxy opens a port that a proxy is to listen on.
func listenForProxy(t *testing.T) (addr string, f *os.File) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	f, err = l.(*net.TCPListener).File()
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return l.Addr().String(), f
}

// runProxy runs a proxy until the test ends, with files as its descriptors from 3.
func runProxy(t *testing.T, cmd *exec.Cmd, files ...*os.File) {
	t.Helper()
	said := new(syncBuffer)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = said, said, files
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM) // nginx ends its workers then
		rude := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		defer rude.Stop()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", cmd, said.bytes())
		}
	})
}

// streamModule is what Debian's nginx needs for its stream block.
const streamModule = "/usr/lib/nginx/modules/ngx_stream_module.so"

// startNginx runs nginx in front of a service.
func startNginx(t *testing.T, p *process) *front {
	path := needServer(t, "nginx", "nginx libnginx-mod-stream", streamModule)
	f, dir := new(front), t.TempDir()
	files := make([]*os.File, 3)
	f.http, files[0] = listenForProxy(t)
	f.https, files[1] = listenForProxy(t)
	f.rtmp, files[2] = listenForProxy(t)
	cert := certificateFile(t)
	http := filled(t, packaged(t, "nginx/sluice.conf"),
		"listen 80;", "listen "+f.http+";", "listen 443 ssl ", "listen "+f.https+" ssl ", "/var/log/nginx/", dir+"/", "server 127.0.0.1:8080;", "server "+p.http+";",
		"/etc/ssl/certs/sluice.pem", cert, "/etc/ssl/private/sluice.key", cert)
	stream := filled(t, packaged(t, "nginx/sluice-stream.conf"),
		"listen 1935;", "listen "+f.rtmp+";", "127.0.0.1:1936", p.rtmp)
	var b strings.Builder
	if os.Getuid() == 0 {
		b.WriteString("user root;\n")
	}
	// One worker, since what it listens on was made blocking on its way: of two that are woken for
	// one connection, the second would wait for the next.
	fmt.Fprintf(&b, "daemon off;\nworker_processes 1;\npid %s/pid;\nerror_log stderr;\nload_module %s;\nevents {}\nhttp {\naccess_log off;\n",
		dir, streamModule)
	for _, of := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&b, "%s_temp_path %s;\n", of, filepath.Join(dir, of))
	}
	fmt.Fprintf(&b, "%s}\n%s", http, stream)
	conf := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(conf, []byte(b.String()), 0o600))
	cmd := exec.Command(path, "-p", dir, "-e", "stderr", "-c", conf)
	cmd.Env = append(os.Environ(), "NGINX=3;4;5;") // it inherits what it listens on
	runProxy(t, cmd, files...)
	return f
}

// startHaproxy runs haproxy in front of a service, with the defaults of Debian.
func startHaproxy(t *testing.T, p *process, conf string, https bool) *front {
	f := new(front)
	files := make([]*os.File, 2, 3)
	f.rtmp, files[0] = listenForProxy(t)
	f.http, files[1] = listenForProxy(t)
	conf = filled(t, conf, "bind :1935", "bind fd@3", "bind :80", "bind fd@4", "127.0.0.1:1936", p.rtmp, "127.0.0.1:8080", p.http,
		"inter 2s", "inter 100ms fall 1000")
	if https {
		var file *os.File
		f.https, file = listenForProxy(t)
		files = append(files, file)
		conf = filled(t, conf, "bind :443", "bind fd@5", "/etc/ssl/private/sluice.pem", certificateFile(t))
	}
	runHaproxy(t, conf, files...)
	return f
}

// runHaproxy runs haproxy with the defaults of Debian and a configuration, and files as its descriptors.
func runHaproxy(t *testing.T, conf string, files ...*os.File) {
	t.Helper()
	path := needServer(t, "haproxy", "haproxy")
	conf = "defaults\n mode http\n option httplog\n option dontlognull\n" +
		" timeout connect 5000\n timeout client 50000\n timeout server 50000\n timeout check 20000\n\n" + conf
	name := filepath.Join(t.TempDir(), "haproxy.cfg")
	require.NoError(t, os.WriteFile(name, []byte(conf), 0o600))
	runProxy(t, exec.Command(path, "-db", "-f", name), files...)
}

// certificateFile returns a file with a certificate for loopback and its key.
func certificateFile(t *testing.T) string {
	t.Helper()
	return tlstest.WriteBoth(t, tlstest.Certificate(time.Hour, "sluice"))
}

// hears is a server that is asked and told, and keeps which address each call has.
type hears struct {
	*httptest.Server
	mu    sync.Mutex
	calls map[string]map[netip.Addr]int // by what they are called, how many of an address
}

// newHears starts a server that is asked in a format, and grants who shows the keys of the
// tests; or with an empty one is told of events.
func newHears(t *testing.T, format string) *hears {
	h := &hears{calls: make(map[string]map[netip.Addr]int)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		what, address, key := readCall(t, r, format)
		if address.IsValid() {
			h.mu.Lock()
			if h.calls[what] == nil {
				h.calls[what] = make(map[netip.Addr]int)
			}
			h.calls[what][address]++
			h.mu.Unlock()
		}
		switch granted := key == publishKey || key == watchKey; {
		case format == "srs" && !granted:
			fmt.Fprint(w, 1)
		case format == "srs":
			fmt.Fprint(w, 0)
		case format == "nginx" && !granted:
			w.WriteHeader(http.StatusForbidden)
		case format == "json":
			fmt.Fprintf(w, `{"allow": %v}`, granted)
		}
	}))
	t.Cleanup(h.Close)
	return h
}

// readCall returns what a call is about: publish, play or the type of an event.
func readCall(t *testing.T, r *http.Request, format string) (what string, address netip.Addr, key string) {
	if format == "nginx" {
		assert.NoError(t, r.ParseForm())
		address, _ = netip.ParseAddr(r.PostForm.Get("addr"))
		return r.PostForm.Get("call"), address, r.PostForm.Get("key")
	}
	var body struct {
		Type, Action, IP, Param string
		Session                 struct{ Role, Address string }
		Query                   url.Values
	}
	assert.NoError(t, json.NewDecoder(r.Body).Decode(&body))
	switch format {
	case "srs":
		address, _ = netip.ParseAddr(body.IP)
		query, _ := url.ParseQuery(strings.TrimPrefix(body.Param, "?"))
		return strings.TrimPrefix(body.Action, "on_"), address, query.Get("key")
	case "json":
		address, _ = netip.ParseAddr(body.Session.Address)
		return map[string]string{"publish": "publish", "watch": "play"}[body.Session.Role], address, body.Query.Get("key")
	}
	of, _ := netip.ParseAddrPort(body.Session.Address)
	return body.Type, of.Addr(), ""
}

// of returns how many calls of a kind there were about each address.
func (h *hears) of(what string) map[netip.Addr]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	counts := make(map[netip.Addr]int)
	for address, n := range h.calls[what] {
		counts[address] = n
	}
	return counts
}

// from returns a client of RTMP at an address.
func from(ip net.IP) *rtmp.Client {
	return &rtmp.Client{OpenTimeout: patience, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}}).DialContext(ctx, network, address)
	}}
}

// publish begins the stream.
func (b *behindProxy) publish() {
	p, err := from(behindPublisher).Publish(b.t.Context(), "rtmp://"+b.front.rtmp+"/live/cam?key="+publishKey)
	require.NoError(b.t, err)
	b.t.Cleanup(func() { p.Close() })
	b.publisher = p
	require.NoError(b.t, p.WriteTags(append(madeHeader(), stream200k.frames(time.Second)...)))
	until(b.t, "the stream is live", func() bool { return len(b.svc.hub.Streams()) == 1 })
	ctx, stop := context.WithCancel(b.t.Context())
	var sending sync.WaitGroup
	sending.Go(func() {
		for b.send("silence") == nil {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return
			}
		}
	})
	b.t.Cleanup(func() {
		stop()
		sending.Wait()
	})
}

// send sends a frame of sound. It is so small that a proxy which gathers what it passes on would
// keep it.
func (b *behindProxy) send(text string) error {
	at := 1000 + b.sent.Add(1)
	return b.publisher.WriteTag(flv.Tag{Type: flv.TypeAudio, Timestamp: at, Data: append([]byte("\xaf\x01"), text...)})
}
