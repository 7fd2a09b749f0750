package rtmp

import (
	"crypto/tls"
	"net"
	"net/url"
	"strings"

	"sluice/flv/amf"
)

// connectInfo is what the connect command said. It is kept once for all connections that
// say the same: there may be thousands of players of one kind.
type connectInfo struct {
	app, tcURL      string // as sent, at most maxArgument
	pageURL, swfURL string // as sent, cut to maxURL
	flashVer        string // for logs
	secure          bool
	reconnects      bool   // it has announced CapsReconnect
	caps            string // its Capabilities as AMF0, "" if it said nothing
	path            string // see Request.Path
}

// readConnect reads the object of a connect command.
func (s *session) readConnect(object props) connectInfo {
	c := connectInfo{
		app:      object.str("app"),
		tcURL:    object.str("tcUrl"),
		pageURL:  cut(object.str("pageUrl"), maxURL),
		swfURL:   cut(object.str("swfUrl"), maxURL),
		flashVer: shown(object.str("flashVer")),
		secure:   isSecure(s.nc),
		path:     object.str(PropertyPath),
	}
	if len(c.path) > maxPath {
		c.path = "?" // no path
	}
	caps := object.capabilities()
	c.reconnects = caps.CapsEx&CapsReconnect != 0
	if caps.Announced() {
		c.caps = string(amf.AppendAMF0(nil, caps.properties()))
	}
	if c.app == "" {
		c.app = appOfURL(c.tcURL)
	}
	return c
}

// request makes the Request of publish or play.
func (s *session) request(name, typ string, start float64) (*Request, error) {
	c := s.client.Value()
	app, name, query, err := canonical(c.app, name, c.tcURL)
	if err != nil {
		return nil, err
	}
	r := &Request{
		App: app, Name: name, Query: query, Type: typ, Start: start,
		Host: shown(hostOfURL(c.tcURL)), TcURL: shownURL(c.tcURL), FlashVer: c.flashVer, Secure: c.secure,
		FullTcURL: c.tcURL, PageURL: c.pageURL, SWFURL: c.swfURL,
		Path: c.path,
	}
	r.Capabilities = c.capabilities()
	return r, nil
}

// misnamed is the refusal of a client that has asked for something that names no stream.
type misnamed struct {
	*StatusError
	asked string // as the log shows it
}

func (m misnamed) Unwrap() error { return m.StatusError }

// misnamed returns the refusal because of an error of request.
func (s *session) misnamed(err error, name, role string) error {
	asked := strings.Trim(shownName(s.client.Value().app)+"/"+shownName(name), "/")
	if role == "publish" && s.srv.Disguise != nil {
		asked = s.srv.Disguise("", asked)
	}
	return misnamed{&StatusError{Description: err.Error()}, asked}
}

// shownName is shown for an app or a name, whose query may be escaped.
func shownName(s string) string {
	plain, err := url.PathUnescape(cut(s, maxArgument))
	if err != nil {
		plain, _, _ = strings.Cut(s, "%") // who knows where the query begins
	}
	return shown(plain)
}

// capabilities returns what the client said of Enhanced RTMP.
func (c *connectInfo) capabilities() Capabilities {
	values, err := amf.DecodeAll([]byte(c.caps), amf.Limits{})
	if err != nil || len(values) == 0 { // the former can't be: it was made here
		return Capabilities{}
	}
	object, _ := amf.Properties(values[0])
	return props(object).capabilities()
}

// isSecure tells whether a connection is encrypted: a *tls.Conn, or one of a type with
// its method, itself or inside others.
func isSecure(nc net.Conn) bool {
	for range maxWrapped {
		if _, ok := nc.(interface{ ConnectionState() tls.ConnectionState }); ok {
			return true
		}
		outer, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return false
		}
		nc = outer.NetConn()
	}
	return false
}

// maxWrapped bounds the connections inside one another: in use is at most TLS over one
// that counts or limits.
const maxWrapped = 8

// cutURL divides a URL into its scheme with "://", what stands before its host and
// ends with "@", its host with the port, and the rest. One without a scheme is all
// rest.
func cutURL(u string) (scheme, user, host, rest string) {
	i := strings.Index(u, "://")
	if i < 0 {
		return "", "", "", u
	}
	scheme, u = u[:i+3], u[i+3:]
	if i = strings.IndexAny(u, "/?#"); i >= 0 {
		u, rest = u[:i], u[i:]
	}
	i = strings.LastIndexByte(u, '@') + 1
	return scheme, u[:i], u[i:], rest
}

// hostOfURL returns the host of a URL, with the port if it has one.
func hostOfURL(u string) string {
	_, _, host, _ := cutURL(u)
	return host
}

// shownURL is shown for a URL, whose user and password are left out too.
func shownURL(u string) string {
	scheme, _, host, rest := cutURL(u)
	return shown(scheme + host + rest)
}

// shown returns client-supplied text without its query, bounded, for logs.
func shown(s string) string {
	s, _, _ = strings.Cut(s, "?")
	return cut(s, maxShown)
}

// cut returns the first n bytes of s, all if there are less, without keeping the rest
// in memory.
func cut(s string, n int) string {
	if len(s) > n {
		s = strings.Clone(s[:n])
	}
	return s
}
