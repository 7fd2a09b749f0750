package pull

import (
	"net"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/idna"

	"sluice/httpflv"
	"sluice/httpflv/websocket"
	"sluice/hub"
	"sluice/hub/relay"
)

// Header fields of a WebSocket's handshake (RFC 6455 §4.1).
const (
	keyHeader     = "Sec-Websocket-Key"
	versionHeader = "Sec-Websocket-Version"
)

// ports are the default ones, by scheme.
var ports = map[string]string{"http": "80", "ws": "80", "https": "443", "wss": "443"}

// A target is what a request goes to: its scheme is one of ports, and its host in lower case and ASCII.
type target struct{ *url.URL }

// parseTarget reads a URL. The error does not repeat it.
func parseTarget(text string) (target, error) {
	u, err := url.Parse(text)
	if err != nil {
		return target{}, relay.Failed(relay.CauseURL, "the URL is malformed")
	}
	return targetOf(u)
}

func targetOf(u *url.URL) (target, error) {
	u.Scheme = strings.ToLower(u.Scheme)
	host, err := u.Hostname(), error(nil)
	if strings.ContainsFunc(host, notASCII) {
		host, err = idna.Lookup.ToASCII(host)
	}
	if ports[u.Scheme] == "" || host == "" || err != nil {
		return target{}, relay.Failed(relay.CauseURL, "the URL is malformed")
	}
	host = strings.ToLower(host)
	port := u.Port()
	switch {
	case port != "" && port != ports[u.Scheme]:
		u.Host = net.JoinHostPort(host, port)
	case strings.Contains(host, ":"):
		u.Host = "[" + host + "]"
	default:
		u.Host = host
	}
	u.RawQuery = strings.ReplaceAll(u.RawQuery, " ", "%20")
	u.Fragment = ""
	return target{u}, nil
}

func notASCII(r rune) bool { return r > 0x7f }

// hostport returns what is dialled.
func (t target) hostport() string {
	port := t.Port()
	if port == "" {
		port = ports[t.Scheme]
	}
	return net.JoinHostPort(t.Hostname(), port)
}

func (t target) encrypted() bool { return t.Scheme == "https" || t.Scheme == "wss" }
func (t target) isSocket() bool  { return t.Scheme == "ws" || t.Scheme == "wss" }

// sameHost reports whether two targets are of one server, which may be shown the other's password.
func (t target) sameHost(o target) bool { return t.Scheme == o.Scheme && t.Host == o.Host }

// follow returns where a redirect leads to. The user and password stay behind; request adds them again
// where they may be shown.
func (t target) follow(location string) (target, error) {
	to, err := url.Parse(location)
	if err != nil || location == "" {
		return target{}, relay.Failed(relay.CauseURL, "redirected to nowhere")
	}
	to = t.ResolveReference(to)
	to.User = nil
	next, err := targetOf(to)
	switch {
	case err != nil || next.isSocket() != t.isSocket():
		return target{}, relay.Failed(relay.CauseURL, "redirected to another protocol")
	case t.encrypted() && !next.encrypted():
		return target{}, relay.Failed(relay.CauseURL, "redirected to a connection that is not encrypted")
	}
	return next, nil
}

// request returns what is asked for at the target. user holds user and password, nil for none.
func (t target) request(path []string, user *url.Userinfo) *http.Request {
	u := *t.URL
	u.User = nil
	if u.Path == "" {
		u.Path = "/"
	}
	r := &http.Request{
		Method: http.MethodGet, URL: &u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"User-Agent": {"Sluice"}, "Accept": {"*/*"}},
	}
	if user != nil {
		password, _ := user.Password()
		r.SetBasicAuth(user.Username(), password)
	}
	if len(path) > 0 {
		r.Header.Set(httpflv.PathHeader, hub.FormatPath(path))
	}
	if t.isSocket() {
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		r.Header.Set(versionHeader, "13")
		r.Header.Set(keyHeader, websocket.NewKey())
	} else {
		r.Header.Set("Connection", "close")
	}
	return r
}
