package bench

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// protocol is how a viewer is served.
type protocol int

const (
	httpFLV protocol = iota
	wsFLV
	rtmpPlay
)

// kinds are the names of the protocols, plain and encrypted.
var kinds = [...][2]string{httpFLV: {"http-flv", "https-flv"}, wsFLV: {"ws-flv", "wss-flv"}, rtmpPlay: {"rtmp", "rtmps"}}

// schemes are those of their URLs, likewise.
var schemes = [...][2]string{httpFLV: {"http", "https"}, wsFLV: {"ws", "wss"}, rtmpPlay: {"rtmp", "rtmps"}}

// target is a URL to publish to or to watch, perhaps with a verb such as %d or
// %03d in the place of the stream's number.
type target struct {
	pattern  string
	protocol protocol
	secure   bool // by TLS
}

// kind returns the name of the target's protocol.
func (t target) kind() string { return kinds[t.protocol][index(t.secure)] }

// index returns 1 for true.
func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Default ports of HTTP and WebSocket.
const (
	defaultHTTPPort  = "80"
	defaultHTTPSPort = "443"
)

// parseTarget checks a URL. Its errors do not repeat the URL, which may hold a
// stream key.
func parseTarget(pattern string) (target, error) {
	t := target{pattern: pattern}
	if strings.Contains(t.at(0), "%!") {
		return target{}, errors.New("URL with a verb other than one %d (a percent sign by itself is written %%)")
	}
	u, err := url.Parse(t.at(0))
	if err != nil || u.Host == "" {
		return target{}, errors.New("malformed URL (rtmp://HOST/APP/NAME, http://HOST/APP/NAME.flv or ws://HOST/APP/NAME.flv)")
	}
	for p, pair := range schemes {
		if i := slices.Index(pair[:], u.Scheme); i >= 0 {
			t.protocol, t.secure = protocol(p), i == 1
			return t, nil
		}
	}
	return target{}, fmt.Errorf("scheme %q is not one of rtmp, http and ws, or rtmps, https and wss", u.Scheme)
}

// encrypted returns the target over TLS, or without.
func (t target) encrypted(secure bool) target {
	_, rest, _ := strings.Cut(t.pattern, "://")
	t.secure = secure
	t.pattern = schemes[t.protocol][index(secure)] + "://" + rest
	return t
}

// withHost returns the target at another HOST:PORT.
func (t target) withHost(host string) target {
	scheme, rest, _ := strings.Cut(t.pattern, "://")
	_, path, _ := strings.Cut(rest, "/")
	t.pattern = scheme + "://" + host + "/" + path
	return t
}

// numbered reports whether each stream has a URL of its own.
func (t target) numbered() bool { return t.at(0) != t.at(1) }

// at returns the URL of a stream.
func (t target) at(number int) string {
	if !strings.Contains(t.pattern, "%") {
		return t.pattern
	}
	return fmt.Sprintf(t.pattern, number)
}

// host returns the name or address of the target's host.
func (t target) host() string {
	u, err := url.Parse(t.at(0))
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// String returns the URL for reports: without user and query, which may be secret.
func (t target) String() string {
	shown, _, _ := strings.Cut(t.pattern, "?")
	if scheme, rest, ok := strings.Cut(shown, "://"); ok {
		host, path, _ := strings.Cut(rest, "/")
		host = host[strings.LastIndexByte(host, '@')+1:]
		shown = scheme + "://" + host + "/" + path
	}
	return shown
}

// address returns the HOST:PORT of an HTTP or WebSocket URL.
func address(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https" || u.Scheme == "wss":
		port = defaultHTTPSPort
	default:
		port = defaultHTTPPort
	}
	return net.JoinHostPort(u.Hostname(), port)
}
