package bench

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// protocol is how a viewer is served.
type protocol int

const (
	httpFLV protocol = iota
	wsFLV
	rtmpPlay
)

// String returns the protocol's name.
func (p protocol) String() string { return [...]string{"http-flv", "ws-flv", "rtmp"}[p] }

// target is a URL to publish to or to watch, perhaps with a verb such as %d or
// %03d in the place of the stream's number.
type target struct {
	pattern  string
	protocol protocol
}

// defaultHTTPPort goes with http and ws.
const defaultHTTPPort = "80"

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
	switch u.Scheme {
	case "rtmp":
		t.protocol = rtmpPlay
	case "http":
		t.protocol = httpFLV
	case "ws":
		t.protocol = wsFLV
	default:
		return target{}, fmt.Errorf("scheme %q is not one of rtmp, http and ws", u.Scheme)
	}
	return t, nil
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
	if port == "" {
		port = defaultHTTPPort
	}
	return net.JoinHostPort(u.Hostname(), port)
}
