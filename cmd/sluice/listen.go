package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"syscall"
)

// listeners are the open ports.
type listeners struct {
	rtmp, http net.Listener
	admin      net.Listener // operators' address; nil without
	metrics    net.Listener // nil without an address of their own
}

// close closes those that are open.
func (l listeners) close() {
	for _, open := range []net.Listener{l.rtmp, l.http, l.admin, l.metrics} {
		if open != nil {
			open.Close()
		}
	}
}

// openAddr returns where a listener is, empty if there is none.
func openAddr(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}

// listen opens the ports. For each port that cannot be opened the error says why, in one
// line, and which variable moves it.
func listen(ctx context.Context, cfg config) (listeners, error) {
	var l listeners
	var errs [4]error
	l.rtmp, errs[0] = listenOn(ctx, "RTMP", cfg.RTMPAddr)
	l.http, errs[1] = listenOn(ctx, "HTTP", cfg.HTTPAddr)
	if cfg.AdminAddr != "" {
		l.admin, errs[2] = listenOn(ctx, "ADMIN", cfg.AdminAddr)
	}
	if cfg.MetricsAddr != "" {
		l.metrics, errs[3] = listenOn(ctx, "METRICS", cfg.MetricsAddr)
	}
	if err := errors.Join(errs[:]...); err != nil {
		l.close()
		return listeners{}, err
	}
	return l, nil
}

func listenOn(ctx context.Context, what, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err == nil {
		return l, nil
	}
	why := err.Error()
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		why = "the port is in use"
	case errors.Is(err, syscall.EACCES):
		why = "this user may not open the port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		why = "this machine has no such address"
	}
	return nil, fmt.Errorf("%s cannot listen on %s: %s (%s%s_ADDR sets another)", what, addr, why, envPrefix, what)
}

// endpoint is a listener as a client names it: a host that works in a URL, and
// the port that was really opened.
type endpoint struct {
	host string // name or IP address, without brackets
	port int
	any  bool // the listener takes connections on every interface
}

// endpointOf looks at an open listener; addr is the address that was asked for,
// since its host may be a name.
func endpointOf(l net.Listener, addr string) endpoint {
	tcp := l.Addr().(*net.TCPAddr)
	e := endpoint{host: tcp.IP.String(), port: tcp.Port}
	if tcp.IP.IsUnspecified() {
		e.host, e.any = "localhost", true
	} else if host, _, err := splitAddr(addr); err == nil && !wildcard(host) {
		e.host = host
	}
	return e
}

// url returns scheme://host[:port]path, without the port that the scheme has
// anyway.
func (e endpoint) url(scheme, path string) string {
	host := e.host
	switch {
	case e.port != map[string]int{"rtmp": 1935, "http": 80, "ws": 80}[scheme]:
		host = net.JoinHostPort(host, strconv.Itoa(e.port))
	case strings.Contains(host, ":"):
		host = "[" + host + "]"
	}
	return scheme + "://" + host + path
}

// announce tells where to publish and where to watch: in words, or as one line of JSON
// where that is the form of the log. It does so at every log level, since nothing else
// tells a port that was chosen freely.
func announce(w io.Writer, cfg config, l listeners) {
	rtmp, http := endpointOf(l.rtmp, cfg.RTMPAddr), endpointOf(l.http, cfg.HTTPAddr)
	if cfg.LogForm == "json" {
		newLogger(w, cfg.LogForm, slog.LevelInfo).Info("ready",
			"version", versionText(),
			"publish", rtmp.url("rtmp", "/live/NAME"),
			"page", http.url("http", "/"),
			"rtmp_addr", l.rtmp.Addr().String(), "http_addr", l.http.Addr().String(), "admin_addr", openAddr(l.admin), "metrics_addr", openAddr(l.metrics))
		return
	}
	fmt.Fprintf(w, `Sluice %s is ready.

  Publish   %s
            in OBS: server %s, stream key NAME
  Watch     %s in a browser
            %s
            %s
            %s
`, versionText(),
		rtmp.url("rtmp", "/live/NAME"), rtmp.url("rtmp", "/live"),
		http.url("http", "/"), rtmp.url("rtmp", "/live/NAME"),
		http.url("http", "/live/NAME.flv"), http.url("ws", "/live/NAME.flv"))
	if cfg.Demo {
		fmt.Fprintf(w, "  Demo      %s\n", http.url("http", "/?stream=live/demo"))
	}
	if l.admin != nil {
		fmt.Fprintf(w, "  Operators http://%s/admin in a browser, with the token\n", openAddr(l.admin))
	}
	if l.metrics != nil {
		fmt.Fprintf(w, "  Metrics   http://%s/metrics\n", openAddr(l.metrics))
	}
	if rtmp.any && http.any {
		if ip := outwardIP(); ip != nil {
			fmt.Fprintf(w, "  From other machines: %s in place of localhost\n", ip)
		}
	}
	fmt.Fprintln(w)
}

// outwardIP returns an address by which other machines may reach this one: the
// first IPv4 address that isn't loopback or link-local, or nil.
func outwardIP() net.IP {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP
		}
	}
	return nil
}

// indent puts two spaces before each line.
func indent(s string) string {
	return "  " + strings.ReplaceAll(s, "\n", "\n  ")
}
