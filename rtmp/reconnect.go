package rtmp

import (
	"errors"
	"net/url"
	"strings"

	"sluice/flv/amf"
)

// A Reconnect is what a server asks of a client that announced CapsReconnect: to go on to
// the next key frame or the like, connect anew, and publish or play the same there
// (Enhanced RTMP v2, "Reconnect Request"). Others are not asked.
type Reconnect struct {
	// TcURL is where to: an absolute URL without the stream's name, or a reference that
	// is relative to the client's own; empty for that one. A Client has resolved it:
	// rtmp or rtmps with host and app, without user and password.
	TcURL string
	// Description says why, for people; it may be empty. A Client cuts it to 256 bytes.
	Description string
	// URL is the URL of the stream there, with its name and query as they were opened,
	// for Client.Publish or Client.Play: a Client sets it, a Server does not heed it. The
	// name may be a secret, which it is for its owner to show to another host, or not.
	URL string
}

// appendReconnect appends the request, an onStatus on message stream 0.
func appendReconnect(dst []byte, chunkSize int, r *Reconnect) []byte {
	info := amf.Object{
		{Name: "level", Value: LevelStatus},
		{Name: "code", Value: CodeReconnectRequest},
	}
	if r.Description != "" {
		info = append(info, amf.Property{Name: "description", Value: r.Description})
	}
	if r.TcURL != "" {
		info = append(info, amf.Property{Name: "tcUrl", Value: r.TcURL})
	}
	return appendCommand(dst, chunkSize, 0, "onStatus", 0.0, nil, info)
}

// reconnectOf reads a request of a server; t is what the client has opened. ok is false for
// other commands, and for a request that leads nowhere.
func reconnectOf(c *command, t *target) (r Reconnect, ok bool) {
	status := c.status()
	if c.name != "onStatus" || status.Code != CodeReconnectRequest {
		return Reconnect{}, false
	}
	info := c.objectArg(1)
	if len(info) == 0 {
		info = c.objectArg(0)
	}
	u, err := resolveTcURL(t.tcURL, info.str("tcUrl"))
	if err != nil {
		return Reconnect{}, false
	}
	r = Reconnect{TcURL: u.String(), Description: cut(t.mask(cut(status.Description, maxArgument)), maxShown)}
	r.URL = t.at(u)
	return r, true
}

// Why a request leads nowhere.
var (
	errReconnectURL    = errors.New("rtmp: tcUrl of a request to reconnect is malformed")
	errReconnectTarget = errors.New("rtmp: tcUrl of a request to reconnect is not rtmp://HOST/APP")
)

// resolveTcURL returns the tcUrl that a server asks for, where the client has another one
// (RFC 3986 §5).
func resolveTcURL(own, asked string) (*url.URL, error) {
	if len(asked) > maxArgument {
		return nil, errReconnectURL
	}
	base, err := url.Parse(own)
	if err != nil {
		return nil, errReconnectURL
	}
	u := base
	if asked != "" {
		ref, err := url.Parse(asked)
		if err != nil {
			return nil, errReconnectURL // its own error may hold what was asked
		}
		u = base.ResolveReference(ref)
	}
	u.User, u.Fragment, u.RawFragment, u.ForceQuery = nil, "", "", false
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	u.Scheme = strings.ToLower(u.Scheme)
	if len(u.String()) > maxArgument { // escaped, it may be longer than it came
		return nil, errReconnectURL
	}
	if u.Scheme != "rtmp" && u.Scheme != "rtmps" || u.Hostname() == "" || u.Opaque != "" || u.Path == "" {
		return nil, errReconnectTarget
	}
	return u, nil
}
