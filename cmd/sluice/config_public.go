package main

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sluice/hub/pattern"
	"sluice/web"
)

// PublicSettings say how the world reaches this server, where it does not know that by itself. They
// are a part of config.
type PublicSettings struct {
	PublicRTMPURL string `env:"PUBLIC_RTMP_URL" doc:"How the world reaches RTMP here, rtmp://HOST[:PORT] or rtmps://HOST[:PORT], or one of each, separated by ; or line ends: it stands on the page and wherever else the server names itself. Empty: the host under which the page was opened, and the ports of the listeners."`
	PublicHTTPURL string `env:"PUBLIC_HTTP_URL" doc:"How the world reaches the page and the streams over HTTP and WebSocket, http://HOST[:PORT] or https://HOST[:PORT]: links that are shared, lines to copy and what others are told of links have it. Empty: the address under which the page was opened."`
}

// Schemes of the URLs in each variable.
var (
	rtmpSchemes = []string{"rtmp", "rtmps"}
	httpSchemes = []string{"http", "https"}
)

// check says what is wrong with each value by itself.
func (s *PublicSettings) check(c *valueCheck) {
	_, err := parsePublic(s.PublicRTMPURL, rtmpSchemes)
	c.public("PUBLIC_RTMP_URL", s.PublicRTMPURL, err)
	origins, err := parsePublic(s.PublicHTTPURL, httpSchemes)
	if err == nil && len(origins) > 1 {
		err = errors.New("must be one origin: links have one")
	}
	c.public("PUBLIC_HTTP_URL", s.PublicHTTPURL, err)
}

// public notes what is wrong with a public URL. It is not repeated where there may be a secret in
// it: a password, a query, or a stream key in its path.
func (c *valueCheck) public(name, value string, err error) {
	if rest := value[strings.Index(value, "://")+1:]; strings.ContainsAny(rest, "@?#") || strings.Contains(strings.TrimLeft(rest, "/"), "/") {
		c.secret(name, err)
		return
	}
	c.value(name, value, err)
}

// relations says what the settings lack of each other.
func (s *PublicSettings) relations() []error { return nil }

// public returns how the world reaches this server, as far as it was told.
func (s *PublicSettings) public() (p web.Public) {
	p.RTMP, _ = parsePublic(s.PublicRTMPURL, rtmpSchemes)
	if origins, _ := parsePublic(s.PublicHTTPURL, httpSchemes); len(origins) > 0 {
		p.HTTP = origins[0]
	}
	return p
}

// publicURLs returns URLs at the public addresses. schemes are those of the kinds of listeners, which
// are called as the schemes of public URLs.
func publicURLs(public web.Public, path string, schemes map[string]string) (urls []string) {
	for _, origin := range append(slices.Clone(public.RTMP), public.HTTP) {
		kind, host, _ := strings.Cut(origin, "://")
		if scheme, ok := schemes[kind]; ok {
			urls = append(urls, scheme+"://"+host+path)
		}
	}
	return urls
}

// rtmpAddresses returns where the page says that RTMP is taken (web.Config.RTMP): of each scheme the
// first port that others than this machine reach, if there is one. Behind the PROXY protocol clients
// come to the proxy, which is taken to have the usual port; at our own they are turned away.
func rtmpAddresses(cfg *config, l listeners) []string {
	addresses := []string{}
	for _, kind := range []string{kindRTMP, kindRTMPS} {
		open := l.of(kind)
		if len(open) == 0 {
			continue
		}
		shown := max(0, slices.IndexFunc(open, func(o listener) bool {
			at := endpointOf(o, "")
			return at.any || !isLoopback(at.host)
		}))
		addresses = append(addresses, fmt.Sprintf("%s://:%d", kind, clientPort(cfg, open[shown])))
	}
	return addresses
}

// clientPort returns the port to which clients of a listener come.
func clientPort(cfg *config, l listener) int {
	if slices.Contains(cfg.ProxyProtocol, l.kind) {
		return ports[l.kind] // a kind is called as its scheme
	}
	return endpointOf(l, "").port
}

// parsePublic reads a list of origins, of each scheme one at the most, and returns them in lower
// case and without the default ports.
func parsePublic(text string, schemes []string) (origins []string, err error) {
	said := make(map[string]bool)
	for entry := range pattern.Split(text) {
		scheme, origin, err := parseOrigin(entry, schemes)
		switch {
		case err != nil:
			return nil, err
		case said[scheme]:
			return nil, fmt.Errorf("there are two for %s", scheme)
		}
		said[scheme] = true
		origins = append(origins, origin)
	}
	return origins, nil
}

// publicHost matches a name of the DNS, as far as its letters go.
var publicHost = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?$`)

// parseOrigin reads scheme://host[:port]. Its errors repeat nothing of it.
func parseOrigin(text string, schemes []string) (scheme, origin string, err error) {
	form := fmt.Errorf("must be %s", originForms(schemes))
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" || !strings.Contains(text, "://") {
		return "", "", form
	}
	host := strings.ToLower(u.Hostname())
	switch {
	case strings.Contains(text, ","):
		return "", "", errors.New("several are separated by ; or line ends")
	case !slices.Contains(schemes, u.Scheme) || host == "":
		return "", "", form
	case u.User != nil:
		return "", "", errors.New("must be without a user and a password")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", "", errors.New("must be without a query")
	case strings.Trim(u.Path, "/") != "":
		return "", "", errors.New("must be without a path: APP and NAME come behind it")
	}
	address, err := netip.ParseAddr(host)
	switch {
	case strings.Contains(u.Host, "[") && (err != nil || !address.Is6() || address.Zone() != ""):
		return "", "", errors.New("in [ ] stands an IPv6 address, without a zone")
	case !strings.Contains(u.Host, "[") && !publicHost.MatchString(host):
		return "", "", errors.New("the host must be a name of letters, digits, dots and hyphens (xn--… for others), or an IP address, IPv6 in [ ]")
	case err == nil && address.IsUnspecified():
		return "", "", errors.New("nobody reaches a server by the address of all interfaces")
	}
	port := ports[u.Scheme]
	if text := u.Port(); text != "" || strings.HasSuffix(u.Host, ":") {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return "", "", errors.New("the port must be a number from 1 to 65535")
		}
		port = int(n)
	}
	return u.Scheme, u.Scheme + "://" + hostPort(u.Scheme, host, port), nil
}

// originForms lists what a public URL may look like.
func originForms(schemes []string) string {
	var forms []string
	for _, scheme := range schemes {
		forms = append(forms, scheme+"://HOST[:PORT]")
	}
	return strings.Join(forms, " or ")
}
