package systemd

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"
)

// sendTimeout bounds a message: systemd may be busy, and its socket full.
const sendTimeout = 2 * time.Second

// maxStatus bounds a status line, in bytes.
const maxStatus = 200

// maxWatchdog bounds WATCHDOG_USEC, in microseconds: a year.
const maxWatchdog = 365 * 24 * 3600 * 1e6

// Notifier tells systemd of the state of this process. nil, where systemd does not ask, tells
// nobody; that is no error. Its methods may be called at the same time; each sends one datagram,
// and takes sendTimeout at the most. What cannot be sent is a line of the log: the service goes on.
type Notifier struct {
	socket   *net.UnixAddr
	watchdog time.Duration // how often it wants to hear; 0 for never
	log      *slog.Logger
	now      func() (time.Duration, bool) // CLOCK_MONOTONIC, if there is one
}

// NewNotifier returns the Notifier of what environ (os.Environ) says, nil if it says nothing. It
// logs to slog.Default.
func NewNotifier(environ []string) (*Notifier, error) {
	path := lookup(environ, "NOTIFY_SOCKET")
	if path == "" {
		return nil, nil
	}
	if path[0] != '/' && path[0] != '@' {
		return nil, fmt.Errorf("NOTIFY_SOCKET=%.40q: must be a path, or an abstract name that begins with @", path)
	}
	// An abstract name's @ is for net to turn into a zero byte.
	n := &Notifier{socket: &net.UnixAddr{Name: path, Net: "unixgram"}, log: slog.Default(), now: monotonic}
	mine, err := isMine(environ, "WATCHDOG_PID", true)
	if err != nil {
		return nil, err
	}
	if mine && lookup(environ, "WATCHDOG_USEC") != "" {
		every, err := number(environ, "WATCHDOG_USEC", maxWatchdog)
		if err != nil {
			return nil, err
		}
		n.watchdog = time.Duration(every) * time.Microsecond
	}
	return n, nil
}

// With returns a Notifier that logs to log, nil if n is.
func (n *Notifier) With(log *slog.Logger) *Notifier {
	if n == nil {
		return nil
	}
	with := *n
	with.log = log
	return &with
}

// Ready tells that the service serves, at its start and after [Notifier.Reloading]. status is a
// line for people, such as systemctl status shows.
func (n *Notifier) Ready(status string) { n.tell("READY=1", statusLine(status)) }

// Status tells a line for people.
func (n *Notifier) Status(status string) { n.tell(statusLine(status)) }

// Stopping tells that the service ends, within some time: systemd waits for so long, even where its
// own bound (TimeoutStopSec=) is shorter.
func (n *Notifier) Stopping(status string, within time.Duration) {
	n.tell("STOPPING=1", statusLine(status), "EXTEND_TIMEOUT_USEC="+strconv.FormatInt(within.Microseconds(), 10))
}

// Reloading tells that the service reads its configuration again, until [Notifier.Ready]. systemd
// goes by the time which the message carries (Type=notify-reload).
func (n *Notifier) Reloading() {
	if n == nil {
		return
	}
	lines := []string{"RELOADING=1"}
	if now, ok := n.now(); ok {
		lines = append(lines, "MONOTONIC_USEC="+strconv.FormatInt(now.Microseconds(), 10))
	}
	n.tell(lines...)
}

// Watch tells systemd that the service is alive, twice in each interval that it asks for
// (WatchdogSec=), until ctx ends; at once if it does not ask. Before each time alive says whether
// that is so: where it returns an error, or does not return, systemd is told nothing, and
// ends the service after the interval. alive must be cheap, and must not wait for clients.
func (n *Notifier) Watch(ctx context.Context, alive func() error) {
	if n == nil || n.watchdog <= 0 {
		return
	}
	tick := time.NewTicker(max(n.watchdog/2, time.Millisecond))
	defer tick.Stop()
	for {
		if err := alive(); err != nil {
			n.log.Error("systemd is not told that the service is alive", "error", err, "watchdog", n.watchdog)
		} else {
			n.tell("WATCHDOG=1")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// statusLine returns a status in one line.
func statusLine(status string) string {
	status = strings.Join(strings.Fields(status), " ")
	return "STATUS=" + strings.ToValidUTF8(status[:min(len(status), maxStatus)], "")
}

// tell sends lines of NAME=VALUE.
func (n *Notifier) tell(lines ...string) {
	if n == nil {
		return
	}
	if err := n.send(strings.Join(lines, "\n")); err != nil {
		n.log.Warn("cannot tell systemd", "what", lines[0], "error", err)
	}
}

// send sends a message. The socket is opened for each: there are few, and systemd may have
// been started again.
func (n *Notifier) send(message string) error {
	c, err := net.DialUnix(n.socket.Net, nil, n.socket)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	_, err = c.Write([]byte(message))
	return err
}
