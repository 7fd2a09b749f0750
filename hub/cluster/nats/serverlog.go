package nats

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// sameLine is for how long a line of the engine of one kind is not written again.
const sameLine = time.Minute

// refusedFor is how long it counts that a node was refused: routes are tried each second.
const refusedFor = 10 * time.Second

// serverLog is what the server in this process writes into. All goes to debug, apart from errors that
// somebody has to do something about.
type serverLog struct {
	logger *slog.Logger

	mu      sync.Mutex
	hidden  []string             // never to be written
	written map[string]time.Time // when, by the format of a line
	ended   error                // what the server could not start for
	refused time.Time            // when a node was last refused, or refused this one
	why     string               // for people
}

func newServerLog(logger *slog.Logger) *serverLog {
	return &serverLog{logger: logger, written: map[string]time.Time{}}
}

// hide has a secret never written. No line should have it; this is for those to come.
func (l *serverLog) hide(secret string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hidden = append(l.hidden, secret)
}

func (l *serverLog) text(format string, v []any) string {
	text := fmt.Sprintf(format, v...)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, secret := range l.hidden {
		text = strings.ReplaceAll(text, secret, "…")
	}
	return text
}

func (l *serverLog) debug(format string, v []any) {
	l.logger.Debug("cluster engine", "line", l.text(format, v))
}

func (l *serverLog) Noticef(format string, v ...any) { l.debug(format, v) }
func (l *serverLog) Debugf(format string, v ...any)  { l.debug(format, v) }
func (l *serverLog) Tracef(format string, v ...any)  { l.debug(format, v) }

// Warnf has nothing to be done about: what a leader that is lost means is said by Directory.keep.
func (l *serverLog) Warnf(format string, v ...any) { l.debug(format, v) }

// Errorf writes a line that matters, though not each second.
func (l *serverLog) Errorf(format string, v ...any) {
	text := l.text(format, v)
	lower := strings.ToLower(text)
	route := strings.Contains(lower, "rid:") // it is about a connection to another node
	switch {
	case route && (strings.Contains(lower, "authorization") || strings.Contains(lower, "authentication")):
		l.refuse("a node is refused, or refuses this one: the secret has to be the same at all nodes", text)
	case route && strings.Contains(lower, "cluster name"):
		l.refuse("a node is refused, or refuses this one: the list of nodes is another one there, and other nodes vote", text)
	case route && strings.Contains(lower, "tls") && strings.Contains(lower, "handshake"):
		l.refuse("a node is refused, or refuses this one: certificates do not fit, or not all nodes have TLS", text)
	case strings.Contains(lower, "error trying to connect to route"):
		l.debug("%s", []any{text}) // the other one is not there yet; Health says so
	case route && (strings.Contains(lower, "stale connection") || strings.Contains(lower, "error flushing")):
		l.debug("%s", []any{text}) // the other one is not there any more, or stood still
	default:
		if l.first(format) {
			l.logger.Warn("cluster engine", "line", text)
		}
	}
}

// refuse notes that nodes do not let each other in.
func (l *serverLog) refuse(why, text string) {
	l.mu.Lock()
	l.refused, l.why = time.Now(), why
	l.mu.Unlock()
	if l.first(why) {
		l.logger.Error("cluster: "+why, "line", text)
	}
}

// Fatalf is called where the server cannot start; it ends nothing.
func (l *serverLog) Fatalf(format string, v ...any) {
	text := l.text(format, v)
	l.mu.Lock()
	l.ended = errors.New(text)
	l.mu.Unlock()
	l.logger.Error("cluster engine", "line", text)
}

// fatal returns what the server could not start for, nil where it did.
func (l *serverLog) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}

// trouble returns what is wrong with the engine, for people.
func (l *serverLog) trouble() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.ended != nil:
		return l.ended.Error()
	case time.Since(l.refused) < refusedFor:
		return l.why
	}
	return ""
}

// first says whether a line of that kind is due.
func (l *serverLog) first(kind string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if last, ok := l.written[kind]; ok && now.Sub(last) < sameLine {
		return false
	}
	l.written[kind] = now // formats are the server's own, so there are few
	return true
}
