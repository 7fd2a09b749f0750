// Package relay opens the connections of hub/relay over RTMP and RTMPS: a Source plays a stream of
// another server, a Sink publishes one there.
//
//	hub/relay ──▶ Opener.Open ──▶ rtmp.Client.Play    ──▶ Source
//	          ──▶ Opener.Send ──▶ rtmp.Client.Publish ──▶ Sink
package relay

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"strings"
	"time"

	"sluice/flv/amf"
	"sluice/hub"
	"sluice/hub/relay"
	"sluice/rtmp"
)

// An Opener opens connections. The zero value works; its methods may be called from several
// goroutines, and its fields must not be changed meanwhile. It must not be copied.
type Opener struct {
	// Dial opens a connection. trusted says that the address is that of a configured URL; others
	// are where a server has sent us. A net.Dialer does if nil, and nothing else is trusted then.
	Dial func(ctx context.Context, network, address string, trusted bool) (net.Conn, error)
	// TLS is how connections to rtmps URLs are encrypted; nil is the zero configuration.
	TLS *tls.Config
	// OpenTimeout bounds the opening of each connection, without a server's wait for the stream
	// to begin: 10 s if 0.
	OpenTimeout time.Duration
	// Silence is how long a Source waits for bytes once its first tag has come: 5 s if 0. One
	// that gets bytes, and no whole tag in three times as long, has ended too.
	Silence time.Duration
	// StartTimeout is how long a Source waits for bytes before its first tag: 10 s if 0.
	StartTimeout time.Duration
	// WriteTimeout is how long a Sink waits until the system has taken what it writes: 10 s if 0.
	WriteTimeout time.Duration

	moves moves
}

// Defaults of Opener.
const (
	defaultOpenTimeout  = 10 * time.Second
	defaultSilence      = 5 * time.Second
	defaultStartTimeout = 10 * time.Second
	defaultWriteTimeout = 10 * time.Second

	// tagSilence is how many times Silence a tag may take: a large key frame on a slow line must
	// not break the connection, which would only have it sent again.
	tagSilence = 3
	// maxRedirects is how often a server may send a Source elsewhere.
	maxRedirects = 3
)

// everything is what our clients announce.
var everything = rtmp.AllCapabilities()

// client returns a client for one connection; trusted holds for the address that it dials.
func (o *Opener) client(path []string, trusted bool) *rtmp.Client {
	c := &rtmp.Client{
		TLS:          o.TLS,
		Capabilities: everything,
		CanReconnect: true,
		OpenTimeout:  cmp.Or(o.OpenTimeout, defaultOpenTimeout),
		ReadTimeout:  cmp.Or(o.Silence, defaultSilence),
		TagTimeout:   tagSilence * cmp.Or(o.Silence, defaultSilence),
		StartTimeout: cmp.Or(o.StartTimeout, defaultStartTimeout),
		WriteTimeout: cmp.Or(o.WriteTimeout, defaultWriteTimeout),
	}
	if dial := o.Dial; dial != nil {
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			return dial(ctx, network, address, trusted)
		}
	}
	if len(path) > 0 {
		c.Properties = amf.Object{{Name: hub.PathProperty, Value: hub.FormatPath(path)}}
	}
	return c
}

// withBack returns a URL with the parameter back=SECONDS, or without any for 0.
func withBack(rawURL string, back time.Duration) string {
	path, query, _ := strings.Cut(rawURL, "?")
	if query = relay.WithBack(query, back); query != "" {
		path += "?" + query
	}
	return path
}

// remote returns the address of the other end.
func remote(nc net.Conn) string {
	if a := nc.RemoteAddr(); a != nil {
		return a.String()
	}
	return ""
}

// nodeOf returns the id that a server has told, empty for none.
func nodeOf(s rtmp.ServerInfo) string {
	if id := s.Text(hub.NodeProperty); hub.IsNodeID(id) {
		return id
	}
	return ""
}

// sameServer reports whether two URLs are of one server, by scheme, host and port.
func sameServer(a, b string) bool {
	schemeA, _, _ := strings.Cut(a, "://")
	schemeB, _, _ := strings.Cut(b, "://")
	at := relay.AddressOf(a)
	return strings.EqualFold(schemeA, schemeB) && at != "" && at == relay.AddressOf(b)
}

// withUser returns a URL with user and password of another.
func withUser(rawURL, from string) string {
	u, err := url.Parse(rawURL)
	f, ferr := url.Parse(from)
	if err != nil || ferr != nil || f.User == nil {
		return rawURL
	}
	u.User = f.User
	return u.String()
}

var (
	_ relay.Source = (*Source)(nil)
	_ relay.Sink   = (*Sink)(nil)
)
