package main

import (
	"crypto/tls"
	"log/slog"
	"net"
	"slices"

	"sluice/hub/tlsconn"
)

// Protocols that are chosen between within TLS (ALPN, RFC 7301).
const (
	alpnHTTP2 = "h2"
	alpnHTTP1 = "http/1.1"
)

// secure puts TLS in front of the server of a listener. What stands before it sees the connection
// itself:
//
//	port ──▶ PROXY header ──▶ admission ──▶ gate ──▶ handshake ──▶ server
//
// So a connection in a handshake has shown nothing yet, and makes room for others like any other; and
// an address counts as the proxy says.
func (s *service) secure(l listener, all listeners, cfg *config, log *slog.Logger) listener {
	config := cfg.certificates.Config()
	config.NextProtos = nextProtos(l.kind, all, cfg.certificates.ALPN())
	if l.kind == kindHTTPS {
		oneAtATime(config, cfg)
	}
	// librtmp with GnuTLS takes a ticket that comes before the answer to its handshake for an error, and no
	// client of RTMP is known to come back with one.
	config.SessionTicketsDisabled = l.kind == kindRTMPS
	secured := tlsconn.Listen(l.Listener, tlsconn.Config{
		TLS: config, NotTLS: foreign{log, all}.notTLS(l.kind), Bound: s.computing, Logger: log,
	})
	s.countHandshakes(l.kind, secured)
	l.Listener = secured
	return l
}

// countHandshakes counts those of a listener among those of a kind. As with connections, those for
// metrics are among the operators'.
func (s *service) countHandshakes(kind string, l *tlsconn.Listener) {
	if kind == kindMetrics {
		kind = kindAdmin
	}
	others := s.handshakes[kind]
	if others == nil {
		s.handshakes[kind] = l.Figures
		return
	}
	s.handshakes[kind] = func() tlsconn.Figures { return others().Plus(l.Figures()) }
}

// nextProtos returns what a listener of a kind offers within TLS; certificates is what it offers for
// the sake of the certificates. RTMP has no name there, and of a listener that offers something a client
// that offers something else is refused. So rtmps offers what an authority looks for only where no https
// listener does.
func nextProtos(kind string, all listeners, certificates []string) []string {
	switch {
	case kind == kindHTTPS:
		return slices.Concat([]string{alpnHTTP2, alpnHTTP1}, certificates)
	case kind == kindRTMPS && len(all.of(kindHTTPS)) == 0:
		return certificates
	case kind == kindRTMPS:
		return nil
	}
	return []string{alpnHTTP1}
}

// oneAtATime offers trusted proxies HTTP/1.1 only: of HTTP/2 one connection would carry requests of many
// clients at a time, and what bounds an address could not bound each of them.
func oneAtATime(config *tls.Config, cfg *config) {
	if len(cfg.TrustedProxies) == 0 {
		return
	}
	single := config.Clone()
	single.DynamicRecordSizingDisabled = true // as hub/tlsconn has it
	single.NextProtos = slices.DeleteFunc(slices.Clone(config.NextProtos), func(name string) bool { return name == alpnHTTP2 })
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if tcp, ok := hello.Conn.RemoteAddr().(*net.TCPAddr); ok && cfg.TrustedProxies.has(tcp.AddrPort().Addr()) {
			return single, nil
		}
		return nil, nil
	}
}

// isSecure reports whether the connections of listeners of a kind are encrypted.
func (c *config) isSecure(kind string) bool {
	switch kind {
	case kindRTMPS, kindHTTPS:
		return true
	case kindAdmin, kindMetrics:
		return c.AdminTLS
	}
	return false
}
