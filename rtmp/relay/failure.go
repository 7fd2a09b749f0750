package relay

import (
	"cmp"
	"errors"
	"io"
	"strings"

	"sluice/hub"
	"sluice/hub/relay"
	"sluice/rtmp"
)

// failure returns what an error of a client comes to: io.EOF for a stream's proper end, or
// a *relay.Failure. pushes is for a publisher.
func failure(err error, pushes bool) error {
	if err == io.EOF {
		return err
	}
	if status, ok := errors.AsType[*rtmp.StatusError](err); ok {
		if cause, over := causeOf(status, pushes); !over {
			return &relay.Failure{Cause: cause, Detail: "the server says: " + said(status), Err: err}
		}
		return io.EOF
	}
	if errors.Is(err, rtmp.ErrProtocol) {
		return &relay.Failure{Cause: relay.CauseMedia, Detail: "the server does not speak RTMP", Err: err}
	}
	return relay.FailureOf(err)
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
