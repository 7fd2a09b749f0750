package main

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"sluice/hub/pattern"
)

// ListenSettings say where clients are taken. It is a part of config.
type ListenSettings struct {
	RTMPAddr  addresses `env:"RTMP_ADDR" envDefault:":1935" doc:"Addresses for RTMP, HOST:PORT each, separated by ; or line ends; off for none. An empty host means every interface, port 0 any free port."`
	HTTPAddr  addresses `env:"HTTP_ADDR" envDefault:":8080" doc:"Addresses for HTTP-FLV, WebSocket-FLV, the page and the API, listed as above."`
	RTMPSAddr addresses `env:"RTMPS_ADDR" doc:"Addresses for RTMP within TLS (rtmps://), listed as above. Empty: there are none."`
	HTTPSAddr addresses `env:"HTTPS_ADDR" doc:"Addresses for what SLUICE_HTTP_ADDR is for, within TLS (https://, wss://). Empty: there are none."`
}

// maxAddresses bounds the addresses of one variable.
const maxAddresses = 16

// addresses are where something listens, HOST:PORT each.
type addresses []string

// UnmarshalText takes addresses that are separated by ; or line ends, or off for none.
func (a *addresses) UnmarshalText(text []byte) error {
	*a = nil
	for entry := range pattern.Split(string(text)) {
		*a = append(*a, entry)
	}
	if slices.ContainsFunc(*a, isOff) {
		if len(*a) > 1 {
			return errors.New("off stands alone")
		}
		*a = addresses{}
		return nil
	}
	if len(*a) == 0 {
		return errors.New("must be HOST:PORT, or off")
	}
	if len(*a) > maxAddresses {
		return fmt.Errorf("must be %d addresses at the most", maxAddresses)
	}
	for _, addr := range *a {
		if _, _, err := splitAddr(addr); err != nil && len(*a) > 1 {
			return fmt.Errorf("%q: %w", addr, err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

func isOff(entry string) bool { return strings.EqualFold(entry, "off") }

// String returns the addresses as they are written.
func (a addresses) String() string { return strings.Join(a, ";") }

// areLoopback reports whether all of them can be reached from this machine only.
func (a addresses) areLoopback() bool {
	return !slices.ContainsFunc(a, func(addr string) bool {
		host, _, _ := splitAddr(addr)
		return !isLoopback(host)
	})
}

// Kinds of listeners: by whom their connections are served, and how.
const (
	kindRTMP    = "rtmp"
	kindRTMPS   = "rtmps"
	kindHTTP    = "http"
	kindHTTPS   = "https"
	kindAdmin   = "admin"   // the operators' address
	kindMetrics = "metrics" // metrics on an address of their own
)

// listening is what one variable says of listeners.
type listening struct {
	kind, variable string
	addresses
}

// listening returns what the variables say, in the order in which listeners are told.
func (c *config) listening() []listening {
	var all []listening
	for _, of := range []struct {
		kind string
		addresses
	}{
		{kindRTMP, c.RTMPAddr}, {kindRTMPS, c.RTMPSAddr}, {kindHTTP, c.HTTPAddr}, {kindHTTPS, c.HTTPSAddr},
		{kindAdmin, c.AdminAddr}, {kindMetrics, c.MetricsAddr},
	} {
		all = append(all, listening{of.kind, variableOf(of.kind), of.addresses})
	}
	return all
}

// variableOf returns the name of the variable that says where listeners of a kind are.
func variableOf(kind string) string { return envPrefix + strings.ToUpper(kind) + "_ADDR" }

// checkListening says which addresses cannot be together, and what is missing.
func (c *config) checkListening() (problems []error) {
	var before []listening // those of one address each, that have been looked at
	for _, l := range c.listening() {
		for _, addr := range l.addresses {
			one := listening{l.kind, l.variable, addresses{addr}}
			if i := slices.IndexFunc(before, one.clashes); i >= 0 {
				problems = append(problems, samePort(before[i], one))
			}
			before = append(before, one)
		}
	}
	if len(c.RTMPAddr)+len(c.RTMPSAddr)+len(c.HTTPAddr)+len(c.HTTPSAddr) == 0 {
		problems = append(problems, fmt.Errorf("%s and %s are off: nobody could publish or watch", variableOf(kindRTMP), variableOf(kindHTTP)))
	}
	for _, l := range c.listening() {
		if slices.Contains(c.ProxyProtocol, l.kind) && len(l.addresses) == 0 {
			problems = append(problems, fmt.Errorf("%sPROXY_PROTOCOL names %s, but %s has no address", envPrefix, l.kind, l.variable))
		}
	}
	return append(problems, c.checkSecure()...)
}

// checkSecure says where listeners with TLS lack certificates, and certificates listeners.
func (c *config) checkSecure() (problems []error) {
	var secure []string // variables that want TLS
	for _, of := range []struct {
		variable string
		wants    bool
	}{
		{variableOf(kindRTMPS), len(c.RTMPSAddr) > 0}, {variableOf(kindHTTPS), len(c.HTTPSAddr) > 0}, {envPrefix + "ADMIN_TLS", c.AdminTLS},
	} {
		if of.wants {
			secure = append(secure, of.variable)
		}
	}
	switch {
	case len(secure) > 0 && !c.hasCertificates():
		problems = append(problems, fmt.Errorf("%s needs %[2]sTLS_CERT and %[2]sTLS_KEY, or %[2]sTLS_DOMAINS", secure[0], envPrefix))
	case len(secure) == 0 && c.hasCertificates():
		name := "TLS_CERT"
		if len(c.TLSDomains) > 0 {
			name = "TLS_DOMAINS"
		}
		problems = append(problems, fmt.Errorf("%s%s is set, but there is nothing with TLS: %s, %s or %sADMIN_TLS says what is",
			envPrefix, name, variableOf(kindHTTPS), variableOf(kindRTMPS), envPrefix))
	}
	return problems
}

// clashes reports whether two addresses cannot both be listened on.
func (l listening) clashes(other listening) bool {
	host, port, _ := splitAddr(l.addresses[0])
	otherHost, otherPort, _ := splitAddr(other.addresses[0])
	return port != 0 && port == otherPort && (host == otherHost || wildcard(host) || wildcard(otherHost))
}

// samePort says that two addresses clash.
func samePort(one, other listening) error {
	_, port, _ := splitAddr(one.addresses[0])
	if one.variable == other.variable {
		return fmt.Errorf("%s names the port %d twice", one.variable, port)
	}
	return fmt.Errorf("%s and %s name the same port, %d: each needs its own", one.variable, other.variable, port)
}

// splitAddr takes HOST:PORT apart. The port is a number, 0 to 65535.
func splitAddr(addr string) (host string, port int, err error) {
	if n, err := strconv.ParseUint(addr, 10, 16); err == nil {
		return "", 0, fmt.Errorf("must be HOST:PORT (did you mean :%d?)", n)
	}
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, errors.New("must be HOST:PORT, like :1935, 127.0.0.1:1935 or [::1]:1935")
	}
	n, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return "", 0, errors.New("the port must be a number from 0 to 65535")
	}
	if strings.ContainsAny(host, " /@") {
		return "", 0, errors.New("must be HOST:PORT, without a scheme or a path")
	}
	return host, int(n), nil
}

// wildcard says whether a listener on host takes connections on every interface.
func wildcard(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}
