package answer

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Origins lists the web origins (RFC 6454) whose pages may read answers. The empty list
// allows every origin, but without credentials: a browser shows a page nothing of an
// answer to a request with cookies.
//
// It is one rule for everything that is HTTP: a request whose Origin is listed is
// answered so that the page can read it, and one with another is denied. A request
// without an Origin does not come from a page and is not restricted. The server's own
// pages (the Origin's host is the request's Host) are always allowed.
type Origins []origin

// origin is a web origin in lower case, or a pattern for some.
type origin struct {
	scheme string // or nullOrigin; the rest is empty then
	host   string // an IPv6 address is in brackets; in a pattern, a label may be *
	port   string // "" for the scheme's own
}

// nullOrigin is the Origin of pages that have none of their own: pages in a sandbox, from
// a file, or after a redirect from one origin to another.
const nullOrigin = "null"

// defaultPorts are the ports that an origin leaves out.
var defaultPorts = map[string]string{"http": "80", "https": "443"}

// UnmarshalText reads a list of origins, separated by semicolons or line ends, each
// scheme://host[:port] or null. A * stands for one whole label of a host that has more
// than one.
func (o *Origins) UnmarshalText(text []byte) error {
	var list Origins
	entries := strings.FieldsFunc(string(text), func(r rune) bool { return r == ';' || r == '\n' })
	for _, entry := range entries {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		parsed, err := parseOrigin(entry)
		if err != nil {
			return fmt.Errorf("%q: %w", entry, err)
		}
		list = append(list, parsed)
	}
	if list == nil && len(strings.TrimSpace(string(text))) > 0 {
		return errOrigin // an empty list would allow every origin
	}
	*o = list
	return nil
}

var (
	errOrigin       = errors.New("an origin is scheme://host[:port], like https://example.com, and several are separated by ; or line ends")
	errOriginPath   = errors.New("an origin has no path and nothing else behind its host")
	errOriginScheme = errors.New("an origin is that of a page: http or https, not ws or wss")
	errOriginHost   = errors.New("the host is a name in ASCII or an address, and a * in it stands for one whole label beside others")
	errOriginPort   = errors.New("the port is a number from 1 to 65535")
)

// parseOrigin reads an origin, as an entry of a list or as a browser sends it. It says
// what is wrong, and is stricter than url.Parse, which decodes hosts and accepts an empty
// port or fragment.
func parseOrigin(text string) (origin, error) {
	if strings.IndexFunc(text, func(r rune) bool { return r > unicode.MaxASCII }) >= 0 {
		return origin{}, errOriginHost // some have an ASCII letter for their lower case
	}
	text = strings.ToLower(text)
	if text == nullOrigin {
		return origin{scheme: nullOrigin}, nil
	}
	scheme, rest, found := strings.Cut(text, "://")
	switch {
	case !found, !isScheme(scheme), strings.ContainsAny(rest, " \t,"):
		return origin{}, errOrigin
	case scheme == "ws", scheme == "wss":
		return origin{}, errOriginScheme
	case strings.ContainsAny(rest, "/?#@"):
		return origin{}, errOriginPath
	}
	host, port, hasPort := rest, "", false
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, ']') {
		host, port, hasPort = rest[:i], rest[i+1:], true
	}
	o := origin{scheme: scheme}
	var ok bool
	if o.host, ok = parseHost(host); !ok {
		return origin{}, errOriginHost
	}
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return origin{}, errOriginPort
		}
		if port = strconv.FormatUint(n, 10); port != defaultPorts[scheme] {
			o.port = port
		}
	}
	return o, nil
}

// isScheme reports whether text is the scheme of a URL, in lower case (RFC 3986 §3.1).
func isScheme(text string) bool {
	u, err := url.Parse(text + ":")
	return err == nil && u.Scheme != "" && u.Scheme == text
}

// parseHost checks a host in lower case and returns it in the form in which hosts are
// compared.
func parseHost(host string) (string, bool) {
	if address, found := strings.CutPrefix(host, "["); found {
		address, found = strings.CutSuffix(address, "]")
		ip, err := netip.ParseAddr(address)
		return "[" + ip.String() + "]", found && err == nil && ip.Is6() && ip.Zone() == ""
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if label == "*" && len(labels) > 1 {
			continue
		}
		other := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' }
		if label == "" || strings.IndexFunc(label, other) >= 0 {
			return "", false
		}
	}
	return host, true
}

// matches reports whether an origin fits a pattern.
func (o origin) matches(pattern origin) bool {
	if o.scheme != pattern.scheme || o.port != pattern.port {
		return false
	}
	if !strings.Contains(pattern.host, "*") {
		return o.host == pattern.host
	}
	return slices.EqualFunc(strings.Split(o.host, "."), strings.Split(pattern.host, "."), func(label, pattern string) bool {
		return label == pattern || pattern == "*"
	})
}

// Allows reports whether pages of an origin, as a browser names it, may read the answers
// of a server whose host is named so by the request.
func (o Origins) Allows(from, host string) bool {
	if len(o) == 0 {
		return true
	}
	page, err := parseOrigin(from)
	if err != nil {
		return false
	}
	if slices.ContainsFunc(o, page.matches) {
		return true
	}
	// Either scheme will do: only a proxy may know whether the client came over TLS.
	_, isWeb := defaultPorts[page.scheme]
	own, err := parseOrigin(page.scheme + "://" + host)
	return isWeb && err == nil && own == page
}

// Answer sets those header fields of an answer by which a browser lets a page read it
// (the CORS protocol of the Fetch standard), and reports false if the page is not
// allowed to: then it sets none of them, and the request is to be denied. Further calls
// for the same answer change nothing.
func (o Origins) Answer(header http.Header, r *http.Request) bool {
	if len(o) == 0 {
		header.Set("Access-Control-Allow-Origin", "*")
		header.Set("Access-Control-Expose-Headers", "*")
		return true
	}
	if !slices.Contains(header.Values("Vary"), "Origin") {
		header.Add("Vary", "Origin") // for caches: the answer is for this page
	}
	from := strings.Join(r.Header.Values("Origin"), " ")
	if from == "" {
		return true
	}
	if !o.Allows(from, r.Host) {
		return false
	}
	header.Set("Access-Control-Allow-Origin", from)
	header.Set("Access-Control-Allow-Credentials", "true")
	header.Set("Access-Control-Expose-Headers", exposed) // with credentials, * means nothing
	return true
}

// exposed are the header fields that a page may read beside those that every page may
// (Fetch standard, "CORS-safelisted response-header name").
const exposed = "Accept-Ranges, Allow, Content-Disposition, Content-Length, Content-Range, Date, ETag, Retry-After"

// DeniedOrigin is what a page is told if its origin is not allowed.
const DeniedOrigin = "pages of this origin may not have this"
