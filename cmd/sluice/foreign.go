package main

import (
	"errors"
	"log/slog"
	"net"
	"strconv"

	"sluice/cmd/sluice/admission"
)

// errForeign is what the reader of a connection gets that does not begin as HTTP does. The HTTP
// server answers it with 400 and closes the connection.
var errForeign = errors.New("this is not HTTP")

// First bytes of what is sent to a port of HTTP by mistake. No method of HTTP begins so.
const (
	firstOfRTMP = 3    // C0, RTMP 1.0 §5.2.2
	firstOfTLS  = 0x16 // a handshake record, RFC 8446 §5.1
)

// onlyHTTP returns what says in one line of the log that an encoder or a browser has the wrong
// port or the wrong scheme, and ends its connection at once: RTMP waits for an answer to bytes in
// which there may be no line end, and HTTP for a line. all says where RTMP is taken.
func onlyHTTP(log *slog.Logger, all listeners) admission.First {
	port := strconv.Itoa(all.port(kindRTMP))
	return func(nc net.Conn, b []byte) error {
		switch b[0] {
		case firstOfRTMP:
			log.Info("RTMP was sent to a port of HTTP", "remote", nc.RemoteAddr().String(),
				"port", nc.LocalAddr().String(), "hint", "RTMP is taken on port "+port)
		case firstOfTLS:
			log.Info("TLS was sent to a port of HTTP", "remote", nc.RemoteAddr().String(),
				"port", nc.LocalAddr().String(), "hint", "http:// and ws:// in place of https:// and wss://, or a proxy with TLS in front")
		default:
			return nil
		}
		return errForeign
	}
}
