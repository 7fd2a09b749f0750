package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"sluice/flv"
	"sluice/httpflv/websocket"
	"sluice/rtmp"
)

// fault is why something does not work.
type fault struct {
	// Word is one of a fixed set, which README.md lists.
	Word string `json:"word"`
	// Sentence says what it is and where to look.
	Sentence string `json:"sentence"`
}

func faultf(word, format string, args ...any) fault { return fault{word, fmt.Sprintf(format, args...)} }

// isTimeout reports whether an error is one of waiting for too long.
func isTimeout(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}

// isEnd reports whether an error is a connection that ended.
func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

var interrupted = fault{"interrupted", "the test was interrupted"}

// openFault returns why a way could not be opened. conn is nil where there was no connection.
func (t *tester) openFault(ctx context.Context, w *way, r *row, conn *line, err error, publishing bool) fault {
	var status *rtmp.StatusError
	var answer *answerError
	var closed *websocket.CloseError
	switch {
	case errors.Is(err, context.Canceled) || errors.Is(ctx.Err(), context.Canceled):
		return interrupted
	case errors.As(err, &status):
		return t.statusFault(w, status, publishing)
	case errors.As(err, &answer):
		return t.answerFault(w, answer)
	case errors.As(err, &closed):
		return t.closeFault(w, closed)
	case r.trace.connected.IsZero():
		return connectFault(w, err)
	case w.secure() && r.trace.secured.IsZero():
		return t.secureFault(ctx, w, err)
	}
	return t.protocolFault(ctx, w, r, conn, err, publishing)
}

// connectFault returns why there is no connection.
func connectFault(w *way, err error) fault {
	var name *net.DNSError
	switch {
	case errors.As(err, &name) && name.IsNotFound:
		return faultf("name", "the name %s is not known: look at its spelling and at its entry in DNS", w.host())
	case errors.As(err, &name):
		return faultf("name", "the name %s could not be looked up: look at this machine's DNS", w.host())
	case errors.Is(err, syscall.ECONNREFUSED):
		return faultf("refused-connection", "nothing listens on %s: look at whether the server runs, and whether this is its port", w.address)
	case isEnd(err):
		return faultf("closed", "%s ended the connection at once: look at the server's log; it may be full, or not let this address in", w.address)
	case isTimeout(err):
		return faultf("unreachable", "%s does not answer a connect: look at the firewall, and at whether the address is right", w.address)
	}
	return faultf("unreachable", "%s cannot be reached (%v): look at the address and the network", w.address, last(err))
}

