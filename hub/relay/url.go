package relay

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/hub"
)

// URL is where a relay goes to. It prints itself without what may be secret: user, query and the
// last segment of the path, and segments of it that hold a =. The zero URL is none.
type URL struct{ text string }

// schemes are those of URLs, by kind: pushes go over RTMP.
var schemes = [kinds][]string{
	Pull:   {"rtmp", "rtmps", "http", "https", "ws", "wss"},
	Origin: {"rtmp", "rtmps", "http", "https", "ws", "wss"},
	Push:   {"rtmp", "rtmps"},
}

// placeholders are what a URL may hold, by kind.
var placeholders = [kinds][]string{
	Origin: {"{app}", "{name}", "{query}"},
	Push:   {"{app}", "{name}"},
}

// ParseURL reads a URL of a kind of relay, in which {app}, {name} and, of an Origin, {query} stand
// for those of a stream, in path and query only. The error does not repeat it.
func ParseURL(kind Kind, text string) (URL, error) {
	begin, rest, ok := strings.Cut(text, "://")
	scheme := strings.ToLower(begin)
	if !ok || !slices.Contains(schemes[kind], scheme) {
		return URL{}, fmt.Errorf("must begin with %s://", strings.Join(schemes[kind], "://, "))
	}
	host, _, _ := strings.Cut(rest, "/")
	if strings.ContainsAny(host, "{}?#") {
		return URL{}, errors.New("must have a host of its own: {app}, {name} and {query} stand in path and query only")
	}
	left := text
	for _, p := range placeholders[kind] {
		left = strings.ReplaceAll(left, p, "x")
	}
	if strings.ContainsAny(left, "{}") {
		if len(placeholders[kind]) == 0 {
			return URL{}, errors.New("of a pull has a { or }, which are written %7B and %7D")
		}
		return URL{}, fmt.Errorf("may have nothing in braces but %s", strings.Join(placeholders[kind], ", "))
	}
	if strings.Contains(left, "#") {
		return URL{}, errors.New("has a fragment")
	}
	u, err := url.Parse(left)
	if err != nil || u.Hostname() == "" {
		return URL{}, errors.New("is malformed")
	}
	if port, err := strconv.ParseUint(cmp.Or(u.Port(), "1"), 10, 16); err != nil || port == 0 {
		return URL{}, errors.New("has a port that is none")
	}
	segments := strings.Split(strings.Trim(u.EscapedPath(), "/"), "/")
	if strings.HasPrefix(scheme, "rtmp") && (len(segments) < 2 || segments[len(segments)-1] == "") ||
		segments[0] == "" {
		return URL{}, fmt.Errorf("has no stream: %s://HOST/APP/NAME", scheme)
	}
	return URL{scheme + "://" + rest}, nil
}

// Expand returns the URL for a stream: each placeholder escaped for where it stands. query is the
// first viewer's, without what says how it wants to watch, and without parameters that the URL has
// itself, which no viewer may set; it goes behind a ? or a & of the URL.
func (u URL) Expand(key hub.Key, query url.Values) URL {
	if !strings.Contains(u.text, "{") {
		return u
	}
	path, rest, hasQuery := strings.Cut(u.text, "?")
	segments := strings.Split(key.App, "/")
	for i := range segments {
		segments[i] = url.PathEscape(segments[i])
	}
	own := parameters(rest)
	passed := url.Values{}
	for name, values := range query {
		if !hub.IsWatchOption(name) && !own[strings.ToLower(name)] {
			passed[name] = values
		}
	}
	path = strings.NewReplacer("{app}", strings.Join(segments, "/"), "{name}", url.PathEscape(key.Name),
		"{query}", passed.Encode()).Replace(path)
	if !hasQuery {
		return URL{path}
	}
	rest = strings.NewReplacer("{app}", url.QueryEscape(key.App), "{name}", url.QueryEscape(key.Name),
		"{query}", passed.Encode()).Replace(rest)
	return URL{strings.TrimRight(path+"?"+strings.Trim(rest, "&"), "?")}
}

