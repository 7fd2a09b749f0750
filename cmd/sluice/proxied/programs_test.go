package proxied

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/cmd/sluice/admission"
	"sluice/httpflv"
	"sluice/hub"
	"sluice/hub/fanout"
	"sluice/rtmp"
	"sluice/rtmp/gateway"
)

// patience is how long a test waits for what real programs must do sooner or later.
const patience = 90 * time.Second

// Clients of the tests with real proxies.
var (
	publisherAddr = netip.MustParseAddr("127.0.0.2")
	viewerAddr    = netip.MustParseAddr("127.0.0.3")
	otherAddr     = netip.MustParseAddr("127.0.0.4")
)

// need returns the path of a program. Without it the test is left out, which is a failure
// where CI=true.
func need(t *testing.T, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("left out: tests with real programs; run without -short")
	}
	path, err := exec.LookPath(name)
	if err != nil { // Debian has servers where not everybody looks
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatalf("nothing may be left out where CI=true: %s is missing", name)
	} else if err != nil {
		t.Skipf("left out: %s is missing; apt-get install %s", name, name)
	}
	return path
}

// start runs a program, with files as its descriptors from 3, until the test ends.
func start(t *testing.T, cmd *exec.Cmd, files ...*os.File) {
	t.Helper()
	var said output
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = &said, &said, files
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM) // nginx ends its workers then
		rude := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		defer rude.Stop()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", cmd, said.String())
		}
	})
}

// listenFor opens a port that a proxy is to listen on.
func listenFor(t *testing.T) (addr string, f *os.File) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	f, err = l.(*net.TCPListener).File()
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return l.Addr().String(), f
}

// haproxy runs haproxy with a frontend of a mode and a line for its server, and returns its
// address. It comes from the proxy's address.
func haproxy(t *testing.T, mode, server string) string {
	t.Helper()
	path := need(t, "haproxy")
	addr, f := listenFor(t)
	forwarded := ""
	if mode == "http" {
		forwarded = "option forwardfor"
	}
	conf := filepath.Join(t.TempDir(), "haproxy.cfg")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, `
defaults
  mode %s
  timeout connect 10s
  timeout check 20s
  timeout client 1m
  timeout server 1m
  %s
listen sluice
  bind fd@3
  source %s
  server it %s
`, mode, forwarded, proxyAddr, server), 0o600))
	start(t, exec.Command(path, "-db", "-f", conf), f)
	return addr
}

// nginx runs nginx with a location's lines, which pass to a server, and returns its address.
// Each of its connections to the server is kept.
func nginx(t *testing.T, server, location string) string {
	t.Helper()
	path := need(t, "nginx")
	addr, f := listenFor(t)
	dir := t.TempDir()
	user := ""
	if os.Getuid() == 0 {
		user = "user root;"
	}
	var temporary strings.Builder
	for _, of := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temporary, "  %s_temp_path %s;\n", of, filepath.Join(dir, of))
	}
	conf := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, `
%s
daemon off;
worker_processes 1;
pid %s/pid;
error_log stderr;
events {}
http {
  access_log off;
%s
  upstream sluice {
    server %s;
    keepalive 8;
  }
  server {
    listen %s;
    location / {
      proxy_pass http://sluice;
      proxy_bind %s;
      proxy_http_version 1.1;
      proxy_buffering off;
      proxy_set_header Connection "";
      proxy_set_header X-Forwarded-Proto https;
      %s
    }
  }
}
`, user, dir, &temporary, server, addr, proxyAddr, location), 0o600))
	cmd := exec.Command(path, "-p", dir, "-e", "stderr", "-c", conf)
	cmd.Env = append(os.Environ(), "NGINX=3;") // it inherits what it listens on
	start(t, cmd, f)
	return addr
}

// appendsForwarded is a line for nginx.
const appendsForwarded = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"