// last returns the innermost error.
func last(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// protocolFault returns why a server with which there is a connection does not speak the protocol.
func (t *tester) protocolFault(ctx context.Context, w *way, r *row, conn *line, err error, publishing bool) fault {
	var received int64
	var head []byte
	if conn != nil {
		received, head = conn.heard()
	}
	opening := w.publishes() && !r.trace.handshaken.IsZero() // RTMP's commands have begun
	malformed := errors.Is(err, rtmp.ErrProtocol) || errors.Is(err, errNotHTTP)
	var broken *websocket.ProtocolError
	switch {
	case errors.As(err, &broken):
		return faultf("not-websocket", "%s answers the upgrade to WebSocket wrongly (%s): look at the proxy in front, which has to pass Sec-WebSocket-Key on", w.address, broken.What)
	case opening && isEnd(err):
		return faultf("closed", "%s closed the connection without a word when asked to %s: look at whether there is an app %q (-app), at whether it permits this, and at the server's log",
			w.address, verb(publishing), t.app)
	case opening:
		return faultf("no-answer", "%s does not answer when asked to %s (%v): look at whether this leads to the same server as the publisher's address, at the server's log, and at whom it asks for permission", w.address, verb(publishing), t.clean(last(err).Error()))
	case received > 0 && malformed || received > 0 && w.publishes() && head[0] != 3:
		return t.foreign(w, found(head))
	case isEnd(err) || isTimeout(err):
		if what := t.probe(ctx, w); what != "" && what != w.family() {
			return t.foreign(w, what)
		}
		if isTimeout(err) {
			return faultf("no-answer", "%s takes the connection, and then does not answer for %v: look at whether a proxy in front holds the answer back until it is whole (nginx: proxy_buffering off), whether this leads to the same server as the publisher's address, and at the server's log", w.address, t.times.open)
		}
		return faultf("closed", "%s closed the connection without an answer: look at the server's log, and at the log of a proxy in front", w.address)
	}
	return faultf("failed", "%s: %s", w.address, t.clean(err.Error()))
}

func verb(publishing bool) string {
	if publishing {
		return "publish"
	}
	return "play"
}

// permissions says which flags show a permission.
func permissions(publishing bool) string {
	if publishing {
		return "-key, -token or -stream-key (or SLUICE_PUBLISH_SECRETS), and the server's log"
	}
	return "-watch-key or -watch-token (or SLUICE_WATCH_SECRETS), and the server's log"
}

// statusFault returns what a status of RTMP means.
func (t *tester) statusFault(w *way, status *rtmp.StatusError, publishing bool) fault {
	said := cmp.Or(t.clean(status.Code), "an error")
	if status.Description != "" {
		said += ", \"" + t.clean(status.Description) + "\""
	}
	role, word := "publish", "denied-publish"
	if !publishing {
		role, word = "watch", "denied-watch"
	}
	text := strings.ToLower(status.Description)
	switch {
	case strings.Contains(text, "at most") || strings.Contains(text, "too many"):
		return faultf("full", "the server has no room (%s): look at its bounds, or try again", said)
	case strings.Contains(text, "shutting down"):
		return faultf("shutting-down", "the server is shutting down: try again")
	case publishing && status.Code == rtmp.CodePublishBadName:
		return faultf("busy", "the server says that the name is taken or not allowed (%s), although it is a random one: look at whether it takes names of its own only, and at what in front renames streams", said)
	case !publishing && status.Code == rtmp.CodePlayStreamNotFound:
		return faultf("not-found", "the server does not know the stream that is being published (%s): look at whether %s leads to the same server, and the same app, as the publisher's address", said, w.shown)
	case status.Code == rtmp.CodeConnectInvalidApp || status.Code == rtmp.CodeConnectRejected || status.Code == rtmp.CodeConnectFailed:
		return faultf(word, "the server refuses the app %q (%s): look at -app, and at who may connect", t.app, said)
	}
	return faultf(word, "the server does not permit to %s (%s): look at %s", role, said, permissions(publishing))
}

// answerFault returns what an answer over HTTP means that is no stream.
func (t *tester) answerFault(w *way, a *answerError) fault {
	said := fmt.Sprintf("HTTP status %d", a.status)
	if a.closed != 0 {
		said = fmt.Sprintf("close code %d", a.closed)
	}
	if a.words != "" {
		said += ", \"" + t.clean(a.words) + "\""
	}
	socket := w.protocol == "ws" || w.protocol == "wss"
	switch {
	case a.status == 401 || a.status == 403:
		return faultf("denied-watch", "the server does not permit to watch (%s): look at %s", said, permissions(false))
	case a.status == 404 && socket:
		return faultf("not-found", "there is no WebSocket of the stream at %s (%s): look at whether the server has WebSocket-FLV, and whether this leads to the same server as the publisher's address", w.shown, said)
	case a.status == 404:
		return faultf("not-found", "there is no stream at %s/%s/….flv, although it is being published (%s): look at whether this leads to the same server as the publisher's address, and at a proxy's paths", w.shown, t.app, said)
	case a.status >= 300 && a.status < 400:
		return faultf("redirect", "%s sends one elsewhere (%s): give that address", w.shown, cmp.Or(t.clean(a.location), said))
	case a.status == 400 && !w.secure() && strings.Contains(strings.ToLower(a.words), "https"):
		return t.foreign(w, "tls")
	case a.status == 502 || a.status == 504:
		return faultf("gateway", "the proxy on %s does not reach the server behind it (%s): look at where it leads, and at whether the server runs", w.address, said)
	case a.status == 503 || a.status == 429:
		return faultf("full", "the server has no room, or is shutting down (%s): look at its bounds, or try again", said)
	case socket:
		return faultf("not-websocket", "%s does not upgrade to WebSocket (%s): look at the proxy in front, which has to pass on the upgrade (nginx: proxy_http_version 1.1, Upgrade and Connection), and at whether the server has WebSocket-FLV", w.address, said)
	case a.status == 200:
		return faultf("not-flv", "what is at %s/%s/….flv is %s and no FLV: look at whether this leads to the server", w.shown, t.app, cmp.Or(t.clean(a.kind), "something else"))
	}
	return faultf("status", "the server answers with %s: look at its log", said)
}

// closeFault returns what a close code of a WebSocket means: Sluice's are 4000 and the HTTP status.
func (t *tester) closeFault(w *way, e *websocket.CloseError) fault {
	status := e.Code - 4000
	switch e.Code {
	case 1008:
		status = 403
	case 1013:
		status = 503
	}
	if status >= 300 && status < 600 {
		return t.answerFault(w, &answerError{status: status, closed: e.Code, words: e.Reason})
	}
	return faultf("ended", "the server closed the WebSocket (%s): look at its log", t.clean(e.Error()))
}

// publishEnded returns why a publisher was ended.
func (t *tester) publishEnded(err error, lasted time.Duration) fault {
	var status *rtmp.StatusError
	said := last(err).Error()
	switch {
	case errors.As(err, &status):
		said = status.Code + ", \"" + status.Description + "\""
	case lasted < t.times.lead && isEnd(err):
		return faultf("denied-publish", "the server agreed, and closed the connection at once without a word, as some do that do not permit to publish (nginx-rtmp: deny publish): look at %s", permissions(true))
	}
	return faultf("publish-ended", "the server ended the publisher in its midst (%s): look at its log, and at its bound on the bitrate", t.clean(said))
}

// streamFault returns what is wrong with a stream that was watched; none if nothing is.
func (t *tester) streamFault(ctx context.Context, w *way, r *row, c *comparison, pub *publication, err error) fault {
	var status *rtmp.StatusError
	var closed *websocket.CloseError
	age := time.Since(r.trace.commanded).Round(100 * time.Millisecond)
	switch {
	case errors.Is(err, errInterrupted) || errors.Is(ctx.Err(), context.Canceled):
		return interrupted
	case pub.over() != nil:
		return fault{"publish-ended", "the publisher was ended meanwhile, see there"}
	case errors.As(err, &closed):
		return t.closeFault(w, closed)
	case errors.As(err, &status):
		return t.statusFault(w, status, false)
	case errors.Is(err, errSilent) && r.trace.first.IsZero():
		return faultf("no-bytes", "%s agreed, and then nothing of the stream came for %v: something in between holds bytes back, as a rule a proxy that buffers (nginx: proxy_buffering off); otherwise look at whether this leads to the same server as the publisher's address, and at the server's log", w.shown, age)
	case errors.Is(err, errNoPicture), errors.Is(err, errSilent) && r.trace.picture.IsZero():
		return pictureFault(c, age)
	case errors.Is(err, errSilent):
		return faultf("stalled", "the stream stood still for %v: look at the network, and at a proxy that buffers", t.times.silence)
	case errors.Is(err, flv.ErrFormat):
		return faultf("not-flv", "what is at %s/%s/….flv is no FLV: look at whether this leads to the server", w.shown, t.app)
	case isEnd(err) && r.trace.first.IsZero():
		return faultf("denied-watch", "the server agreed, and ended the stream at once without a word, as some do that do not permit to watch (nginx-rtmp: deny play): look at %s", permissions(false))
	case err != nil:
		return faultf("ended", "the stream ended after %v, although it was still being published (%s): look at the log of the server, and at the timeouts of a proxy in front", age, t.clean(last(err).Error()))
	}
	return t.framesFault(c)
}
