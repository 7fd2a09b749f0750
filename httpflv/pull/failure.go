package pull

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"sluice/flv"
	"sluice/httpflv/websocket"
	"sluice/hub"
	"sluice/hub/relay"
)

// errHead is the error of an answer whose head makes no sense, or has no end.
var errHead error = relay.Failed(relay.CauseMedia, "the answer is not HTTP, or its head is too long")

// causeOf says what an HTTP status of 300 and above means for who pulls.
func causeOf(status int) relay.Cause {
	switch status {
	case http.StatusNotFound, http.StatusGone:
		return relay.CauseNotFound
	case http.StatusLoopDetected:
		return relay.CauseLoop
	case http.StatusConflict, http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return relay.CauseBusy
	case http.StatusRequestTimeout:
		return relay.CauseConnection
	}
	switch {
	case status >= 500:
		return relay.CauseConnection
	case status >= 400:
		return relay.CauseDenied
	}
	return relay.CauseMedia // an answer that is none to this question
}

// Bounds of what is read of a refusal.
const (
	refusalTimeout = time.Second
	maxRefusal     = 4 << 10 // bytes
)

// refused says why a server refuses. The words of servers, which may hold anything, are not repeated. One that is
// stopping says so in words only, and is to be tried again at once as after a break.
func refused(s *source, answer *http.Response) error {
	f := relay.Failed(causeOf(answer.StatusCode), "the server answers with HTTP status %d", answer.StatusCode)
	if answer.StatusCode != http.StatusServiceUnavailable || s.node == "" {
		return f
	}
	var said struct {
		Error string `json:"error"`
	}
	s.wire.allow(refusalTimeout)
	if s.left = maxRefusal; json.NewDecoder(answer.Body).Decode(&said) == nil && said.Error == hub.ReasonShuttingDown.String() {
		return relay.Failed(relay.CauseConnection, "the server is shutting down")
	}
	return f
}

// Close codes of WebSockets that are no HTTP status with 4000 added (RFC 6455 §7.4.1).
const (
	closeGoingAway     = 1001
	closeTryAgainLater = 1013
)

// closed says why a server closed a WebSocket.
func closed(e *websocket.CloseError) *relay.Failure {
	switch {
	case e.Code == closeGoingAway:
		return relay.Failed(relay.CauseConnection, "the server is shutting down")
	case e.Code == closeTryAgainLater:
		return relay.Failed(relay.CauseBusy, "the server closes with code %d", e.Code)
	case e.Code >= 4400 && e.Code < 4600:
		return relay.Failed(causeOf(e.Code-4000), "the server closes with code %d", e.Code)
	case e.Code == 0:
		return relay.Failed(relay.CauseConnection, "the server closes without a code")
	}
	return relay.Failed(relay.CauseConnection, "the server closes with code %d", e.Code)
}

// failure says why there is no stream, or not any more.
func failure(err error) *relay.Failure {
	var said *websocket.CloseError
	var broken *websocket.ProtocolError
	switch {
	case errors.As(err, &said):
		return closed(said)
	case errors.As(err, &broken), errors.Is(err, errChunks):
		return &relay.Failure{Cause: relay.CauseMedia, Detail: "what comes is malformed", Err: err}
	case errors.Is(err, flv.ErrFormat):
		return &relay.Failure{Cause: relay.CauseMedia, Detail: "what comes is not FLV", Err: err}
	}
	return relay.FailureOf(err)
}
