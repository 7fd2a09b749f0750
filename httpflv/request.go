package httpflv

import (
	"context"
	"encoding/base64"
	"fmt"
	"iter"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"sluice/flv"
	"sluice/hub"
)

// maxQuery bounds the query of a request for a stream, in bytes: a signed token of
// any kind fits. A longer one is refused before it is parsed.
const maxQuery = 4 << 10

// request is what a viewer asks for.
type request struct {
	key     hub.Key
	opts    hub.WatchOptions
	chunked bool // the body may come in chunks, where the protocol has them
	relays  bool // who asks is a server that relays
}

// parseRequest reads from a request's URL which stream is asked for and how, in the same
// way for HTTP and WebSocket. Header fields that players send (Range, Icy-MetaData) and
// further parameters are ignored. The error is a *hub.Refusal; with it comes what is
// known of the request nevertheless.
func parseRequest(r *http.Request) (request, error) {
	q := request{opts: hub.WatchOptions{FixedCodecs: true}, chunked: true}
	q.opts.Shape.Form = flv.FormBrowser
	q.relays = r.Header.Get(PathHeader) != ""
	path, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/"), Suffix)
	if !ok {
		return q, &hub.Refusal{Reason: hub.ReasonNotFound, Detail: "streams are at /APP/NAME" + Suffix}
	}
	app, name := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		app, name = path[:i], path[i+1:]
	}
	key, err := hub.NewKey(app, name)
	if err != nil {
		return q, err
	}
	q.key = key
	query, err := queryOf(r)
	if err != nil {
		return q, err
	}
	q.chunked = query.Get("chunked") != "0"
	err = q.opts.ReadQuery(query)
	if q.relays {
		q.serveRelay(query)
	}
	q.opts.ScriptData = q.opts.Shape.Form == flv.FormAsSent // a viewer of everything gets script data too
	return q, err
}

// queryOf returns the query of a request. The error is a *hub.Refusal.
func queryOf(r *http.Request) (url.Values, error) {
	if len(r.URL.RawQuery) > maxQuery {
		return nil, badRequest("the query is longer than %d bytes", maxQuery)
	}
	return r.URL.Query(), nil
}

// secureKey is the key of what WithSecure says in a request's context.
type secureKey struct{}

// WithSecure returns the context of a request whose client's connection is TLS or is not,
// whatever that of the proxy that passes it on is.
func WithSecure(ctx context.Context, secure bool) context.Context {
	return context.WithValue(ctx, secureKey{}, secure)
}

// IsSecure reports whether the connection of a request's client is TLS.
func IsSecure(r *http.Request) bool {
	if secure, told := r.Context().Value(secureKey{}).(bool); told {
		return secure
	}
	return r.TLS != nil
}

// ClientOf returns what the client of a request shows of itself, but for its protocol, which
// is for the caller to name; of a query that is too long, nothing.
func ClientOf(r *http.Request) hub.Client {
	c := hub.Client{
		Secure: IsSecure(r), Inquiry: r.Method == http.MethodHead, Agent: r.UserAgent(), Name: r.URL.Path, Host: r.Host,
		Origin: r.Header.Get("Origin"), Referer: r.Referer(), Authorization: r.Header.Get("Authorization"),
	}
	if len(r.URL.RawQuery) <= maxQuery {
		c.Query = r.URL.Query()
	}
	c.Address, _ = netip.ParseAddrPort(r.RemoteAddr)
	return c
}

func badRequest(format string, args ...any) *hub.Refusal {
	return &hub.Refusal{Reason: hub.ReasonBadRequest, Detail: fmt.Sprintf(format, args...)}
}

// wantsWebSocket reports whether the request asks for an upgrade (RFC 6455 §4.2.1).
func wantsWebSocket(r *http.Request) bool { return hasToken(r.Header, "Upgrade", "websocket") }

// items yields the elements of a header field that is a list (RFC 9110 §5.6.1), from
// all its lines, without empty ones.
func items(header http.Header, field string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, v := range header.Values(field) {
			for item := range strings.SplitSeq(v, ",") {
				if item = strings.Trim(item, " \t"); item != "" && !yield(item) {
					return
				}
			}
		}
	}
}

// hasToken reports whether a header field, a list, names a token.
func hasToken(header http.Header, field, token string) bool {
	for item := range items(header, field) {
		if strings.EqualFold(item, token) {
			return true
		}
	}
	return false
}

// isToken reports whether text is a token (RFC 9110 §5.6.2).
func isToken(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case '0' <= c && c <= '9', 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0:
			return false
		}
	}
	return text != ""
}

// offeredSubprotocol returns the first subprotocol that a WebSocket client offers, or ""
// (RFC 6455 §4.2.2). Pages offer one of any name, since some servers ask for that, and
// then the browser expects the server to choose it. What is sent is FLV, whatever the
// name. An offer that does not begin with a token can't be chosen and is ignored.
func offeredSubprotocol(header http.Header) string {
	for item := range items(header, "Sec-WebSocket-Protocol") {
		if isToken(item) {
			return item
		}
		return ""
	}
	return ""
}

// checkHandshake checks everything that a handshake needs (RFC 6455 §4.2.1), so that the
// library, whose refusals are not JSON, finds nothing to refuse. It returns the status and
// the refusal to answer with, or nil.
//
// RFC 9110 §7.8 says that an Upgrade in HTTP/1.0 is ignored. It is refused here: it comes
// from proxies that speak HTTP/1.0 unless configured otherwise (nginx), and an endless
// answer would not tell their owners what is wrong.
func checkHandshake(w http.ResponseWriter, r *http.Request) (status int, _ *hub.Refusal) {
	keys := r.Header.Values("Sec-WebSocket-Key")
	switch {
	case !r.ProtoAtLeast(1, 1):
		return http.StatusUpgradeRequired, badRequest("a WebSocket needs HTTP/1.1; this request, or a proxy on its way, speaks an older version")
	case !hasToken(r.Header, "Connection", "Upgrade"):
		return http.StatusUpgradeRequired, badRequest("a WebSocket needs the header Connection: Upgrade; a proxy on the way may leave it out")
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		return http.StatusUpgradeRequired, badRequest("WebSocket version 13 is spoken here")
	case len(keys) != 1:
		return http.StatusBadRequest, badRequest("a WebSocket needs one header Sec-WebSocket-Key")
	}
	if key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(keys[0])); err != nil || len(key) != 16 {
		return http.StatusBadRequest, badRequest("Sec-WebSocket-Key is 16 bytes in base64")
	}
	if !canHijack(w) {
		return http.StatusNotImplemented, badRequest("WebSockets are not possible over this connection")
	}
	return 0, nil
}

// isHandshake reports whether a request for a WebSocket can be upgraded.
func (h *Handler) isHandshake(w http.ResponseWriter, r *http.Request) bool {
	_, refusal := checkHandshake(w, r)
	return r.Method == http.MethodGet && refusal == nil
}

// canHijack reports whether a connection can be taken over: not with HTTP/2, nor
// where middleware hides it.
func canHijack(w http.ResponseWriter) bool {
	for {
		switch u := w.(type) {
		case http.Hijacker:
			return true
		case interface{ Unwrap() http.ResponseWriter }:
			w = u.Unwrap()
		default:
			return false
		}
	}
}
