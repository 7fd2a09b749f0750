package hub

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// Reason says why something was refused or came to its end. Every refusal and
// every end in the house carries one; logs, counters and all three protocols
// take their words and codes from the one table below.
type Reason uint8

// The reasons. The zero Reason means that nothing has ended.
const (
	ReasonNone Reason = iota

	// Refusals.
	ReasonBadRequest   // the name or a parameter makes no sense
	ReasonNotFound     // nobody publishes the stream, and the wait for it is over
	ReasonBusy         // somebody else publishes the stream
	ReasonDenied       // policy says no
	ReasonTooMany      // a bound on numbers is reached
	ReasonLoop         // the stream would come back to a server that it has passed; also an end
	ReasonShuttingDown // the server is going away; also an end

	// Ends.
	ReasonUnpublished  // the publisher left and its grace time is over
	ReasonCodecChanged // tracks, codecs or formats changed, and this kind of viewer must reopen
	ReasonComplete     // the viewer had as much as it asked for
	ReasonReplaced     // another publisher took the stream over
	ReasonClientLeft   // the peer closed or asked to end
	ReasonConnection   // reading or writing the connection failed
	ReasonStalled      // the viewer took nothing for too long
	ReasonIdle         // the publisher sent nothing for too long
	ReasonProtocol     // the peer broke its protocol
	ReasonKicked       // an operator ended it
	ReasonExpired      // its permission has ended
	reasons            // how many there are
)

// The table: what each reason is called, and what it becomes in each protocol.
//
//	words     in logs, counters and JSON
//	publish   onStatus code to an RTMP publisher
//	play      onStatus code to an RTMP player
//	http      HTTP status, where no body has begun
//	close     WebSocket close code: RFC 6455 §7.4.1 where it has one that fits,
//	          otherwise 4000 + the HTTP status
var reasonTable = [reasons]struct {
	words         string
	publish, play string
	http, close   int
}{
	ReasonNone:         {"none", "", "", 200, 1000},
	ReasonBadRequest:   {"bad request", "NetStream.Publish.BadName", "NetStream.Play.Failed", 400, 4400},
	ReasonNotFound:     {"not found", "NetStream.Publish.Rejected", "NetStream.Play.StreamNotFound", 404, 4404},
	ReasonBusy:         {"busy", "NetStream.Publish.BadName", "NetStream.Play.Failed", 409, 4409},
	ReasonDenied:       {"denied", "NetStream.Publish.Denied", "NetStream.Play.Failed", 403, 4403},
	ReasonTooMany:      {"too many", "NetStream.Publish.Rejected", "NetStream.Play.Failed", 503, 1013},
	ReasonLoop:         {"loop", "NetStream.Publish.Rejected", "NetStream.Play.Failed", 508, 4508},
	ReasonShuttingDown: {"shutting down", "NetStream.Unpublish.Success", "NetStream.Play.UnpublishNotify", 503, 1001},
	ReasonUnpublished:  {"unpublished", "NetStream.Unpublish.Success", "NetStream.Play.UnpublishNotify", 404, 1000},
	ReasonCodecChanged: {"codec changed", "NetStream.Unpublish.Success", "NetStream.Play.UnpublishNotify", 404, 1000},
	ReasonComplete:     {"complete", "NetStream.Unpublish.Success", "NetStream.Play.Stop", 404, 1000},
	ReasonReplaced:     {"replaced", "NetStream.Publish.BadName", "NetStream.Play.Failed", 409, 4409},
	ReasonClientLeft:   {"client left", "NetStream.Unpublish.Success", "NetStream.Play.Stop", 400, 1000},
	ReasonConnection:   {"connection failed", "NetStream.Failed", "NetStream.Failed", 400, 1011},
	ReasonStalled:      {"stalled", "NetStream.Failed", "NetStream.Play.Failed", 408, 1008},
	ReasonIdle:         {"idle", "NetStream.Publish.Rejected", "NetStream.Play.Failed", 408, 1008},
	ReasonProtocol:     {"protocol error", "NetStream.Failed", "NetStream.Failed", 400, 1002},
	ReasonKicked:       {"kicked", "NetStream.Publish.Denied", "NetStream.Play.Failed", 403, 4403},
	ReasonExpired:      {"expired", "NetStream.Unpublish.Success", "NetStream.Play.UnpublishNotify", 401, 4401},
}

func (r Reason) row() int {
	if r >= reasons {
		return int(ReasonProtocol)
	}
	return int(r)
}

// String returns the reason in words, a bounded set that logs and counters share.
func (r Reason) String() string { return reasonTable[r.row()].words }

// ReasonOf returns the reason that String calls so, false if there is none.
func ReasonOf(words string) (Reason, bool) {
	for r := range reasons {
		if words != "" && r.String() == words {
			return r, true
		}
	}
	return ReasonNone, false
}

// PublishStatus returns the onStatus code that tells an RTMP publisher.
func (r Reason) PublishStatus() string { return reasonTable[r.row()].publish }

// PlayStatus returns the onStatus code that tells an RTMP player.
func (r Reason) PlayStatus() string { return reasonTable[r.row()].play }

// HTTPStatus returns the HTTP status for an answer whose body has not begun.
func (r Reason) HTTPStatus() int { return reasonTable[r.row()].http }

// CloseCode returns the WebSocket close code, always one that may stand in a
// close frame.
func (r Reason) CloseCode() int { return reasonTable[r.row()].close }

// Proper reports whether a viewer's stream that ended for this reason was whole
// up to its end, so that the body is completed rather than broken off.
func (r Reason) Proper() bool {
	switch r {
	case ReasonUnpublished, ReasonCodecChanged, ReasonComplete, ReasonShuttingDown, ReasonClientLeft, ReasonExpired:
		return true
	}
	return false
}

// Refusal is the error of everything that the hub declines or ends: a reason and, where
// there is more to say, a sentence for the one who was refused. Once something is refused
// or ended it is closed, so errors.Is(err, net.ErrClosed) holds.
type Refusal struct {
	Reason Reason
	Detail string
}

func (r *Refusal) Error() string {
	if r.Detail == "" {
		return r.Reason.String()
	}
	return r.Reason.String() + ": " + r.Detail
}

// Unwrap makes every refusal a closed one to errors.Is.
func (r *Refusal) Unwrap() error { return net.ErrClosed }

// refusalOf returns what an error, which is not nil, comes to: a *Refusal in its chain,
// a cancelled context as ReasonClientLeft, anything else as ReasonDenied.
func refusalOf(err error) *Refusal {
	refusal, ok := errors.AsType[*Refusal](err)
	switch {
	case ok:
		return refusal
	case errors.Is(err, context.Canceled):
		return refuse(ReasonClientLeft, "%v", err)
	}
	return refuse(ReasonDenied, "%v", err)
}

func refuse(reason Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}
