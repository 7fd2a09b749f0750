package relay

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"sluice/hub"
	"sluice/hub/relay"
	"sluice/rtmp"
)

// failure returns what an error of a client comes to: io.EOF for a stream's proper end, or
// a *relay.Failure. pushes is for a publisher.
func failure(err error, pushes bool) error {
	if f, ok := errors.AsType[*relay.Failure](err); ok { // of the dialer
		return f
	}
	if err == io.EOF {
		return err
	}
	if status, ok := errors.AsType[*rtmp.StatusError](err); ok {
		if cause, over := causeOf(status, pushes); !over {
			return &relay.Failure{Cause: cause, Detail: "the server says: " + said(status), Err: err}
		}
		return io.EOF
	}
	cause := relay.CauseConnection
	if errors.Is(err, rtmp.ErrProtocol) {
		cause = relay.CauseMedia
	}
	return &relay.Failure{Cause: cause, Detail: words(err), Err: err}
}

// said returns a status in words.
func said(s *rtmp.StatusError) string {
	code := cmp.Or(s.Code, "no")
	if s.Description == "" {
		return code
	}
	return code + ", " + s.Description
}

// codes are what servers' codes come to.
var codes = map[string]relay.Cause{
	rtmp.CodePlayStreamNotFound: relay.CauseNotFound,
	rtmp.CodePlayFailed:         relay.CauseDenied,
	rtmp.CodePublishBadName:     relay.CauseBusy,
	rtmp.CodePublishDenied:      relay.CauseDenied,
	rtmp.CodePublishRejected:    relay.CauseDenied,
	rtmp.CodePublishIdle:        relay.CauseConnection,
	rtmp.CodeStreamFailed:       relay.CauseConnection,
	rtmp.CodeConnectRejected:    relay.CauseDenied,
	rtmp.CodeConnectInvalidApp:  relay.CauseDenied,
	rtmp.CodeConnectFailed:      relay.CauseConnection,
	rtmp.CodeConnectClosed:      relay.CauseConnection,
	rtmp.CodeConnectAppShutdown: relay.CauseConnection,
}

// hints are words of descriptions that say more than the code, in lower case.
var hints = []struct {
	words string
	cause relay.Cause
}{
	{"code=508", relay.CauseLoop}, {"loop", relay.CauseLoop},
	{"shutting down", relay.CauseConnection}, {"shutdown", relay.CauseConnection},
	{"too many", relay.CauseBusy}, {"limit", relay.CauseBusy}, {"busy", relay.CauseBusy},
	{"already", relay.CauseBusy},
	{"not found", relay.CauseNotFound}, {"no such stream", relay.CauseNotFound},
}

// causeOf returns what a server's status comes to; over says that it is the stream's proper end.
// A Sluice tells its reason, others are judged by code and words.
func causeOf(s *rtmp.StatusError, pushes bool) (cause relay.Cause, over bool) {
	if reason, ok := hub.ReasonOf(s.Text(hub.ReasonProperty)); ok {
		return reasonCause(reason)
	}
	cause, ok := codes[s.Code]
	if !ok {
		cause = relay.CauseDenied
	}
	text := strings.ToLower(s.Description)
	for _, h := range hints {
		if strings.Contains(text, h.words) {
			cause = h.cause
			break
		}
	}
	if cause == relay.CauseNotFound && pushes {
		cause = relay.CauseDenied
	}
	return cause, false
}

// reasonCause returns what a reason of a Sluice comes to.
func reasonCause(reason hub.Reason) (cause relay.Cause, over bool) {
	switch reason {
	case hub.ReasonNotFound:
		return relay.CauseNotFound, false
	case hub.ReasonBusy, hub.ReasonTooMany, hub.ReasonReplaced:
		return relay.CauseBusy, false
	case hub.ReasonLoop:
		return relay.CauseLoop, false
	case hub.ReasonBadRequest, hub.ReasonDenied, hub.ReasonKicked, hub.ReasonExpired:
		return relay.CauseDenied, false
	case hub.ReasonUnpublished, hub.ReasonComplete, hub.ReasonClientLeft:
		return 0, true
	}
	// It shuts down, or it had enough of this connection: the next one may be better.
	return relay.CauseConnection, false
}

// words says what is wrong with a connection. Errors of the network hold addresses, which are
// shown elsewhere, and nothing secret; what they call it is for people who know the house.
func words(err error) string {
	switch dns, _ := errors.AsType[*net.DNSError](err); {
	case dns != nil && dns.IsNotFound:
		return "there is no such host"
	case dns != nil:
		return "the host could not be looked up"
	}
	var (
		unknown  x509.UnknownAuthorityError
		name     x509.HostnameError
		invalid  x509.CertificateInvalidError
		record   tls.RecordHeaderError
		verified *tls.CertificateVerificationError
	)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nobody listens there"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no way to the host"
	case errors.As(err, &unknown), errors.As(err, &name), errors.As(err, &invalid), errors.As(err, &verified):
		return "its certificate is not valid for it"
	case errors.As(err, &record):
		return "the server does not speak TLS"
	case errors.Is(err, rtmp.ErrProtocol):
		return "the server does not speak RTMP"
	case errors.Is(err, context.Canceled):
		return "given up"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return "nothing came in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE),
		errors.Is(err, syscall.ECONNRESET):
		return "the server closed the connection"
	case errors.Is(err, net.ErrClosed):
		return "the connection was closed"
	}
	return "the connection failed"
}
