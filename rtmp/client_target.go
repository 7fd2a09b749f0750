package rtmp

import (
	"cmp"
	"errors"
	"net"
	"net/url"
	"strings"
)

// target is what a URL says.
type target struct {
	address   string // host:port
	app, name string // as sent
	tcURL     string // without user and password
	secure    bool   // rtmps
	auth      string // what the server asked for, behind app and tcUrl
	credentials
}

// parseURL divides a URL.
func parseURL(rawURL string) (target, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// The error of net/url repeats the URL, which may hold a stream key.
		return target{}, errors.New("rtmp: malformed URL")
	}
	secure := u.Scheme == "rtmps"
	if u.Scheme != "rtmp" && !secure || u.Hostname() == "" {
		return target{}, errors.New("rtmp: URL is not rtmp://HOST/APP/NAME or rtmps://HOST/APP/NAME")
	}
	port := defaultPort
	if secure {
		port = defaultTLSPort
	}
	path := strings.TrimPrefix(u.EscapedPath(), "/")
	i := strings.LastIndexByte(path, '/')
	if i <= 0 || i == len(path)-1 {
		return target{}, errors.New("rtmp: URL without app and name: rtmp://HOST/APP/NAME")
	}
	t := target{
		address: net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port)),
		app:     path[:i],
		name:    path[i+1:],
		tcURL:   u.Scheme + "://" + u.Host + "/" + path[:i],
		secure:  secure,
	}
	if u.User != nil {
		t.user = u.User.Username()
		t.password, _ = u.User.Password()
	}
	if u.RawQuery != "" {
		t.name += "?" + u.RawQuery
	}
	return t, nil
}

// at returns the URL of the stream where u is the tcUrl: what the name has of a query comes
// first, as for a Server.
func (t *target) at(u *url.URL) string {
	name, query, _ := strings.Cut(t.name, "?")
	query = strings.Trim(query+"&"+u.RawQuery, "&")
	at, _, _ := strings.Cut(u.String(), "?")
	at += "/" + name
	if query != "" {
		at += "?" + query
	}
	return at
}
