package web

import (
	"net/url"
	"strconv"
	"strings"
)

// Default ports of the schemes of RTMP, which URLs need not name: IANA's, and that of HTTPS, which
// encoders and players take for RTMP over TLS.
const (
	DefaultRTMPPort  = 1935
	DefaultRTMPSPort = 443
)

// Public is how the world reaches the server, where it was told so.
type Public struct {
	HTTP string   `json:"http,omitempty"` // origin of the page, and of streams over HTTP and WebSocket
	RTMP []string `json:"rtmp,omitempty"` // rtmp://HOST[:PORT], rtmps://HOST[:PORT] or both
}

// IsZero reports whether nothing is known.
func (p Public) IsZero() bool { return p.HTTP == "" && len(p.RTMP) == 0 }

// rtmpAddresses returns what the page is given: where publishers and RTMP players connect.
func (c Config) rtmpAddresses() []string {
	switch {
	case len(c.Public.RTMP) > 0:
		return c.Public.RTMP
	case c.RTMP == nil:
		return []string{"rtmp://:" + strconv.Itoa(DefaultRTMPPort)}
	}
	return c.RTMP
}

// rtmpPort returns the port of the first address of a scheme, 0 if there is none.
func (c Config) rtmpPort(scheme string) int {
	for _, address := range c.rtmpAddresses() {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != scheme {
			continue
		}
		if port, err := strconv.Atoi(u.Port()); err == nil {
			return port
		}
		return map[string]int{"rtmp": DefaultRTMPPort, "rtmps": DefaultRTMPSPort}[scheme]
	}
	return 0
}

// origin returns the origin under which others reach what this page shows, and whether it is
// https; "" where the request does not say under which host it came.
func (c Config) origin(host string, secure bool) (origin string, isSecure bool) {
	switch {
	case c.Public.HTTP != "":
		return c.Public.HTTP, strings.HasPrefix(c.Public.HTTP, "https:")
	case !plainHost.MatchString(host):
		return "", secure
	case secure:
		return "https://" + host, true
	}
	return "http://" + host, false
}
