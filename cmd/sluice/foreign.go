package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"

	"sluice/cmd/sluice/admission"
)

// errForeign is what the reader of a connection gets that does not begin as its protocol does. The
// HTTP server answers it with 400 and closes the connection; that of RTMP closes it.
var errForeign = errors.New("this is another protocol")

// First bytes of what is sent to a wrong port by mistake. No method of HTTP begins so.
const (
	firstOfRTMP = 3    // C0, RTMP 1.0 §5.2.2
	firstOfTLS  = 0x16 // a handshake record, RFC 8446 §5.1
)

// What may be spoken at a port.
const (
	speaksRTMP = "RTMP"
	speaksHTTP = "HTTP"
	speaksTLS  = "TLS"
)

// spoken returns what the first bytes of a connection are the beginning of, one of the above; empty if
// that cannot be told.
func spoken(first []byte) string {
	switch {
	case first[0] == firstOfRTMP:
		return speaksRTMP
	case first[0] == firstOfTLS:
		return speaksTLS
	}
	for _, method := range []string{"GET ", "HEAD ", "POST ", "PUT ", "OPTIONS ", "CONNECT ", "DELETE ", "PATCH ", "PRI "} {
		if n := min(len(method), len(first)); string(first[:n]) == method[:n] {
			return speaksHTTP
		}
	}
	return ""
}

// foreign says in one line of the log that an encoder or a browser has the wrong port or the wrong
// scheme, and where the right one is. Without it RTMP would wait for an answer to bytes in which there
// may be no line end, and HTTP for a line.
type foreign struct {
	log *slog.Logger
	all listeners
}

// plain returns what looks at the first bytes of connections without TLS.
func (f foreign) plain(kind string) admission.First {
	own := speaksHTTP
	if kind == kindRTMP {
		own = speaksRTMP
	}
	return func(nc net.Conn, b []byte) error {
		if what := spoken(b); what != "" && what != own {
			f.tell(nc, what, own, f.right(what, kind))
			return errForeign
		}
		return nil
	}
}

// notTLS returns what is said to clients that begin with something else than TLS where it is spoken.
// HTTP is answered, since a browser shows that.
func (f foreign) notTLS(kind string) func(net.Conn, []byte) []byte {
	return func(nc net.Conn, first []byte) []byte {
		what := spoken(first)
		if what == "" {
			return nil
		}
		own := kindHTTPS
		if kind == kindRTMPS {
			own = kindRTMPS
		}
		f.tell(nc, what, own, f.right(what, kind))
		if what == speaksHTTP && own == kindHTTPS {
			return plainAnswer
		}
		return nil
	}
}

// tell writes the line. what is spoken at a port for own.
func (f foreign) tell(nc net.Conn, what, own, hint string) {
	f.log.Info(what+" was sent to a port of "+own, "remote", nc.RemoteAddr().String(), "port", nc.LocalAddr().String(), "hint", hint)
}

// right returns where what was spoken at a listener of a kind is taken.
func (f foreign) right(what, kind string) string {
	forRTMP := kind == kindRTMP || kind == kindRTMPS
	switch {
	case what == speaksRTMP:
		return f.taken(kindRTMP, kindRTMPS, "there is no port of RTMP here")
	case what == speaksHTTP && !forRTMP:
		return "https:// and wss:// in place of http:// and ws://"
	case what == speaksHTTP:
		return f.taken(kindHTTP, kindHTTPS, "there is no port of HTTP here")
	case forRTMP:
		return f.taken(kindRTMPS, "", "rtmp:// in place of rtmps://, or a proxy with TLS in front")
	case kind == kindHTTP:
		return f.taken(kindHTTPS, "", "http:// and ws:// in place of https:// and wss://, or a proxy with TLS in front")
	}
	return "http:// in place of https://, or SLUICE_ADMIN_TLS=true"
}

// taken says at which port something is taken: that of the first kind for which there is one, or else
// what there is to say without.
func (f foreign) taken(kind, other, without string) string {
	for _, kind := range []string{kind, other} {
		if port := f.all.port(kind); port != 0 {
			name := kind
			if kind == kindRTMP || kind == kindHTTP {
				name = strings.ToUpper(kind)
			}
			return name + " is taken on port " + strconv.Itoa(port)
		}
	}
	return without
}

// plainAnswer is what HTTP is answered at a port of https, in the form of all refusals.
var plainAnswer = func() []byte {
	const body = `{"error":"bad request","reason":"this port takes https and wss only: write https:// or wss:// in the address"}` + "\n"
	return fmt.Appendf(nil, "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"+
		"X-Content-Type-Options: nosniff\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
}()
