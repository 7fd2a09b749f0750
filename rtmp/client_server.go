package rtmp

import (
	"net"
	"net/url"
	"strings"
	"unicode"

	"sluice/flv/amf"
)

// A ServerInfo is what a server says of itself in its answer to connect.
type ServerInfo struct {
	// Capabilities are those of Enhanced RTMP; nothing of a server that has none.
	Capabilities Capabilities
	// Properties are all that it said: its own, and behind them those of the status.
	Properties amf.Object
}

// Text returns a property that is a text, "" if there is none.
func (i *ServerInfo) Text(name string) string { return props(i.Properties).str(name) }

// Number returns a property that is a number, 0 if there is none.
func (i *ServerInfo) Number(name string) float64 {
	n, _ := props(i.Properties).get(name).(float64)
	return n
}

// serverInfo returns what a result of connect says as it is kept: some hundred bytes of AMF0.
// A server that says more than maxArgument has said nothing.
func (c *command) serverInfo() []byte {
	var values []any
	for i := range 2 {
		values = append(values, amf.Object(c.objectArg(i)))
	}
	if b := amf.AppendAMF0(nil, values...); len(b) <= maxArgument {
		return b
	}
	return nil
}

// info reads what serverInfo returned. Enhanced RTMP v2 does not say in which of the two objects
// a server has its capabilities: the first that has some counts.
func (cc *clientConn) info() ServerInfo {
	var i ServerInfo
	values, err := amf.DecodeAll(cc.server, commandLimits)
	if err != nil {
		return i
	}
	for _, v := range values {
		object, _ := amf.Properties(v)
		i.Properties = append(i.Properties, object...)
		if !i.Capabilities.Announced() {
			i.Capabilities = props(object).capabilities()
		}
	}
	return i
}

// Server returns what the server said of itself when the client connected.
func (p *Publisher) Server() ServerInfo { return p.cc.info() }

// Server returns what the server said of itself when the client connected.
func (p *Player) Server() ServerInfo { return p.cc.info() }

// NetConn returns the connection, to ask the system about it: it must not be read, written
// to or closed.
func (p *Publisher) NetConn() net.Conn { return p.cc.nc }

// NetConn returns the connection, to ask the system about it: it must not be read, written
// to or closed.
func (p *Player) NetConn() net.Conn { return p.cc.nc }

// refusal returns what a server said as the client's error: bounded, with where it leads to, and
// without what may be secret.
func (cc *clientConn) refusal(status *StatusError) *StatusError {
	status.Redirect = cc.redirect(status)
	if strings.Contains(status.Description, "authmod=") {
		status.asks = cut(status.Description, maxArgument)
	}
	status.Code = cut(cc.mask(cut(status.Code, maxArgument)), maxShown)
	status.Description = cut(cc.mask(cut(status.Description, maxArgument)), maxShown)
	return status
}

// mask returns a text of the server in one line and without name, query, user and password.
func (t *target) mask(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	name, query, _ := strings.Cut(t.name, "?")
	secrets := []string{t.name, name, query, t.user, t.password}
	for pair := range strings.SplitSeq(query, "&") {
		_, value, _ := strings.Cut(pair, "=")
		secrets = append(secrets, value)
	}
	for _, secret := range secrets {
		text = maskWord(text, secret)
		if plain := unescape(secret); plain != secret {
			text = maskWord(text, plain)
		}
	}
	return text
}

// maskWord replaces a secret in a text wherever it is no part of a longer word: a stream named
// "a" leaves the text readable.
func maskWord(text, secret string) string {
	if secret == "" {
		return text
	}
	var b strings.Builder
	for from := 0; ; {
		i := strings.Index(text[from:], secret)
		if i < 0 {
			return b.String() + text[from:]
		}
		begin, end := from+i, from+i+len(secret)
		inWord := begin > 0 && isWord(text[begin-1]) && isWord(secret[0]) ||
			end < len(text) && isWord(text[end]) && isWord(secret[len(secret)-1])
		if inWord && len(secret) < minLongSecret {
			b.WriteString(text[from : begin+1])
			from = begin + 1
			continue
		}
		b.WriteString(text[from:begin] + "***")
		from = end
	}
}

// minLongSecret is the length in bytes from which a secret is replaced within words too.
const minLongSecret = 6

// isWord reports whether a byte is of a word.
func isWord(c byte) bool {
	return c >= 0x80 || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// redirect returns where a server sends its client, "" for nowhere: the object "ex" of its
// status has the code 302, in redirect the tcUrl there, and in redirect2, of SRS, the whole URL.
func (t *target) redirect(status *StatusError) string {
	object, _ := amf.Properties(props(status.Properties).get("ex"))
	ex := props(object)
	if code, _ := ex.get("code").(float64); code != 302 {
		return ""
	}
	if whole, err := resolveTcURL(t.tcURL, ex.str("redirect2")); err == nil && ex.str("redirect2") != "" {
		if _, err := parseURL(whole.String()); err == nil {
			return whole.String()
		}
	}
	asked := ex.str("redirect")
	if asked == "" {
		return ""
	}
	u, err := resolveTcURL(t.tcURL, asked)
	if err != nil {
		return ""
	}
	if name, _, _ := strings.Cut(t.name, "?"); hasName(u, name) {
		return u.String()
	}
	return t.at(u)
}

// hasName reports whether a URL that should be a tcUrl has the stream's name behind its app.
func hasName(u *url.URL, name string) bool {
	app, ok := strings.CutSuffix(u.EscapedPath(), "/"+name)
	return ok && app != ""
}