// relayFrom relays to an address from another, for programs that cannot choose theirs, and
// returns where.
func relayFrom(t *testing.T, from netip.Addr, to string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}, Timeout: patience}
			there, err := d.Dial("tcp", to)
			if err != nil {
				c.Close()
				continue
			}
			both := func(a, b net.Conn) func() {
				return func() {
					io.Copy(a, b)
					a.Close()
					b.Close()
				}
			}
			work.Go(both(c, there))
			work.Go(both(there, c))
		}
	})
	t.Cleanup(func() {
		l.Close()
		work.Wait()
	})
	return l.Addr().String()
}

// smallGateway is a gateway with what proxies need.
type smallGateway struct {
	hub        *hub.Hub
	admission  *admission.Control
	rtmp, http string // HOST:PORT
	log        output

	mu      sync.Mutex
	clients []hub.Client // about whom the policy was asked
}

// startGateway serves until the test ends; PROXY headers are required where proxyRTMP and
// proxyHTTP say so.
func startGateway(t *testing.T, cfg admission.Config, proxyRTMP, proxyHTTP bool) *smallGateway {
	t.Helper()
	g := &smallGateway{admission: newAdmission(t, cfg)}
	g.hub = hub.New(hub.Config{Authorize: g.authorize})
	pool := fanout.New(fanout.Config{})
	viewers := &httpflv.Handler{
		Hub: g.hub, Pool: pool,
		Asking: admission.Asking, Active: admission.Active, OnGivenUp: admission.OnGivenUp,
	}
	server := &rtmp.Server{Handler: &gateway.Handler{Hub: g.hub, Pool: pool}, Logger: g.log.logger()}
	web := &http.Server{Handler: viewers, ReadHeaderTimeout: time.Minute}
	g.admission.Guard(web, func(*http.Request) bool { return true })
	web.Handler = Forwarded(proxies, web.Handler)

	listen := func(proxy bool) net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		if proxy {
			l = Listen(l, Config{Trusted: proxies, Logger: g.log.logger()})
		}
		return l
	}
	rtmpAt, httpAt := listen(proxyRTMP), listen(proxyHTTP)
	g.rtmp, g.http = rtmpAt.Addr().String(), httpAt.Addr().String()
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(g.admission.Listen(rtmpAt, false)) })
	serving.Go(func() { web.Serve(g.admission.Listen(httpAt, true)) })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		assert.NoError(t, errors.Join(g.hub.Shutdown(ctx), server.Shutdown(ctx)))
		web.Close()
		pool.Close()
		viewers.Wait()
		serving.Wait()
	})
	return g
}

func (g *smallGateway) authorize(_ context.Context, s *hub.Session) (hub.Grant, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.clients = append(g.clients, s.Client())
	return hub.Grant{}, nil
}

// client waits until the policy was asked about a client over a protocol, and returns the
// last one.
func (g *smallGateway) client(t *testing.T, protocol string) (c hub.Client) {
	t.Helper()
	require.Eventually(t, func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, c = range g.clients {
			if c.Protocol == protocol {
				return true
			}
		}
		return false
	}, patience, 10*time.Millisecond, "nobody came over %s", protocol)
	return c
}

// publish makes ffmpeg publish live/a to an address, and returns when the stream is live.
func (g *smallGateway) publish(t *testing.T, addr string) {
	t.Helper()
	clip, err := filepath.Abs("../../../testdata/clips/h264-bframes-aac.flv")
	require.NoError(t, err)
	start(t, exec.Command(need(t, "ffmpeg"), "-hide_banner", "-nostdin", "-loglevel", "warning",
		"-stream_loop", "-1", "-re", "-i", clip, "-c", "copy", "-f", "flv", "rtmp://"+addr+"/live/a"))
	require.Eventually(t, func() bool { return len(g.hub.Streams()) == 1 }, patience, 10*time.Millisecond, "nothing is published")
}

// watch asks for live/a from one of the addresses of loopback. What is there of the body is
// for the caller to read and to close.
func watch(t *testing.T, from netip.Addr, addr, forwarded string) *http.Response {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}}
	transport := &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/live/a.flv", nil)
	require.NoError(t, err)
	if forwarded != "" {
		req.Header.Set("X-Forwarded-For", forwarded)
	}
	res, err := transport.RoundTrip(req)
	require.NoError(t, err)
	t.Cleanup(func() { res.Body.Close() })
	return res
}

