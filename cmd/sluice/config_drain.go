package main

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"sluice/rtmp"
)

// DrainSettings say how the server takes its leave. It is a part of config.
type DrainSettings struct {
	DrainDelay time.Duration `env:"DRAIN_DELAY" envDefault:"0s" min:"0s" max:"5m" doc:"How long everything is served as ever after the signal to end, while /readyz says no already, so that a load balancer has noticed before somebody is refused."`
	DrainURL   string        `env:"DRAIN_URL" doc:"Where RTMP clients that can reconnect by themselves are sent when the server ends: rtmp or rtmps, a host and perhaps a port, rtmp://b.example.com:1935; each goes to its app there. Empty: to the address where they were, or with SLUICE_CLUSTER_RTMP_URL to that of another node."`
}

// check says what is wrong with each value by itself. The value is not shown where it may hold a
// password.
func (s *DrainSettings) check(c *valueCheck) {
	c.secret("DRAIN_URL", checkDrainURL(s.DrainURL))
}

// relations has nothing to say: each setting is of use without the other.
func (s *DrainSettings) relations() []error { return nil }

// errDrainURL says what the address is to be.
var errDrainURL = errors.New("must be rtmp://HOST, rtmps://HOST, or one of them with :PORT, and nothing behind it: the app is that of the client")

func checkDrainURL(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "rtmp" && u.Scheme != "rtmps" || u.Hostname() == "" || u.User != nil ||
		u.Path != "" && u.Path != "/" || strings.ContainsAny(s, "?#") {
		return errDrainURL
	}
	if u.Port() != "" {
		if _, _, err := splitAddr(u.Host); err != nil {
			return errDrainURL
		}
	} else if strings.HasSuffix(u.Host, ":") {
		return errDrainURL
	}
	return nil
}

// drainDescription is what clients are told, for people.
const drainDescription = "The server is shutting down."

// reconnectTo returns what is asked of a client of an app, as it sent that: to go to the same app of an
// address as that of SLUICE_DRAIN_URL, with the query that may be its permission. One that is encrypted is never sent to
// an address that is not, and without an address each goes where it was.
func reconnectTo(address, app string, secure bool) rtmp.Reconnect {
	r := rtmp.Reconnect{Description: drainDescription}
	base := strings.TrimSuffix(address, "/")
	if base == "" || secure && strings.HasPrefix(base, "rtmp:") {
		return r
	}
	if u, err := url.Parse(base + "/" + strings.TrimLeft(app, "/")); err == nil {
		r.TcURL = u.String()
	}
	return r
}