// parameters returns the names of those in a query, in lower case, which some servers take for the same.
func parameters(query string) map[string]bool {
	names := map[string]bool{}
	for pair := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if decoded, err := url.QueryUnescape(name); err == nil {
			name = decoded
		}
		names[strings.ToLower(name)] = true
	}
	return names
}

// Secret returns the whole URL, for who opens it: it must not be shown, logged or told.
func (u URL) Secret() string { return u.text }

// IsZero reports whether it is none.
func (u URL) IsZero() bool { return u.text == "" }

// Scheme returns the scheme, in lower case.
func (u URL) Scheme() string {
	scheme, _, _ := strings.Cut(u.text, "://")
	return scheme
}

// Address returns the HOST:PORT that the URL leads to. See AddressOf.
func (u URL) Address() string {
	return AddressOf(strings.NewReplacer("{", "", "}", "").Replace(u.text))
}

// ports are those that URLs lead to which name none, by scheme; others are encrypted, to 443.
var ports = map[string]string{"rtmp": "1935", "http": "80", "ws": "80"}

// AddressOf returns the HOST:PORT that a URL leads to, in lower case, with the port that its scheme has
// if it names none; "" if it is malformed.
func AddressOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	port := cmp.Or(u.Port(), ports[u.Scheme], "443")
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// WithBack returns a query as it is written, which asks to begin further back and has been changed in nothing
// else; by 0 it asks for nothing.
func WithBack(query string, back time.Duration) string {
	var kept []string
	for field := range strings.SplitSeq(query, "&") {
		if name, _, _ := strings.Cut(field, "="); field != "" && name != "back" {
			kept = append(kept, field)
		}
	}
	if back > 0 {
		kept = append(kept, "back="+strconv.FormatFloat(back.Seconds(), 'f', -1, 64))
	}
	return strings.Join(kept, "&")
}

// String returns what may be shown of the URL: rtmps://host/app/***.
func (u URL) String() string {
	scheme, rest, _ := strings.Cut(u.text, "://")
	rest, _, _ = strings.Cut(rest, "?")
	host, path, _ := strings.Cut(rest, "/")
	if i := strings.LastIndex(host, "@"); i >= 0 {
		host = host[i+1:]
	}
	if u.text == "" {
		return ""
	}
	segments := strings.Split(path, "/")
	for i := range segments {
		if i == len(segments)-1 || strings.Contains(segments[i], "=") { // a query may stand in the path
			segments[i] = "***"
		}
	}
	return scheme + "://" + host + "/" + strings.Join(segments, "/")
}

// GoString keeps %#v from printing secrets.
func (u URL) GoString() string { return u.String() }

// MarshalText shows what String does.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// minSecret is the length of the shortest text that is taken for a secret, in bytes: a shorter one
// stands in ordinary words.
const minSecret = 3

// hide returns a text of another server's without what may be secret of the URL, since servers repeat
// what they are asked for: the user and the password, the last segment of the path and the values
// of the query, as they stand there and decoded.
func (u URL) hide(text string) string {
	parsed, err := url.Parse(u.text)
	if err != nil || text == "" {
		return text
	}
	secrets := []string{parsed.RawQuery}
	if parsed.User != nil {
		password, _ := parsed.User.Password()
		secrets = append(secrets, parsed.User.Username(), password)
	}
	for _, path := range []string{parsed.EscapedPath(), parsed.Path} {
		name := path[strings.LastIndex(path, "/")+1:]
		secrets = append(secrets, name, strings.TrimSuffix(name, ".flv"))
	}
	for _, values := range parsed.Query() {
		for _, value := range values {
			secrets = append(secrets, value, url.QueryEscape(value))
		}
	}
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) }) // the longest first
	for _, secret := range secrets {
		if len(secret) >= minSecret {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	return text
}

// failure returns the failure that an error of a connection to the URL is, without its secrets.
func (u URL) failure(err error) *Failure {
	f := FailureOf(err)
	if hidden := u.hide(f.Detail); hidden != f.Detail {
		return &Failure{f.Cause, hidden, f.Err}
	}
	return f
}
