package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"

	"sluice/web"
)

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

// ports are the ports that the schemes of URLs have anyway.
var ports = map[string]int{
	"rtmp": web.DefaultRTMPPort, "rtmps": web.DefaultRTMPSPort, "http": 80, "ws": 80, "https": 443, "wss": 443,
}

// url returns scheme://host[:port]path, without the port that the scheme has
// anyway.
func (e endpoint) url(scheme, path string) string {
	return scheme + "://" + hostPort(scheme, e.host, e.port) + path
}

// hostPort returns a host and a port as a URL has them, without the port that the scheme has anyway.
func hostPort(scheme, host string, port int) string {
	switch {
	case port != ports[scheme]:
		return net.JoinHostPort(host, strconv.Itoa(port))
	case strings.Contains(host, ":"):
		return "[" + host + "]"
	}
	return host
}

// urls returns URLs at all listeners of some kinds, each once. schemes are those of the kinds. Where
// one with TLS takes connections on every interface, its host is secure, unless that is empty.
func (l listeners) urls(path string, schemes map[string]string, secure string) (urls []string) {
	for _, open := range l {
		if scheme, ok := schemes[open.kind]; ok {
			at := endpointOf(open, open.asked)
			if at.any && secure != "" && slices.Contains(withTLS, scheme) {
				at.host = secure
			}
			if url := at.url(scheme, path); !slices.Contains(urls, url) {
				urls = append(urls, url)
			}
		}
	}
	return urls
}

// withTLS are the schemes for which a certificate is shown.
var withTLS = []string{"rtmps", "https", "wss"}

// secureHost returns a name under which a client takes the certificate that is there: empty where
// localhost is one, or no name is known.
func (c *config) secureHost() string {
	if c.certificates == nil {
		return ""
	}
	found := ""
	for _, of := range c.certificates.Certificates() {
		for _, name := range of.Names {
			if name == "localhost" {
				return ""
			}
			if found == "" && !strings.HasPrefix(name, "*") {
				found = name
			}
		}
	}
	return found
}

// Schemes of URLs, by the kind of the listener.
var (
	ofRTMP      = map[string]string{kindRTMP: "rtmp", kindRTMPS: "rtmps"}
	ofHTTP      = map[string]string{kindHTTP: "http", kindHTTPS: "https"}
	ofWebSocket = map[string]string{kindHTTP: "ws", kindHTTPS: "wss"}
)

// first returns the first of some URLs, empty if there is none.
func first(urls []string) string {
	if len(urls) == 0 {
		return ""
	}
	return urls[0]
}

// announce tells where to publish and where to watch: in words, or as one line of JSON
// where that is the form of the log. It does so at every log level, since nothing else
// tells a port that was chosen freely.
func announce(w io.Writer, cfg config, l listeners) {
	public, secure := cfg.public(), cfg.secureHost()
	urls := func(path string, schemes map[string]string) []string {
		if known := publicURLs(public, path, schemes); len(known) > 0 {
			return known
		}
		return l.urls(path, schemes, secure)
	}
	if cfg.LogForm == "json" {
		said := []any{
			"version", versionText(), "publish", first(urls("/live/NAME", ofRTMP)), "page", first(urls("/", ofHTTP)),
		}
		for _, of := range cfg.listening() {
			said = append(said, of.kind+"_addr", l.addr(of.kind))
		}
		newLogger(w, cfg.LogForm, slog.LevelInfo).Info("ready", said...)
		return
	}
	fmt.Fprintf(w, "Sluice %s is ready.\n\n", versionText())
	publish := urls("/live/NAME", ofRTMP)
	if len(publish) > 0 {
		publish = append(publish, "in OBS: server "+first(urls("/live", ofRTMP))+", stream key NAME")
	}
	tell(w, "Publish", publish)
	pages := urls("/", ofHTTP)
	if len(pages) > 0 {
		pages[0] += " in a browser"
	}
	tell(w, "Watch", slices.Concat(pages, urls("/live/NAME", ofRTMP),
		urls("/live/NAME.flv", ofHTTP), urls("/live/NAME.flv", ofWebSocket)))
	if cfg.Demo {
		tell(w, "Demo", urls("/?stream=live/demo", ofHTTP))
	}
	scheme := "http"
	if cfg.AdminTLS {
		scheme = "https"
	}
	for _, url := range l.urls("/admin", map[string]string{kindAdmin: scheme}, secure) {
		tell(w, "Operators", []string{url + " in a browser, with the token"})
	}
	for _, url := range l.urls("/metrics", map[string]string{kindMetrics: scheme}, secure) {
		tell(w, "Metrics", []string{url})
	}
	if !public.IsZero() {
		tell(w, "Listens", l.urls("", map[string]string{kindRTMP: "rtmp", kindRTMPS: "rtmps", kindHTTP: "http", kindHTTPS: "https"}, ""))
	} else {
		tellOutward(w, l)
	}
	fmt.Fprintln(w)
}

// tell writes lines under a title.
func tell(w io.Writer, title string, lines []string) {
	for i, line := range lines {
		if i > 0 {
			title = ""
		}
		fmt.Fprintf(w, "  %-9s %s\n", title, line)
	}
}

// tellOutward tells what other machines call this one, where that is so for all that was told.
func tellOutward(w io.Writer, l listeners) {
	for _, open := range l.of(kindRTMP, kindRTMPS, kindHTTP, kindHTTPS) {
		if !endpointOf(open, open.asked).any {
			return
		}
	}
	if ip := outwardIP(); ip != nil {
		fmt.Fprintf(w, "  From other machines: %s in place of localhost\n", ip)
	}
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