// receives reads the beginning of a stream, and as much as comes with its first GOP.
func receives(t *testing.T, res *http.Response) {
	t.Helper()
	require.Equal(t, http.StatusOK, res.StatusCode)
	got := make([]byte, 20_000)
	_, err := io.ReadFull(res.Body, got)
	require.NoError(t, err)
	assert.Equal(t, "FLV", string(got[:3]))
}

// Behind a real haproxy that passes TCP on with PROXY headers, the addresses of an RTMP
// publisher, an RTMP player and an HTTP viewer are their own.
func TestHAProxyWithHeaders(t *testing.T) {
	for _, version := range []string{"send-proxy", "send-proxy-v2"} {
		t.Run(version, func(t *testing.T) {
			g := startGateway(t, admission.Config{}, true, true)
			options := " " + version + " check-send-proxy check inter 200ms fall 1000"
			frontRTMP := haproxy(t, "tcp", g.rtmp+options)
			frontHTTP := haproxy(t, "tcp", g.http+options)
			g.publish(t, relayFrom(t, publisherAddr, frontRTMP))
			assert.Equal(t, publisherAddr, g.client(t, "rtmp").Address.Addr())

			receives(t, watch(t, viewerAddr, frontHTTP, "203.0.113.77"))
			assert.Equal(t, viewerAddr, g.client(t, "http-flv").Address.Addr(), "a viewer is no proxy, whatever it says")

			played := filepath.Join(t.TempDir(), "played.flv")
			require.NoError(t, exec.CommandContext(t.Context(), need(t, "ffmpeg"), "-hide_banner", "-nostdin", "-loglevel", "warning",
				"-i", "rtmp://"+relayFrom(t, otherAddr, frontRTMP)+"/live/a", "-t", "1", "-c", "copy", played).Run())
			info, err := os.Stat(played)
			require.NoError(t, err)
			assert.NotZero(t, info.Size())
			assert.Equal(t, otherAddr, g.lastClient().Address.Addr())
			assert.NotContains(t, g.log.String(), "WARN", "its checks of health are understood")
			assert.Contains(t, g.log.String(), "remote="+publisherAddr.String())
		})
	}
}

func (g *smallGateway) lastClient() hub.Client {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.clients[len(g.clients)-1]
}

// Behind a real nginx or haproxy that passes HTTP on, X-Forwarded-For tells the viewer's
// address: what the viewer itself puts there is not believed, and what bounds an address
// bounds the viewer.
func TestHTTPProxies(t *testing.T) {
	for name, tt := range map[string]struct {
		proxy  func(t *testing.T, server string) string
		secure bool
	}{
		"nginx":   {func(t *testing.T, s string) string { return nginx(t, s, appendsForwarded) }, true},
		"haproxy": {func(t *testing.T, s string) string { return haproxy(t, "http", s) }, false},
		"nginx behind haproxy": {func(t *testing.T, s string) string {
			return nginx(t, haproxy(t, "tcp", s+" send-proxy-v2"), appendsForwarded)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := startGateway(t, admission.Config{MaxPerAddress: 2}, false, name == "nginx behind haproxy")
			front := tt.proxy(t, g.http)
			g.publish(t, relayFrom(t, publisherAddr, g.rtmp))
			for range 2 {
				receives(t, watch(t, viewerAddr, front, "203.0.113.77, 10.0.0.9"))
				assert.Equal(t, viewerAddr, g.lastClient().Address.Addr())
				assert.Equal(t, tt.secure, g.lastClient().Secure)
			}
			res := watch(t, viewerAddr, front, "203.0.113.78")
			assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
			body, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			assert.Contains(t, string(body), "from your address")
			receives(t, watch(t, otherAddr, front, ""))
			assert.Equal(t, otherAddr, g.lastClient().Address.Addr())
		})
	}
}
